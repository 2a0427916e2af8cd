// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package custom

import (
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
)

func hostDefinition(versions ...apiextensionsv1.CustomResourceDefinitionVersion) *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets.example.com", UID: "u", Finalizers: []string{"f"}},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped, Versions: versions,
			Names:      apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Kind: "Widget", Categories: []string{"all"}},
			Conversion: &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter},
		},
	}
}

func version(name string, served, storage bool) apiextensionsv1.CustomResourceDefinitionVersion {
	return apiextensionsv1.CustomResourceDefinitionVersion{
		Name: name, Served: served, Storage: storage,
		AdditionalPrinterColumns: []apiextensionsv1.CustomResourceColumnDefinition{{Name: "Size", Type: "integer", JSONPath: ".spec.size"}},
	}
}

func TestDefinitionToVirtual(t *testing.T) {
	webhook := func(d *apiextensionsv1.CustomResourceDefinition) {
		d.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.WebhookConverter}
	}
	three := []apiextensionsv1.CustomResourceDefinitionVersion{version("v1alpha1", false, false), version("v1beta1", true, false), version("v1", true, true)}
	for name, tc := range map[string]struct {
		chosen  []string
		change  func(*apiextensionsv1.CustomResourceDefinition)
		want    []string
		storage string
		err     string
	}{
		"all that are served":          {want: []string{"v1beta1", "v1"}, storage: "v1"},
		"one":                          {chosen: []string{"v1beta1"}, want: []string{"v1beta1"}, storage: "v1beta1"},
		"one that is not served":       {chosen: []string{"v1alpha1"}, err: "v1alpha1 is not served"},
		"a webhook":                    {change: webhook, err: "a webhook of the host converts"},
		"a webhook, and one version":   {change: webhook, chosen: []string{"v1"}, want: []string{"v1"}, storage: "v1"},
		"another scope":                {change: func(d *apiextensionsv1.CustomResourceDefinition) { d.Spec.Scope = apiextensionsv1.ClusterScoped }, err: "scope is Cluster"},
		"none is served":               {change: func(d *apiextensionsv1.CustomResourceDefinition) { d.Spec.Versions = d.Spec.Versions[:1] }, err: "no version"},
		"the stored one is not served": {change: func(d *apiextensionsv1.CustomResourceDefinition) { d.Spec.Versions[2].Served = false }, want: []string{"v1beta1"}, storage: "v1beta1"},
	} {
		t.Run(name, func(t *testing.T) {
			host := hostDefinition(slices.Clone(three)...)
			if tc.change != nil {
				tc.change(host)
			}
			got, err := definitionToVirtual(host, tc.chosen, apiextensionsv1.NamespaceScoped)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, v := range got.Spec.Versions {
				names = append(names, v.Name)
				if len(v.AdditionalPrinterColumns) != 1 {
					t.Errorf("columns of %s: %v", v.Name, v.AdditionalPrinterColumns)
				}
			}
			if !slices.Equal(names, tc.want) || storageVersion(got) != tc.storage || got.UID != "" || len(got.Finalizers) != 0 || got.Spec.Conversion.Strategy != apiextensionsv1.NoneConverter {
				t.Errorf("versions %v, stored %s: %+v", names, storageVersion(got), got)
			}
		})
	}
}

// TestStoredVersionsStay: objects of the tenant's are in them.
func TestStoredVersionsStay(t *testing.T) {
	shown := hostDefinition(version("v1", true, true))
	shown.Labels, shown.Status.StoredVersions = map[string]string{LabelFromHost: "true"}, []string{"v1"}
	next := follow(shown, hostDefinition(version("v2", true, true)))
	if len(next.Spec.Versions) != 2 || storageVersion(next) != "v2" || next.Spec.Versions[1].Served {
		t.Errorf("versions %+v", next.Spec.Versions)
	}
}

// TestFieldsWithoutARuleAreFound in the schema of a definition.
func TestFieldsWithoutARuleAreFound(t *testing.T) {
	text, list := apiextensionsv1.JSONSchemaProps{Type: "string"}, func(of apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &of}}
	}
	of := func(fields map[string]apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "object", Properties: fields}
	}
	schema := of(map[string]apiextensionsv1.JSONSchemaProps{
		"spec": of(map[string]apiextensionsv1.JSONSchemaProps{
			"size": text, "secretName": text, "refs": list(of(map[string]apiextensionsv1.JSONSchemaProps{"name": text})), "poolRef": of(map[string]apiextensionsv1.JSONSchemaProps{"name": text}),
		}),
		"status": of(map[string]apiextensionsv1.JSONSchemaProps{"secretName": text}),
	})
	v := version("v1", true, true)
	v.Schema = &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &schema}
	pool, err := rewrite.ParseCustomPath("spec.poolRef.name")
	if err != nil {
		t.Fatal(err)
	}
	k := rewrite.CustomKind{References: []rewrite.CustomReference{{Path: pool, Type: rewrite.CustomName, Kind: "Pool"}}}
	var got []string
	for _, e := range k.Undeclared(sample(hostDefinition(v))) {
		got = append(got, e.Field)
	}
	if want := []string{"spec.refs[].name", "spec.secretName"}; !slices.Equal(got, want) {
		t.Errorf("fields without a rule are %v, want %v", got, want)
	}
}

func TestMergePatch(t *testing.T) {
	from := map[string]any{"spec": map[string]any{"a": int64(1), "gone": "x", "list": []any{"a"}, "same": map[string]any{"x": "y"}}, "data": "d"}
	to := map[string]any{"spec": map[string]any{"a": int64(2), "list": []any{"a", "b"}, "same": map[string]any{"x": "y"}}}
	patch := mergePatch(from, to)
	spec, _ := patch["spec"].(map[string]any)
	if value, there := patch["data"]; !there || value != nil || len(spec) != 3 || spec["gone"] != nil || spec["a"] != int64(2) {
		t.Errorf("patch %v", patch)
	}
	if patch := mergePatch(to, to); len(patch) != 0 {
		t.Errorf("patch to the same: %v", patch)
	}
}
