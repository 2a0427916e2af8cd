// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// ToHost returns the host object of a virtual one, of any kind that is
// translated or pushed. It never changes its argument.
func (t *Translator) ToHost(v runtime.Object, in Inputs) (runtime.Object, error) {
	switch v := v.(type) {
	case *corev1.Pod:
		return orNil(t.PodToHost(v, in))
	case *corev1.Service:
		return orNil(t.ServiceToHost(v, in))
	case *corev1.PersistentVolumeClaim:
		return orNil(t.PersistentVolumeClaimToHost(v, in))
	case *resourcev1.ResourceClaim:
		return orNil(t.ResourceClaimToHost(v, in))
	case *corev1.Secret:
		return orNil(t.SecretToHost(v))
	case *corev1.ConfigMap:
		return orNil(t.ConfigMapToHost(v))
	case *discoveryv1.EndpointSlice:
		return orNil(t.EndpointSliceToHost(v, in))
	}
	return nil, fmt.Errorf("%w: %T", ErrKind, v)
}

// ToVirtual returns the virtual object of a host one. With a
// *CorruptOverlayError the object is usable; with any other error it is nil.
func (t *Translator) ToVirtual(h runtime.Object) (runtime.Object, error) {
	switch h := h.(type) {
	case *corev1.Pod:
		return orNil(t.PodToVirtual(h))
	case *corev1.Service:
		return orNil(t.ServiceToVirtual(h))
	case *corev1.PersistentVolumeClaim:
		return orNil(t.PersistentVolumeClaimToVirtual(h))
	case *resourcev1.ResourceClaim:
		return orNil(t.ResourceClaimToVirtual(h))
	}
	return nil, fmt.Errorf("%w: %T", ErrKind, h)
}

// orNil keeps a nil pointer from becoming an interface that is not nil.
func orNil[T any, P interface {
	*T
	runtime.Object
}](obj P, err error) (runtime.Object, error) {
	if obj == nil {
		return nil, err
	}
	return obj, err
}

// translation is one translation to the host under way.
type translation struct {
	t  *Translator
	in Inputs
	// The virtual object's identity.
	kind, namespace, name string
	// overlay will be sealed; prior is that of the host object, and empty on
	// create.
	overlay, prior *overlay
	// sealed is the annotation that prior was read from.
	sealed string
	names  set
	labels set // label keys with another name on the host
	keys   set // annotation keys with another name on the host
	// bound says that the object is a pod that gets its node now.
	bound bool
}

func (t *Translator) begin(kind string, m metav1.Object, in Inputs) *translation {
	return &translation{
		t: t, in: in,
		kind: kind, namespace: m.GetNamespace(), name: m.GetName(),
		overlay: &overlay{}, prior: &overlay{},
		names: set{}, labels: set{}, keys: set{},
	}
}

// seal writes the overlay into the annotations of the host object. An overlay
// that does not fit is a Status, for the tenant to read.
func (c *translation) seal(m *metav1.ObjectMeta) error {
	c.overlay.Names = c.names.sorted()
	c.overlay.Labels = c.labels.sorted()
	c.overlay.Keys = c.keys.sorted()
	s, err := c.t.codec.encode(c.overlay, c.sealed)
	if err != nil {
		return err
	}
	m.Annotations[AnnotationOverlay] = s
	return nil
}

// restoration is one translation back to the virtual cluster under way.
type restoration struct {
	t *Translator
	// The virtual object's identity, from the annotations of the host object.
	kind, namespace, name string
	overlay               *overlay
	overlayErr            error

	names  map[string]string // host name to virtual name
	labels map[string]string // host label key to virtual label key
	keys   map[string]string // host annotation key to virtual annotation key
}

// open checks that a host object is ours and opens its overlay.
func (t *Translator) open(kind string, m metav1.Object) (*restoration, error) {
	namespace, name, err := t.Identify(kind, m)
	if err != nil {
		return nil, err
	}
	c := &restoration{t: t, kind: kind, namespace: namespace, name: name}
	c.overlay, c.overlayErr = t.codec.decode(m.GetAnnotations())
	c.names = make(map[string]string, len(c.overlay.Names))
	for _, n := range c.overlay.Names {
		c.names[t.Name(namespace, n)] = n
		if former, ok := t.FormerName(namespace, n); ok {
			c.names[former] = n
		}
	}
	c.labels = make(map[string]string, len(c.overlay.Labels))
	for _, k := range c.overlay.Labels {
		c.labels[movedLabelKey(k)] = k
	}
	c.keys = make(map[string]string, len(c.overlay.Keys))
	for _, k := range c.overlay.Keys {
		c.keys[movedAnnotationKey(k)] = k
	}
	return c, nil
}

// err returns the fault of the overlay, if any.
func (c *restoration) err(hostName string) error {
	err := c.overlayErr
	if err == nil {
		err = c.overlay.err
	}
	if err == nil {
		return nil
	}
	return &CorruptOverlayError{Kind: c.kind, Namespace: c.namespace, Name: c.name, HostName: hostName, Err: err}
}

// Identify returns the namespace and name of the virtual object that a host
// object of the given kind is, or ErrForeign. The annotations are believed
// only if they lead back to the host object's own name, or to its former one.
func (t *Translator) Identify(kind string, m metav1.Object) (namespace, name string, err error) {
	a := m.GetAnnotations()
	namespace, name = a[AnnotationNamespace], a[AnnotationName]
	ours := m.GetNamespace() == t.cluster.HostNamespace &&
		m.GetLabels()[LabelCluster] == t.cluster.Name &&
		a[AnnotationKind] == kind &&
		namespace != "" && name != "" && t.isName(m.GetName(), namespace, name)
	if !ours {
		return "", "", fmt.Errorf("%w: %s %s/%s", ErrForeign, kind, m.GetNamespace(), m.GetName())
	}
	return namespace, name, nil
}

// VirtualOwners returns the owner references of the virtual object that a host
// object is. They are in its overlay, and the error is that of a corrupt one.
func VirtualOwners(host metav1.Object) ([]metav1.OwnerReference, error) {
	o, err := decodeOverlay(host.GetAnnotations())
	return o.OwnerReferences, err
}
