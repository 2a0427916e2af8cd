// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package hostview

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func TestDigest(t *testing.T) {
	secret := func(change func(*corev1.Secret)) *corev1.Secret {
		s := &corev1.Secret{Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"a": []byte("1"), "b": []byte("2")}}
		change(s)
		return s
	}
	config := func(change func(*corev1.ConfigMap)) *corev1.ConfigMap {
		c := &corev1.ConfigMap{Data: map[string]string{"a": "1"}}
		change(c)
		return c
	}
	baseSecret, baseConfig := Digest(secret(func(*corev1.Secret) {})), Digest(config(func(*corev1.ConfigMap) {}))
	cases := map[string]struct {
		base   string
		object any
		same   bool
	}{
		"type left to the default": {baseSecret, secret(func(s *corev1.Secret) { s.Type = "" }), true},
		"labels are not content":   {baseSecret, secret(func(s *corev1.Secret) { s.Labels = map[string]string{"x": "y"} }), true},
		"another value":            {baseSecret, secret(func(s *corev1.Secret) { s.Data["a"] = []byte("2") }), false},
		"a key less":               {baseSecret, secret(func(s *corev1.Secret) { delete(s.Data, "a") }), false},
		"values swapped":           {baseSecret, secret(func(s *corev1.Secret) { s.Data["a"], s.Data["b"] = s.Data["b"], s.Data["a"] }), false},
		"a value without bytes": {
			Digest(secret(func(s *corev1.Secret) { s.Data["c"] = nil })), secret(func(s *corev1.Secret) { s.Data["c"] = []byte{} }), true,
		},
		"another type":               {baseSecret, secret(func(s *corev1.Secret) { s.Type = "x" }), false},
		"immutable secret":           {baseSecret, secret(func(s *corev1.Secret) { s.Immutable = ptr.To(true) }), false},
		"immutable false is not set": {baseConfig, config(func(c *corev1.ConfigMap) { c.Immutable = ptr.To(false) }), true},
		"text as binary": {baseConfig, config(func(c *corev1.ConfigMap) {
			c.Data, c.BinaryData = nil, map[string][]byte{"a": []byte("1")}
		}), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Digest(tc.object) == tc.base; got != tc.same {
				t.Errorf("digest equal: %v, want %v", got, tc.same)
			}
		})
	}
}

// A process that looks at all Secrets of a cluster must not hold their content.
func TestViewHoldsNoContent(t *testing.T) {
	original := &corev1.Secret{Data: map[string][]byte{"password": []byte("hunter2")}}
	want := Digest(original)
	var obj any = original
	for range 2 { // informers may transform an object twice
		var err error
		if obj, err = reduce(obj); err != nil {
			t.Fatal(err)
		}
		seen := obj.(*corev1.Secret)
		if len(seen.Data) != 0 {
			t.Error("content is still there")
		}
		if got := seen.Annotations[AnnotationDigest]; got != want {
			t.Errorf("digest is %q, want %q", got, want)
		}
	}
	if len(original.Data) != 1 || len(original.Annotations) != 0 {
		t.Error("somebody else's object was changed")
	}
}
