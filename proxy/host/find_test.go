// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/utils/ptr"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
)

// The two names that demo/longName can have on the host.
func namesOf(t *testing.T) (now, former string) {
	t.Helper()
	names := newTranslator(t).HostNames("Pod", "demo", longName)
	if len(names) != 2 {
		t.Fatalf("names %q", names)
	}
	return names[0], names[1]
}

// virtualObjects are objects of the kinds that every cluster translates, by resource.
func virtualObjects() map[string]runtime.Object {
	m := metav1.ObjectMeta{Namespace: "demo", Name: longName}
	return map[string]runtime.Object{
		"pods":     newPod("demo", longName),
		"services": &corev1.Service{ObjectMeta: m, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}},
		"persistentvolumeclaims": &corev1.PersistentVolumeClaim{ObjectMeta: m, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		}},
		claimsResource: func() runtime.Object { c := newClaim(); c.Name = longName; return c }(),
	}
}

func accessor(t *testing.T, obj runtime.Object) metav1.Object {
	t.Helper()
	m, err := meta.Accessor(obj)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// putAs puts the host object of a virtual one on the host, under another name.
func (f *fixture) putAs(resource string, v runtime.Object, name string) {
	f.t.Helper()
	h, err := f.tr.ToHost(v, rewrite.Inputs{})
	if err != nil {
		f.t.Fatal(err)
	}
	accessor(f.t, h).SetName(name)
	f.host.put(resource, h)
}

// change labels the object at path.
func (f *fixture) change(path string, into runtime.Object, value string) error {
	return f.GuaranteedUpdate(f.t.Context(), path, into, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		accessor(f.t, in).SetLabels(map[string]string{"change": value})
		return in, nil
	}), nil)
}

func (f *fixture) deleteNow(path string, into runtime.Object) error {
	return f.Delete(f.t.Context(), path, into, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{})
}

// TestObjectWithFormerNameGoesOn: every verb reaches an object that an earlier
// version made, from memory and from the host. Its name is taken until it has
// gone, and then new ones have the name of today.
func TestObjectWithFormerNameGoesOn(t *testing.T) {
	now, former := namesOf(t)
	for resource, v := range virtualObjects() {
		for from, listed := range map[string]bool{"host": false, "memory": true} {
			t.Run(resource+" from "+from, func(t *testing.T) {
				onHost, _, _ := strings.Cut(resource, ".")
				f := newFixture(t, resource)
				f.putAs(onHost, v, former)
				newFunc, newList := typesOf(resource)
				path := "/" + resource + "/demo/" + longName
				if listed {
					list := newList()
					if err := f.GetList(t.Context(), "/"+resource+"/", storage.ListOptions{Recursive: true, Predicate: storage.Everything}, list); err != nil || meta.LenList(list) != 1 {
						t.Fatalf("list: %v, %d objects", err, meta.LenList(list))
					}
				}
				out := newFunc()
				reads := f.host.reads()
				if err := f.change(path, out, "once"); err != nil {
					t.Fatal(err)
				}
				if listed && f.host.reads() != reads {
					t.Error("the host was asked for an object that was listed")
				}
				if err := f.Get(t.Context(), path, storage.GetOptions{}, out); err != nil || accessor(t, out).GetLabels()["change"] != "once" {
					t.Errorf("get: %v, %v", err, accessor(t, out).GetLabels())
				}
				f.host.edit(onHost, former, func(h tree) { md(h)["annotations"].(tree)["host"] = "was-here" })
				if err := f.change(path, out, "twice"); err != nil {
					t.Error(err)
				}
				if err := f.Create(t.Context(), path, v.DeepCopyObject(), newFunc(), 0); !storage.IsExist(err) {
					t.Errorf("create: %v, want key exists", err)
				}
				if err := f.deleteNow(path, out); err != nil {
					t.Error(err)
				}
				for _, w := range f.host.writes() {
					if !strings.HasPrefix(w, "PATCH "+onHost+"/"+former) && w != "DELETE "+onHost+"/"+former {
						t.Errorf("the host got %s", w)
					}
				}
				if f.host.get(onHost, former) != nil {
					t.Error("it is still there")
				}
				if err := f.Get(t.Context(), path, storage.GetOptions{}, newFunc()); !storage.IsNotFound(err) {
					t.Errorf("get after it: %v", err)
				}
				if err := f.Create(t.Context(), path, v.DeepCopyObject(), newFunc(), 0); err != nil {
					t.Error(err)
				}
				if f.host.get(onHost, now) == nil || f.host.get(onHost, former) != nil {
					t.Error("the next one does not have the name of today")
				}
			})
		}
	}
}

// TestSubresourcesOfAFormerPod: status, resize and the like are calls for the
// object that was read, and so are the two ways to a node and to an end.
func TestSubresourcesOfAFormerPod(t *testing.T) {
	_, former := namesOf(t)
	pod := newPod("demo", longName)
	for subresource, c := range map[string]struct {
		change func(*corev1.Pod)
		want   []string
	}{
		"status": {func(p *corev1.Pod) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: "example.com/ready", Status: "True"})
		}, []string{"PATCH pods/" + former + "/status"}},
		"binding": {func(p *corev1.Pod) { p.Spec.NodeName = "node-1" }, []string{"POST pods/" + former + "/binding"}},
		"ephemeralcontainers": {func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: "i"}}}
		}, []string{"PATCH pods/" + former + "/ephemeralcontainers"}},
		"": {begin(0), []string{"DELETE pods/" + former}},
	} {
		t.Run("of "+subresource, func(t *testing.T) {
			f := newFixture(t, "pods", func(c *host.Config) {
				c.AllowBinding, c.NodeTakesPods = true, func(string) bool { return true }
			})
			f.putAs("pods", pod, former)
			f.mustUpdate(as(t.Context(), subresource), pod, c.change)
			if d := cmp.Diff(c.want, f.host.writes()); d != "" {
				t.Errorf("host calls (-want +got):\n%s", d)
			}
		})
	}
}

// TestTwoHostObjectsOfOneVirtual: if an object was copied on the host to its
// name of today, it is one object inside, in lists and watches too.
func TestTwoHostObjectsOfOneVirtual(t *testing.T) {
	now, former := namesOf(t)
	pod := newPod("demo", longName)
	f := newFixture(t, "pods")
	f.putAs("pods", pod, former)
	f.putAs("pods", pod, now)
	uid := types.UID(str(md(f.host.get("pods", now))["uid"]))
	list := &corev1.PodList{}
	if err := f.GetList(t.Context(), "/pods/", storage.ListOptions{Recursive: true, Predicate: storage.Everything}, list); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.Items[0].UID != uid {
		t.Errorf("listed %d pods, the first %s, want %s", len(list.Items), list.Items[0].UID, uid)
	}
	w, err := f.Watch(t.Context(), "/pods/", storage.ListOptions{Recursive: true, ResourceVersion: list.ResourceVersion, Predicate: storage.Everything})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	f.host.remove("pods", former)
	f.host.edit("pods", now, func(h tree) { md(h)["annotations"].(tree)["host"] = "was-here" })
	for ev := range w.ResultChan() {
		if ev.Type == watch.Bookmark {
			continue
		}
		if got := accessor(t, ev.Object); ev.Type != watch.Modified || got.GetUID() != uid {
			t.Errorf("watched %s of %s", ev.Type, got.GetUID())
		}
		break
	}
}

// TestWatchOfOneFormerPod: a watch of one name brings its events alone.
func TestWatchOfOneFormerPod(t *testing.T) {
	_, former := namesOf(t)
	f := newFixture(t, "pods")
	w, err := f.Watch(t.Context(), "/pods/demo/"+longName, storage.ListOptions{ResourceVersion: "1000", Predicate: storage.Everything})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	f.putAs("pods", newPod("demo", "web"), hostWeb)
	f.putAs("pods", newPod("demo", longName), former)
	for ev := range w.ResultChan() {
		if ev.Type == watch.Bookmark {
			continue
		}
		if got := accessor(t, ev.Object).GetName(); got != longName {
			t.Errorf("watched %s", got)
		}
		break
	}
}

// referring returns a pod with a volume claim and a resource claim of that name.
func referring(claim string) *corev1.Pod {
	pod := newPod("demo", "web")
	pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
	}}}
	pod.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimName: ptr.To(claim)}}
	return pod
}

// TestNewObjectsReferToFormerClaims: a pod, a claim for a copy of a volume, and
// a claim that a pod owns name the existing objects on the host.
func TestNewObjectsReferToFormerClaims(t *testing.T) {
	now, former := namesOf(t)
	for reason, c := range map[string]struct{ there, want string }{
		"of today":  {now, now},
		"of before": {former, former},
		"of none":   {"", now},
	} {
		t.Run(reason, func(t *testing.T) {
			put := func(f *fixture, resource string) {
				if c.there != "" {
					onHost, _, _ := strings.Cut(resource, ".")
					f.putAs(onHost, virtualObjects()[resource], c.there)
				}
			}
			pods := newFixture(t, "pods")
			put(pods, "persistentvolumeclaims")
			put(pods, claimsResource)
			pods.create(referring(longName))
			spec := pods.host.get("pods", hostWeb)["spec"].(tree)
			volume := spec["volumes"].([]any)[0].(tree)["persistentVolumeClaim"].(tree)["claimName"]
			device := spec["resourceClaims"].([]any)[0].(tree)["resourceClaimName"]
			if volume != c.want || device != c.want {
				t.Errorf("the pod has %v and %v, want %s", volume, device, c.want)
			}

			claims := newFixture(t, "persistentvolumeclaims")
			put(claims, "persistentvolumeclaims")
			v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "copy"}}
			v.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: longName}
			if err := claims.Create(t.Context(), "/persistentvolumeclaims/demo/copy", v, &corev1.PersistentVolumeClaim{}, 0); err != nil {
				t.Fatal(err)
			}
			if got := claims.host.get("persistentvolumeclaims", "copy-x-demo-x-vc")["spec"].(tree)["dataSource"].(tree)["name"]; got != c.want {
				t.Errorf("the copy is of %v, want %s", got, c.want)
			}

			devices := claimFixture(t)
			put(devices, "pods")
			owned := newClaim()
			uid := types.UID("none")
			if c.there != "" {
				uid = types.UID(str(md(devices.host.get("pods", c.there))["uid"]))
			}
			owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: longName, UID: uid, Controller: ptr.To(true)}}
			devices.createClaim(owned)
			var owners []string
			for _, o := range md(devices.host.get("resourceclaims", hostGPU))["ownerReferences"].([]any) {
				if o.(tree)["kind"] == "Pod" {
					owners = append(owners, str(o.(tree)["name"]))
				}
			}
			if want := slices.DeleteFunc([]string{c.there}, func(s string) bool { return s == "" }); !slices.Equal(owners, want) {
				t.Errorf("the claim's pods are %q, want %q", owners, want)
			}
		})
	}
}

// TestPlainClaimCostsOneLookup: of the host's cache, which is cheap.
func TestPlainClaimCostsOneLookup(t *testing.T) {
	f := newFixture(t, "pods")
	pod := referring("data")
	pod.Spec.ResourceClaims = nil
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "again", VolumeSource: pod.Spec.Volumes[0].VolumeSource})
	f.create(pod)
	if got := f.host.reads(); got != 1 {
		t.Errorf("%d reads, want 1", got)
	}
}

// sharing returns a fixture of pods, and the storage of the volume claims of the
// same cluster, which share a memory.
func sharing(t *testing.T) (pods *fixture, claims *host.Storage) {
	t.Helper()
	pods = newFixture(t, "pods", func(c *host.Config) { c.Memory = host.NewMemory() })
	newFunc, newList := typesOf("persistentvolumeclaims")
	return pods, host.NewStorage(pods.cfg, schema.GroupResource{Resource: "persistentvolumeclaims"}, "/persistentvolumeclaims", newFunc, newList)
}

// podMounting is a pod with one volume claim and nothing else to look up.
func podMounting(claim string) *corev1.Pod {
	pod := referring(claim)
	pod.Spec.ResourceClaims = nil
	return pod
}

// TestClaimThatTheDoorKnowsCostsNoLookup: made through the door, or seen under
// its former name, by the storage of claims.
func TestClaimThatTheDoorKnowsCostsNoLookup(t *testing.T) {
	now, former := namesOf(t)
	for reason, c := range map[string]struct {
		want string
		make func(f *fixture, claims *host.Storage) error
	}{
		"made here": {now, func(_ *fixture, claims *host.Storage) error {
			v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: longName}}
			return claims.Create(t.Context(), "/persistentvolumeclaims/demo/"+longName, v, &corev1.PersistentVolumeClaim{}, 0)
		}},
		"seen under its former name": {former, func(f *fixture, claims *host.Storage) error {
			f.putAs("persistentvolumeclaims", virtualObjects()["persistentvolumeclaims"], former)
			return claims.Get(t.Context(), "/persistentvolumeclaims/demo/"+longName, storage.GetOptions{}, &corev1.PersistentVolumeClaim{})
		}},
	} {
		t.Run(reason, func(t *testing.T) {
			pods, claims := sharing(t)
			if err := c.make(pods, claims); err != nil {
				t.Fatal(err)
			}
			before := pods.host.reads()
			pods.create(podMounting(longName))
			if got := pods.host.reads() - before; got != 0 {
				t.Errorf("%d reads, want none", got)
			}
			spec := pods.host.get("pods", hostWeb)["spec"].(tree)
			if got := spec["volumes"].([]any)[0].(tree)["persistentVolumeClaim"].(tree)["claimName"]; got != c.want {
				t.Errorf("the pod has %v, want %s", got, c.want)
			}
		})
	}
}

// TestAttackPodMountsAClaimThatWasItsOwn: a tenant deletes a claim, the operator
// makes one of the same host name, and a pod of the tenant names it. The memory
// of the first must not let the pod in: it is refused as for any foreign claim.
func TestAttackPodMountsAClaimThatWasItsOwn(t *testing.T) {
	pods, claims := sharing(t)
	v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "data"}}
	path := "/persistentvolumeclaims/demo/data"
	if err := claims.Create(t.Context(), path, v, &corev1.PersistentVolumeClaim{}, 0); err != nil {
		t.Fatal(err)
	}
	err := claims.Delete(t.Context(), path, &corev1.PersistentVolumeClaim{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	foreigners(t, pods, "persistentvolumeclaims")["the operator's"](newTranslator(t).Name("demo", "data"))
	pod := podMounting("data")
	if err := pods.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0); !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want Forbidden", err)
	}
}

// TestClaimsThatCannotBeLookedUpKeepAPodAway: it would have the wrong name for
// good.
func TestClaimsThatCannotBeLookedUpKeepAPodAway(t *testing.T) {
	f := newFixture(t, "pods")
	f.host.mu.Lock()
	f.host.answer = func(c call) *metav1.Status {
		if c.resource == "persistentvolumeclaims" {
			return &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "secret of the host"}
		}
		return nil
	}
	f.host.mu.Unlock()
	pod := referring(longName)
	err := f.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0)
	if !apierrors.IsServiceUnavailable(err) || strings.Contains(err.Error(), "secret of the host") {
		t.Errorf("created: %v, want 503 without the cause", err)
	}
	if w := f.host.writes(); len(w) > 0 {
		t.Errorf("host calls %v", w)
	}
}

// foreigners are host objects under the names of demo/longName that are not it.
func foreigners(t *testing.T, f *fixture, resource string) map[string]func(name string) {
	onHost, _, _ := strings.Cut(resource, ".")
	another := virtualObjects()[resource]
	accessor(t, another).SetName(longName + "-2")
	return map[string]func(name string){
		"the operator's": func(name string) {
			h := virtualObjects()[resource]
			accessor(t, h).SetName(name)
			f.host.put(onHost, h)
		},
		"another virtual object's": func(name string) { f.putAs(onHost, another, name) },
		"another cluster's": func(name string) {
			f.putAs(onHost, virtualObjects()[resource], name)
			f.host.edit(onHost, name, func(h tree) { md(h)["labels"].(tree)[rewrite.LabelCluster] = "other" })
		},
	}
}

// TestAttackObjectThatLooksHashed: a tenant who found a name with the host name of
// an operator's object, or of another virtual one, reads, changes and deletes it.
// No verb finds an object that is not identified, nor writes to it.
func TestAttackObjectThatLooksHashed(t *testing.T) {
	now, former := namesOf(t)
	for resource := range virtualObjects() {
		for what := range foreigners(t, newFixture(t, resource), resource) {
			for which, name := range map[string]string{"today's": now, "the former": former} {
				t.Run(resource+", "+what+" under "+which, func(t *testing.T) {
					onHost, _, _ := strings.Cut(resource, ".")
					f := newFixture(t, resource)
					foreigners(t, f, resource)[what](name)
					before := f.host.get(onHost, name)
					newFunc, newList := typesOf(resource)
					if err := f.GetList(t.Context(), "/"+resource+"/", storage.ListOptions{Recursive: true, Predicate: storage.Everything}, newList()); err != nil {
						t.Fatal(err)
					}
					path := "/" + resource + "/demo/" + longName
					for verb, err := range map[string]error{
						"get":    f.Get(t.Context(), path, storage.GetOptions{}, newFunc()),
						"update": f.change(path, newFunc(), "once"),
						"delete": f.deleteNow(path, newFunc()),
					} {
						if !storage.IsNotFound(err) {
							t.Errorf("%s: %v, want not found", verb, err)
						}
					}
					if w := f.host.writes(); len(w) > 0 {
						t.Errorf("host calls %v", w)
					}
					// A new object has the name of today if that is free, and
					// is refused if not.
					err := f.Create(t.Context(), path, virtualObjects()[resource], newFunc(), 0)
					if name == now && !storage.IsExist(err) || name == former && err != nil {
						t.Errorf("create: %v", err)
					}
					if d := cmp.Diff(before, f.host.get(onHost, name)); d != "" {
						t.Errorf("the object changed (-before +after):\n%s", d)
					}
				})
			}
		}
	}
}

// TestAttackPodMountsAnOperatorsClaim: a tenant names a claim that does not exist
// inside, and whose host name is that of a claim which is not its own. The pod
// would get the volume or the device: it is refused, in virtual names. So is a
// claim for a copy of the volume.
func TestAttackPodMountsAnOperatorsClaim(t *testing.T) {
	for _, claim := range []string{"data", longName} {
		name := newTranslator(t).Name("demo", claim)
		check := func(t *testing.T, f *fixture, err error) {
			t.Helper()
			st := statusOf(t, err)
			if st.Code != http.StatusForbidden || !strings.Contains(st.Message, claim) || strings.Contains(st.Message, name) || strings.Contains(st.Message, hostNamespace) {
				t.Errorf("%d %s", st.Code, st.Message)
			}
			if w := f.host.writes(); len(w) > 0 {
				t.Errorf("host calls %v", w)
			}
		}
		for _, resource := range []string{"persistentvolumeclaims", claimsResource} {
			for _, what := range slices.Sorted(maps.Keys(foreigners(t, newFixture(t, resource), resource))) {
				t.Run(what+" "+resource+" "+claim, func(t *testing.T) {
					f := newFixture(t, "pods")
					foreigners(t, f, resource)[what](name)
					pod := referring(claim)
					check(t, f, f.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0))
				})
			}
		}
		t.Run("copied "+claim, func(t *testing.T) {
			f := newFixture(t, "persistentvolumeclaims")
			foreigners(t, f, "persistentvolumeclaims")["the operator's"](name)
			v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "copy"}}
			v.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: claim}
			check(t, f, f.Create(t.Context(), "/persistentvolumeclaims/demo/copy", v, &corev1.PersistentVolumeClaim{}, 0))
		})
	}
}

// streamsFrom serves a pod or Service of demo under one host name, and its
// streams.
func streamsFrom(t *testing.T, name string, change func(m *metav1.ObjectMeta)) http.HandlerFunc {
	h, err := newTranslator(t).PodToHost(newPod("demo", longName), rewrite.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	h.Name = name
	change(&h.ObjectMeta)
	object, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		path, found := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/"+hostNamespace+"/pods/"+name)
		switch {
		case found && path == "":
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(object)
		case found:
			_, _ = io.WriteString(w, "stream of "+name)
		default:
			st := apierrors.NewNotFound(corev1.Resource("pods"), r.URL.Path).Status()
			hostSays(st)(w, r)
		}
	}
}

// TestStreamsOfAFormerPod: logs and proxies lead to the host object that is the
// pod, and to no other.
func TestStreamsOfAFormerPod(t *testing.T) {
	now, former := namesOf(t)
	for reason, c := range map[string]struct {
		name   string
		change func(m *metav1.ObjectMeta)
		code   int
	}{
		"of today":       {now, func(*metav1.ObjectMeta) {}, http.StatusOK},
		"of before":      {former, func(*metav1.ObjectMeta) {}, http.StatusOK},
		"the operator's": {now, func(m *metav1.ObjectMeta) { m.Labels, m.Annotations = nil, nil }, http.StatusNotFound},
		"another pod's":  {former, func(m *metav1.ObjectMeta) { m.Annotations[rewrite.AnnotationName] = longName + "-2" }, http.StatusNotFound},
	} {
		for _, subresource := range []string{"log", "proxy/x"} {
			t.Run(reason+" "+subresource, func(t *testing.T) {
				s := newStreaming(t, streamsFrom(t, c.name, c.change))
				resp, err := http.Get(s.door.URL + "/demo/pods/" + longName + "/" + subresource)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != c.code {
					t.Fatalf("%d %s (%v), want %d", resp.StatusCode, body, err, c.code)
				}
				if got := string(body) == "stream of "+c.name; got != (c.code == http.StatusOK) || strings.Contains(string(body), hostNamespace) {
					t.Errorf("the tenant got %s", body)
				}
				for _, r := range s.seen {
					if c.code != http.StatusOK && r.URL.Path != "/api/v1/namespaces/"+hostNamespace+"/pods/"+now && r.URL.Path != "/api/v1/namespaces/"+hostNamespace+"/pods/"+former {
						t.Errorf("the host was asked for %s", r.URL.Path)
					}
				}
			})
		}
	}
}
