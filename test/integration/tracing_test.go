// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/test/embedded"
)

// span is one that a collector got, with the service that it is of.
type span struct {
	*tracev1.Span
	service string
}

func (s span) id() string     { return string(s.GetSpanId()) }
func (s span) parent() string { return string(s.GetParentSpanId()) }

// collector keeps all spans that are sent to it.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []span
	text  strings.Builder
}

func newCollector(t *testing.T) (c *collector, endpoint string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c = &collector{}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return c, "http://" + listener.Addr().String()
}

// Export implements collectorv1.TraceServiceServer.
func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.WriteString(r.String())
	for _, of := range r.GetResourceSpans() {
		var service string
		for _, a := range of.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, span{Span: s, service: service})
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// trace returns the names of the spans between the host's span of a request and
// the root, first the host's, and all names of the trace.
func (c *collector) trace(hostSpan string) (path []string, all map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	byID := map[string]span{}
	for _, s := range c.spans {
		byID[s.id()] = s
	}
	for _, s := range c.spans {
		if s.service != "portico-host" || s.GetName() != hostSpan || s.GetKind() != tracev1.Span_SPAN_KIND_SERVER {
			continue
		}
		names, of := map[string]bool{}, string(s.GetTraceId())
		for _, other := range c.spans {
			if string(other.GetTraceId()) == of {
				names[other.service+": "+other.GetName()] = true
			}
		}
		var up []string
		for known := true; known; s, known = byID[s.parent()] {
			up = append(up, s.service+": "+s.GetName())
		}
		if len(up) > len(path) {
			path, all = up, names
		}
	}
	return path, all
}

// A request of a tenant is one trace from the door to the host's own API server
// and back. Nothing in it is about the Secret that the pod mounts but that it
// was one.
func TestOneTraceAcrossBothClusters(t *testing.T) {
	c, endpoint := newCollector(t)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint) // of the host; the cluster's configuration has its own
	h := embedded.PrivateHost(t)
	vc := newClusterWith(t, h, fmt.Sprintf("tracing: {endpoint: %q, samplingRatePerMillion: 1000000}\n", endpoint))
	vc.CreateNamespace("a")
	if _, err := vc.Virtual.CoreV1().Secrets("a").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "password-of-shop"}, StringData: map[string]string{"key": "correct-horse"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := embedded.Pod("p", nil)
	pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "password-of-shop"}}}}
	vc.CreatePod("a", pod)
	const create = "POST /api/v1/namespaces/{:namespace}/pods"
	embedded.Eventually(t, "one trace", func(context.Context) (bool, string) {
		path, all := c.trace(create)
		for _, name := range []string{"portico: Host call", "portico: Translate to host", "portico: Translate to virtual", "portico: authorization", "portico-host: authorization"} {
			if !all[name] {
				return false, fmt.Sprintf("no span %q in %v", name, all)
			}
		}
		return len(path) > 3 && path[0] == "portico-host: "+create && path[2] == "portico: Host call" && path[len(path)-1] == "portico: "+create, fmt.Sprintf("%q", path)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	text := c.text.String()
	if !strings.Contains(text, "/secrets") {
		t.Error("no span about Secrets")
	}
	for _, secret := range []string{"password-of-shop", "correct-horse"} {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("a span has %q: ...%s...", secret, text[max(0, at-300):min(len(text), at+100)])
		}
	}
	for _, s := range c.spans {
		if strings.Contains(s.GetName(), "watch") {
			t.Errorf("span of a watch: %s", s.GetName())
		}
	}
}
