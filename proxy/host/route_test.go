// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"

	"portico.dev/portico/proxy/host"
)

func TestUpdatesGoToTheSubresourceTheyAreAbout(t *testing.T) {
	noRequest := func(ctx context.Context) context.Context { return ctx }
	request := func(sub string) func(context.Context) context.Context {
		return func(ctx context.Context) context.Context { return as(ctx, sub) }
	}
	managed := []metav1.ManagedFieldsEntry{{Manager: "kubectl", Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:x":{}}`)}}
	debug := []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "busybox"}}}
	gate := func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: "example.com/gate", Status: corev1.ConditionTrue}}
	}
	cases := map[string]struct {
		ctx    func(context.Context) context.Context
		change func(*corev1.Pod)
		want   []string
	}{
		"status, request": {
			request("status"), func(p *corev1.Pod) { gate(p); p.ManagedFields = managed },
			[]string{"PATCH pods/" + hostWeb + "/status"},
		},
		"status, caller inside": {
			noRequest, gate,
			[]string{"PATCH pods/" + hostWeb + "/status"},
		},
		"condition of an eviction": {
			request("eviction"), func(p *corev1.Pod) {
				p.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI"}}
			},
			[]string{"PATCH pods/" + hostWeb + "/status"},
		},
		"status and spec, caller inside": {
			noRequest, func(p *corev1.Pod) { gate(p); p.Spec.Containers[0].Image = "nginx:2" },
			[]string{"PATCH pods/" + hostWeb, "PATCH pods/" + hostWeb + "/status"},
		},
		"main request ignores a status of the registry's own": {
			request(""), func(p *corev1.Pod) { gate(p); p.Spec.Containers[0].Image = "nginx:2" },
			[]string{"PATCH pods/" + hostWeb},
		},
		"ephemeral container": {
			request("ephemeralcontainers"), func(p *corev1.Pod) { p.Spec.EphemeralContainers = debug },
			[]string{"PATCH pods/" + hostWeb + "/ephemeralcontainers"},
		},
		"resize": {
			request("resize"), func(p *corev1.Pod) {
				p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("2")}
			},
			[]string{"PATCH pods/" + hostWeb + "/resize"},
		},
		"resize, caller inside": {
			noRequest, func(p *corev1.Pod) {
				p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("2")}
			},
			[]string{"PATCH pods/" + hostWeb + "/resize"},
		},
		"binding": {
			request("binding"), func(p *corev1.Pod) {
				p.Spec.NodeName = "node-1"
				p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
			},
			[]string{"POST pods/" + hostWeb + "/binding"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, "pods", func(c *host.Config) {
				c.AllowBinding, c.NodeTakesPods = true, func(string) bool { return true }
			})
			pod := f.create(newPod("demo", "web"))
			f.host.writes()
			out := f.mustUpdate(tc.ctx(t.Context()), pod, tc.change)
			got := f.host.writes()
			// A change of the overlay may add the call for the metadata.
			if len(got) == len(tc.want)+1 && got[0] == "PATCH pods/"+hostWeb {
				got = got[1:]
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("host calls (-want +got):\n%s", diff)
			}
			// It is shown as it was written, and stays so.
			again := f.mustUpdate(t.Context(), out, func(*corev1.Pod) {})
			if diff := cmp.Diff(out, again); diff != "" {
				t.Errorf("read again (-want +got):\n%s", diff)
			}
		})
	}
}

// Only who runs a scheduler may choose nodes.
func TestBindingIsForbiddenUnlessAllowed(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	f.host.writes()
	_, err := f.update(as(t.Context(), "binding"), pod, func(p *corev1.Pod) { p.Spec.NodeName = "node-1" })
	if !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want 403", err)
	}
	if w := f.host.writes(); len(w) != 0 {
		t.Errorf("host calls: %v", w)
	}
}

// The second of two calls fails: the result of the first is kept and shown, and
// the client can try again.
func TestFailureBetweenTwoCalls(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	f.host.mu.Lock()
	f.host.answer = func(c call) *metav1.Status {
		if c.subresource != "ephemeralcontainers" {
			return nil
		}
		st := apierrors.NewInternalError(context.DeadlineExceeded).Status()
		st.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		return &st
	}
	f.host.mu.Unlock()
	add := func(p *corev1.Pod) {
		p.Labels["by"] = "debug"
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "busybox"}}}
	}
	if _, err := f.update(as(t.Context(), "ephemeralcontainers"), pod, add); !apierrors.IsInternalError(err) {
		t.Fatalf("got %v, want the host's 500", err)
	}
	f.host.mu.Lock()
	f.host.answer = nil
	f.host.mu.Unlock()
	out := f.mustUpdate(as(t.Context(), "ephemeralcontainers"), pod, add)
	if len(out.Spec.EphemeralContainers) != 1 || out.Labels["by"] != "debug" {
		t.Errorf("shown: %v %v", out.Spec.EphemeralContainers, out.Labels)
	}
}

// Strategic merge patch merges the ports of a Service by number alone. A patch
// made that way would turn one of two ports with the same number into the other.
func TestPortsOfOneNumberStayTwo(t *testing.T) {
	f := newFixture(t, "services")
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "dns"},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
			{Name: "udp", Protocol: corev1.ProtocolUDP, Port: 53}, {Name: "tcp", Protocol: corev1.ProtocolTCP, Port: 53},
		}},
	}
	key := "/services/demo/dns"
	if err := f.Create(t.Context(), key, svc, nil, 0); err != nil {
		t.Fatal(err)
	}
	out := &corev1.Service{}
	err := f.GuaranteedUpdate(t.Context(), key, out, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		s := in.(*corev1.Service)
		s.Spec.Ports[1].Name = "tcp-renamed"
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "metrics", Protocol: corev1.ProtocolTCP, Port: 9153})
		return s, nil
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	raw, _ := json.Marshal(f.host.get("services", "dns-x-demo-x-vc"))
	var h corev1.Service
	if err := json.Unmarshal(raw, &h); err != nil {
		t.Fatal(err)
	}
	for _, p := range h.Spec.Ports {
		names = append(names, p.Name+"/"+string(p.Protocol))
	}
	if diff := cmp.Diff([]string{"udp/UDP", "tcp-renamed/TCP", "metrics/TCP"}, names); diff != "" {
		t.Errorf("ports on the host (-want +got):\n%s", diff)
	}
	if out.Spec.ClusterIP != "10.96.7.7" {
		t.Errorf("the host's ClusterIP is shown as %q", out.Spec.ClusterIP)
	}
}
