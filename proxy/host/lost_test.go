// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/utils/ptr"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
)

// rich is a pod with fields of every shape.
func rich() *corev1.Pod {
	p := newPod("demo", "web")
	p.Spec.HostUsers = ptr.To(false)
	p.Spec.NodeSelector = map[string]string{"disk": "ssd"}
	p.Spec.Tolerations = []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}}
	p.Spec.InitContainers = []corev1.Container{{Name: "sidecar", Image: "nginx", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)}}
	c := &p.Spec.Containers[0]
	c.SecurityContext = &corev1.SecurityContext{RunAsNonRoot: ptr.To(true), Privileged: ptr.To(false)}
	c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
	c.Lifecycle = &corev1.Lifecycle{StopSignal: ptr.To(corev1.SIGUSR1)}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v", ReadOnly: true, RecursiveReadOnly: ptr.To(corev1.RecursiveReadOnlyEnabled)}, {Name: "v", MountPath: "/w", SubPath: "x"}}
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	return p
}

func container(obj tree, list string) tree {
	return obj["spec"].(tree)[list].([]any)[0].(tree)
}

// TestFieldsThatTheHostDrops: a field that the host does not take is named, and
// a pod without one that restricts it is not there.
func TestFieldsThatTheHostDrops(t *testing.T) {
	for reason, c := range map[string]struct {
		forget  func(tree)
		warned  []string // parts of the warnings
		refused string   // the path of the refused field
	}{
		"a host that takes all": {forget: func(tree) {}},
		"a field that does no harm": {
			forget: func(o tree) { delete(container(o, "containers"), "lifecycle") },
			warned: []string{"did not take spec.containers[c].lifecycle"},
		},
		"a key of a map": {
			forget: func(o tree) { o["spec"].(tree)["nodeSelector"] = tree{"other": "x"} },
			warned: []string{"did not take spec.nodeSelector[disk]"},
		},
		"a user namespace": {forget: func(o tree) { delete(o["spec"].(tree), "hostUsers") }, warned: []string{"spec.hostUsers"}, refused: "spec.hostUsers"},
		"a restriction of a container": {
			forget: func(o tree) { delete(container(o, "containers")["securityContext"].(tree), "runAsNonRoot") },
			warned: []string{"securityContext.runAsNonRoot"}, refused: "spec.containers[c].securityContext.runAsNonRoot",
		},
		"all restrictions of a container": {
			forget: func(o tree) { delete(container(o, "containers"), "securityContext") },
			warned: []string{"securityContext.privileged", "securityContext.runAsNonRoot"}, refused: "spec.containers[c].securityContext.runAsNonRoot",
		},
		"a sidecar, which would be waited for": {
			forget: func(o tree) { delete(container(o, "initContainers"), "restartPolicy") },
			warned: []string{"spec.initContainers[sidecar].restartPolicy"}, refused: "spec.initContainers[sidecar].restartPolicy",
		},
		"a part of a mount": {
			forget: func(o tree) {
				delete(container(o, "containers")["volumeMounts"].([]any)[0].(tree), "recursiveReadOnly")
			},
			warned: []string{"recursiveReadOnly"}, refused: "spec.containers[c].volumeMounts[v].recursiveReadOnly",
		},
		"a value that the host's admission changes": {
			forget: func(o tree) {
				container(o, "containers")["securityContext"].(tree)["runAsNonRoot"] = false
				container(o, "containers")["image"] = "mirror/nginx"
			},
		},
		"a container that it puts first": {
			forget: func(o tree) {
				spec := o["spec"].(tree)
				spec["containers"] = append([]any{tree{"name": "mesh", "image": "mesh"}}, spec["containers"].([]any)...)
			},
		},
		"a mount that it puts first": {
			forget: func(o tree) {
				c := container(o, "containers")
				c["volumeMounts"] = append([]any{tree{"name": "mesh", "mountPath": "/mesh"}}, c["volumeMounts"].([]any)...)
			},
		},
	} {
		t.Run(reason, func(t *testing.T) {
			f := newFixture(t, "pods")
			f.host.forget = c.forget
			for _, dry := range []bool{true, false} {
				var warned warningLog
				ctx := warning.WithWarningRecorder(t.Context(), &warned)
				if dry {
					ctx = host.WithDryRun(ctx)
				}
				err := f.Create(ctx, "/pods/demo/web", rich(), &corev1.Pod{}, 0)
				if len(warned) != len(c.warned) {
					t.Errorf("warnings %q, want %q", warned, c.warned)
				}
				for i := range min(len(warned), len(c.warned)) {
					if !strings.Contains(warned[i], c.warned[i]) {
						t.Errorf("warning %q, want %q", warned[i], c.warned[i])
					}
				}
				if there := f.host.get("pods", hostWeb) != nil; there != (!dry && c.refused == "") {
					t.Errorf("dry run %v: the pod is on the host: %v", dry, there)
				}
				if c.refused == "" {
					if err != nil {
						t.Error(err)
					}
					continue
				}
				if !apierrors.IsInvalid(err) || statusOf(t, err).Details.Causes[0].Field != c.refused {
					t.Errorf("got %v, want that %s is refused", err, c.refused)
				}
			}
		})
	}
}

// An update that the host takes a part of is named as well. A field that was
// lost before is not named again.
func TestFieldsThatTheHostDropsInAnUpdate(t *testing.T) {
	f := newFixture(t, "pods")
	f.host.forget = func(o tree) { delete(o["spec"].(tree), "activeDeadlineSeconds") }
	pod := newPod("demo", "web")
	f.create(pod)
	update := func(change func(*corev1.Pod)) []string {
		var warned warningLog
		f.mustUpdate(warning.WithWarningRecorder(as(t.Context(), ""), &warned), pod, change)
		return warned
	}
	want := []string{"the host of this cluster did not take spec.activeDeadlineSeconds: it does not know the field, or does not allow it"}
	if diff := cmp.Diff(want, update(func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = ptr.To(int64(60)) })); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string(nil), update(func(p *corev1.Pod) { p.Labels["x"] = "y" })); diff != "" {
		t.Errorf("warnings about nothing (-want +got):\n%s", diff)
	}
}

// An update that asks for nothing of the spec is no place for news about it.
func TestUpdateOfLabelsNamesNoLostField(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(rich())
	f.host.forget = func(o tree) { delete(container(o, "containers"), "lifecycle") }
	var warned warningLog
	f.mustUpdate(warning.WithWarningRecorder(as(t.Context(), ""), &warned), pod, func(p *corev1.Pod) { p.Labels["x"] = "y" })
	if len(warned) > 0 {
		t.Errorf("warnings: %q", warned)
	}
}

// The spec that a tenant writes for the Service of the DNS is replaced on the way.
func TestTheDNSServiceHasLostNothing(t *testing.T) {
	cluster := newTranslator(t).Cluster()
	cluster.DNS = &rewrite.DNS{TargetPort: 1053}
	tr, err := rewrite.New(cluster)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, "services", func(c *host.Config) { c.Translator = tr })
	var warned warningLog
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "mine"}, Ports: []corev1.ServicePort{{Port: 53}}},
	}
	if err := f.Create(warning.WithWarningRecorder(t.Context(), &warned), "/services/kube-system/kube-dns", svc, &corev1.Service{}, 0); err != nil {
		t.Fatal(err)
	}
	if len(warned) > 0 {
		t.Errorf("warnings: %q", warned)
	}
}

// A Service becomes one of type ExternalName. Its traffic policy is hidden from then
// on, by the host as by any API server: that is no field which the host dropped.
func TestExternalNameHasLostNothing(t *testing.T) {
	f := newFixture(t, "services")
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, InternalTrafficPolicy: ptr.To(corev1.ServiceInternalTrafficPolicyCluster), Ports: []corev1.ServicePort{{Port: 80}},
		},
	}
	if err := f.Create(t.Context(), "/services/demo/web", svc, &corev1.Service{}, 0); err != nil {
		t.Fatal(err)
	}
	f.host.forget = func(o tree) { delete(o["spec"].(tree), "internalTrafficPolicy") }
	for _, c := range []struct {
		to     corev1.ServiceType
		warned int
	}{{corev1.ServiceTypeExternalName, 0}, {corev1.ServiceTypeNodePort, 1}} {
		var warned warningLog
		ctx := warning.WithWarningRecorder(as(t.Context(), ""), &warned)
		change := func(obj runtime.Object, _ storage.ResponseMeta) (runtime.Object, *uint64, error) {
			s := obj.(*corev1.Service)
			s.Spec.Type, s.Spec.ExternalName = c.to, "example.org"
			s.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyCluster)
			return s, nil, nil
		}
		if err := f.GuaranteedUpdate(ctx, "/services/demo/web", &corev1.Service{}, false, nil, change, nil); err != nil {
			t.Fatal(err)
		}
		if len(warned) != c.warned {
			t.Errorf("warnings of a Service that becomes %s: %q", c.to, warned)
		}
	}
}

// A tenant asks a host that does not know the field for a pod that it restricts,
// and the host's scheduler places the pod before it is taken back. The tenant
// hears that there is no such pod, and there is none.
func TestAttackPodWithoutARestrictionIsPlacedAtOnce(t *testing.T) {
	f := newFixture(t, "pods")
	f.host.forget = func(o tree) { delete(o["spec"].(tree), "hostUsers") }
	f.host.before = func(c call) {
		if c.verb == "DELETE" {
			f.host.edit("pods", hostWeb, func(o tree) { o["spec"].(tree)["nodeName"] = "node-1" })
		}
	}
	err := f.Create(t.Context(), "/pods/demo/web", rich(), &corev1.Pod{}, 0)
	if !apierrors.IsInvalid(err) {
		t.Errorf("got %v, want that the pod is refused", err)
	}
	if f.host.get("pods", hostWeb) != nil {
		t.Error("the pod is on the host")
	}
}

// Copies for a pod that is taken back go with it, as for one that the host refuses,
// unless the pod may have stayed.
func TestPodWithoutARestrictionSettlesReferents(t *testing.T) {
	for name, stay := range map[string]bool{"taken back": false, "the host refuses to": true} {
		t.Run(name, func(t *testing.T) {
			r := &referents{}
			f := newFixture(t, "pods", func(c *host.Config) { c.Referents = r })
			r.host = f.host
			f.host.forget = func(o tree) { delete(o["spec"].(tree), "hostUsers") }
			f.host.answer = func(c call) *metav1.Status {
				if c.verb == http.MethodDelete && stay {
					return &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "no"}
				}
				return nil
			}
			if err := f.Create(t.Context(), "/pods/demo/web", rich(), &corev1.Pod{}, 0); !apierrors.IsInvalid(err) {
				t.Errorf("got %v, want that the pod is refused", err)
			}
			if stays := f.host.get("pods", hostWeb) != nil; stays != stay {
				t.Errorf("the pod is on the host: %v", stays)
			}
			if diff := cmp.Diff([]bool{!stay}, r.refused); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
	}
}

// A pod has more fields that the host drops than an answer names, and the one that
// restricts it is behind them.
func TestAttackLostRestrictionBehindManyLostFields(t *testing.T) {
	f := newFixture(t, "pods")
	f.host.forget = func(o tree) {
		delete(o["spec"].(tree), "hostUsers")
		for _, c := range o["spec"].(tree)["containers"].([]any) {
			delete(c.(tree), "lifecycle")
		}
	}
	pod := rich()
	for i := range 20 {
		c := *pod.Spec.Containers[0].DeepCopy()
		c.Name = fmt.Sprintf("c%d", i)
		pod.Spec.Containers = append(pod.Spec.Containers, c)
	}
	var warned warningLog
	err := f.Create(warning.WithWarningRecorder(t.Context(), &warned), "/pods/demo/web", pod, &corev1.Pod{}, 0)
	if !apierrors.IsInvalid(err) {
		t.Errorf("got %v, want that the pod is refused", err)
	}
	if f.host.get("pods", hostWeb) != nil {
		t.Error("the pod is on the host")
	}
	if len(warned) != 8 {
		t.Errorf("%d warnings, want the first few", len(warned))
	}
}
