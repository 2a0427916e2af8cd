// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package copies_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
)

const namespace, ours = "team-a", "ours"

// object is a ConfigMap as Write would have left it.
func object(text string, change ...func(*corev1.ConfigMap)) *corev1.ConfigMap {
	c := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "c", Labels: map[string]string{"owner": ours}},
		Data:       map[string]string{"text": text},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func onHost(c *corev1.ConfigMap)  { c.UID, c.ResourceVersion = "uid-1", "7" }
func foreign(c *corev1.ConfigMap) { c.Labels = map[string]string{"owner": "somebody"} }

// kind keeps ConfigMaps; those whose text is "fixed" cannot change.
func kind(client *fake.Clientset) *copies.Kind[*corev1.ConfigMap] {
	return &copies.Kind[*corev1.ConfigMap]{
		Client: client.CoreV1().ConfigMaps(namespace),
		Ours:   func(c *corev1.ConfigMap) bool { return c.Labels["owner"] == ours },
		Rules: copies.Rules[*corev1.ConfigMap]{
			Same:  func(want, host *corev1.ConfigMap) bool { return maps.Equal(want.Data, host.Data) },
			Fixed: func(_, host *corev1.ConfigMap) bool { return host.Data["text"] == "fixed" },
			Patch: func(want, host *corev1.ConfigMap) map[string]any {
				return map[string]any{"data": hostview.Changes(want.Data, host.Data)}
			},
		},
	}
}

func verbs(client *fake.Clientset) []string {
	var out []string
	for _, a := range client.Actions() {
		out = append(out, a.GetVerb())
	}
	return out
}

func TestWrite(t *testing.T) {
	terminating := func(c *corev1.ConfigMap) { c.DeletionTimestamp = &metav1.Time{}; c.Finalizers = nil }
	for name, tc := range map[string]struct {
		host   *corev1.ConfigMap
		update bool
		effect copies.Effect
		verbs  []string
	}{
		"nothing is there":     {nil, false, copies.Created, []string{"create"}},
		"it is in step":        {object("new", onHost), false, copies.None, []string{"create", "get"}},
		"other content":        {object("old", onHost), false, copies.Changed, []string{"create", "get", "patch"}},
		"updated, not patched": {object("old", onHost), true, copies.Changed, []string{"create", "get", "update"}},
		"it cannot change":     {object("fixed", onHost), false, copies.Replaced, []string{"create", "get", "delete", "create"}},
		"it is going":          {object("new", onHost, terminating), false, copies.Replaced, []string{"create", "get", "delete", "create"}},
		"more labels are fine": {object("new", onHost, func(c *corev1.ConfigMap) { c.Labels["theirs"] = "x" }), false, copies.None, []string{"create", "get"}},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			if tc.host != nil {
				client = fake.NewClientset(tc.host)
			}
			k := kind(client)
			if tc.update {
				k.Update = func(want, host *corev1.ConfigMap) *corev1.ConfigMap {
					next := host.DeepCopy()
					next.Data = want.Data
					return next
				}
			}
			effect, err := k.Write(t.Context(), object("new"))
			if err != nil || effect != tc.effect {
				t.Errorf("effect %v, %v; want %v", effect, err, tc.effect)
			}
			if got := verbs(client); !slices.Equal(got, tc.verbs) {
				t.Errorf("the host got %v, want %v", got, tc.verbs)
			}
			got, err := client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "c", metav1.GetOptions{})
			if err != nil || got.Data["text"] != "new" {
				t.Errorf("the host has %+v, %v", got, err)
			}
		})
	}
}

// A kind can also have labels removed.
func TestKindDecidesAboutMetadata(t *testing.T) {
	for _, update := range []bool{false, true} {
		client := fake.NewClientset(object("new", onHost, func(c *corev1.ConfigMap) { c.Labels["stale"], c.Labels["theirs"] = "x", "y" }))
		k := kind(client)
		k.Metadata = func(_, host metav1.Object) (labels, annotations map[string]any) {
			if _, ok := host.GetLabels()["stale"]; ok {
				return map[string]any{"stale": nil, "fresh": "z"}, nil
			}
			return nil, nil
		}
		if update {
			k.Update = func(_, host *corev1.ConfigMap) *corev1.ConfigMap { return host.DeepCopy() }
		}
		for range 2 {
			if _, err := k.Write(t.Context(), object("new")); err != nil {
				t.Fatal(err)
			}
		}
		got, err := client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "c", metav1.GetOptions{})
		if want := map[string]string{"owner": ours, "theirs": "y", "fresh": "z"}; err != nil || !maps.Equal(got.Labels, want) {
			t.Errorf("labels %v, %v, want %v", got.Labels, err, want)
		}
		if got := verbs(client); len(got) != 6 { // create, get and one write; create and get; get
			t.Errorf("the host got %v", got)
		}
	}
}

// A change and a deletion are of the object that was read, and of no other that
// has its name by then.
func TestWritesAreOfTheObjectThatWasRead(t *testing.T) {
	client := fake.NewClientset(object("old", onHost, func(c *corev1.ConfigMap) {
		c.Labels["theirs"], c.Annotations = "x", map[string]string{"theirs": "y"}
	}))
	k := kind(client)
	if _, err := k.Write(t.Context(), object("new")); err != nil {
		t.Fatal(err)
	}
	got, err := client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "c", metav1.GetOptions{})
	if err != nil || got.Labels["theirs"] != "x" || got.Annotations["theirs"] != "y" {
		t.Errorf("labels and annotations of others: %v, %v, %v", got.Labels, got.Annotations, err)
	}
	if removed, err := k.Remove(t.Context(), "c"); err != nil || !removed {
		t.Errorf("removed %v, %v", removed, err)
	}
	var preconditions []string
	for _, a := range client.Actions() {
		switch a := a.(type) {
		case clienttesting.PatchAction:
			var body metav1.PartialObjectMetadata
			if err := json.Unmarshal(a.GetPatch(), &body); err != nil {
				t.Fatal(err)
			}
			preconditions = append(preconditions, "patch "+string(body.UID)+" "+body.ResourceVersion)
		case clienttesting.DeleteActionImpl:
			if p := a.DeleteOptions.Preconditions; p != nil && p.UID != nil {
				preconditions = append(preconditions, "delete "+string(*p.UID))
			}
		}
	}
	if want := []string{"patch uid-1 7", "delete uid-1"}; !slices.Equal(preconditions, want) {
		t.Errorf("preconditions %v, want %v", preconditions, want)
	}
}

func TestForeignObjectIsLeftAlone(t *testing.T) {
	client := fake.NewClientset(object("theirs", onHost, foreign))
	k := kind(client)
	if _, err := k.Write(t.Context(), object("new")); !errors.Is(err, copies.ErrForeign) {
		t.Errorf("Write: %v, want %v", err, copies.ErrForeign)
	}
	if removed, err := k.Remove(t.Context(), "c"); err != nil || removed {
		t.Errorf("removed %v, %v", removed, err)
	}
	if got, want := verbs(client), []string{"create", "get", "get"}; !slices.Equal(got, want) {
		t.Errorf("the host got %v, want %v", got, want)
	}
}

func TestSeenObjectsSaveQuestions(t *testing.T) {
	client := fake.NewClientset()
	k := kind(client)
	var seen *corev1.ConfigMap
	k.Seen = func(name string) (*corev1.ConfigMap, error) {
		if seen == nil {
			return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, name)
		}
		return seen, nil
	}
	if removed, err := k.RemoveSeen(t.Context(), "c"); err != nil || removed {
		t.Errorf("removed %v, %v", removed, err)
	}
	seen = object("new", onHost)
	if _, err := k.Write(t.Context(), object("new")); err != nil {
		t.Error(err)
	}
	// The informer leaves the content out, and knows how to compare all the same.
	seen = object("", onHost)
	k.SameSeen = func(_, seen *corev1.ConfigMap) bool { return seen.Data["text"] == "" }
	if _, err := k.Write(t.Context(), object("new")); err != nil {
		t.Error(err)
	}
	if got := verbs(client); len(got) != 0 {
		t.Errorf("the host got %v", got)
	}
	// It is gone on the host by now.
	if removed, err := k.RemoveSeen(t.Context(), "c"); err != nil || removed {
		t.Errorf("removed %v, %v", removed, err)
	}
}

// An object that is on the host follows the wanted one; one that went is not made
// again.
func TestFollow(t *testing.T) {
	for name, tc := range map[string]struct {
		host   *corev1.ConfigMap
		effect copies.Effect
		err    error
		verbs  []string
	}{
		"nothing is there": {nil, copies.None, nil, []string{"get"}},
		"it is in step":    {object("new", onHost), copies.None, nil, []string{"get"}},
		"other content":    {object("old", onHost), copies.Changed, nil, []string{"get", "patch"}},
		"it cannot change": {object("fixed", onHost), copies.Replaced, nil, []string{"get", "delete", "create"}},
		"it is not ours":   {object("old", onHost, foreign), copies.None, copies.ErrForeign, []string{"get"}},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			if tc.host != nil {
				client = fake.NewClientset(tc.host)
			}
			effect, err := kind(client).Follow(t.Context(), object("new"))
			if effect != tc.effect || !errors.Is(err, tc.err) {
				t.Errorf("effect %v, %v; want %v, %v", effect, err, tc.effect, tc.err)
			}
			if got := verbs(client); !slices.Equal(got, tc.verbs) {
				t.Errorf("the host got %v, want %v", got, tc.verbs)
			}
		})
	}
}

// The informer has not heard that an object was removed, and of the next one.
func TestRemovedObjectIsNotSeen(t *testing.T) {
	for name, tc := range map[string]struct {
		deletion error
		known    bool
		effect   copies.Effect
	}{
		"it was removed":    {nil, false, copies.Created},
		"it was gone":       {apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, "c"), false, copies.None},
		"the removal fails": {apierrors.NewServiceUnavailable("away"), true, copies.None},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(object("new", onHost))
			client.PrependReactor("delete", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
				return tc.deletion != nil, nil, tc.deletion
			})
			k := kind(client)
			k.Removed = &copies.Removed{}
			k.Seen = func(string) (*corev1.ConfigMap, error) { return object("new", onHost), nil }
			writer := *k // It knows the removals of another client as well.
			if _, err := k.Remove(t.Context(), "c"); (err != nil) != tc.known {
				t.Errorf("Remove: %v", err)
			}
			if writer.Known("c") != tc.known {
				t.Errorf("known %v, want %v", writer.Known("c"), tc.known)
			}
			if effect, err := writer.Write(t.Context(), object("new")); err != nil || effect != tc.effect {
				t.Errorf("effect %v, %v; want %v", effect, err, tc.effect)
			}
		})
	}
}

// Another process deletes the object in the middle.
func TestObjectThatGoesInBetween(t *testing.T) {
	client := fake.NewClientset(object("old", onHost))
	client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return false, nil, client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("configmaps"), namespace, "c")
	})
	if effect, err := kind(client).Write(t.Context(), object("new")); err != nil || effect != copies.Created {
		t.Errorf("effect %v, %v", effect, err)
	}

	client = fake.NewClientset(object("fixed", onHost))
	client.PrependReactor("delete", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return false, nil, client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("configmaps"), namespace, "c")
	})
	if effect, err := kind(client).Write(t.Context(), object("new")); err != nil || effect != copies.Replaced {
		t.Errorf("effect %v, %v", effect, err)
	}
}
