// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// A custom kind has no table of rules and no Go type: the operator says which of
// its fields name other objects. The copy of an object is like that of any other
// pushed kind, and its overlay has the content that was given to the host, so
// that a field which the tenant does not change stays as the host has it.

// CustomKind is how objects of a kind without a table reach the host.
type CustomKind struct {
	// Kind and Group are those of the API.
	Kind, Group string
	References  []CustomReference
	// Verbatim are fields that stay as the tenant writes them, although their names
	// sound like references.
	Verbatim []CustomPath
	// Labels and Annotations are the keys that reach the host.
	Labels, Annotations []string
}

// CustomType says how a field refers to other objects.
type CustomType string

// The types of references.
const (
	// CustomName is the name of an object.
	CustomName CustomType = "name"
	// CustomSelector is a label selector, as an object or as a text, of objects in
	// the object's own namespace.
	CustomSelector CustomType = "selector"
	// CustomLabels is such a selector as a map of labels.
	CustomLabels CustomType = "labels"
	// CustomNamespace is a namespace, which can only be the object's own.
	CustomNamespace CustomType = "namespace"
	// CustomDrop is a field that does not reach the host.
	CustomDrop CustomType = "drop"
)

// CustomReference is a field that refers to other objects.
type CustomReference struct {
	Path CustomPath
	Type CustomType
	// Kind is that of a named object, such as Secret.
	Kind string
	// KindField is the field next to it that has the kind, if there is one: an
	// object of Kind, or no kind, is translated, one of OtherKinds stays as it is,
	// and any other is refused.
	KindField  string
	OtherKinds []string
	// NamespaceField is the field next to it that has the namespace, if there is
	// one. It can only be the object's own.
	NamespaceField string
	// Returned says that the host makes the Secret of that name, and the tenant gets
	// it.
	Returned bool
}

// records of a custom kind in the overlay.
const (
	recordApplied    = "applied"    // the content that was given to the host
	recordReturned   = "returned"   // virtual names of returned Secrets
	recordGeneration = "generation" // of the virtual object
)

// Noun is the kind in annotations. No kind of the API has a dot.
func (k *CustomKind) Noun() string {
	if k.Group == "" {
		return k.Kind
	}
	return k.Kind + "." + k.Group
}

// CustomCopy is a translation of a custom object under way. A caller may change
// Object between Begin and Seal.
type CustomCopy struct {
	c *translation
	k *CustomKind
	v *unstructured.Unstructured

	// Object is the host object.
	Object *unstructured.Unstructured

	returned set
}

// BeginCustom translates the references of a custom object. The error is a list of
// fields, for the tenant.
func (t *Translator) BeginCustom(k *CustomKind, v *unstructured.Unstructured) (*CustomCopy, error) {
	copied := &CustomCopy{c: t.begin(k.Noun(), v, Inputs{}), k: k, v: v, returned: set{}}
	content := content(v)
	for i := range k.References {
		if err := copied.reference(content, &k.References[i]); err != nil {
			return nil, err
		}
	}
	copied.Object = &unstructured.Unstructured{Object: content}
	copied.Object.SetGroupVersionKind(v.GroupVersionKind())
	copied.metadata(only(v.GetLabels(), k.Labels), only(v.GetAnnotations(), k.Annotations))
	return copied, nil
}

// Seal gives Object what no change of it may take away, and records its content.
// The error is a list of fields, for the tenant: those that could lead to objects
// of others.
func (copied *CustomCopy) Seal() (*unstructured.Unstructured, error) {
	rewritten := copied.Object
	body := content(rewritten)
	for i := range copied.k.References {
		if err := copied.confine(body, &copied.k.References[i]); err != nil {
			return nil, err
		}
	}
	if errs := copied.k.Undeclared(body); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	sealed := &unstructured.Unstructured{Object: body}
	sealed.SetGroupVersionKind(copied.v.GroupVersionKind())
	copied.Object = sealed
	copied.metadata(rewritten.GetLabels(), rewritten.GetAnnotations())

	o := copied.c.overlay
	o.put(recordApplied, content(sealed))
	o.put(recordGeneration, copied.v.GetGeneration())
	if len(copied.returned) > 0 {
		o.put(recordReturned, copied.returned.sorted())
	}
	annotations := sealed.GetAnnotations()
	m := &metav1.ObjectMeta{Annotations: annotations}
	if err := copied.c.seal(m); err != nil {
		return nil, err
	}
	sealed.SetAnnotations(m.Annotations)
	return sealed, nil
}

// metadata gives Object the metadata of a copy, and labels and annotations besides.
func (copied *CustomCopy) metadata(more, moreAnnotations map[string]string) {
	bare := copied.c.t.bare(copied.k.Noun(), copied.v)
	h := copied.Object
	delete(h.Object, "metadata")
	h.SetNamespace(bare.Namespace)
	h.SetName(bare.Name)
	h.SetLabels(together(more, bare.Labels))
	h.SetAnnotations(together(moreAnnotations, bare.Annotations))
	h.SetOwnerReferences(bare.OwnerReferences)
}

// together are our own keys, and others that are not reserved.
func together(more, own map[string]string) map[string]string {
	out := map[string]string{}
	for key, value := range more {
		if !Reserved(key) {
			out[key] = value
		}
	}
	maps.Copy(out, own)
	return out
}

func only(all map[string]string, keys []string) map[string]string {
	out := map[string]string{}
	for _, key := range keys {
		if value, ok := all[key]; ok {
			out[key] = value
		}
	}
	return out
}

// reference translates one field.
func (copied *CustomCopy) reference(body map[string]any, r *CustomReference) error {
	return r.Path.change(body, func(parent map[string]any, value any) (any, error) {
		switch r.Type {
		case CustomDrop:
			return nil, nil
		case CustomSelector:
			return copied.selector(r, value)
		case CustomLabels:
			return copied.labels(r, value)
		case CustomNamespace:
			return copied.namespace(r.Path.String(), value)
		default:
			return copied.name(r, parent, value)
		}
	})
}

// name translates a name, next to which can be a kind and a namespace.
func (copied *CustomCopy) name(r *CustomReference, parent map[string]any, value any) (any, error) {
	path := fieldAt(r.Path.String())
	if r.KindField != "" {
		switch kind, _ := parent[r.KindField].(string); {
		case kind == "" || kind == r.Kind:
		case slices.Contains(r.OtherKinds, kind):
			return value, nil
		default:
			return nil, field.NotSupported(path, kind, append([]string{r.Kind}, r.OtherKinds...))
		}
	}
	if r.NamespaceField != "" {
		if _, there := parent[r.NamespaceField]; there {
			host, err := copied.namespace(r.Path.String()+" in "+r.NamespaceField, parent[r.NamespaceField])
			if err != nil {
				return nil, err
			}
			parent[r.NamespaceField] = host
		}
	}
	name, ok := value.(string)
	switch {
	case value == nil || ok && name == "":
		return value, nil
	case !ok:
		return nil, field.Invalid(path, value, "must be a name")
	}
	if r.Returned {
		copied.returned.add(name)
		return copied.c.t.ReturnedName(copied.c.namespace, name), nil
	}
	if r.Kind == "Service" {
		if isKubernetesService(copied.c.namespace, name) {
			return nil, field.Forbidden(path, "the API of this cluster is not offered to the host")
		}
	}
	copied.c.names.add(name)
	return copied.c.hostName(r.Kind, name), nil
}

// namespace is the host namespace for the object's own.
func (copied *CustomCopy) namespace(path string, value any) (any, error) {
	switch value {
	case nil, "":
		return value, nil
	case copied.c.namespace:
		return copied.c.t.cluster.HostNamespace, nil
	}
	return nil, field.Invalid(fieldAt(path), value, "only the namespace of the object itself is on the host with it")
}

// selector narrows a label selector, which may be missing, to objects of the own
// namespace.
func (copied *CustomCopy) selector(r *CustomReference, value any) (any, error) {
	if text, ok := value.(string); ok {
		return selectorText(r, text, copied.c.ownPods)
	}
	s, err := labelSelector(r, value)
	if err != nil {
		return nil, err
	}
	copied.c.ownPods(s)
	return generic(s)
}

// labels is selector for a map of labels.
func (copied *CustomCopy) labels(r *CustomReference, value any) (any, error) {
	selected, err := labelMap(r, value)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	for key, value := range selected {
		out[copied.c.labelKey(key)] = value
	}
	for key, value := range copied.c.t.NamespaceSelector(copied.c.namespace) {
		out[key] = value
	}
	return out, nil
}

// confine makes sure, after a rewrite, of a field's bounds.
func (copied *CustomCopy) confine(body map[string]any, r *CustomReference) error {
	own := copied.c.t.NamespaceSelector(copied.c.namespace)
	return r.Path.change(body, func(parent map[string]any, value any) (any, error) {
		switch r.Type {
		case CustomSelector:
			if text, ok := value.(string); ok {
				return selectorText(r, text, func(s *metav1.LabelSelector) { confined(s, own) })
			}
			s, err := labelSelector(r, value)
			if err != nil {
				return nil, err
			}
			confined(s, own)
			return generic(s)
		case CustomLabels:
			selected, err := labelMap(r, value)
			if err != nil {
				return nil, err
			}
			out := map[string]any{}
			for key, value := range selected {
				out[key] = value
			}
			for key, value := range own {
				out[key] = value
			}
			return out, nil
		case CustomNamespace:
			return value, copied.confinedNamespace(r.Path.String(), value)
		case CustomDrop:
			return value, nil // a rewrite has put it there, for the operator
		default:
			if r.NamespaceField == "" {
				return value, nil
			}
			return value, copied.confinedNamespace(r.Path.String()+" in "+r.NamespaceField, parent[r.NamespaceField])
		}
	})
}

// confined narrows a selector to the objects with some labels, if it is not.
func confined(s *metav1.LabelSelector, own map[string]string) {
	for _, key := range []string{LabelNamespace, LabelCluster} {
		if need := oneOf(key, own[key]); !slices.ContainsFunc(s.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool {
			return apiequality.Semantic.DeepEqual(r, need)
		}) {
			require(s, need)
		}
	}
}

// selectorText narrows a selector that is a text.
func selectorText(r *CustomReference, text string, narrow func(*metav1.LabelSelector)) (any, error) {
	s, err := metav1.ParseToLabelSelector(text)
	if err != nil {
		return nil, field.Invalid(fieldAt(r.Path.String()), text, err.Error())
	}
	narrow(s)
	narrowed := metav1.FormatLabelSelector(s)
	if _, err := metav1.ParseToLabelSelector(narrowed); err != nil {
		return nil, field.Invalid(fieldAt(r.Path.String()), text, "must be a label selector")
	}
	return narrowed, nil
}

func (copied *CustomCopy) confinedNamespace(path string, value any) error {
	if value != nil && value != "" && value != copied.c.t.cluster.HostNamespace {
		return field.Forbidden(fieldAt(path), "a rewrite leads to another namespace of the host")
	}
	return nil
}

// CustomReferences are the Secrets and ConfigMaps that must be on the host for an
// object.
func CustomReferences(k *CustomKind, v *unstructured.Unstructured) []Reference {
	var refs []Reference
	eachName(k, v, func(r *CustomReference, name string) {
		if (r.Kind == "Secret" || r.Kind == "ConfigMap") && !r.Returned {
			refs = append(refs, Reference{Kind: r.Kind, Name: name, Optional: true})
		}
	})
	return refs
}

// CustomReturned are the virtual names of the Secrets that the host makes for an
// object.
func CustomReturned(k *CustomKind, v *unstructured.Unstructured) []string {
	names := set{}
	eachName(k, v, func(r *CustomReference, name string) {
		if r.Returned {
			names.add(name)
		}
	})
	return names.sorted()
}

func eachName(k *CustomKind, v *unstructured.Unstructured, do func(*CustomReference, string)) {
	body := content(v)
	for i := range k.References {
		r := &k.References[i]
		if r.Type != CustomName {
			continue
		}
		_ = r.Path.change(body, func(parent map[string]any, value any) (any, error) {
			kind, _ := parent[r.KindField].(string)
			if name, ok := value.(string); ok && name != "" && (r.KindField == "" || kind == "" || kind == r.Kind) {
				do(r, name)
			}
			return value, nil
		})
	}
}

// ReturnedName is the host name of a Secret that the host makes for a custom
// object. Like TokenSecretName it is that of no other object of a tenant: the
// virtual Secret that shows it can have a copy as well.
func (t *Translator) ReturnedName(namespace, name string) string {
	joined, _ := t.join(namespace, name)
	return shorten(joined, "returned-secret", name, namespace, t.cluster.Name)
}

// CustomApplied returns the content that the host was given, and whether the copy
// has it recorded.
func CustomApplied(host metav1.Object) (applied map[string]any, ok bool) {
	o, err := decodeOverlay(host.GetAnnotations())
	var raw json.RawMessage
	if err != nil || !o.get(recordApplied, &raw) {
		return nil, false
	}
	// Whole numbers are int64, as in objects.
	err = utiljson.Unmarshal(raw, &applied)
	return applied, err == nil
}

// CustomStatus returns the status of a copy for the virtual object, in which
// virtual names stand for those of the host, and generations for generations. It
// is nil if the copy has none.
func (t *Translator) CustomStatus(k *CustomKind, host, virtual *unstructured.Unstructured) (any, error) {
	c, err := t.open(k.Noun(), host)
	if err != nil {
		return nil, err
	}
	status, there := host.Object["status"]
	if !there {
		return nil, c.err(host.GetName())
	}
	known := c.known()
	known[host.GetName()] = VirtualRef{Namespace: c.namespace, Name: c.name}
	var returned []string
	if c.overlay.get(recordReturned, &returned) {
		for _, name := range returned {
			known[t.ReturnedName(c.namespace, name)] = VirtualRef{Namespace: c.namespace, Name: name}
		}
	}
	var applied int64
	c.overlay.get(recordGeneration, &applied)
	return c.status(status, known, func(observed int64) int64 {
		if observed == host.GetGeneration() {
			return applied
		}
		return min(max(applied-1, 0), virtual.GetGeneration())
	}), c.err(host.GetName())
}

// status is a deep copy of a value with virtual texts.
func (c *restoration) status(value any, known map[string]VirtualRef, generation func(int64) int64) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, below := range v {
			observed, number := below.(int64)
			if key == "observedGeneration" && number {
				out[key] = generation(observed)
				continue
			}
			out[key] = c.status(below, known, generation)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = c.status(v[i], known, generation)
		}
		return out
	case string:
		if v == c.t.cluster.HostNamespace {
			return c.namespace
		}
		return c.t.TextToVirtual(v, known)
	default:
		return value
	}
}

// content is a deep copy of an object without type, metadata and status.
func content(o *unstructured.Unstructured) map[string]any {
	out := o.DeepCopy().Object
	for _, key := range []string{"apiVersion", "kind", "metadata", "status"} {
		delete(out, key)
	}
	return out
}

// CustomContent is the part of an object that a tenant decides: all but its type,
// metadata and status.
func CustomContent(o *unstructured.Unstructured) map[string]any { return content(o) }

func labelSelector(r *CustomReference, value any) (*metav1.LabelSelector, error) {
	s := &metav1.LabelSelector{}
	if value == nil {
		return s, nil
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Path, err)
	}
	// A field that no selector has would reach the host unread.
	if m, ok := value.(map[string]any); ok {
		for key := range m {
			if key != "matchLabels" && key != "matchExpressions" {
				return nil, field.Invalid(fieldAt(r.Path.String()), key, "is not part of a label selector")
			}
		}
	}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, field.Invalid(fieldAt(r.Path.String()), string(raw), "must be a label selector")
	}
	return s, nil
}

func labelMap(r *CustomReference, value any) (map[string]string, error) {
	out := map[string]string{}
	if value == nil {
		return out, nil
	}
	m, ok := value.(map[string]any)
	if !ok {
		return nil, field.Invalid(fieldAt(r.Path.String()), value, "must be a map of labels")
	}
	for key, value := range m {
		if out[key], ok = value.(string); !ok {
			return nil, field.Invalid(fieldAt(r.Path.String()), value, "must be a map of labels")
		}
	}
	return out, nil
}

// generic is a value as JSON has it.
func generic(from any) (any, error) {
	raw, err := json.Marshal(from)
	if err != nil {
		return nil, err
	}
	var out any
	err = json.Unmarshal(raw, &out)
	return out, err
}

func fieldAt(path string) *field.Path { return field.NewPath(path) }
