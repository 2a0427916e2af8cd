// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package variables_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/variables"
)

type fixture struct {
	*harness.Harness
	controller *variables.Controller
}

// make makes a controller that nothing runs yet.
func make(t *testing.T, virtual, host []runtime.Object) *fixture {
	t.Helper()
	h := &fixture{Harness: harness.New(t, virtual, host, func(c *rewrite.Cluster) { c.APIServerIP = "10.96.7.7" })}
	k, err := variables.New(variables.Config{Translator: h.Translator, Virtual: h.Virtual, Informers: h.Informers, Host: h.Host, Clock: h.Clock})
	if err != nil {
		t.Fatal(err)
	}
	h.controller = k
	return h
}

// leading is make for a replica that leads and has seen all that is there.
func leading(t *testing.T, virtual, host []runtime.Object) *fixture {
	t.Helper()
	h := make(t, virtual, host)
	h.lead()
	return h
}

func (h *fixture) lead() {
	h.T.Helper()
	h.Run(h.controller.Observe, h.controller.Run)
	h.Informers.WaitForCacheSync(h.T.Context().Done())
}

func (h *fixture) ensure(namespace string) func(refused bool) {
	h.T.Helper()
	settle, err := h.controller.Ensure(h.T.Context(), namespace)
	if err != nil {
		h.T.Fatal(err)
	}
	return settle
}

// get returns the variables that pods of a namespace find, or nil.
func (h *fixture) get(namespace string) map[string]string {
	h.T.Helper()
	c, err := h.Host.CoreV1().ConfigMaps(harness.HostNamespace).Get(h.T.Context(), h.Translator.ServiceVariablesName(namespace), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		h.T.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return c.Data
}

// wait waits until holds is true of the variables. Meanwhile time goes on.
func (h *fixture) wait(namespace, what string, holds func(data map[string]string) bool) {
	h.T.Helper()
	h.Eventually(what, func(context.Context) (bool, any) {
		h.Clock.Step(time.Second)
		data := h.get(namespace)
		return holds(data), data
	})
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func service(name, ip string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: ip, Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

var pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}

func TestVariablesAreThereBeforeAPod(t *testing.T) {
	h := leading(t, []runtime.Object{namespace("shop"), service("db", "10.0.0.1")}, nil)
	h.Eventually("the Service", func(context.Context) (bool, any) {
		h.ensure("shop")(false)
		return h.get("shop")["DB_SERVICE_HOST"] == "10.0.0.1", h.get("shop")
	})
	if got := h.get("shop")["KUBERNETES_SERVICE_HOST"]; got != "10.96.7.7" {
		t.Errorf("a pod finds the API server at %q", got)
	}
	if got := h.get(""); got["KUBERNETES_SERVICE_HOST"] != "10.96.7.7" || got["DB_SERVICE_HOST"] != "" {
		t.Errorf("a pod without links finds %v", got)
	}
	h.Eventually("an answer without a question to the host", func(context.Context) (bool, any) {
		h.Host.ClearActions()
		h.ensure("shop")(false)
		return len(h.Host.Actions()) == 0, h.Host.Actions()
	})
}

func TestVariablesFollowServices(t *testing.T) {
	h := leading(t, []runtime.Object{namespace("shop"), service("db", "10.0.0.1")}, nil)
	h.ensure("shop")(false)
	services := h.Virtual.CoreV1().Services("shop")
	if _, err := services.Create(t.Context(), service("later", "10.0.0.2"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "the later Service", func(data map[string]string) bool { return data["LATER_SERVICE_HOST"] == "10.0.0.2" })
	if err := services.Delete(t.Context(), "db", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "the Service's end", func(data map[string]string) bool {
		return data["LATER_SERVICE_HOST"] != "" && data["DB_SERVICE_HOST"] == ""
	})
}

func TestVariablesArePutBack(t *testing.T) {
	h := leading(t, []runtime.Object{namespace("shop"), pod}, nil)
	there := func(data map[string]string) bool { return data["KUBERNETES_SERVICE_HOST"] != "" && data["EVIL"] == "" }
	h.wait("shop", "the ConfigMap of a pod that is there already", there)
	configMaps := h.Host.CoreV1().ConfigMaps(harness.HostNamespace)
	for _, namespace := range []string{"shop", ""} {
		name := h.Translator.ServiceVariablesName(namespace)
		h.wait(namespace, "the ConfigMap", there)
		if err := configMaps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		h.wait(namespace, "the deleted ConfigMap", there)
		changed, err := configMaps.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		changed.Data["EVIL"] = "1"
		if _, err := configMaps.Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		h.wait(namespace, "the changed ConfigMap", there)
	}
}

func TestVariablesGoWithTheirNamespace(t *testing.T) {
	h := leading(t, []runtime.Object{namespace("shop"), namespace("other")}, nil)
	h.ensure("shop")(false)
	h.ensure("other")(false)
	if err := h.Virtual.CoreV1().Namespaces().Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "the namespace's end", func(data map[string]string) bool { return data == nil })
	if h.get("other") == nil || h.get("") == nil {
		t.Error("those of others went with it")
	}
}

// TestNamespaceThatTheInformerLacks: a ConfigMap stays while the API knows its
// namespace, even if an informer does not.
func TestNamespaceThatTheInformerLacks(t *testing.T) {
	h := make(t, []runtime.Object{namespace("shop")}, nil)
	var asked atomic.Bool
	h.Virtual.PrependReactor("get", "namespaces", func(a clienttesting.Action) (bool, runtime.Object, error) {
		asked.Store(true)
		return true, namespace(a.(clienttesting.GetAction).GetName()), nil
	})
	h.Run(h.controller.Observe, h.controller.Run)
	h.Informers.WaitForCacheSync(t.Context().Done())
	h.ensure("young")(false) // the informer has never heard of it
	h.ensure("shop")(false)
	h.Eventually("the question", func(context.Context) (bool, any) { return asked.Load(), nil })
	h.Stop()
	if h.get("young") == nil {
		t.Error("the ConfigMap is gone")
	}
}

// TestAReplicaThatBeginsTakesNothingAway: while the informer of Services is
// empty, an existing ConfigMap stays as it is.
func TestAReplicaThatBeginsTakesNothingAway(t *testing.T) {
	tr := harness.Translator(t)
	marks := tr.NamespaceSelector("shop")
	marks[rewrite.LabelComposed] = "service-variables"
	full := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: harness.HostNamespace, Name: tr.ServiceVariablesName("shop"), Labels: marks},
		Data:       map[string]string{"DB_SERVICE_HOST": "10.0.0.1"},
	}
	h := make(t, nil, []runtime.Object{full}) // nothing runs: no informer has been filled
	h.ensure("shop")(false)
	if got := h.get("shop"); got["DB_SERVICE_HOST"] == "" {
		t.Errorf("it has %v now", got)
	}
	h.ensure("young")(false)
	if got := h.get("young"); got["KUBERNETES_SERVICE_HOST"] == "" {
		t.Errorf("a namespace without one has %v", got)
	}
}

// TestRefusedPodLeavesNothing: a pod that the host refuses leaves no ConfigMap in
// a namespace that had none, and keeps that of another pod.
func TestRefusedPodLeavesNothing(t *testing.T) {
	h := leading(t, []runtime.Object{namespace("shop"), namespace("other")}, nil)
	h.ensure("other")(false)
	for _, namespace := range []string{"shop", "other"} {
		h.ensure(namespace)(true)
	}
	if h.get("shop") != nil || h.get("other") == nil {
		t.Errorf("shop has %v, and other has %v", h.get("shop"), h.get("other"))
	}
}

// TestHostRefusesTheVariables: the tenant reads why, without a name of the host,
// and nothing stays.
func TestHostRefusesTheVariables(t *testing.T) {
	h := make(t, []runtime.Object{namespace("shop")}, nil)
	h.Host.PrependReactor("create", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		name := a.(clienttesting.CreateAction).GetObject().(*corev1.ConfigMap).Name
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, name, errors.New("exceeded quota: objects"))
	})
	h.lead()
	_, err := h.controller.Ensure(t.Context(), "shop")
	var status *apierrors.StatusError
	if !errors.As(err, &status) || status.ErrStatus.Code != http.StatusForbidden {
		t.Fatalf("got %v, want a Status 403", err)
	}
	if got, want := status.ErrStatus.Message, `configmaps "service variables" is forbidden: exceeded quota: objects`; got != want {
		t.Errorf("the tenant reads %q, want %q", got, want)
	}
}

// TestForeignConfigMap: an object of somebody else under the name is left alone.
func TestForeignConfigMap(t *testing.T) {
	name := harness.Translator(t).ServiceVariablesName("shop")
	h := leading(t, []runtime.Object{namespace("shop")}, []runtime.Object{
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: harness.HostNamespace, Name: name}, Data: map[string]string{"theirs": "1"}},
	})
	if _, err := h.controller.Ensure(t.Context(), "shop"); !apierrors.IsForbidden(err) || strings.Contains(fmt.Sprint(err), name) {
		t.Errorf("a pod gets %v", err)
	}
	if got := h.get("shop"); got["theirs"] != "1" || len(got) != 1 {
		t.Errorf("it has %v now", got)
	}
	for _, w := range harness.Writes(&h.Host.Fake, "configmaps") {
		if !slices.Contains([]string{"create " + name, "create " + h.Translator.ServiceVariablesName("")}, w) {
			t.Errorf("the host got %s", w)
		}
	}
}
