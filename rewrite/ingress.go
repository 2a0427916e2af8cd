// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// AnnotationIngressClass is the former way to choose the class of an Ingress,
// which controllers still read. It never reaches the host.
const AnnotationIngressClass = "kubernetes.io/ingress.class"

// IngressPolicy is what the operator lets Ingresses of a tenant do on the host.
type IngressPolicy struct {
	// Classes are those of the host. An Ingress of any other is the tenant's own
	// affair, and stays inside.
	Classes []string
	// Hosts are names, *.SUFFIX for all names under one, or * for everything, also
	// for requests to no name in particular.
	Hosts []string
	// Annotations are the keys that reach the host.
	Annotations []string
}

// Offered reports whether an Ingress is for the host.
func (p *IngressPolicy) Offered(v *networkingv1.Ingress) bool {
	return v.Spec.IngressClassName != nil && slices.Contains(p.Classes, *v.Spec.IngressClassName)
}

// Validate lists what an Ingress for the host may not have.
func (p *IngressPolicy) Validate(v *networkingv1.Ingress) field.ErrorList {
	errs, spec := p.annotations(v), field.NewPath("spec")
	if v.Spec.DefaultBackend != nil {
		errs = append(errs, p.host(spec.Child("defaultBackend"), "")...)
		errs = append(errs, backend(spec.Child("defaultBackend"), v.Namespace, v.Spec.DefaultBackend)...)
	}
	for i := range v.Spec.TLS {
		path, hosts := spec.Child("tls").Index(i).Child("hosts"), v.Spec.TLS[i].Hosts
		if len(hosts) == 0 {
			errs = append(errs, p.host(path, "")...)
		}
		for j := range hosts {
			errs = append(errs, p.host(path.Index(j), hosts[j])...)
		}
	}
	for i := range v.Spec.Rules {
		rule, path := &v.Spec.Rules[i], spec.Child("rules").Index(i)
		errs = append(errs, p.host(path.Child("host"), rule.Host)...)
		if rule.HTTP == nil {
			continue
		}
		for j := range rule.HTTP.Paths {
			at := path.Child("http", "paths").Index(j)
			errs = append(errs, urlPath(at.Child("path"), rule.HTTP.Paths[j].Path)...)
			errs = append(errs, backend(at.Child("backend"), v.Namespace, &rule.HTTP.Paths[j].Backend)...)
		}
	}
	return errs
}

// annotations refuses those that speak to an ingress controller, as an "ingress"
// in their keys says, and would not reach it: without one that asks for a
// password, a site is open. Others that do not reach the host are no reason to
// refuse an Ingress: its writer is warned of them (Kept).
func (p *IngressPolicy) annotations(v *networkingv1.Ingress) (errs field.ErrorList) {
	for _, key := range p.Kept(v) {
		if strings.Contains(key, "ingress") {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations").Key(key), "is not among the annotations that the operator of this cluster allows"))
		}
	}
	return errs
}

// Kept are the keys of the annotations that do not reach the host, sorted.
func (p *IngressPolicy) Kept(v *networkingv1.Ingress) (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(v.Annotations)) {
		if !p.passes(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (p *IngressPolicy) passes(key string) bool {
	return key != AnnotationIngressClass && !Reserved(key) && slices.Contains(p.Annotations, key)
}

// host refuses a name that the operator does not allow; "" is every name.
func (p *IngressPolicy) host(path *field.Path, host string) field.ErrorList {
	for _, allowed := range p.Hosts {
		suffix, wild := strings.CutPrefix(allowed, "*")
		if allowed == "*" || host != "" && (host == allowed || wild && strings.HasSuffix(host, suffix) && host != suffix) {
			return nil
		}
	}
	if host == "" {
		return field.ErrorList{field.Forbidden(path, "requests to every host name are not this cluster's: name a host")}
	}
	return field.ErrorList{field.Forbidden(path, "the host name "+host+" is not among those that the operator of this cluster allows")}
}

// urlPath refuses characters by which a path could become a piece of a
// controller's configuration. No path of a URL has them unescaped but the
// semicolon and the apostrophe.
func urlPath(path *field.Path, text string) field.ErrorList {
	bad := func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(";{}\"'`\\#", r)
	}
	if strings.ContainsFunc(text, bad) {
		return field.ErrorList{field.Invalid(path, text, "must have no white space, quote, backslash, brace, semicolon or #")}
	}
	return nil
}

// backend refuses what is not on the host, and the way to porticod.
func backend(path *field.Path, namespace string, b *networkingv1.IngressBackend) field.ErrorList {
	switch {
	case b.Resource != nil:
		return field.ErrorList{field.Forbidden(path.Child("resource"), "a resource as a backend is not on the host of this cluster: name a Service")}
	case b.Service != nil && isKubernetesService(namespace, b.Service.Name):
		return field.ErrorList{field.Forbidden(path.Child("service", "name"), "the API of this cluster is not offered by Ingresses")}
	}
	return nil
}

// IngressToHost returns the host copy of an Ingress that the policy offers and
// that is valid. It has none of the tenant's labels, and the annotations that the
// policy allows. in names the Services with former names on the host.
func (t *Translator) IngressToHost(v *networkingv1.Ingress, p *IngressPolicy, in Inputs) *networkingv1.Ingress {
	c := t.begin("Ingress", v, in)
	h := &networkingv1.Ingress{ObjectMeta: t.bare("Ingress", v), Spec: *v.Spec.DeepCopy()}
	for key, value := range v.Annotations {
		if p.passes(key) {
			h.Annotations[key] = value
		}
	}
	for _, b := range backends(h) {
		b.Resource = nil
		if b.Service != nil {
			b.Service.Name = c.hostName("Service", b.Service.Name)
		}
	}
	for i := range h.Spec.TLS {
		if name := h.Spec.TLS[i].SecretName; name != "" {
			h.Spec.TLS[i].SecretName = c.hostName("Secret", name)
		}
	}
	return h
}

// backends are the places of an Ingress that name a Service. One that names a
// resource names none that the host has.
func backends(i *networkingv1.Ingress) (all []*networkingv1.IngressBackend) {
	if b := i.Spec.DefaultBackend; b != nil {
		all = append(all, b)
	}
	for r := range i.Spec.Rules {
		if http := i.Spec.Rules[r].HTTP; http != nil {
			for p := range http.Paths {
				all = append(all, &http.Paths[p].Backend)
			}
		}
	}
	return all
}

// IngressServices are the names of the Services that an Ingress leads to.
func IngressServices(v *networkingv1.Ingress) (names []string) {
	for _, b := range backends(v) {
		if b.Service != nil && !slices.Contains(names, b.Service.Name) {
			names = append(names, b.Service.Name)
		}
	}
	return names
}

// IngressReferences are the Secrets that an Ingress names.
func IngressReferences(v *networkingv1.Ingress) []Reference {
	var refs []Reference
	for i := range v.Spec.TLS {
		if name := v.Spec.TLS[i].SecretName; name != "" {
			refs = append(refs, Reference{Kind: "Secret", Name: name, Optional: true})
		}
	}
	return refs
}

// CopyChanges returns the merge patches that bring the labels and annotations of
// a host copy in step with want, its translation of now: nil stands for a key to
// remove. Annotations that the policy allows are the tenant's, others the host's.
// No label is the tenant's, so none is removed.
func (p *IngressPolicy) CopyChanges(want, host metav1.Object) (labels, annotations map[string]any) {
	labels = missing(want.GetLabels(), host.GetLabels())
	annotations = missing(want.GetAnnotations(), host.GetAnnotations())
	for k := range host.GetAnnotations() {
		if _, ok := want.GetAnnotations()[k]; !ok && p.passes(k) {
			annotations[k] = nil
		}
	}
	return labels, annotations
}

// missing returns the entries of want that host does not have.
func missing(want, host map[string]string) map[string]any {
	patch := map[string]any{}
	for k, v := range want {
		if got, ok := host[k]; !ok || got != v {
			patch[k] = v
		}
	}
	return patch
}
