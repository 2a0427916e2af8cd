// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/charts"
	"portico.dev/portico/cmd/porticod/config"
)

// template renders a release in namespace portico-demo as helm template does,
// file by file.
func template(t *testing.T, release, values string) (map[string]string, error) {
	t.Helper()
	chart, err := charts.Load()
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]any{}
	if err := yaml.Unmarshal([]byte(values), &set); err != nil {
		t.Fatalf("%v in\n%s", err, values)
	}
	all, err := util.ToRenderValues(chart, set, common.ReleaseOptions{Name: release, Namespace: "portico-demo", IsInstall: true, Revision: 1}, nil)
	if err != nil {
		return nil, err
	}
	return engine.Render(chart, all)
}

// render renders the release demo, the hooks as well.
func render(t *testing.T, values string) string {
	t.Helper()
	files, err := template(t, "demo", values)
	if err != nil {
		t.Fatalf("render the chart: %v", err)
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if text := strings.TrimSpace(files[name]); text != "" && strings.HasSuffix(name, ".yaml") {
			fmt.Fprintf(&b, "---\n# Source: %s\n%s\n", name, strings.TrimPrefix(text, "---\n"))
		}
	}
	return b.String()
}

// refused returns Helm's reason not to render.
func refused(t *testing.T, release, values string) string {
	t.Helper()
	files, err := template(t, release, values)
	if err == nil {
		t.Fatalf("rendered:\n%v", files)
	}
	return err.Error()
}

// objects decodes a rendering. An unknown field is an error, as is a kind that
// neither Kubernetes nor extra has.
func objects(t *testing.T, rendering string, extra ...string) []runtime.Object {
	t.Helper()
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var all []runtime.Object
	for _, document := range strings.Split(rendering, "\n---\n") {
		content, err := yaml.YAMLToJSONStrict([]byte(document))
		if err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if string(content) == "null" {
			continue
		}
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(content); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		obj := runtime.Object(u)
		if !slices.Contains(extra, u.GetKind()) {
			if obj, _, err = decoder.Decode(content, nil, nil); err != nil {
				t.Fatalf("%v in\n%s", err, document)
			}
		}
		all = append(all, obj)
	}
	return all
}

// of returns the objects of one type.
func of[T runtime.Object](all []runtime.Object) []T {
	var found []T
	for _, obj := range all {
		if o, ok := obj.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// configOf reads portico.yaml as porticod does.
func configOf(t *testing.T, content string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "portico.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Read(file)
	if err != nil {
		t.Fatalf("porticod would not start: %v\n%s", err, content)
	}
	return c
}
