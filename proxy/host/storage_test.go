// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
)

// fixture is a storage of one resource in front of a fake host. The registry
// type is v1 itself, so no internal types are needed.
type fixture struct {
	*host.Storage
	t      *testing.T
	host   *fakeHost
	tr     *rewrite.Translator
	events *eventLog
	cfg    host.Config
}

func newTranslator(t *testing.T) *rewrite.Translator {
	t.Helper()
	tr, err := rewrite.New(rewrite.Cluster{
		Name: "vc", HostNamespace: hostNamespace,
		Owner:          metav1.OwnerReference{APIVersion: "v1", Kind: "Service", Name: "vc", UID: "door-uid"},
		ResourceClaims: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func newFixture(t *testing.T, resource string, change ...func(*host.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, host: newFakeHost(t), tr: newTranslator(t), events: &eventLog{}}
	rc := host.ClientConfig(f.host.config(), nil)
	rc.ContentType, rc.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON // all that the fake speaks
	client, err := kubernetes.NewForConfig(rc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := host.Config{Client: client, REST: f.host.config(), Translator: f.tr, Scheme: scheme.Scheme, Events: f.events, CallTimeout: 5 * time.Second}
	for _, c := range change {
		c(&cfg)
	}
	f.cfg = cfg
	newFunc, newList := typesOf(resource)
	f.Storage = host.NewStorage(cfg, schema.ParseGroupResource(resource), "/"+resource, newFunc, newList)
	return f
}

// replica returns the storage of another process in front of the same host.
func (f *fixture) replica() *host.Storage {
	newFunc, newList := typesOf("pods")
	return host.NewStorage(f.cfg, schema.GroupResource{Resource: "pods"}, "/pods", newFunc, newList)
}

func typesOf(resource string) (newFunc, newList func() runtime.Object) {
	switch resource {
	case "pods":
		return func() runtime.Object { return &corev1.Pod{} }, func() runtime.Object { return &corev1.PodList{} }
	case claimsResource:
		return func() runtime.Object { return &resourcev1.ResourceClaim{} }, func() runtime.Object { return &resourcev1.ResourceClaimList{} }
	case "services":
		return func() runtime.Object { return &corev1.Service{} }, func() runtime.Object { return &corev1.ServiceList{} }
	}
	return func() runtime.Object { return &corev1.PersistentVolumeClaim{} }, func() runtime.Object { return &corev1.PersistentVolumeClaimList{} }
}

type eventLog struct {
	mu      sync.Mutex
	reasons []string
}

func (e *eventLog) Event(_ runtime.Object, _, reason, _ string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reasons = append(e.reasons, reason)
}

func (e *eventLog) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.reasons)
}

func newPod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: "made-up-by-the-registry",
			Labels: map[string]string{"app": name},
		},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyAlways,
			DNSPolicy:     corev1.DNSDefault,
			Containers:    []corev1.Container{{Name: "c", Image: "nginx"}},
		},
	}
}

// create stores a pod and returns the client's answer.
func (f *fixture) create(pod *corev1.Pod) *corev1.Pod {
	f.t.Helper()
	out := &corev1.Pod{}
	if err := f.Create(f.t.Context(), podKey(pod), pod, out, 0); err != nil {
		f.t.Fatalf("create %s: %v", pod.Name, err)
	}
	return out
}

func podKey(pod *corev1.Pod) string { return "/pods/" + pod.Namespace + "/" + pod.Name }

// update runs change on the stored pod.
func (f *fixture) update(ctx context.Context, pod *corev1.Pod, change func(*corev1.Pod)) (*corev1.Pod, error) {
	f.t.Helper()
	out := &corev1.Pod{}
	err := f.GuaranteedUpdate(ctx, podKey(pod), out, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		change(in.(*corev1.Pod))
		return in, nil
	}), nil)
	return out, err
}

func (f *fixture) mustUpdate(ctx context.Context, pod *corev1.Pod, change func(*corev1.Pod)) *corev1.Pod {
	f.t.Helper()
	out, err := f.update(ctx, pod, change)
	if err != nil {
		f.t.Fatalf("update %s: %v", pod.Name, err)
	}
	return out
}

// as returns a context like that of a request for a subresource of pods.
func as(ctx context.Context, subresource string) context.Context {
	return request.WithRequestInfo(ctx, &request.RequestInfo{IsResourceRequest: true, APIVersion: "v1", Resource: "pods", Subresource: subresource})
}

func statusOf(t *testing.T, err error) metav1.Status {
	t.Helper()
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		t.Fatalf("error has no Status: %T %v", err, err)
	}
	return s.Status()
}

const hostWeb = "web-x-demo-x-vc"

func TestCreateShowsWhatTheHostMade(t *testing.T) {
	f := newFixture(t, "pods")
	pod := newPod("demo", "web")
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: "rs-uid"}}
	out := f.create(pod)

	if out.Name != "web" || out.Namespace != "demo" || out.UID != "host-uid-1" || out.ResourceVersion != "1001" {
		t.Errorf("reply: %s/%s uid %s rv %s", out.Namespace, out.Name, out.UID, out.ResourceVersion)
	}
	if diff := cmp.Diff(pod.OwnerReferences, out.OwnerReferences); diff != "" {
		t.Errorf("owner references shown (-want +got):\n%s", diff)
	}
	h := f.host.get("pods", hostWeb)
	if h == nil {
		t.Fatal("no pod of the host name on the host")
	}
	owners, _ := md(h)["ownerReferences"].([]any)
	if len(owners) != 1 || owners[0].(tree)["uid"] != "door-uid" {
		t.Errorf("the tenant's owner reference reached the host, or the cluster's did not: %v", owners)
	}
	if rv, _ := f.GetCurrentResourceVersion(t.Context()); rv != 1001 {
		t.Errorf("current revision = %d, want that of the write", rv)
	}
	err := f.Create(t.Context(), podKey(pod), newPod("demo", "web"), nil, 0)
	if !storage.IsExist(err) {
		t.Errorf("second create: %v, want key exists", err)
	}
}

func TestCreateEnsuresReferentsFirst(t *testing.T) {
	r := &referents{}
	f := newFixture(t, "pods", func(c *host.Config) { c.Referents = r })
	r.host = f.host
	pod := newPod("demo", "web")
	pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "creds"}}}}
	f.create(pod)
	if diff := cmp.Diff([]string{"demo/Secret/creds"}, r.ensured); diff != "" {
		t.Errorf("ensured (-want +got):\n%s", diff)
	}
	if r.late {
		t.Error("the pod was on the host before what it refers to")
	}
}

// The host's refusal makes copies for the pod go again. An answer that leaves
// the outcome open is no refusal.
func TestCreateSettlesReferents(t *testing.T) {
	failure := func(code int32) *metav1.Status {
		return &metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: metav1.StatusReasonForbidden, Message: "no"}
	}
	for name, test := range map[string]struct {
		answer *metav1.Status
		down   bool
		want   bool
	}{
		"taken":             {nil, false, false},
		"forbidden":         {failure(http.StatusForbidden), false, true},
		"invalid":           {failure(http.StatusUnprocessableEntity), false, true},
		"timeout":           {failure(http.StatusRequestTimeout), false, false},
		"failed":            {failure(http.StatusInternalServerError), false, false},
		"no answer at all":  {nil, true, false},
		"too many requests": {failure(http.StatusTooManyRequests), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := &referents{}
			f := newFixture(t, "pods", func(c *host.Config) { c.Referents = r })
			r.host = f.host
			f.host.answer = func(c call) *metav1.Status {
				if c.verb == http.MethodPost {
					return test.answer
				}
				return nil
			}
			f.host.setDown(test.down)
			pod := newPod("demo", "web")
			pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "creds"}}}}
			err := f.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0)
			if taken := test.answer == nil && !test.down; taken != (err == nil) {
				t.Fatalf("create: %v", err)
			}
			if diff := cmp.Diff([]bool{test.want}, r.refused); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
	}
}

type referents struct {
	host    *fakeHost
	ensured []string
	refused []bool // one for each settled call
	late    bool
}

func (r *referents) Ensure(_ context.Context, namespace string, refs []rewrite.Reference) (func(bool), error) {
	for _, ref := range refs {
		r.ensured = append(r.ensured, namespace+"/"+ref.Kind+"/"+ref.Name)
	}
	r.late = r.late || r.host.get("pods", hostWeb) != nil
	return func(refused bool) { r.refused = append(r.refused, refused) }, nil
}

func TestUpdateIsOnePatchWithoutRead(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	f.host.edit("pods", hostWeb, func(h tree) {
		h["spec"].(tree)["fieldOfANewerHost"] = "kept"
		md(h)["labels"].(tree)["app"] = "web"
	})
	f.host.writes()
	// The edit made the remembered state stale: one conflict, one read.
	out := f.mustUpdate(as(t.Context(), ""), pod, func(p *corev1.Pod) { p.Labels["tier"] = "front" })
	if diff := cmp.Diff([]string{"PATCH pods/" + hostWeb, "PATCH pods/" + hostWeb}, f.host.writes()); diff != "" {
		t.Errorf("host calls (-want +got):\n%s", diff)
	}
	// Now it is known, and no read is needed.
	out = f.mustUpdate(as(t.Context(), ""), out, func(p *corev1.Pod) { p.Labels["tier"] = "back" })
	if n := f.host.reads(); n != 0 {
		t.Errorf("an update of a known object read from the host %d times", n)
	}
	if diff := cmp.Diff([]string{"PATCH pods/" + hostWeb}, f.host.writes()); diff != "" {
		t.Errorf("host calls (-want +got):\n%s", diff)
	}
	h := f.host.get("pods", hostWeb)
	if h["spec"].(tree)["fieldOfANewerHost"] != "kept" {
		t.Error("a field that our types do not know was lost")
	}
	if got := md(h)["labels"].(tree)["tier"]; got != "back" || out.Labels["tier"] != "back" {
		t.Errorf("label on the host %v, shown %v", got, out.Labels["tier"])
	}
}

func TestUpdateWithoutChangeDoesNotWrite(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	f.host.writes()
	out := f.mustUpdate(as(t.Context(), ""), pod, func(p *corev1.Pod) { p.Labels["app"] = "web" })
	if w := f.host.writes(); len(w) != 0 {
		t.Errorf("host calls: %v", w)
	}
	if out.ResourceVersion != pod.ResourceVersion {
		t.Errorf("revision moved from %s to %s", pod.ResourceVersion, out.ResourceVersion)
	}
}

func TestUpdateRetriesOnHostConflict(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	once := sync.OnceFunc(func() {
		f.host.edit("pods", hostWeb, func(h tree) { h["status"] = tree{"phase": "Running"} })
	})
	f.host.mu.Lock()
	f.host.before = func(c call) { once() }
	f.host.mu.Unlock()
	runs := 0
	out := f.mustUpdate(as(t.Context(), ""), pod, func(p *corev1.Pod) {
		runs++
		p.Labels["n"] = string(p.Status.Phase)
	})
	if runs != 2 || out.Labels["n"] != "Running" {
		t.Errorf("the tenant's change ran %d times, on %q last", runs, out.Labels["n"])
	}
}

func TestUpdateHonoursTheTenantsResourceVersion(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	f.host.edit("pods", hostWeb, func(h tree) { h["status"] = tree{"phase": "Running"} })
	f.host.writes()
	errStale := apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, "web", errors.New("modified"))
	_, err := f.update(as(t.Context(), ""), pod, func(p *corev1.Pod) {})
	if err != nil {
		t.Fatal(err)
	}
	err = f.GuaranteedUpdate(t.Context(), podKey(pod), &corev1.Pod{}, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		p := in.(*corev1.Pod)
		if p.ResourceVersion != pod.ResourceVersion {
			return nil, errStale // as the registry does with the revision of a PUT
		}
		p.Labels["x"] = "y"
		return p, nil
	}), nil)
	if !apierrors.IsConflict(err) {
		t.Errorf("got %v, want the conflict", err)
	}
	if w := f.host.writes(); len(w) != 0 {
		t.Errorf("host calls: %v", w)
	}
}

func TestPreconditions(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	wrong := types.UID("another")
	err := f.GuaranteedUpdate(t.Context(), podKey(pod), &corev1.Pod{}, false, &storage.Preconditions{UID: &wrong},
		storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) { return in, nil }), nil)
	if !storage.IsInvalidObj(err) {
		t.Errorf("update with another uid: %v", err)
	}
	err = f.Delete(t.Context(), podKey(pod), &corev1.Pod{}, &storage.Preconditions{UID: &wrong}, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{})
	if !storage.IsInvalidObj(err) {
		t.Errorf("delete with another uid: %v", err)
	}
	if f.host.get("pods", hostWeb) == nil {
		t.Error("deleted in spite of the precondition")
	}
}

// An object that was deleted and made again behind the door is another one.
func TestUpdateDoesNotHitASuccessor(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	h := f.host.get("pods", hostWeb)
	f.host.remove("pods", hostWeb)
	f.host.put("pods", h)
	uid := pod.UID
	err := f.GuaranteedUpdate(t.Context(), podKey(pod), &corev1.Pod{}, false, &storage.Preconditions{UID: &uid},
		storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
			in.(*corev1.Pod).Labels["x"] = "y"
			return in, nil
		}), nil)
	if !storage.IsInvalidObj(err) {
		t.Errorf("got %v, want the failed precondition", err)
	}
}

func TestUpdateOfMissingCreatesOnlyWhenAsked(t *testing.T) {
	f := newFixture(t, "pods")
	pod := newPod("demo", "web")
	upsert := storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		if in.(*corev1.Pod).Name == "" {
			return pod.DeepCopy(), nil
		}
		return in, nil
	})
	if err := f.GuaranteedUpdate(t.Context(), podKey(pod), &corev1.Pod{}, false, nil, upsert, nil); !storage.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
	out := &corev1.Pod{}
	if err := f.GuaranteedUpdate(t.Context(), podKey(pod), out, true, nil, upsert, nil); err != nil {
		t.Fatal(err)
	}
	if out.UID != "host-uid-1" {
		t.Errorf("uid %s", out.UID)
	}
}

func TestGet(t *testing.T) {
	f := newFixture(t, "pods")
	f.create(newPod("demo", "web"))
	out := &corev1.Pod{}
	if err := f.Get(t.Context(), "/pods/demo/web", storage.GetOptions{}, out); err != nil || out.Name != "web" {
		t.Errorf("get: %v, %q", err, out.Name)
	}
	if err := f.Get(t.Context(), "/pods/demo/absent", storage.GetOptions{}, out); !storage.IsNotFound(err) {
		t.Errorf("get absent: %v", err)
	}
	if err := f.Get(t.Context(), "/pods/demo/absent", storage.GetOptions{IgnoreNotFound: true}, out); err != nil || out.Name != "" {
		t.Errorf("get absent, ignored: %v, %q", err, out.Name)
	}
}

// A user of the host made an object under a name that a virtual object would
// have. The tenant can neither see nor change it.
func TestForeignHostObjectIsNotThere(t *testing.T) {
	f := newFixture(t, "pods")
	f.host.put("pods", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: hostWeb, Labels: map[string]string{rewrite.LabelCluster: "vc"}}})
	if err := f.Get(t.Context(), "/pods/demo/web", storage.GetOptions{}, &corev1.Pod{}); !storage.IsNotFound(err) {
		t.Errorf("get: %v", err)
	}
	_, err := f.update(t.Context(), newPod("demo", "web"), func(p *corev1.Pod) { p.Labels = nil })
	if !storage.IsNotFound(err) {
		t.Errorf("update: %v", err)
	}
	err = f.Delete(t.Context(), "/pods/demo/web", &corev1.Pod{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{})
	if !storage.IsNotFound(err) {
		t.Errorf("delete: %v", err)
	}
	if f.host.get("pods", hostWeb) == nil {
		t.Error("the foreign object is gone")
	}
}

func TestReservedKeysOfTenantsStayOffTheHost(t *testing.T) {
	f := newFixture(t, "pods")
	pod := newPod("demo", "web")
	pod.Annotations = map[string]string{rewrite.AnnotationOverlay: "forged"}
	made := f.create(pod)
	onHost := func() tree { return md(f.host.get("pods", hostWeb)) }
	if got := onHost()["annotations"].(tree)[rewrite.AnnotationOverlay]; got == "forged" || made.Annotations[rewrite.AnnotationOverlay] != "forged" {
		t.Errorf("the overlay is %v on the host, and %q inside", got, made.Annotations[rewrite.AnnotationOverlay])
	}
	changed, err := f.update(t.Context(), made, func(p *corev1.Pod) { p.Labels[rewrite.LabelCluster] = "another" })
	if err != nil {
		t.Fatal(err)
	}
	if got := onHost()["labels"].(tree)[rewrite.LabelCluster]; got != "vc" || changed.Labels[rewrite.LabelCluster] != "another" {
		t.Errorf("the label is %v on the host, and %q inside", got, changed.Labels[rewrite.LabelCluster])
	}
}

// TestHostWithPartsOfItsOwn: a host that is a virtual cluster refuses the name of
// the container for /etc/hosts. The pod is made without.
func TestHostWithPartsOfItsOwn(t *testing.T) {
	cluster := newTranslator(t).Cluster()
	cluster.EtcHostsImage = "registry.example/porticod:1"
	tr, err := rewrite.New(cluster)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, "pods", func(c *host.Config) { c.Translator = tr })
	f.host.answer = func(c call) *metav1.Status {
		if c.verb != "POST" || !strings.Contains(string(c.body), rewrite.EtcHostsName) {
			return nil
		}
		errs := rewrite.ValidatePod(&corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: rewrite.EtcHostsName}}}})
		st := apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, hostWeb, errs).Status()
		st.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		return &st
	}
	pod := newPod("demo", "web")
	pod.Spec.Subdomain = "peers"
	if made := f.create(pod); made.Spec.Subdomain != "peers" || len(made.Spec.InitContainers) != 0 {
		t.Errorf("the tenant sees %+v", made.Spec)
	}
	if h := f.host.get("pods", hostWeb); h == nil || h["spec"].(tree)["initContainers"] != nil {
		t.Errorf("the host pod is %v", h)
	}
}

func TestHostRejectionComesBackInVirtualNames(t *testing.T) {
	f := newFixture(t, "pods")
	f.host.answer = func(c call) *metav1.Status {
		if c.verb != "POST" {
			return nil
		}
		return &metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 403, Reason: metav1.StatusReasonForbidden,
			Message: `pods "` + hostWeb + `" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5`,
			Details: &metav1.StatusDetails{Name: hostWeb, Kind: "pods"},
		}
	}
	err := f.Create(t.Context(), "/pods/demo/web", newPod("demo", "web"), nil, 0)
	st := statusOf(t, err)
	want := `pods "web" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5`
	if st.Code != 403 || st.Message != want || st.Details.Name != "web" {
		t.Errorf("got %d %q about %q", st.Code, st.Message, st.Details.Name)
	}
}

func TestDoorsOwnRefusalSaysNothingOfTheHost(t *testing.T) {
	f := newFixture(t, "pods")
	for name, st := range map[string]metav1.Status{
		"forbidden": {
			Code: 403, Reason: metav1.StatusReasonForbidden,
			Message: `pods is forbidden: User "system:serviceaccount:` + hostNamespace + `:portico" cannot create resource "pods" in API group "" in the namespace "` + hostNamespace + `"`,
		},
		"no credentials": {Code: 401, Reason: metav1.StatusReasonUnauthorized, Message: "Unauthorized"},
		"no namespace": {
			Code: 404, Reason: metav1.StatusReasonNotFound, Message: `namespaces "` + hostNamespace + `" not found`,
			Details: &metav1.StatusDetails{Name: hostNamespace, Kind: "namespaces"},
		},
		"namespace on its way out": {
			Code: 403, Reason: metav1.StatusReasonForbidden,
			Message: `pods "` + hostWeb + `" is forbidden: unable to create new content in namespace ` + hostNamespace + ` because it is being terminated`,
			Details: &metav1.StatusDetails{Name: hostWeb, Kind: "pods", Causes: []metav1.StatusCause{
				{Type: corev1.NamespaceTerminatingCause, Message: "namespace " + hostNamespace + " is being terminated", Field: "metadata.namespace"},
			}},
		},
		"no account for pods": {
			Code: 403, Reason: metav1.StatusReasonForbidden,
			Message: `pods "` + hostWeb + `" is forbidden: error looking up service account ` + hostNamespace + `/workload: serviceaccount "workload" not found`,
			Details: &metav1.StatusDetails{Name: hostWeb, Kind: "pods"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			st.TypeMeta, st.Status = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, "Failure"
			f.host.mu.Lock()
			f.host.answer = func(call) *metav1.Status { return &st }
			f.host.mu.Unlock()
			got := statusOf(t, f.Create(t.Context(), "/pods/demo/web", newPod("demo", "web"), nil, 0))
			if got.Code != http.StatusServiceUnavailable || strings.Contains(got.Message, hostNamespace) || strings.Contains(got.Message, "workload") {
				t.Errorf("got %d %q", got.Code, got.Message)
			}
			if got.Details != nil && len(got.Details.Causes) > 0 {
				t.Errorf("causes are %v", got.Details.Causes)
			}
		})
	}
}

// An internal error contains details of the host: addresses of webhooks, of its
// store.
func TestHostsInternalErrorNamesNoAddress(t *testing.T) {
	for message, want := range map[string]string{
		`Internal error occurred: failed calling webhook "deny.example.com": failed to call webhook: Post "https://policy.security.svc:443/v?timeout=10s": dial tcp 10.96.3.4:443: connect: connection refused`: `Internal error occurred: the host of this cluster failed calling webhook "deny.example.com"`,
		`Internal error occurred: rpc error: code = Unavailable desc = error reading from server: read tcp 10.0.0.1:2379`:                                                                                       `Internal error occurred: the host of this cluster failed to serve the request`,
		`Internal error occurred: resource quota evaluation timed out`:                                                                                                                                          `Internal error occurred: resource quota evaluation timed out`,
	} {
		f := newFixture(t, "pods")
		f.host.answer = func(call) *metav1.Status {
			return &metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 500, Reason: metav1.StatusReasonInternalError,
				Message: message, Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Message: message}}},
			}
		}
		got := statusOf(t, f.Create(t.Context(), "/pods/demo/web", newPod("demo", "web"), nil, 0))
		if got.Code != 500 || got.Message != want || strings.Contains(fmt.Sprint(got.Details), "10.") {
			t.Errorf("got %d %q %v", got.Code, got.Message, got.Details)
		}
	}
}

// An update's errors are about the host object that it would have made.
func TestFieldsInErrorsAndWarningsAreTheTenants(t *testing.T) {
	cluster := newTranslator(t).Cluster()
	cluster.Tolerations, cluster.AllowedTolerations = []corev1.Toleration{{Key: "tenants"}}, []string{"x"}
	tr, err := rewrite.New(cluster)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, "pods", func(c *host.Config) { c.Translator = tr })
	pod := f.create(newPod("demo", "web"))
	f.host.mu.Lock()
	f.host.warn = "spec.tolerations[0].key: is odd"
	f.host.answer = func(c call) *metav1.Status {
		if c.verb != "PATCH" {
			return nil
		}
		return &metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 422, Reason: metav1.StatusReasonInvalid,
			Message: `Pod "` + hostWeb + `" is invalid: spec.tolerations[0].key: Invalid value: "x": y`,
			Details: &metav1.StatusDetails{Name: hostWeb, Kind: "Pod", Causes: []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueInvalid, Message: `Invalid value: "x": y`, Field: "spec.tolerations[0].key"}}},
		}
	}
	f.host.mu.Unlock()
	var heard warningLog
	_, err = f.update(warning.WithWarningRecorder(t.Context(), &heard), pod, func(p *corev1.Pod) {
		p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: "x"})
	})
	st := statusOf(t, err)
	if want := `Pod "web" is invalid: spec.tolerations[0].key: Invalid value: "x": y`; st.Message != want || st.Details.Causes[0].Field != "spec.tolerations[0].key" {
		t.Errorf("got %q about %v", st.Message, st.Details.Causes)
	}
	if diff := cmp.Diff(warningLog{"spec.tolerations[0].key: is odd"}, heard); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestHostDownIs503WithRetryAfter(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	f.host.setDown(true)
	_, updateErr := f.update(t.Context(), pod, func(p *corev1.Pod) { p.Labels["x"] = "y" })
	for verb, err := range map[string]error{
		"create": f.Create(t.Context(), "/pods/demo/other", newPod("demo", "other"), nil, 0),
		"get":    f.Get(t.Context(), podKey(pod), storage.GetOptions{}, &corev1.Pod{}),
		"list":   f.GetList(t.Context(), "/pods", storage.ListOptions{Recursive: true, Predicate: storage.Everything}, &corev1.PodList{}),
		"update": updateErr,
		"delete": f.Delete(t.Context(), podKey(pod), &corev1.Pod{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}),
	} {
		st := statusOf(t, err)
		if st.Code != http.StatusServiceUnavailable || st.Details.RetryAfterSeconds == 0 {
			t.Errorf("%s: %+v", verb, st)
		}
		if strings.Contains(st.Message, "127.0.0.1") || strings.Contains(st.Message, hostNamespace) {
			t.Errorf("%s tells about the host: %q", verb, st.Message)
		}
	}
}

// TestPodWithoutItsClassIsNotMade: a pod whose class cannot be looked up, or has
// gone, is refused. It would be another pod without.
func TestPodWithoutItsClassIsNotMade(t *testing.T) {
	for _, c := range []struct {
		err  error
		want func(error) bool
		says string
	}{
		{fmt.Errorf("priority class %q: %w", "gold", rewrite.ErrNoClass), apierrors.IsForbidden, `priority class "gold": not found`},
		{errors.New("dial tcp 10.0.0.1:6443: refused"), apierrors.IsServiceUnavailable, "the classes of the pod cannot be looked up now"},
	} {
		f := newFixture(t, "pods", func(cfg *host.Config) {
			cfg.HostClasses = func(context.Context, *corev1.Pod) (rewrite.HostClasses, error) { return rewrite.HostClasses{}, c.err }
		})
		pod := newPod("demo", "p")
		err := f.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0)
		if !c.want(err) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "10.0.0.1") {
			t.Errorf("%v: the tenant is told %v", c.err, err)
		}
		if err := f.Get(t.Context(), podKey(pod), storage.GetOptions{}, &corev1.Pod{}); !storage.IsNotFound(err) {
			t.Errorf("%v: get %v, want that there is no pod", c.err, err)
		}
	}
}

func TestCorruptOverlayIsListedReportedAndRepaired(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	f.create(newPod("demo", "other"))
	good := md(f.host.get("pods", hostWeb))["annotations"].(tree)[rewrite.AnnotationOverlay]
	f.host.edit("pods", hostWeb, func(h tree) { md(h)["annotations"].(tree)[rewrite.AnnotationOverlay] = "garbage" })
	var list corev1.PodList
	for range 2 {
		if err := f.GetList(t.Context(), "/pods", storage.ListOptions{Recursive: true, Predicate: storage.Everything}, &list); err != nil {
			t.Fatal(err)
		}
	}
	if len(list.Items) != 2 {
		t.Errorf("listed %d pods, want 2", len(list.Items))
	}
	if diff := cmp.Diff([]string{"OverlayCorrupt"}, f.events.all()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	f.mustUpdate(as(t.Context(), ""), pod, func(*corev1.Pod) {})
	if now := md(f.host.get("pods", hostWeb))["annotations"].(tree)[rewrite.AnnotationOverlay]; now == "garbage" || now == "" {
		t.Errorf("overlay is %q after a write, was %q", now, good)
	}
}

func TestUnreadableObjectDoesNotEndAList(t *testing.T) {
	f := newFixture(t, "pods")
	f.create(newPod("demo", "web"))
	f.host.put("pods", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "sidecar-of-somebody", Labels: map[string]string{rewrite.LabelCluster: "vc"}}})
	var list corev1.PodList
	if err := f.GetList(t.Context(), "/pods", storage.ListOptions{Recursive: true, Predicate: storage.Everything}, &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.Items[0].Name != "web" || list.ResourceVersion == "" {
		t.Errorf("listed %d, rv %q", len(list.Items), list.ResourceVersion)
	}
}

func TestListScopesAndPages(t *testing.T) {
	f := newFixture(t, "pods")
	for _, n := range []string{"d", "a", "c", "b"} {
		f.create(newPod("demo", n))
	}
	f.create(newPod("demo2", "z"))
	names := func(l *corev1.PodList) (out []string) {
		for _, p := range l.Items {
			out = append(out, p.Name)
		}
		return out
	}
	var got []string
	opts := storage.ListOptions{Recursive: true, Predicate: storage.Everything}
	opts.Predicate.Limit = 3
	for range 2 {
		var page corev1.PodList
		if err := f.GetList(t.Context(), "/pods/demo", opts, &page); err != nil {
			t.Fatal(err)
		}
		got = append(got, names(&page)...)
		opts.Predicate.Continue = page.Continue
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d"}, got); diff != "" || opts.Predicate.Continue != "" {
		t.Errorf("pages (-want +got):\n%s continue %q", diff, opts.Predicate.Continue)
	}
	var one corev1.PodList
	if err := f.GetList(t.Context(), "/pods/demo/c", storage.ListOptions{Predicate: storage.Everything}, &one); err != nil || len(one.Items) != 1 {
		t.Errorf("list of one: %v, %v", err, names(&one))
	}
	if err := f.GetList(t.Context(), "/pods/demo/nope", storage.ListOptions{Predicate: storage.Everything}, &one); err != nil || len(one.Items) != 0 || one.Items == nil {
		t.Errorf("list of none: %v, %v", err, one.Items)
	}
}

// A namespace that is no namespace must not become part of a label selector.
func TestNamespaceCannotWidenTheScope(t *testing.T) {
	f := newFixture(t, "pods")
	for _, namespace := range []string{"a,portico.dev/cluster!=vc", "a b", "!=a", "in (a)"} {
		err := f.GetList(t.Context(), "/pods/"+namespace, storage.ListOptions{Recursive: true, Predicate: storage.Everything}, &corev1.PodList{})
		if err == nil || storage.IsNotFound(err) {
			t.Errorf("%q: %v", namespace, err)
		}
	}
	if len(f.host.calls) != 0 {
		t.Errorf("the host was asked: %v", f.host.calls)
	}
}

func TestHostWarningsReachTheTenant(t *testing.T) {
	f := newFixture(t, "pods")
	f.host.mu.Lock()
	f.host.warn = `would violate PodSecurity: pod ` + hostWeb
	f.host.mu.Unlock()
	var heard warningLog
	pod := newPod("demo", "web")
	if err := f.Create(warning.WithWarningRecorder(t.Context(), &heard), podKey(pod), pod, nil, 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(warningLog{"would violate PodSecurity: pod web"}, heard); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

type warningLog []string

func (w *warningLog) AddWarning(_, text string) { *w = append(*w, text) }

func TestKeysOutsideTheResourceAreRefused(t *testing.T) {
	f := newFixture(t, "pods")
	for _, k := range []string{"/services/demo/web", "/pods/demo", "/pods/demo/web/x", "/podsx/demo/web", "/pods//web"} {
		if err := f.Get(t.Context(), k, storage.GetOptions{}, &corev1.Pod{}); err == nil || storage.IsNotFound(err) {
			t.Errorf("%s: %v", k, err)
		}
	}
}

func TestMetadataAccessor(t *testing.T) {
	f := newFixture(t, "persistentvolumeclaims")
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "data"}}
	out := &corev1.PersistentVolumeClaim{}
	if err := f.Create(t.Context(), "/persistentvolumeclaims/demo/data", claim, out, 0); err != nil {
		t.Fatal(err)
	}
	m, err := meta.Accessor(out)
	if err != nil || m.GetName() != "data" || m.GetUID() == "" {
		t.Errorf("%v %v", err, out)
	}
}
