// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite/rules"
)

// hostMeta is the metadata of the host object that is being changed, and how
// the tenant sees it.
type hostMeta struct {
	host, seen *metav1.ObjectMeta
}

// newMeta is the metadata of an object that is about to be created.
func newMeta() *hostMeta { return &hostMeta{host: &metav1.ObjectMeta{}, seen: &metav1.ObjectMeta{}} }

// metadata gives m its host form. host is nil on create. The uid, the
// resourceVersion, the generation and the timestamps are the host's already,
// or the random ones of a new object that the host does not read.
func (c *translation) metadata(m *metav1.ObjectMeta, host *hostMeta) {
	if host == nil {
		host = newMeta()
	}
	m.Name, m.Namespace = cmp.Or(host.host.Name, c.t.Name(c.namespace, c.name)), c.t.cluster.HostNamespace
	// The door has generated the name; asked to, the host would explain a
	// conflict as bad luck of its own generator.
	m.GenerateName, c.overlay.GenerateName = "", m.GenerateName
	m.Labels = c.hostLabels(m.Labels, host)
	m.Annotations = c.hostAnnotations(m.Annotations, host)

	// Never the tenant's: the host's garbage collector deletes an object whose
	// owner it does not know.
	c.overlay.OwnerReferences = m.OwnerReferences
	m.OwnerReferences = c.t.owners(host.host.OwnerReferences)

	c.overlay.ManagedFields = m.ManagedFields
	m.ManagedFields = nil
	c.finalizers(m, host.host)
}

// hostLabels are the labels of the host object. A label of a pod that does not
// pass has another key there, for selectors to find; other labels are not
// selected on the host.
func (c *translation) hostLabels(virtual map[string]string, host *hostMeta) map[string]string {
	r := c.labelsOf(host)
	out := r.ofHost()
	if c.in.NamespaceLabels == nil { // not known, rather than none
		for k, v := range host.host.Labels {
			if strings.HasPrefix(k, namespaceLabelPrefix) {
				out[k] = v
			}
		}
	}
	p := r.split(virtual)
	maps.Copy(out, p.pass)
	for k, v := range p.aside {
		if c.kind == "Pod" && c.t.movesLabel(k) {
			out[c.labelKey(k)] = v
			delete(p.aside, k)
		}
	}
	c.overlay.OwnLabels, c.passed().Labels = orNilMap(p.aside), orNilMap(p.digests)
	maps.Copy(out, c.t.NamespaceLabels(c.in.NamespaceLabels))
	maps.Copy(out, c.t.NamespaceSelector(c.namespace))
	return out
}

// labelKey returns the key under which a pod's label stands on the host,
// wherever the object mentions it.
func (c *translation) labelKey(key string) string {
	if !c.t.movesLabel(key) {
		return key
	}
	c.labels.add(key)
	return movedLabelKey(key)
}

func (c *translation) hostAnnotations(virtual map[string]string, host *hostMeta) map[string]string {
	r := c.annotationsOf(host)
	out := r.ofHost()
	p := r.split(virtual)
	maps.Copy(out, p.pass)
	c.overlay.Annotations, c.passed().Annotations = orNilMap(p.aside), orNilMap(p.digests)
	out[AnnotationName] = c.name
	out[AnnotationNamespace] = c.namespace
	out[AnnotationKind] = c.kind
	return out
}

// owners returns the owner references of a host object: those it has, and one
// to the cluster's anchor. The anchor is the controller unless there is another.
func (t *Translator) owners(host []metav1.OwnerReference) []metav1.OwnerReference {
	own := t.Owner()
	if own.Name == "" || slices.ContainsFunc(host, func(r metav1.OwnerReference) bool { return r.UID == own.UID }) {
		return slices.Clone(host)
	}
	return append(slices.Clone(host), ownerReference(own, !slices.ContainsFunc(host, controls)))
}

// ownerReference returns a reference with nothing in it that asks for more rights than
// those to write the object: blockOwnerDeletion needs update on the finalizers
// of the owner.
func ownerReference(r metav1.OwnerReference, controller bool) metav1.OwnerReference {
	r.Controller, r.BlockOwnerDeletion = nil, nil
	if controller {
		r.Controller = &controller
	}
	return r
}

func controls(r metav1.OwnerReference) bool { return r.Controller != nil && *r.Controller }

// OwnerChanges returns the owner references that an object of the cluster on the
// host should have, and whether they are others than it has: the anchor in place
// of one that was deleted, and of the cluster's own Service, which owned everything
// once.
func (t *Translator) OwnerChanges(host []metav1.OwnerReference) ([]metav1.OwnerReference, bool) {
	if len(host) > 0 && !slices.ContainsFunc(host, t.isCluster) {
		return host, false // of a pod of ours, with which it goes, or of the host's
	}
	out := slices.DeleteFunc(slices.Clone(host), t.isCluster)
	out = t.owners(out)
	return out, !apiequality.Semantic.DeepEqual(host, out)
}

// isCluster reports whether an owner is the cluster as a whole, now or before.
func (t *Translator) isCluster(r metav1.OwnerReference) bool {
	return r.UID == t.Owner().UID || r.APIVersion == "v1" &&
		(r.Kind == "Service" && r.Name == t.cluster.Service || r.Kind == "ConfigMap" && r.Name == t.AnchorName())
}

// Owners returns the owner references of an object that is composed for the
// cluster as a whole.
func (t *Translator) Owners() []metav1.OwnerReference { return t.owners(nil) }

// finalizers leaves the host's finalizers on the host, with one of ours in
// place of all the tenant's.
func (c *translation) finalizers(m *metav1.ObjectMeta, host *metav1.ObjectMeta) {
	var virtual, shared []string
	held := false
	for _, f := range m.Finalizers {
		known := slices.Contains(c.prior.Finalizers, f)
		switch {
		case slices.Contains(rules.HostFinalizers[c.kind], f):
			if host.Name == "" {
				shared = append(shared, f)
			} else if !known {
				continue // from now on only the host decides about it
			}
		case !known && !cascades(f) && f != FinalizerVirtual && slices.Contains(host.Finalizers, f):
			continue // the host's, and only shown
		default:
			held = true
		}
		virtual = append(virtual, f)
	}
	// A finalizer of the host's outlives an update that does not mention it:
	// only the host knows when its work is done.
	out := slices.DeleteFunc(slices.Clone(host.Finalizers), func(f string) bool { return f == FinalizerVirtual && !held })
	if held && !slices.Contains(out, FinalizerVirtual) {
		out = append(out, FinalizerVirtual)
	}
	c.overlay.Finalizers, m.Finalizers = virtual, append(out, shared...)
}

// cascades reports whether a finalizer is one by which a garbage collector
// marks a cascading deletion. Each side has its own: the other's would wait for
// dependents that it does not know.
func cascades(finalizer string) bool {
	return finalizer == metav1.FinalizerDeleteDependents || finalizer == metav1.FinalizerOrphanDependents
}

// metadata gives m its virtual form. The uid, the resourceVersion, the
// generation and the timestamps are shown as the host has them.
func (c *restoration) metadata(m *metav1.ObjectMeta) {
	m.Name, m.Namespace, m.GenerateName = c.name, c.namespace, c.overlay.GenerateName
	m.Labels = c.virtualLabels(m.Labels)
	m.Annotations = c.virtualAnnotations(m.Annotations)
	m.OwnerReferences = copied(c.overlay.OwnerReferences)
	m.ManagedFields = copied(c.overlay.ManagedFields)
	m.Finalizers = c.virtualFinalizers(m.Finalizers)
}

func (c *restoration) virtualLabels(host map[string]string) map[string]string {
	out := make(map[string]string, len(host))
	for k, v := range host {
		if !Reserved(k) {
			out[k] = v
		}
	}
	for hostKey, k := range c.labels {
		if v, ok := host[hostKey]; ok {
			out[k] = v
		}
	}
	maps.Copy(out, c.overlay.OwnLabels)
	return orNilMap(out)
}

// labelKey returns the virtual form of a label key of the host. ok is false
// for a key of ours, which the tenant must not see.
func (c *restoration) labelKey(key string) (virtual string, ok bool) {
	if k, moved := c.labels[key]; moved {
		return k, true
	}
	return key, !Reserved(key)
}

func (c *restoration) virtualAnnotations(host map[string]string) map[string]string {
	out := make(map[string]string, len(host))
	for k, v := range host {
		if !Reserved(k) {
			out[k] = v
		}
	}
	for k, v := range c.overlay.Annotations {
		if _, onHost := out[k]; !onHost || !c.t.keys[c.kind].annotations.host.has(k) {
			out[k] = v
		}
	}
	return orNilMap(out)
}

// virtualFinalizers shows the tenant's finalizers in their order, then those
// that the host added.
func (c *restoration) virtualFinalizers(host []string) []string {
	onHost := setOf(host)
	var out []string
	shown := set{}
	for _, f := range c.overlay.Finalizers {
		if slices.Contains(rules.HostFinalizers[c.kind], f) && !onHost.has(f) {
			continue // done by the host
		}
		shown.add(f)
		out = append(out, f)
	}
	for _, f := range host {
		if f == FinalizerVirtual || cascades(f) || shown.has(f) {
			continue
		}
		out = append(out, f)
	}
	return out
}

// copied returns a list of API values that shares nothing with list.
func copied[T any, P interface {
	*T
	DeepCopyInto(*T)
}](list []T) []T {
	if list == nil {
		return nil
	}
	out := make([]T, len(list))
	for i := range list {
		P(&list[i]).DeepCopyInto(&out[i])
	}
	return out
}

func orNilList[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

func orNilMap(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}
