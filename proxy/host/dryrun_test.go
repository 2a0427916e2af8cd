// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/storage"

	"portico.dev/portico/proxy/host"
)

// untouched makes sure that a dry run has left nothing: on the host, in the
// revisions that reads wait for, or in memory.
func (f *fixture) untouched(want ...string) func() {
	f.t.Helper()
	before := f.host.get("pods", hostWeb)
	rv, err := f.GetCurrentResourceVersion(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	f.host.writes()
	return func() {
		f.t.Helper()
		if diff := cmp.Diff(want, f.host.writes()); diff != "" {
			f.t.Errorf("host calls (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(before, f.host.get("pods", hostWeb)); diff != "" {
			f.t.Errorf("host pod (-before +after):\n%s", diff)
		}
		if before != nil { // an event brings this one
			there, err := strconv.ParseUint(str(md(before)["resourceVersion"]), 10, 64)
			if err != nil {
				f.t.Error(err)
			}
			rv = max(rv, there)
		}
		if after, err := f.GetCurrentResourceVersion(f.t.Context()); err != nil || after > rv {
			f.t.Errorf("reads wait for revision %d after a dry run, and there is %d; %v", after, rv, err)
		}
	}
}

func TestDryRunOfACreate(t *testing.T) {
	r := &referents{}
	f := newFixture(t, "pods", func(c *host.Config) { c.Referents = r })
	r.host = f.host
	check := f.untouched("POST pods (dry run)")
	pod := newPod("demo", "web")
	pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "creds"}}}}
	out := &corev1.Pod{}
	if err := f.Create(host.WithDryRun(t.Context()), podKey(pod), pod, out, 0); err != nil {
		t.Fatal(err)
	}
	check()
	if out.Name != "web" || out.Namespace != "demo" || out.UID != "host-uid-1" || out.ResourceVersion != "" {
		t.Errorf("reply: %s/%s uid %s rv %q", out.Namespace, out.Name, out.UID, out.ResourceVersion)
	}
	if len(r.ensured) > 0 {
		t.Errorf("brought onto the host: %v", r.ensured)
	}
	if stats, err := f.Stats(t.Context()); err != nil || stats.ObjectCount != 0 {
		t.Errorf("remembered: %d objects, %v", stats.ObjectCount, err)
	}
}

func TestDryRunShowsWhatTheHostAllocates(t *testing.T) {
	f := newFixture(t, "services")
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	out := &corev1.Service{}
	if err := f.Create(host.WithDryRun(t.Context()), "/services/demo/web", svc, out, 0); err != nil {
		t.Fatal(err)
	}
	if out.Spec.ClusterIP != "10.96.7.7" {
		t.Errorf("ClusterIP %q, want the host's", out.Spec.ClusterIP)
	}
	if f.host.get("services", hostWeb) != nil {
		t.Error("the Service is on the host")
	}
}

func TestDryRunIsRefusedByTheHost(t *testing.T) {
	f := newFixture(t, "pods")
	f.host.answer = func(c call) *metav1.Status {
		if c.verb != http.MethodPost {
			return nil
		}
		st := apierrors.NewForbidden(corev1.Resource("pods"), hostWeb, nil).Status()
		st.APIVersion, st.Kind = "v1", "Status"
		return &st
	}
	err := f.Create(host.WithDryRun(t.Context()), "/pods/demo/web", newPod("demo", "web"), &corev1.Pod{}, 0)
	if !apierrors.IsForbidden(err) || statusOf(t, err).Details.Name != "web" {
		t.Errorf("error %v, want the host's refusal of web", err)
	}
}

func TestDryRunOfUpdates(t *testing.T) {
	label := func(p *corev1.Pod) { p.Labels["app"] = "other" }
	for reason, c := range map[string]struct {
		change func(*corev1.Pod)
		calls  []string
		shown  func(*corev1.Pod) bool
	}{
		"one call: the host's answer is shown": {
			change: label, calls: []string{"PATCH pods/" + hostWeb + " (dry run)"},
			shown: func(p *corev1.Pod) bool { return p.Labels["app"] == "other" },
		},
		"a deletion": {
			change: begin(20), calls: []string{"DELETE pods/" + hostWeb + " (dry run)"},
			shown: func(p *corev1.Pod) bool {
				return p.DeletionTimestamp != nil && *p.DeletionGracePeriodSeconds == 20
			},
		},
		"two calls: all changes are shown": {
			change: func(p *corev1.Pod) { p.Finalizers = append(p.Finalizers, "foregroundDeletion"); begin(20)(p) },
			calls:  []string{"PATCH pods/" + hostWeb + " (dry run)", "DELETE pods/" + hostWeb + " (dry run)"},
			shown: func(p *corev1.Pod) bool {
				return p.DeletionTimestamp != nil && len(p.Finalizers) == 1
			},
		},
	} {
		t.Run(reason, func(t *testing.T) {
			f := newFixture(t, "pods")
			pod := f.scheduled(newPod("demo", "web"))
			if err := f.Get(t.Context(), podKey(pod), storage.GetOptions{}, &corev1.Pod{}); err != nil { // the memory is current
				t.Fatal(err)
			}
			check := f.untouched(c.calls...)
			if out := f.mustUpdate(host.WithDryRun(as(t.Context(), "")), pod, c.change); !c.shown(out) {
				t.Errorf("reply: %+v", out.ObjectMeta)
			}
			check()
			kept := &corev1.Pod{}
			if err := f.Get(t.Context(), podKey(pod), storage.GetOptions{}, kept); err != nil || c.shown(kept) {
				t.Errorf("after the dry run: %+v, %v", kept.ObjectMeta, err)
			}
		})
	}
}

func TestDryRunOfADelete(t *testing.T) {
	for reason, finalizers := range map[string][]string{"plain": nil, "held by a finalizer that goes first": {"example.com/f"}} {
		t.Run(reason, func(t *testing.T) {
			f := newFixture(t, "pods")
			pod := newPod("demo", "web")
			pod.Finalizers = finalizers
			f.create(pod)
			calls := []string{"DELETE pods/" + hostWeb + " (dry run)"}
			if finalizers != nil {
				calls = append([]string{"PATCH pods/" + hostWeb + " (dry run)"}, calls...)
			}
			check := f.untouched(calls...)
			out := &corev1.Pod{}
			if err := f.Delete(host.WithDryRun(t.Context()), podKey(pod), out, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			check()
			if out.Name != "web" {
				t.Errorf("reply: %+v", out.ObjectMeta)
			}
		})
	}
}
