// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/classes"
)

const patience = 30 * time.Second

// harness is a running Mirror between two fake clusters.
type harness struct {
	t             *testing.T
	virtual, host *fake.Clientset
	mirror        *classes.Mirror
}

func start(t *testing.T, cfg classes.Config, virtual, host []runtime.Object) *harness {
	t.Helper()
	h := &harness{t: t, virtual: fake.NewClientset(virtual...), host: fake.NewClientset(host...)}
	factory := informers.NewSharedInformerFactory(h.virtual, 0)
	cfg.Virtual, cfg.Informers, cfg.Host = h.virtual, factory, h.host
	var err error
	if h.mirror, err = classes.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- h.mirror.Observe(ctx) }()
	go func() { done <- h.mirror.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("mirror: %v", err)
			}
		}
		factory.Shutdown()
	})
	return h
}

func everything() classes.Config {
	return classes.Config{PriorityClasses: labels.Everything(), RuntimeClasses: labels.Everything(), DeviceClasses: labels.Everything()}
}

func priorityClass(name string, value int32) *schedulingv1.PriorityClass {
	return &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "uid-1", Labels: map[string]string{"tenants": "yes"}}, Value: value}
}

func runtimeClass(name, handler string) *nodev1.RuntimeClass {
	return &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "uid-1"}, Handler: handler}
}

// eventually waits until the virtual class satisfies want; a nil class is one
// that does not exist.
func (h *harness) eventually(name, what string, want func(*schedulingv1.PriorityClass) bool) {
	h.t.Helper()
	var last *schedulingv1.PriorityClass
	err := wait.PollUntilContextTimeout(h.t.Context(), 5*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		class, err := h.virtual.SchedulingV1().PriorityClasses().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			class, err = nil, nil
		}
		last = class
		return err == nil && want(class), err
	})
	if err != nil {
		h.t.Fatalf("%s: %s: %v; last %+v", name, what, err, last)
	}
}

func (h *harness) eventuallyRuntime(name string) {
	h.t.Helper()
	err := wait.PollUntilContextTimeout(h.t.Context(), 5*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		_, err := h.virtual.NodeV1().RuntimeClasses().Get(ctx, name, metav1.GetOptions{})
		return err == nil, nil
	})
	if err != nil {
		h.t.Fatalf("runtime class %s: %v", name, err)
	}
}

// TestStorageClasses: the mark as default follows the host, and no parameter is
// shown.
func TestStorageClasses(t *testing.T) {
	const isDefault = "storageclass.kubernetes.io/is-default-class"
	class := &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: "fast", UID: "uid-1", Annotations: map[string]string{isDefault: "true", "operators": "note"}},
		Provisioner: "example.com/p", Parameters: map[string]string{"csi.storage.k8s.io/provisioner-secret-name": "hosts"},
	}
	h := start(t, classes.Config{StorageClasses: labels.Everything()}, nil, []runtime.Object{class})
	ctx, inside := t.Context(), h.virtual.StorageV1().StorageClasses()
	eventually := func(what string, want func(*storagev1.StorageClass) bool) *storagev1.StorageClass {
		t.Helper()
		var last *storagev1.StorageClass
		err := wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
			var err error
			last, err = inside.Get(ctx, "fast", metav1.GetOptions{})
			return err == nil && want(last), nil
		})
		if err != nil {
			t.Fatalf("%s: %v; last %+v", what, err, last)
		}
		return last
	}
	shown := eventually("shown", func(c *storagev1.StorageClass) bool { return c.Annotations[isDefault] == "true" })
	if len(shown.Parameters) > 0 || shown.Annotations["operators"] != "" || shown.Provisioner != "example.com/p" {
		t.Errorf("shown: %+v", shown)
	}
	next := class.DeepCopy()
	next.Annotations = nil
	if _, err := h.host.StorageV1().StorageClasses().Update(ctx, next, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("no default any more", func(c *storagev1.StorageClass) bool { _, marked := c.Annotations[isDefault]; return !marked })
	shown.Annotations[isDefault] = "true"
	if _, err := inside.Update(ctx, shown, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("the tenant's mark undone", func(c *storagev1.StorageClass) bool { _, marked := c.Annotations[isDefault]; return !marked })
}

// TestIngressClasses: they are shown with the mark as default, and no object of the
// host that configures the controller is.
func TestIngressClasses(t *testing.T) {
	class := &networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "uid-1", Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: "true", "operators": "note"}},
		Spec: networkingv1.IngressClassSpec{
			Controller: "example.com/c", Parameters: &networkingv1.IngressClassParametersReference{Kind: "ConfigMap", Name: "hosts", Namespace: new("infra"), Scope: new("Namespace")},
		},
	}
	h := start(t, classes.Config{IngressClasses: labels.Everything()}, nil, []runtime.Object{class})
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		c, err := h.virtual.NetworkingV1().IngressClasses().Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return false, nil
		}
		if c.Spec.Parameters != nil || c.Annotations["operators"] != "" || c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] != "true" || c.Spec.Controller != "example.com/c" {
			t.Errorf("shown: %+v", c)
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAttackStorageClassThatIsNotOffered: a tenant makes a class under the name of
// one of the host's that the operator does not offer, and claims storage of it. The
// name is refused all the same: the host's own classes decide.
func TestAttackStorageClassThatIsNotOffered(t *testing.T) {
	class := func(name, tenants string) *storagev1.StorageClass {
		return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "uid-1", Labels: map[string]string{"tenants": tenants}}, Provisioner: "example.com/p"}
	}
	offered := labels.SelectorFromSet(labels.Set{"tenants": "yes"})
	own := class("gold", "yes")
	own.Annotations = map[string]string{classes.AnnotationHost: "uid-1"}
	for name, c := range map[string]struct {
		cfg  classes.Config
		want map[string]bool
	}{
		"some are offered":    {classes.Config{StorageClasses: offered, LimitStorage: true}, map[string]bool{"gold": false, "fast": true, "ready-made": true, "": true}},
		"none is left out":    {classes.Config{StorageClasses: labels.Everything()}, map[string]bool{"gold": true, "fast": true, "ready-made": true, "": true}},
		"none can be seen":    {classes.Config{}, map[string]bool{"gold": true}},
		"a limit, but no way": {classes.Config{LimitStorage: true}, map[string]bool{"fast": false}},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, c.cfg, []runtime.Object{own.DeepCopy()}, []runtime.Object{class("gold", "no"), class("fast", "yes")})
			for class, want := range c.want {
				if got, err := h.mirror.MayHaveStorage(t.Context(), class); err != nil || got != want {
					t.Errorf("a claim may name %q: %v, %v, want %v", class, got, err, want)
				}
			}
		})
	}
}

func gone(c *schedulingv1.PriorityClass) bool { return c == nil }

func value(v int32) func(*schedulingv1.PriorityClass) bool {
	return func(c *schedulingv1.PriorityClass) bool { return c != nil && c.Value == v }
}

func podOf(priority, runtime string) *corev1.Pod {
	p := &corev1.Pod{Spec: corev1.PodSpec{PriorityClassName: priority}}
	if runtime != "" {
		p.Spec.RuntimeClassName = &runtime
	}
	return p
}

func (h *harness) of(priority, runtime string, want rewrite.HostClasses) {
	h.t.Helper()
	if got, err := h.mirror.For(h.t.Context(), podOf(priority, runtime)); err != nil || got != want {
		h.t.Errorf("classes of the host: %+v, %v, want %+v", got, err, want)
	}
}

// refused is of for a pod that must not be made.
func (h *harness) refused(priority, runtime string) {
	h.t.Helper()
	if got, err := h.mirror.For(h.t.Context(), podOf(priority, runtime)); !errors.Is(err, rewrite.ErrNoClass) {
		h.t.Errorf("classes of the host: %+v, %v, want %v", got, err, rewrite.ErrNoClass)
	}
}

func TestClassesAreShownAsTheHostHasThem(t *testing.T) {
	gold := priorityClass("gold", 1000)
	gold.GlobalDefault, gold.Description = true, "for what must run"
	h := start(t, everything(), nil, []runtime.Object{gold, runtimeClass("gvisor", "runsc")})
	h.eventually("gold", "shown, and not as the default", func(c *schedulingv1.PriorityClass) bool {
		return c != nil && c.Value == 1000 && !c.GlobalDefault && c.Description == gold.Description && c.Labels["tenants"] == "yes"
	})
	h.eventuallyRuntime("gvisor")
	h.of("gold", "gvisor", rewrite.HostClasses{Priority: "gold", Runtime: "gvisor"})
	h.of("", "", rewrite.HostClasses{})

	// The value of a class never changes: this is another class.
	ctx, client := t.Context(), h.host.SchedulingV1().PriorityClasses()
	if err := client.Delete(ctx, "gold", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("gold", "gone with the host's", gone)
	h.refused("gold", "")
	next := priorityClass("gold", 500)
	next.UID = "uid-2"
	if _, err := client.Create(ctx, next, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("gold", "shown again", value(500))
}

func TestWhatTheTenantDoesToAShownClassIsPutBack(t *testing.T) {
	h := start(t, everything(), nil, []runtime.Object{priorityClass("gold", 1000)})
	h.eventually("gold", "shown", value(1000))
	ctx, client := t.Context(), h.virtual.SchedulingV1().PriorityClasses()
	edit := func(change func(*schedulingv1.PriorityClass)) {
		class, err := client.Get(ctx, "gold", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		change(class)
		if _, err := client.Update(ctx, class, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	edit(func(c *schedulingv1.PriorityClass) { c.GlobalDefault, c.Labels = true, nil })
	h.eventually("gold", "put back", func(c *schedulingv1.PriorityClass) bool {
		return c != nil && !c.GlobalDefault && c.Labels["tenants"] == "yes"
	})
	edit(func(c *schedulingv1.PriorityClass) { c.Value = 5 }) // which a real API refuses
	h.eventually("gold", "made again", value(1000))
	if err := client.Delete(ctx, "gold", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("gold", "back", value(1000))
}

// TestAttackClassUnderAHostsName: the tenant's own class under the name of one
// of the host's is the tenant's, and its pods get none of the host's,
// annotation or not.
func TestAttackClassUnderAHostsName(t *testing.T) {
	forged := priorityClass("hidden", 7)
	forged.Annotations = map[string]string{classes.AnnotationHost: "uid-1"}
	shown := priorityClass("gold", 1000)
	secret := priorityClass("hidden", 900_000_000)
	secret.Labels = nil
	own := priorityClass("gold", 5)
	cfg := classes.Config{PriorityClasses: labels.SelectorFromSet(labels.Set{"tenants": "yes"})}
	h := start(t, cfg, []runtime.Object{own, forged}, []runtime.Object{shown, secret})
	h.eventually("hidden", "a class that says to be the host's, and is not, goes", gone)
	h.refused("hidden", "")
	h.eventually("gold", "the tenant's own stays", value(5))
	h.of("gold", "", rewrite.HostClasses{})
	if err := h.virtual.SchedulingV1().PriorityClasses().Delete(t.Context(), "gold", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("gold", "the host's follows the tenant's", value(1000))
}

// TestDeviceClasses: they are shown, follow the host, and claims may have those
// that are, and no others.
func TestDeviceClasses(t *testing.T) {
	class := func(name, expression string, shown bool) *resourcev1.DeviceClass {
		c := &resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "uid-1"}}
		c.Spec.Selectors = []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: expression}}}
		if shown {
			c.Labels = map[string]string{"tenants": "yes"}
		}
		return c
	}
	cfg := classes.Config{DeviceClasses: labels.SelectorFromSet(labels.Set{"tenants": "yes"})}
	h := start(t, cfg, []runtime.Object{class("own", "own", false)},
		[]runtime.Object{class("system-gpu", "a", true), class("secret", "b", false), class("own", "the host's", true)})
	eventually := func(what, expression string) {
		t.Helper()
		err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
			c, err := h.virtual.ResourceV1().DeviceClasses().Get(ctx, "system-gpu", metav1.GetOptions{})
			return err == nil && c.Spec.Selectors[0].CEL.Expression == expression, nil
		})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	eventually("shown, also under a name that is reserved for other kinds", "a")
	if _, err := h.host.ResourceV1().DeviceClasses().Update(t.Context(), class("system-gpu", "changed", true), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("changed", "changed")
	got, err := h.mirror.ForClaim(t.Context(), []string{"none", "own", "secret", "system-gpu"})
	if err != nil || !slices.Equal(got, []string{"system-gpu"}) {
		t.Errorf("a claim may have %v, %v", got, err)
	}
	h.host.PrependReactor("get", "deviceclasses", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewServiceUnavailable("down")
	})
	if got, err := h.mirror.ForClaim(t.Context(), []string{"none"}); err == nil {
		t.Errorf("while the host is down a claim may have %v", got)
	}
}

// TestAttackTenantTakesASystemPriority: the host has these classes too, and a
// selector may choose them.
func TestAttackTenantTakesASystemPriority(t *testing.T) {
	host := []runtime.Object{priorityClass("system-cluster-critical", 2_000_000_000), priorityClass("gold", 1000)}
	h := start(t, everything(), nil, host)
	h.eventually("gold", "shown", value(1000)) // so all of the host's have been looked at
	if _, err := h.virtual.SchedulingV1().PriorityClasses().Get(t.Context(), "system-cluster-critical", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("system class: %v, want that it is not shown", err)
	}
	h.of("system-cluster-critical", "", rewrite.HostClasses{})
}

func TestClassesGoWhenTheyAreNoLongerShown(t *testing.T) {
	was := priorityClass("gold", 1000)
	was.Annotations = map[string]string{classes.AnnotationHost: "uid-1"}
	h := start(t, classes.Config{}, []runtime.Object{was, priorityClass("own", 5)}, []runtime.Object{priorityClass("gold", 1000)})
	h.eventually("gold", "gone", gone)
	h.eventually("own", "still there", value(5))
	h.of("own", "", rewrite.HostClasses{})
	h.refused("gold", "")
	for _, a := range h.host.Actions() {
		t.Errorf("the host was asked: %s %s", a.GetVerb(), a.GetResource().Resource)
	}
}

// TestClassesThatTheListsDoNotHaveYet: another replica has heard of a class,
// has shown it, and this one gets the pod. Its class is not silently lost.
func TestClassesThatTheListsDoNotHaveYet(t *testing.T) {
	shown := func(name string) *schedulingv1.PriorityClass {
		class := priorityClass(name, 1000)
		class.Annotations = map[string]string{classes.AnnotationHost: "uid-1"}
		return class
	}
	hidden := priorityClass("hidden", 900_000_000)
	hidden.Labels = nil
	h := &harness{
		t:       t,
		virtual: fake.NewClientset(shown("gold"), shown("deleted"), shown("hidden"), priorityClass("own", 5)),
		host:    fake.NewClientset(),
	}
	// Lists and watches are behind: only a get shows the classes that there
	// are.
	there := map[string]*schedulingv1.PriorityClass{"gold": priorityClass("gold", 1000), "hidden": hidden}
	down := false
	h.host.PrependReactor("get", "priorityclasses", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if down {
			return true, nil, apierrors.NewServiceUnavailable("down")
		}
		class, ok := there[a.(clienttesting.GetAction).GetName()]
		return ok, class, nil
	})
	var err error
	h.mirror, err = classes.New(classes.Config{
		Virtual: h.virtual, Informers: informers.NewSharedInformerFactory(h.virtual, 0), Host: h.host,
		PriorityClasses: labels.SelectorFromSet(labels.Set{"tenants": "yes"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.mirror.Observe(ctx) }() // and another replica runs

	h.of("gold", "", rewrite.HostClasses{Priority: "gold"})
	h.of("own", "", rewrite.HostClasses{})
	h.refused("deleted", "")
	h.refused("hidden", "") // not by its label, with any annotation of the tenant's
	down = true
	if got, err := h.mirror.For(t.Context(), podOf("gold", "")); err == nil || errors.Is(err, rewrite.ErrNoClass) {
		t.Errorf("while the host is down: %+v, %v, want an error", got, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCheckAccessTellsOfEveryRefusal(t *testing.T) {
	host := fake.NewClientset()
	host.PrependReactor("list", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: a.GetResource().Resource}, "", nil)
	})
	cfg := everything()
	cfg.Host = host
	cfg.IngressClasses = labels.Everything()
	err := classes.CheckAccess(t.Context(), cfg)
	for _, want := range []string{"priorityclasses", "runtimeclasses", "deviceclasses", "ingressclasses"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a refusal of %s", err, want)
		}
	}
	if err := classes.CheckAccess(t.Context(), classes.Config{Host: host}); err != nil {
		t.Errorf("asked for what is not shown: %v", err)
	}
}
