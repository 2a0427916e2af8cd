// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package imports_test

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/imports"
	"portico.dev/portico/sync/internal/harness"
)

func name(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

func start(t *testing.T, virtual, host []runtime.Object, configMaps, secrets []imports.Source) *harness.Harness {
	t.Helper()
	h := harness.New(t, virtual, host)
	c, err := imports.New(imports.Config{Virtual: h.Virtual, Informers: h.Informers, Host: h.Host, ConfigMaps: configMaps, Secrets: secrets, Clock: h.Clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the loops have ended
		for _, w := range harness.Writes(&h.Host.Fake, "") {
			t.Errorf("the host got %s", w)
		}
	})
	h.Run(c.Run)
	return h
}

func space(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func configMap(namespace, name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "uid", Labels: map[string]string{"operators": "x"}},
		Data:       map[string]string{"a": value},
	}
}

// shows waits until a virtual ConfigMap has a value; "" is that there is none.
func shows(h *harness.Harness, namespace, name, value string) *corev1.ConfigMap {
	h.T.Helper()
	var last *corev1.ConfigMap
	h.Eventually("ConfigMap "+namespace+"/"+name+" has "+value, func(ctx context.Context) (bool, any) {
		c, err := h.Virtual.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return value == "", err
		}
		last = c
		return err == nil && c.Data["a"] == value && value != "", c
	})
	return last
}

func absent(h *harness.Harness, namespace, name string) {
	h.T.Helper()
	if _, err := h.Virtual.CoreV1().ConfigMaps(namespace).Get(h.T.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		h.T.Errorf("ConfigMap %s/%s: %v, want that there is none", namespace, name, err)
	}
}

func TestChosenObjectsAreShownAndFollowed(t *testing.T) {
	h := start(t, []runtime.Object{space("shop")},
		[]runtime.Object{configMap("infra", "ca", "1"), configMap("infra", "other", "1"), configMap("all", "one", "1"), configMap("all", "kube-root-ca.crt", "1")},
		[]imports.Source{{Host: name("infra", "ca"), Virtual: name("shop", "bundle")}, {Host: name("all", ""), Virtual: name("late", "")}}, nil)
	got := shows(h, "shop", "bundle", "1")
	if len(got.Labels) > 0 || got.Annotations[imports.AnnotationHost] != "uid" {
		t.Errorf("shown with %+v", got.ObjectMeta)
	}
	if _, err := h.Virtual.CoreV1().Namespaces().Create(t.Context(), space("late"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	shows(h, "late", "one", "1")
	if err := h.Host.Tracker().Update(corev1.SchemeGroupVersion.WithResource("configmaps"), configMap("infra", "ca", "2"), "infra"); err != nil {
		t.Fatal(err)
	}
	shows(h, "shop", "bundle", "2")
	if err := h.Virtual.CoreV1().ConfigMaps("shop").Delete(t.Context(), "bundle", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	shows(h, "shop", "bundle", "2")
	if err := h.Host.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("configmaps"), "infra", "ca"); err != nil {
		t.Fatal(err)
	}
	shows(h, "shop", "bundle", "")
	absent(h, "late", "kube-root-ca.crt")
	absent(h, "shop", "other")
}

// TestAttackImportOfAnothersObjects: no object of a virtual cluster and no token is
// shown, whatever the operator's mapping says, and a tenant's own object stays.
func TestAttackImportOfAnothersObjects(t *testing.T) {
	secret := func(name string, kind corev1.SecretType, labels map[string]string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: name, UID: "uid", Labels: labels}, Type: kind, Data: map[string][]byte{"a": []byte("1")}}
	}
	own := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "own"}, Data: map[string][]byte{"a": []byte("mine")}}
	h := start(t, []runtime.Object{space("shop"), own}, []runtime.Object{
		secret("keys", corev1.SecretTypeOpaque, map[string]string{rewrite.LabelCluster: "neighbour"}),
		secret("token", corev1.SecretTypeServiceAccountToken, nil), secret("own", corev1.SecretTypeOpaque, nil), secret("zz-plain", corev1.SecretTypeOpaque, nil),
	}, nil, []imports.Source{{Host: name("infra", ""), Virtual: name("shop", "")}})
	all := h.Virtual.CoreV1().Secrets("shop")
	h.Eventually("the plain Secret", func(ctx context.Context) (bool, any) {
		s, err := all.Get(ctx, "zz-plain", metav1.GetOptions{})
		return err == nil && string(s.Data["a"]) == "1", err
	})
	h.Stop()
	list, err := all.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		switch s := &list.Items[i]; {
		case s.Name == "zz-plain":
		case s.Name == "own" && string(s.Data["a"]) == "mine":
		default:
			t.Errorf("inside there is %+v", s)
		}
	}
}

// TestLeftoversGo: without sources, what was shown goes, and nothing else.
func TestLeftoversGo(t *testing.T) {
	was := configMap("shop", "was", "1")
	was.Annotations = map[string]string{imports.AnnotationHost: "uid"}
	h := start(t, []runtime.Object{space("shop"), was, configMap("shop", "own", "1")}, nil, nil, nil)
	shows(h, "shop", "was", "")
	shows(h, "shop", "own", "1")
}

func TestWritesAreJudged(t *testing.T) {
	shown := func(value string) *corev1.ConfigMap {
		c := configMap("shop", "ca", value)
		c.Annotations = map[string]string{imports.AnnotationHost: "uid"}
		return c
	}
	labelled := shown("1")
	labelled.Labels = map[string]string{"mine": "x"}
	for reason, c := range map[string]struct {
		before, after *corev1.ConfigMap
		holds         bool
	}{
		"content":              {shown("1"), shown("2"), false},
		"a deletion":           {shown("1"), nil, false},
		"the mark":             {shown("1"), configMap("shop", "ca", "1"), false},
		"a mark of one's own":  {nil, shown("1"), false},
		"a label":              {shown("1"), labelled, true},
		"one's own":            {configMap("shop", "own", "1"), configMap("shop", "own", "2"), true},
		"the end of one's own": {configMap("shop", "own", "1"), nil, true},
	} {
		if err := imports.JudgeConfigMap(c.before, c.after); (err == nil) != c.holds {
			t.Errorf("%s: %v", reason, err)
		}
	}
}
