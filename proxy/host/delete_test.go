// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"

	"portico.dev/portico/proxy/door"
	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
)

// begin marks a pod as the registry does when its deletion begins.
func begin(grace int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		now := metav1.Now()
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &now, &grace
	}
}

func (f *fixture) scheduled(pod *corev1.Pod) *corev1.Pod {
	f.t.Helper()
	out := f.create(pod)
	f.host.edit("pods", f.tr.Name(pod.Namespace, pod.Name), func(h tree) { h["spec"].(tree)["nodeName"] = "node-1" })
	f.host.writes()
	return out
}

func TestDeletionBeginsWithAHostDelete(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.scheduled(newPod("demo", "web"))
	out := f.mustUpdate(as(t.Context(), ""), pod, begin(20))
	if diff := cmp.Diff([]string{"DELETE pods/" + hostWeb, "DELETE pods/" + hostWeb}, f.host.writes()); diff != "" {
		t.Errorf("host calls (-want +got):\n%s", diff) // the first was on stale data
	}
	if out.DeletionTimestamp == nil || *out.DeletionGracePeriodSeconds != 20 {
		t.Errorf("shown: %v, %v", out.DeletionTimestamp, out.DeletionGracePeriodSeconds)
	}
	// Sooner is another DELETE, later is nothing.
	out = f.mustUpdate(as(t.Context(), ""), out, func(p *corev1.Pod) { one := int64(1); p.DeletionGracePeriodSeconds = &one })
	if diff := cmp.Diff([]string{"DELETE pods/" + hostWeb}, f.host.writes()); diff != "" {
		t.Errorf("host calls (-want +got):\n%s", diff)
	}
	if *out.DeletionGracePeriodSeconds != 1 {
		t.Errorf("grace %d", *out.DeletionGracePeriodSeconds)
	}
}

// A pod that was not scheduled when the registry looked, and is by now, would
// be killed without grace if the host did not get the revision that was looked
// at.
func TestForcedDeletionDoesNotHitAPodThatHasJustBeenScheduled(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	f.host.edit("pods", hostWeb, func(h tree) { h["spec"].(tree)["nodeName"] = "node-1" })
	out := f.mustUpdate(as(t.Context(), ""), pod, func(p *corev1.Pod) {
		grace := int64(0)
		if p.Spec.NodeName != "" {
			grace = 30
		}
		begin(grace)(p)
	})
	if *out.DeletionGracePeriodSeconds != 30 || f.host.get("pods", hostWeb) == nil {
		t.Errorf("grace %d", *out.DeletionGracePeriodSeconds)
	}
}

func TestDeletionWithoutGraceRemoves(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	f.mustUpdate(as(t.Context(), ""), pod, begin(0))
	if f.host.get("pods", hostWeb) != nil {
		t.Error("still on the host")
	}
	// The registry goes on to delete, and accepts that it is gone.
	err := f.Delete(t.Context(), podKey(pod), &corev1.Pod{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{})
	if !storage.IsNotFound(err) {
		t.Errorf("delete: %v", err)
	}
}

func TestVirtualFinalizersHoldTheHostObjectByOneOfOurs(t *testing.T) {
	f := newFixture(t, "pods")
	pod := newPod("demo", "web")
	pod.Finalizers = []string{"example.com/a", "example.com/b"}
	out := f.create(pod)
	if got := finalizers(f.host.get("pods", hostWeb)); !slices.Equal(got, []any{rewrite.FinalizerVirtual}) {
		t.Fatalf("finalizers on the host: %v", got)
	}
	out = f.mustUpdate(as(t.Context(), ""), out, begin(0))
	if out.DeletionTimestamp == nil || f.host.get("pods", hostWeb) == nil {
		t.Fatal("the finalizers did not hold it")
	}
	out = f.mustUpdate(as(t.Context(), ""), out, func(p *corev1.Pod) { p.Finalizers = []string{"example.com/b"} })
	if got := finalizers(f.host.get("pods", hostWeb)); len(got) != 1 {
		t.Fatalf("finalizers on the host: %v", got)
	}
	// The registry answers the update that empties them with Delete.
	last := &corev1.Pod{}
	if err := f.Delete(t.Context(), podKey(out), last, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if f.host.get("pods", hostWeb) != nil || last.Name != "web" {
		t.Errorf("still on the host, or %q returned", last.Name)
	}
}

// A tenant gives a pod the finalizer by which Portico holds host objects, as a
// cluster inside of this one does, and takes it away when the deletion has begun.
// The pod goes from the host, and its room with it.
func TestAttackFinalizerOfOursHoldsForever(t *testing.T) {
	for reason, all := range map[string][]string{"alone": {rewrite.FinalizerVirtual}, "with another": {"example.com/a", rewrite.FinalizerVirtual}} {
		t.Run(reason, func(t *testing.T) {
			f := newFixture(t, "pods")
			pod := newPod("demo", "web")
			pod.Finalizers = all
			out := f.mustUpdate(as(t.Context(), ""), f.create(pod), begin(0))
			if out.DeletionTimestamp == nil || f.host.get("pods", hostWeb) == nil {
				t.Fatal("the finalizers did not hold it")
			}
			// The registry answers the update that empties them with Delete.
			if err := f.Delete(t.Context(), podKey(out), &corev1.Pod{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			if h := f.host.get("pods", hostWeb); h != nil {
				t.Errorf("still on the host, with the finalizers %v", finalizers(h))
			}
		})
	}
}

func TestLastFinalizerGoesInTheSamePatch(t *testing.T) {
	f := newFixture(t, "pods")
	pod := newPod("demo", "web")
	pod.Finalizers = []string{"example.com/a"}
	out := f.create(pod)
	f.host.writes()
	out = f.mustUpdate(as(t.Context(), ""), out, func(p *corev1.Pod) { p.Finalizers = nil; p.Labels["x"] = "y" })
	if diff := cmp.Diff([]string{"PATCH pods/" + hostWeb}, f.host.writes()); diff != "" {
		t.Errorf("host calls (-want +got):\n%s", diff)
	}
	if got := finalizers(f.host.get("pods", hostWeb)); len(got) != 0 || len(out.Finalizers) != 0 {
		t.Errorf("finalizers: host %v, shown %v", got, out.Finalizers)
	}
}

// A foreground deletion marks the object and starts its deletion in one
// update. If the host deleted first, nothing would hold the object.
func TestForegroundDeletionHoldsBeforeItDeletes(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	f.host.writes()
	out := f.mustUpdate(as(t.Context(), ""), pod, func(p *corev1.Pod) {
		begin(0)(p)
		p.Finalizers = []string{metav1.FinalizerDeleteDependents}
	})
	if diff := cmp.Diff([]string{"PATCH pods/" + hostWeb, "DELETE pods/" + hostWeb}, f.host.writes()); diff != "" {
		t.Errorf("host calls (-want +got):\n%s", diff)
	}
	h := f.host.get("pods", hostWeb)
	if h == nil || slices.Contains(finalizers(h), any(metav1.FinalizerDeleteDependents)) {
		t.Errorf("the host's garbage collector would act on %v", h)
	}
	if !slices.Equal(out.Finalizers, []string{metav1.FinalizerDeleteDependents}) {
		t.Errorf("shown: %v", out.Finalizers)
	}
}

func TestHostFinalizersAreShownAndStay(t *testing.T) {
	f := newFixture(t, "persistentvolumeclaims")
	key := "/persistentvolumeclaims/demo/data"
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "data"}}
	if err := f.Create(t.Context(), key, claim, nil, 0); err != nil {
		t.Fatal(err)
	}
	name := "data-x-demo-x-vc"
	f.host.edit("persistentvolumeclaims", name, func(h tree) { md(h)["finalizers"] = []any{"kubernetes.io/pvc-protection"} })
	out := &corev1.PersistentVolumeClaim{}
	err := f.GuaranteedUpdate(t.Context(), key, out, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		p := in.(*corev1.PersistentVolumeClaim)
		now, zero := metav1.Now(), int64(0)
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &now, &zero
		return p, nil
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.Finalizers, []string{"kubernetes.io/pvc-protection"}) || out.DeletionTimestamp == nil {
		t.Errorf("shown: %v, %v", out.Finalizers, out.DeletionTimestamp)
	}
	if got := finalizers(f.host.get("persistentvolumeclaims", name)); len(got) != 1 {
		t.Errorf("finalizers on the host: %v", got)
	}
}

func TestDeleteRetriesOnConflict(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	f.host.edit("pods", hostWeb, func(h tree) { h["status"] = tree{"phase": "Running"} })
	validated := 0
	err := f.Delete(t.Context(), podKey(pod), &corev1.Pod{}, nil, func(context.Context, runtime.Object) error { validated++; return nil }, nil, storage.DeleteOptions{})
	if err != nil || validated != 2 || f.host.get("pods", hostWeb) != nil {
		t.Errorf("err %v, validated %d times", err, validated)
	}
}

// A user who could change default/kubernetes would lead the cluster's pods
// elsewhere.
func TestOwnServiceCannotBeWritten(t *testing.T) {
	f := newFixture(t, "services")
	f.host.put("services", &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "vc", Labels: map[string]string{rewrite.LabelCluster: "vc", rewrite.LabelNamespace: "default"}},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.9", Ports: []corev1.ServicePort{{Port: 443}}, Selector: map[string]string{door.LabelDoor: "vc"}},
	})
	key := "/services/default/kubernetes"
	var list corev1.ServiceList
	if err := f.GetList(t.Context(), "/services/default", storage.ListOptions{Recursive: true, Predicate: storage.Everything}, &list); err != nil ||
		len(list.Items) != 1 || list.Items[0].Name != "kubernetes" || list.Items[0].Spec.Selector != nil {
		t.Errorf("list: %v %v", err, list.Items)
	}
	f.host.writes()
	if err := f.Create(t.Context(), key, &corev1.Service{}, nil, 0); !storage.IsExist(err) {
		t.Errorf("create: %v", err)
	}
	err := f.GuaranteedUpdate(t.Context(), key, &corev1.Service{}, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		in.(*corev1.Service).Spec.ExternalIPs = []string{"192.0.2.1"}
		return in, nil
	}), nil)
	if !apierrors.IsForbidden(err) {
		t.Errorf("update: %v", err)
	}
	err = f.Delete(t.Context(), key, &corev1.Service{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("delete: %v", err)
	}
	if w := f.host.writes(); len(w) != 0 {
		t.Errorf("host calls: %v", w)
	}
}

// A tenant deletes the Service of the cluster's DNS, at once or with a cascade,
// so that its address is free for another tenant of the host. Both are refused
// (403) and the host is not asked. A Service that is not where pods ask, or that
// the host deletes already, goes.
func TestAttackTenantDeletesTheDNSService(t *testing.T) {
	const ip, key = "10.96.0.10", "/services/kube-system/kube-dns"
	for name, c := range map[string]struct {
		configured bool // the DNS is the cluster's
		at         string
		deleting   bool
		refused    bool
	}{
		"the DNS":                    {configured: true, at: ip, refused: true},
		"at another address":         {configured: true, at: "10.96.0.66"},
		"that the host deletes":      {configured: true, at: ip, deleting: true},
		"a Service of just the name": {at: ip},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := newTranslator(t).Cluster()
			cluster.DNS, cluster.DNSIP = &rewrite.DNS{TargetPort: 1053}, ip
			withDNS, err := rewrite.New(cluster)
			if err != nil {
				t.Fatal(err)
			}
			f := newFixture(t, "services", func(o *host.Config) {
				if c.configured {
					o.Translator = withDNS
				}
			})
			h, err := withDNS.ServiceToHost(withDNS.DNSService(), rewrite.Inputs{})
			if err != nil {
				t.Fatal(err)
			}
			h.Spec.ClusterIP = c.at
			if c.deleting {
				now := metav1.Now()
				h.DeletionTimestamp, h.Finalizers = &now, []string{"host.example/wait"}
			}
			f.host.put("services", h)
			f.host.writes()
			want := func(what string, err error) {
				t.Helper()
				switch {
				case c.refused && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "DNS")):
					t.Errorf("%s: %v, want 403 that names the DNS", what, err)
				case !c.refused && err != nil:
					t.Errorf("%s: %v", what, err)
				}
			}
			want("begin a deletion", f.GuaranteedUpdate(t.Context(), key, &corev1.Service{}, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
				s, now, zero := in.(*corev1.Service), metav1.Now(), int64(0)
				if s.DeletionTimestamp == nil {
					s.DeletionTimestamp, s.DeletionGracePeriodSeconds = &now, &zero
					s.Finalizers = []string{metav1.FinalizerDeleteDependents}
				}
				return s, nil
			}), nil))
			want("delete", f.Delete(t.Context(), key, &corev1.Service{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}))
			if w := f.host.writes(); c.refused != (len(w) == 0) {
				t.Errorf("host calls: %v", w)
			}
		})
	}
}
