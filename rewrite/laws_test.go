// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite"
)

const seeds = 40

// TestLaw1RestoreUndoesTranslate: ToVirtual(ToHost(v)) == v.
func TestLaw1RestoreUndoesTranslate(t *testing.T) {
	bare := rewrite.Cluster{Name: "c", HostNamespace: "h", VolumeDrivers: []string{rewrite.Everything}}
	inside := testCluster()
	inside.SchedulesInside = true
	for name, cluster := range map[string]rewrite.Cluster{"everything on": testCluster(), "everything off": bare, "a scheduler inside": inside} {
		t.Run(name, func(t *testing.T) {
			tr := mustNew(t, cluster)
			for seed := range uint64(seeds) {
				for _, v := range randomObjects(t, seed) {
					before := v.DeepCopyObject()
					got := toVirtual(t, tr, toHost(t, tr, v, testInputs()))
					if d := diff(v, got); d != "" {
						t.Fatalf("seed %d: %T is not what it was (-want +got):\n%s", seed, v, d)
					}
					if d := diff(before, v); d != "" {
						t.Fatalf("seed %d: ToHost changed its argument:\n%s", seed, d)
					}
				}
			}
		})
	}
}

// hostChanges are changes of a host to its copy. Each is applied to the host
// object, and to the virtual one for the expected view of the tenant.
var hostChanges = map[string]func(o runtime.Object){
	"nothing": func(runtime.Object) {},
	"labels and annotations": func(o runtime.Object) {
		m, _ := meta.Accessor(o)
		m.SetLabels(with(m.GetLabels(), "host.example/added", "1"))
		m.SetAnnotations(with(m.GetAnnotations(), "host.example/added", "1"))
	},
	"a tracker of its own tooling": func(o runtime.Object) {
		m, _ := meta.Accessor(o)
		m.SetLabels(with(m.GetLabels(), "argocd.argoproj.io/secret", "1"))
		m.SetAnnotations(with(m.GetAnnotations(), "argocd.argoproj.io/tracking", "1"))
	},
	"a finalizer": func(o runtime.Object) {
		m, _ := meta.Accessor(o)
		m.SetFinalizers(append(m.GetFinalizers(), "host.example/cleanup"))
	},
	"identity and time": func(o runtime.Object) {
		m, _ := meta.Accessor(o)
		m.SetUID("host-uid")
		m.SetResourceVersion("42")
		m.SetGeneration(7)
		now := metav1.Unix(1e9, 0)
		m.SetCreationTimestamp(now)
		m.SetDeletionTimestamp(&now)
		thirty := int64(30)
		m.SetDeletionGracePeriodSeconds(&thirty)
	},
	"placement, status and defaults": func(o runtime.Object) {
		switch o := o.(type) {
		case *corev1.Pod:
			o.Spec.NodeName = "node-1"
			o.Spec.Tolerations = append(o.Spec.Tolerations, corev1.Toleration{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute"})
			o.Spec.ImagePullSecrets = append(o.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: "host-registry"})
			o.Status.Phase = corev1.PodPending
			o.Status.Conditions = append(o.Status.Conditions, corev1.PodCondition{Type: "PodScheduled", Status: "True"})
		case *corev1.Service:
			o.Spec.ClusterIP, o.Spec.ClusterIPs = "10.0.0.5", []string{"10.0.0.5"}
			o.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
		case *corev1.PersistentVolumeClaim:
			o.Spec.VolumeName = "pv-1"
			o.Status.Phase = corev1.ClaimBound
		case *resourcev1.ResourceClaim:
			o.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{
				Results: []resourcev1.DeviceRequestAllocationResult{{Request: "r", Driver: "gpu.example", Pool: "node-1", Device: "gpu-0"}},
			}}
		}
	},
	"a webhook in the tenant's own container": func(o runtime.Object) {
		if pod, ok := o.(*corev1.Pod); ok && len(pod.Spec.Containers) > 0 {
			c := &pod.Spec.Containers[0]
			c.Env = append(c.Env, corev1.EnvVar{Name: "HTTP_PROXY", Value: "http://proxy"})
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "host-volume", MountPath: "/host"})
			c.Image = "scanned/" + c.Name
		}
	},
	"an init container before all others": func(o runtime.Object) {
		if pod, ok := o.(*corev1.Pod); ok {
			pod.Spec.InitContainers = slices.Insert(pod.Spec.InitContainers, 0, corev1.Container{Name: "host-init", Image: "proxy-init:1"})
			pod.Status.InitContainerStatuses = slices.Insert(pod.Status.InitContainerStatuses, 0, corev1.ContainerStatus{Name: "host-init", Ready: true})
		}
	},
	"an injected sidecar": func(o runtime.Object) {
		pod, ok := o.(*corev1.Pod)
		if !ok {
			return
		}
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
			Name: "host-sidecar", Image: "proxy:1",
			Env:     []corev1.EnvVar{{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "host-secret"}, Key: "k"}}}},
			EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "host-config"}}}},
		})
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "host-volume", VolumeSource: corev1.VolumeSource{
			Secret: &corev1.SecretVolumeSource{SecretName: "host-secret"},
		}})
	},
}

func with(m map[string]string, k, v string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[k] = v
	return m
}

// TestLaw2HostChangesShowAlone: after the host changed its copy, the tenant
// sees those changes and nothing that ToHost added.
func TestLaw2HostChangesShowAlone(t *testing.T) {
	tr := mustNew(t, testCluster())
	for name, change := range hostChanges {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(seeds / 2) {
				for _, v := range randomObjects(t, seed) {
					h := toHost(t, tr, v, testInputs())
					change(h)
					change(v)
					if d := diff(wireObject(t, v), toVirtual(t, tr, h)); d != "" {
						t.Fatalf("seed %d: %T (-want +got):\n%s", seed, v, d)
					}
				}
			}
		})
	}
}

// TestUnchangedStaysAsItIsOnTheHost: ToHost(ToVirtual(h), Host: h) == h, also
// when the configuration and the host's own additions are others
// than when the object was made.
func TestUnchangedStaysAsItIsOnTheHost(t *testing.T) {
	was := mustNew(t, testCluster())
	now := mustNew(t, func() rewrite.Cluster {
		c := testCluster()
		c.APIServerIP, c.DNSIP, c.WorkloadServiceAccount = "10.96.9.9", "", "other"
		c.Tolerations = []corev1.Toleration{{Key: "new", Operator: "Exists"}}
		c.NodeSelector = map[string]string{"zone": "b"}
		c.Images = map[string]string{"a": "elsewhere"}
		c.EtcHostsImage = "elsewhere/porticod:2"
		c.AllowedTolerations, c.Schedulers, c.VolumeDrivers = nil, nil, nil
		c.SchedulesInside = true
		return c
	}())
	for name, change := range hostChanges {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(seeds / 2) {
				for _, v := range randomObjects(t, seed) {
					h := toHost(t, was, v, testInputs())
					change(h)
					seen := toVirtual(t, now, h)
					again := toHost(t, now, seen, rewrite.Inputs{NamespaceLabels: testInputs().NamespaceLabels, Host: h})
					if d := diff(seen, toVirtual(t, now, again)); d != "" {
						t.Fatalf("seed %d: %T is seen differently after an update that changes nothing (-want +got):\n%s", seed, v, d)
					}
					if d := diff(plain(t, h), plain(t, again)); d != "" {
						t.Fatalf("seed %d: %T on the host (-want +got):\n%s", seed, v, d)
					}
				}
			}
		})
	}
}

// plain removes the parts that are not kept: managedFields, which each side has
// for itself, and the annotations that follow others, the overlay and those
// that the downward API reads.
func plain(t testing.TB, o runtime.Object) runtime.Object {
	o = o.DeepCopyObject()
	m, err := meta.Accessor(o)
	if err != nil {
		t.Fatal(err)
	}
	m.SetManagedFields(nil)
	for _, k := range []string{rewrite.AnnotationOverlay, rewrite.AnnotationLabels, rewrite.AnnotationAnnotations} {
		delete(m.GetAnnotations(), k)
	}
	return wireObject(t, o)
}

// TestUpdateOnTheHostRestores: the tenant writes over an existing object and
// reads the same back.
func TestUpdateOnTheHostRestores(t *testing.T) {
	tr := mustNew(t, testCluster())
	for seed := range uint64(seeds) {
		befores, afters := randomObjects(t, seed), randomObjects(t, seed+1_000_000)
		for i, v := range befores {
			h := toHost(t, tr, v, testInputs())
			after := afters[i]
			from, _ := meta.Accessor(v)
			to, _ := meta.Accessor(after)
			to.SetName(from.GetName())
			to.SetNamespace(from.GetNamespace())
			to.SetFinalizers(from.GetFinalizers())
			h2 := toHost(t, tr, after, rewrite.Inputs{Host: h})
			if d := diff(after, toVirtual(t, tr, h2)); d != "" {
				t.Fatalf("seed %d: %T (-want +got):\n%s", seed, v, d)
			}
		}
	}
}

// TestSeenSavesTheWayBack: a caller who has the view of the host object gets the
// same as one for whom it is made, and neither form is changed.
func TestSeenSavesTheWayBack(t *testing.T) {
	tr := mustNew(t, testCluster())
	for name, change := range hostChanges {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(seeds / 4) {
				befores, others := randomObjects(t, seed), randomObjects(t, seed+1_000_000)
				for i, v := range befores {
					h := toHost(t, tr, v, testInputs())
					change(h)
					seen, err := tr.ToVirtual(h)
					if err != nil {
						t.Fatal(err)
					}
					from, _ := meta.Accessor(v)
					to, _ := meta.Accessor(others[i])
					to.SetName(from.GetName())
					to.SetNamespace(from.GetNamespace())
					for _, after := range []runtime.Object{seen.DeepCopyObject(), changed(seen), others[i]} {
						without := rewrite.Inputs{NamespaceLabels: testInputs().NamespaceLabels, Host: h}
						with := without
						with.Seen = seen
						wasHost, wasSeen := h.DeepCopyObject(), seen.DeepCopyObject()
						want, wantErr := tr.ToHost(after, without)
						got, gotErr := tr.ToHost(after, with)
						if fmt.Sprint(wantErr) != fmt.Sprint(gotErr) {
							t.Fatalf("seed %d: %T: error %v, and without the view %v", seed, v, gotErr, wantErr)
						}
						if d := cmp.Diff(want, got); d != "" {
							t.Fatalf("seed %d: %T (-without the view +with it):\n%s", seed, v, d)
						}
						if d := cmp.Diff([]runtime.Object{wasHost, wasSeen}, []runtime.Object{h, seen}); d != "" {
							t.Fatalf("seed %d: %T: the inputs were changed:\n%s", seed, v, d)
						}
					}
				}
			}
		})
	}
}

// TestUpdateTouchesOneField: a field that upstream allows to change in a pod
// changes on the host, and no other field, also if other inputs have changed
// since.
func TestUpdateTouchesOneField(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "p", nil)
	peer := corev1.PodAffinityTerm{
		LabelSelector: &metav1.LabelSelector{}, Namespaces: []string{"demo"},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "blue"}},
	}
	v.Spec.Affinity = &corev1.Affinity{
		NodeAffinity: &corev1.NodeAffinity{},
		PodAffinity:  &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{peer}},
	}
	v.Spec.Containers = []corev1.Container{{Name: "a", Image: "nginx:1"}, {Name: "b", Image: "other:1"}}
	in := testInputs()
	in.Namespaces = map[string]map[string]string{"prod": {"team": "blue"}}
	h := toHost(t, tr, v, in).(*corev1.Pod)

	for name, change := range map[string]func(*corev1.Pod){
		"image":         func(p *corev1.Pod) { p.Spec.Containers[0].Image = "other:2" },
		"node affinity": func(p *corev1.Pod) { p.Spec.Affinity.NodeAffinity = nil },
		"deadline":      func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = new(int64) },
		"toleration":    func(p *corev1.Pod) { p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: "more"}) },
		"debug container": func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			after := toVirtual(t, tr, h).(*corev1.Pod)
			change(after)
			// By now another namespace has the label.
			got := toHost(t, tr, after, rewrite.Inputs{Host: h, Namespaces: map[string]map[string]string{"new": {"team": "blue"}}}).(*corev1.Pod)
			if d := diff(after, toVirtual(t, tr, got)); d != "" {
				t.Errorf("as the tenant sees it (-want +got):\n%s", d)
			}
			want := h.DeepCopy()
			change(want)
			if name == "debug container" {
				want.Spec.EphemeralContainers[0].EnvFrom = want.Spec.Containers[0].EnvFrom
			}
			if name == "toleration" { // the order means nothing
				want.Spec.Tolerations, got.Spec.Tolerations = nil, nil
			}
			if d := diff(want.Spec, got.Spec); d != "" {
				t.Errorf("on the host (-want +got):\n%s", d)
			}
		})
	}
}

// TestToHostIsDeterministic: the same arguments give the same bytes.
func TestToHostIsDeterministic(t *testing.T) {
	tr, other := mustNew(t, testCluster()), mustNew(t, testCluster())
	for seed := range uint64(20) {
		for _, v := range randomObjects(t, seed) {
			first := toHost(t, tr, v, testInputs())
			for range 3 {
				if d := diff(first, toHost(t, other, v, testInputs())); d != "" {
					t.Fatalf("seed %d: %T:\n%s", seed, v, d)
				}
			}
		}
	}
}

func sortedChanges() []string { return slices.Sorted(maps.Keys(hostChanges)) }
