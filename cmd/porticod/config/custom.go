// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/rewrite"
)

// The directions of a custom kind.
const (
	CustomToHost   = "toHost"
	CustomFromHost = "fromHost"
)

// The scopes of a custom kind.
const (
	ScopeNamespaced = "Namespaced"
	ScopeCluster    = "Cluster"
)

// CustomStatusBack brings the host's status inside.
const CustomStatusBack = "back"

// Custom is a kind without a row of its own, which is copied in one direction.
type Custom struct {
	Group string `json:"group"`
	Kind  string `json:"kind"`
	// Resource is the kind in URLs; empty means the kind in lower case with an s.
	Resource string `json:"resource,omitempty"`
	// Versions are those that tenants have; none means all that the host serves.
	Versions []string `json:"versions,omitempty"`
	// Direction is toHost or fromHost.
	Direction string `json:"direction"`
	// Scope is Namespaced or Cluster; empty means Namespaced.
	Scope string `json:"scope,omitempty"`
	// Selector chooses by labels; empty means all.
	Selector metav1.LabelSelector `json:"selector"`
	// NamespaceMapping leads from namespaces of the host to those that show their
	// objects.
	NamespaceMapping map[string]string `json:"namespaceMapping,omitempty"`
	// References are the fields that refer to other objects.
	References []CustomReference `json:"references,omitempty"`
	// Verbatim are fields that look like references, and stay as they are.
	Verbatim []string `json:"verbatim,omitempty"`
	// Labels and Annotations are the keys of the tenant's that reach the host.
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
	// Rewrite are CEL expressions that change the translated object, in order.
	Rewrite []string `json:"rewrite,omitempty"`
	// Status back brings the host's status to the tenant.
	Status string `json:"status,omitempty"`
}

// CustomReference is a field that refers to other objects.
type CustomReference struct {
	// Path is the field, such as spec.tls[].secretName.
	Path string `json:"path"`
	// Type is name, selector, labels, namespace or drop; empty means name.
	Type string `json:"type,omitempty"`
	// Kind is that of the named object.
	Kind string `json:"kind,omitempty"`
	// KindField is the field next to it that has the kind; OtherKinds are those that
	// stay as they are.
	KindField  string   `json:"kindField,omitempty"`
	OtherKinds []string `json:"otherKinds,omitempty"`
	// NamespaceField is the field next to it that has the namespace.
	NamespaceField string `json:"namespaceField,omitempty"`
	// Returned says that the host makes the Secret, and the tenant gets it.
	Returned bool `json:"returned,omitempty"`
}

// Plural is the kind in URLs.
func (c *Custom) Plural() string {
	if c.Resource != "" {
		return c.Resource
	}
	return strings.ToLower(c.Kind) + "s"
}

// Definition is the name of the kind's CustomResourceDefinition.
func (c *Custom) Definition() string { return c.Plural() + "." + c.Group }

// Builtin reports whether the kind is one of Kubernetes itself, which has no
// definition.
func (c *Custom) Builtin() bool { return slices.Contains(builtinGroups, c.Group) }

// Namespaced reports whether objects of the kind are in namespaces.
func (c *Custom) Namespaced() bool { return c.Scope != ScopeCluster }

// Selected selects the objects that are copied.
func (c *Custom) Selected() (labels.Selector, error) {
	return (&FromHostKind{Enabled: true, Selector: c.Selector}).Shown()
}

// Rules are those of a translation to the host. The configuration is valid.
func (c *Custom) Rules() (rewrite.CustomKind, error) {
	k := rewrite.CustomKind{Kind: c.Kind, Group: c.Group, Labels: c.Labels, Annotations: c.Annotations}
	for _, text := range c.Verbatim {
		path, err := rewrite.ParseCustomPath(text)
		if err != nil {
			return k, err
		}
		k.Verbatim = append(k.Verbatim, path)
	}
	for i := range c.References {
		r := &c.References[i]
		path, err := rewrite.ParseCustomPath(r.Path)
		if err != nil {
			return k, err
		}
		k.References = append(k.References, rewrite.CustomReference{
			Path: path, Type: r.kind(), Kind: r.Kind, KindField: r.KindField, OtherKinds: r.OtherKinds,
			NamespaceField: r.NamespaceField, Returned: r.Returned,
		})
	}
	return k, nil
}

func (r *CustomReference) kind() rewrite.CustomType {
	if r.Type == "" {
		return rewrite.CustomName
	}
	return rewrite.CustomType(r.Type)
}

// builtinGroups are those of Kubernetes itself. A group that is not among them has
// a CustomResourceDefinition.
var builtinGroups = []string{
	"", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps", "authentication.k8s.io", "authorization.k8s.io",
	"autoscaling", "batch", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io",
	"internal.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io", "resource.k8s.io",
	"scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io",
}

// notCustom are the groups of Kubernetes itself whose kinds are copied in other
// ways or not at all, with the reason.
var notCustom = map[string]string{
	"":                             "Portico has ways of its own for kinds of the core group",
	"admissionregistration.k8s.io": "would judge requests of the whole cluster",
	"apiextensions.k8s.io":         "definitions follow the kinds of sync.custom",
	"apiregistration.k8s.io":       "would serve an API of the whole cluster",
	"apps":                         "the other cluster would make pods that no rule of this one bounds",
	"authentication.k8s.io":        "is no object that is stored",
	"authorization.k8s.io":         "is no object that is stored",
	"batch":                        "the other cluster would make pods that no rule of this one bounds",
	"certificates.k8s.io":          "would ask the other cluster for certificates of its users",
	"discovery.k8s.io":             "Portico has ways of its own for EndpointSlices",
	"events.k8s.io":                "Portico has ways of its own for Events",
	"flowcontrol.apiserver.k8s.io": "would change the flow of requests of the whole cluster",
	"internal.apiserver.k8s.io":    "belongs to the API servers of a cluster",
	"policy":                       "Portico has a way of its own: sync.toHost.podDisruptionBudgets",
	"rbac.authorization.k8s.io":    "would grant rights in the other cluster",
	"storagemigration.k8s.io":      "belongs to the store of a cluster",
}

// ownRows are kinds of other groups with ways of their own, by GROUP/KIND.
var ownRows = map[string]string{
	"networking.k8s.io/NetworkPolicy": "sync.toHost.networkPolicies",
	"networking.k8s.io/Ingress":       "sync.toHost.ingresses",
	"node.k8s.io/RuntimeClass":        "sync.fromHost.runtimeClasses",
	"resource.k8s.io/ResourceClaim":   "sync.toHost.resourceClaims",
	"resource.k8s.io/DeviceClass":     "sync.fromHost.deviceClasses",
	"scheduling.k8s.io/PriorityClass": "sync.fromHost.priorityClasses and sync.toHost.priorityClasses",
	"storage.k8s.io/StorageClass":     "sync.fromHost.storageClasses and sync.toHost.storageClasses",
}

func (c *Config) validateCustom(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i := range c.Sync.Custom {
		k, at := &c.Sync.Custom[i], path.Index(i)
		errs = append(errs, k.validate(at)...)
		if name := k.Definition(); seen[name] {
			errs = append(errs, field.Duplicate(at, name))
		} else {
			seen[name] = true
		}
		for host := range k.NamespaceMapping {
			if host == c.Host.Namespace {
				errs = append(errs, field.Forbidden(at.Child("namespaceMapping").Key(host), "is the host namespace of this cluster, which has its own objects"))
			}
		}
	}
	return errs
}

func (c *Custom) validate(path *field.Path) field.ErrorList {
	errs := oneOf(path.Child("direction"), c.Direction, CustomToHost, CustomFromHost)
	errs = append(errs, oneOf(path.Child("scope"), c.scope(), ScopeNamespaced, ScopeCluster)...)
	if c.Group != "" {
		for _, msg := range validation.IsDNS1123Subdomain(c.Group) {
			errs = append(errs, field.Invalid(path.Child("group"), c.Group, msg))
		}
	}
	if c.Kind == "" {
		errs = append(errs, field.Required(path.Child("kind"), "the kind that is copied"))
	} else {
		for _, msg := range validation.IsDNS1035Label(strings.ToLower(c.Kind)) {
			errs = append(errs, field.Invalid(path.Child("kind"), c.Kind, msg))
		}
		for _, msg := range validation.IsDNS1035Label(c.Plural()) {
			errs = append(errs, field.Invalid(path.Child("resource"), c.Plural(), msg))
		}
	}
	for i, version := range c.Versions {
		for _, msg := range validation.IsDNS1035Label(version) {
			errs = append(errs, field.Invalid(path.Child("versions").Index(i), version, msg))
		}
	}
	errs = append(errs, c.validateBuiltin(path)...)
	errs = append(errs, metav1validation.ValidateLabelSelector(&c.Selector, metav1validation.LabelSelectorValidationOptions{}, path.Child("selector"))...)
	if c.Direction == CustomFromHost {
		return append(errs, c.validateFromHost(path)...)
	}
	return append(errs, c.validateToHost(path)...)
}

func (c *Custom) validateBuiltin(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if why, never := notCustom[c.Group]; never {
		errs = append(errs, field.Forbidden(path.Child("group"), "this group cannot be copied: "+why))
	}
	if key, own := ownRows[c.Group+"/"+c.Kind]; own {
		errs = append(errs, field.Forbidden(path.Child("kind"), "has a way of its own: "+key))
	}
	if c.Builtin() && len(c.Versions) != 1 {
		errs = append(errs, field.Required(path.Child("versions"), "the one version of this kind of Kubernetes, such as v1"))
	}
	return errs
}

func (c *Custom) scope() string {
	if c.Scope == "" {
		return ScopeNamespaced
	}
	return c.Scope
}

func (c *Custom) validateFromHost(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for key, set := range map[string]bool{
		"references": len(c.References) > 0, "verbatim": len(c.Verbatim) > 0, "status": c.Status != "",
		"labels": len(c.Labels) > 0, "annotations": len(c.Annotations) > 0,
	} {
		if set {
			errs = append(errs, field.Forbidden(path.Child(key), "is for direction toHost: objects of the host are shown as they are"))
		}
	}
	mapping := path.Child("namespaceMapping")
	switch {
	case c.Namespaced() && len(c.NamespaceMapping) == 0:
		errs = append(errs, field.Required(mapping, "the namespaces of the host whose objects are shown, each with the virtual namespace that shows them"))
	case !c.Namespaced() && len(c.NamespaceMapping) > 0:
		errs = append(errs, field.Forbidden(mapping, "objects of scope Cluster are in no namespace"))
	}
	shown := map[string]bool{}
	for host, virtual := range c.NamespaceMapping {
		for _, name := range []string{host, virtual} {
			for _, msg := range validation.IsDNS1123Label(name) {
				errs = append(errs, field.Invalid(mapping.Key(host), name, msg))
			}
		}
		if shown[virtual] {
			errs = append(errs, field.Duplicate(mapping.Key(host), virtual))
		}
		shown[virtual] = true
	}
	return errs
}

func (c *Custom) validateToHost(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !c.Namespaced() {
		errs = append(errs, field.Forbidden(path.Child("scope"), "a tenant has one namespace of the host: kinds of scope Cluster are shown with direction fromHost only"))
	}
	if len(c.NamespaceMapping) > 0 {
		errs = append(errs, field.Forbidden(path.Child("namespaceMapping"), "is for direction fromHost: objects of the tenant are in the cluster's host namespace"))
	}
	if c.Status != "" {
		errs = append(errs, oneOf(path.Child("status"), c.Status, CustomStatusBack)...)
	}
	for i, text := range c.Verbatim {
		if _, err := rewrite.ParseCustomPath(text); err != nil {
			errs = append(errs, field.Invalid(path.Child("verbatim").Index(i), text, err.Error()))
		}
	}
	for name, keys := range map[string][]string{"labels": c.Labels, "annotations": c.Annotations} {
		for i, key := range keys {
			for _, msg := range validation.IsQualifiedName(key) {
				errs = append(errs, field.Invalid(path.Child(name).Index(i), key, "must be a key: "+msg))
			}
			if rewrite.Reserved(key) {
				errs = append(errs, field.Invalid(path.Child(name).Index(i), key, "never reaches the host"))
			}
		}
	}
	for i := range c.References {
		errs = append(errs, c.References[i].validate(path.Child("references").Index(i))...)
	}
	return errs
}

func (r *CustomReference) validate(path *field.Path) field.ErrorList {
	errs := oneOf(path.Child("type"), string(r.kind()), string(rewrite.CustomName), string(rewrite.CustomSelector), string(rewrite.CustomLabels),
		string(rewrite.CustomNamespace), string(rewrite.CustomDrop))
	to, err := rewrite.ParseCustomPath(r.Path)
	if err != nil {
		return append(errs, field.Invalid(path.Child("path"), r.Path, err.Error()))
	}
	named := r.kind() == rewrite.CustomName
	for key, set := range map[string]bool{
		"kindField": r.KindField != "", "otherKinds": len(r.OtherKinds) > 0, "namespaceField": r.NamespaceField != "", "returned": r.Returned, "kind": r.Kind != "",
	} {
		if set && !named {
			errs = append(errs, field.Forbidden(path.Child(key), "is for type name"))
		}
	}
	switch {
	case named && r.Kind == "":
		errs = append(errs, field.Required(path.Child("kind"), "the kind of the named object"))
	case r.Returned && r.Kind != "Secret":
		errs = append(errs, field.Invalid(path.Child("returned"), true, "only Secrets come back"))
	case len(r.OtherKinds) > 0 && r.KindField == "":
		errs = append(errs, field.Required(path.Child("kindField"), "the field that has the kind"))
	case to.OfElements() && (r.KindField != "" || r.NamespaceField != "" || !named && r.kind() != rewrite.CustomNamespace):
		errs = append(errs, field.Invalid(path.Child("path"), r.Path, "must lead to a field: only names and namespaces can be elements of a list"))
	}
	return errs
}
