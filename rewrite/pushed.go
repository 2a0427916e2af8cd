// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Pushed kinds live in the virtual cluster's own store. The host gets a copy,
// which is never read back, so it has no overlay: only the parts that the host
// needs, and the annotations by which it can be found again
// (Translator.Identify).

// SecretToHost returns the host copy of a Secret. A token Secret becomes
// Opaque: the host's token controller would delete it, or fill it with a token
// of the host.
func (t *Translator) SecretToHost(v *corev1.Secret) (*corev1.Secret, error) {
	h := v.DeepCopy()
	if err := t.pushed("Secret", t.Name(v.Namespace, v.Name), &h.ObjectMeta); err != nil {
		return nil, err
	}
	if h.Type == corev1.SecretTypeServiceAccountToken {
		h.Type = corev1.SecretTypeOpaque
	}
	return h, nil
}

// ConfigMapToHost returns the host copy of a ConfigMap.
func (t *Translator) ConfigMapToHost(v *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	h := v.DeepCopy()
	if err := t.pushed("ConfigMap", t.Name(v.Namespace, v.Name), &h.ObjectMeta); err != nil {
		return nil, err
	}
	return h, nil
}

// EndpointSliceToHost returns the host copy of a slice of a Service without
// selector. On the host only we manage it. One of default/kubernetes is
// ErrOwnService, one of the cluster's DNS is ErrOwnEndpoints: otherwise the
// tenant could redirect the traffic of every pod to them.
func (t *Translator) EndpointSliceToHost(v *discoveryv1.EndpointSlice, in Inputs) (*discoveryv1.EndpointSlice, error) {
	h := v.DeepCopy()
	if err := t.pushed("EndpointSlice", t.Name(v.Namespace, v.Name), &h.ObjectMeta); err != nil {
		return nil, err
	}
	c := t.begin("EndpointSlice", v, in)
	if service, ok := v.Labels[discoveryv1.LabelServiceName]; ok {
		if isKubernetesService(v.Namespace, service) {
			return nil, ErrOwnService
		}
		if t.OwnsDNS(v.Namespace, service) {
			return nil, ErrOwnEndpoints
		}
		h.Labels[discoveryv1.LabelServiceName] = c.hostName("Service", service)
	}
	h.Labels[discoveryv1.LabelManagedBy] = ManagedBy
	for i := range h.Endpoints {
		h.Endpoints[i].TargetRef = c.targetRef(h.Endpoints[i].TargetRef)
	}
	return h, nil
}

// targetRef points to the host pod of a virtual pod. Anything else that an
// endpoint may stand for is not on the host.
func (c *translation) targetRef(ref *corev1.ObjectReference) *corev1.ObjectReference {
	if ref == nil || ref.Kind != "Pod" || (ref.Namespace != "" && ref.Namespace != c.namespace) {
		return nil
	}
	return &corev1.ObjectReference{
		Kind: "Pod", Namespace: c.t.cluster.HostNamespace, Name: c.hostName("Pod", ref.Name), UID: ref.UID,
	}
}

// pushed gives a copy its host metadata. The overlay says no more than which
// keys are the tenant's.
func (t *Translator) pushed(kind, hostName string, m *metav1.ObjectMeta) error {
	c := t.begin(kind, m, Inputs{})
	h := &metav1.ObjectMeta{
		Namespace: t.cluster.HostNamespace, Name: hostName,
		Labels: c.hostLabels(m.Labels, newMeta()), Annotations: c.hostAnnotations(m.Annotations, newMeta()),
		OwnerReferences: t.owners(nil),
	}
	c.overlay = &overlay{Passed: c.overlay.Passed}
	if err := c.seal(h); err != nil {
		return err
	}
	*m = *h
	return nil
}

// bare is the host metadata of a copy that has no label and no annotation of the
// tenant's.
func (t *Translator) bare(kind string, v metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: t.cluster.HostNamespace, Name: t.Name(v.GetNamespace(), v.GetName()),
		Labels: t.NamespaceSelector(v.GetNamespace()),
		Annotations: map[string]string{
			AnnotationName: v.GetName(), AnnotationNamespace: v.GetNamespace(), AnnotationKind: kind,
		},
		OwnerReferences: t.owners(nil),
	}
}

// bareClass is bare for kinds without a namespace.
func (t *Translator) bareClass(kind, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: t.ClusterName(name), Labels: t.ClusterScope(),
		Annotations: map[string]string{AnnotationName: name, AnnotationKind: kind},
	}
}

// CopyChanges returns the merge patches that bring the labels and annotations
// of a host copy in step with want, its translation of now: nil stands for a
// key to remove. Both are empty when there is nothing to do. As everywhere, a
// key that was given a value on the host belongs to the host.
func CopyChanges(want, host metav1.Object) (labels, annotations map[string]any) {
	was, recorded := passedOf(host)
	now, _ := passedOf(want)
	of := func(want, host, passed, mine map[string]string) map[string]any {
		r := &ring{rules: &passing{host: newKeyset()}, host: host, passed: passed, recorded: recorded}
		return r.copyChanges(want, mine)
	}
	return of(want.GetLabels(), host.GetLabels(), was.Labels, now.Labels),
		of(want.GetAnnotations(), host.GetAnnotations(), was.Annotations, now.Annotations)
}

func passedOf(m metav1.Object) (p passed, recorded bool) {
	o, err := decodeOverlay(m.GetAnnotations())
	if err != nil || o.Passed == nil {
		return passed{}, false
	}
	return *o.Passed, true
}

// copyChanges is CopyChanges for one of the maps. The wanted keys that are in
// tenants belong to the tenant, the others to us.
func (r *ring) copyChanges(want, tenants map[string]string) map[string]any {
	patch := map[string]any{}
	for k, v := range want {
		_, tenant := tenants[k]
		if got, ok := r.host[k]; (!ok || got != v) && (!tenant || !r.belongsToHost(k) && !r.removed(k)) {
			patch[k] = v
		}
	}
	for k := range r.host {
		if _, ok := want[k]; !ok && !foreign(k) && !r.belongsToHost(k) {
			patch[k] = nil
		}
	}
	return patch
}
