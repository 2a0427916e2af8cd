// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodeproxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

const (
	// timeout bounds a question to a kubelet, which collects fresh statistics
	// for some.
	timeout = 15 * time.Second
	// maxAnswer is more than a kubelet's answer about its largest number of
	// pods.
	maxAnswer = 64 << 20
)

// Config configures a Server.
type Config struct {
	// Host may get nodes/proxy there.
	Host       kubernetes.Interface
	Translator *rewrite.Translator
	// Pods are the virtual cluster's.
	Pods corelisters.PodLister
	// Shown says whether the virtual cluster shows the host node of that name.
	Shown func(node string) bool
}

// Server answers for kubelets.
type Server struct{ cfg Config }

// New returns a Server.
func New(cfg Config) *Server { return &Server{cfg: cfg} }

// question is something that may be asked.
type question struct {
	contentType string
	// params that a request may set, to the values given.
	params map[string]string
	// ask returns the answer in virtual names.
	ask func(ctx context.Context, s *Server, node string, params map[string]string) ([]byte, error)
}

const (
	jsonType = "application/json"
	textType = "text/plain; version=0.0.4; charset=utf-8"
)

// questions are all there are, by their path. Not among them, on purpose: /run,
// /exec, /attach, /portForward and /containerLogs, for which pods have
// subresources of their own; /configz, /logs, /debug and /metrics, which are
// about the machine; /checkpoint; and everything that a kubelet may learn to
// do.
var questions = map[string]question{
	"/healthz":          {contentType: "text/plain; charset=utf-8", ask: healthz},
	"/pods":             {contentType: jsonType, ask: podsOn},
	"/stats/summary":    {contentType: jsonType, ask: summary, params: map[string]string{"only_cpu_and_memory": "true"}},
	"/metrics/resource": {contentType: textType, ask: metricsAt("metrics", "resource")},
	"/metrics/cadvisor": {contentType: textType, ask: metricsAt("metrics", "cadvisor")},
	"/metrics/probes":   {contentType: textType, ask: metricsAt("metrics", "probes")},
}

// Handler answers a request for a path at a node, both as in the URL.
func (s *Server) Handler(node, path string, responder rest.Responder) (http.Handler, error) {
	if strings.Contains(node, ":") {
		return nil, apierrors.NewBadRequest("nodes/proxy leads to the kubelet: a node's name goes without a scheme or port")
	}
	if !s.cfg.Shown(node) {
		return nil, apierrors.NewNotFound(corev1.Resource("nodes"), node)
	}
	q, ok := questions["/"+strings.TrimPrefix(path, "/")]
	if !ok {
		return nil, apierrors.NewForbidden(corev1.Resource("nodes/proxy"), node, errors.New("this path of a kubelet is not served in a virtual cluster"))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			responder.Error(apierrors.NewMethodNotSupported(corev1.Resource("nodes/proxy"), r.Method))
			return
		}
		params := map[string]string{}
		for name, value := range q.params {
			if r.URL.Query().Get(name) == value {
				params[name] = value
			}
		}
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		answer, err := q.ask(ctx, s, node, params)
		if err != nil {
			responder.Error(interpret(ctx, node, err))
			return
		}
		w.Header().Set("Content-Type", q.contentType)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(answer) // The client may have gone.
	}), nil
}

// fromKubelet gets a path of a kubelet through the host's API. The segments are
// constants.
func (s *Server) fromKubelet(ctx context.Context, node, accept string, params map[string]string, segments ...string) ([]byte, error) {
	request := s.cfg.Host.CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").Suffix(segments...).SetHeader("Accept", accept)
	for name, value := range params {
		request = request.Param(name, value)
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	answer, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("the kubelet of %q answers with more than %d bytes", node, maxAnswer)
	}
	return answer, nil
}

// healthz says whether the kubelet answers and is well.
func healthz(ctx context.Context, s *Server, node string, _ map[string]string) ([]byte, error) {
	if _, err := s.fromKubelet(ctx, node, "*/*", nil, "healthz"); err != nil {
		return nil, err
	}
	return []byte("ok"), nil
}

// podsOn lists the virtual pods on a node, without asking the kubelet: they are
// the same pods.
func podsOn(_ context.Context, s *Server, node string, _ map[string]string) ([]byte, error) {
	pods, err := s.on(node)
	if err != nil {
		return nil, err
	}
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: make([]corev1.Pod, 0, len(pods))}
	for _, p := range pods {
		list.Items = append(list.Items, *p)
	}
	return json.Marshal(list)
}

// on returns the virtual pods on a node.
func (s *Server) on(node string) ([]*corev1.Pod, error) {
	all, err := s.cfg.Pods.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	var out []*corev1.Pod
	for _, p := range all {
		if p.Spec.NodeName == node {
			out = append(out, p)
		}
	}
	return out, nil
}

// byHostName returns the virtual pods on a node by their names on the host.
func (s *Server) byHostName(node string) (map[string]*corev1.Pod, error) {
	pods, err := s.on(node)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*corev1.Pod, len(pods))
	for _, p := range pods {
		for _, name := range s.cfg.Translator.HostNames("Pod", p.Namespace, p.Name) {
			out[name] = p
		}
	}
	return out, nil
}

// interpret turns an error of the host into one that the tenant may see.
func interpret(ctx context.Context, node string, err error) error {
	klog.FromContext(ctx).Info("Kubelet not asked", "node", node, "err", err)
	if ctx.Err() != nil {
		return apierrors.NewTimeoutError("the node did not answer in time", 0)
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusServiceUnavailable, Reason: metav1.StatusReasonServiceUnavailable,
		Message: fmt.Sprintf("the host of this cluster does not let node %q be asked now", node),
	}}
}
