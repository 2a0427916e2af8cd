// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/rewrite"
)

var update = flag.Bool("update", false, "write the host side of testdata again")

// TestGolden translates testdata/<case>.in.yaml and compares with
// <case>.host.yaml, which has the overlay as a second document to be readable.
// Kinds that live on the host are turned back as well.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	tr := mustNew(t, testCluster())
	for _, in := range cases {
		name := strings.TrimSuffix(filepath.Base(in), ".in.yaml")
		t.Run(name, func(t *testing.T) {
			v := readObject(t, in)
			h, err := tr.ToHost(v, testInputs())
			if err != nil {
				t.Fatal(err)
			}
			got := render(t, h)
			golden := strings.TrimSuffix(in, ".in.yaml") + ".host.yaml"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("%s (-want +got):\n%s", golden, d)
			}
			switch v.(type) {
			case *corev1.Pod, *corev1.Service, *corev1.PersistentVolumeClaim, *resourcev1.ResourceClaim:
				if d := diff(wireObject(t, v), toVirtual(t, tr, wireObject(t, h))); d != "" {
					t.Errorf("turned back (-want +got):\n%s", d)
				}
			}
		})
	}
}

func readObject(t *testing.T, path string) runtime.Object {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme, resourcev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	obj, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode(raw, nil, nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return obj
}

func render(t *testing.T, h runtime.Object) []byte {
	t.Helper()
	m, err := meta.Accessor(h)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	shown := h.DeepCopyObject()
	sealed, ok := m.GetAnnotations()[rewrite.AnnotationOverlay]
	if ok {
		sm, err := meta.Accessor(shown)
		if err != nil {
			t.Fatal(err)
		}
		sm.GetAnnotations()[rewrite.AnnotationOverlay] = "(the second document, compressed)"
	}
	object, err := yaml.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(object)
	if ok {
		raw, err := rewrite.UnpackOverlay(sealed)
		if err != nil {
			t.Fatal(err)
		}
		overlay, err := yaml.JSONToYAML(raw)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("---\n")
		out.Write(overlay)
	}
	return out.Bytes()
}
