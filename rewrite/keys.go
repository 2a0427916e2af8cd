// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"strings"
)

// The reserved prefix. Tenants cannot write keys under it, and whatever of
// Portico selects on the host does so by these keys only.
const (
	Prefix = "portico.dev/"

	// LabelCluster and LabelNamespace scope every host object.
	LabelCluster   = Prefix + "cluster"
	LabelNamespace = Prefix + "namespace"

	// LabelComposed marks host objects that are no translation of a virtual
	// object but were composed for the cluster. Its value is the purpose.
	LabelComposed = Prefix + "composed"
	// LabelHostNamespace tells clusters of one name apart on host objects that
	// are in no namespace.
	LabelHostNamespace = Prefix + "host-namespace"

	// AnnotationName, AnnotationNamespace and AnnotationKind say which virtual
	// object a host object is; AnnotationOverlay holds what is virtual only.
	AnnotationName      = Prefix + "name"
	AnnotationNamespace = Prefix + "namespace"
	AnnotationKind      = Prefix + "kind"
	AnnotationOverlay   = Prefix + "overlay"

	// Annotations that the downward API reads in place of a host field. They
	// exist only on pods that ask for them.
	AnnotationLabels         = Prefix + "labels"
	AnnotationAnnotations    = Prefix + "annotations"
	AnnotationServiceAccount = Prefix + "service-account"

	// AnnotationHosts is the one reserved key that a tenant may write, on a pod
	// that is created. With the value "kubelet" nothing is added to the pod for
	// the sake of /etc/hosts.
	AnnotationHosts = Prefix + "etc-hosts"

	// FinalizerVirtual holds a host object while virtual finalizers exist.
	FinalizerVirtual = Prefix + "virtual-finalizers"

	// ManagedBy marks pushed EndpointSlices, so that no controller of the host
	// takes them for its own.
	ManagedBy = "portico.dev"
)

// Hashed keys stand in for keys that must not be on the host as they are.
const (
	movedLabelPrefix      = Prefix + "label-"
	namespaceLabelPrefix  = Prefix + "ns-label-"
	movedAnnotationPrefix = Prefix + "annotation-"
)

// Reserved reports whether a label or annotation key is Portico's own.
func Reserved(key string) bool { return strings.HasPrefix(key, Prefix) }

// foreign reports whether a reserved key is none that a translation writes.
// Other parts of Portico have put it on the host object, and it is theirs.
func foreign(key string) bool {
	switch key {
	case LabelCluster, LabelNamespace, AnnotationName, AnnotationKind, AnnotationOverlay,
		AnnotationLabels, AnnotationAnnotations, AnnotationServiceAccount:
		return false // LabelNamespace is AnnotationNamespace too
	}
	return Reserved(key) && !strings.HasPrefix(key, movedLabelPrefix) &&
		!strings.HasPrefix(key, namespaceLabelPrefix) && !strings.HasPrefix(key, movedAnnotationPrefix)
}

func movedLabelKey(key string) string      { return movedLabelPrefix + hash(key) }
func namespaceLabelKey(key string) string  { return namespaceLabelPrefix + hash(key) }
func movedAnnotationKey(key string) string { return movedAnnotationPrefix + hash(key) }

// matches reports whether key is in a list of keys and prefixes.
func matches(list []string, key string) bool {
	for _, entry := range list {
		switch {
		case strings.HasSuffix(entry, "*"):
			if strings.HasPrefix(key, entry[:len(entry)-1]) {
				return true
			}
		case strings.HasSuffix(entry, "/"):
			if strings.HasPrefix(key, entry) {
				return true
			}
		case entry == key:
			return true
		}
	}
	return false
}

// movesLabel reports whether a label key has another name on the host. A
// reserved key does too: asked for through the downward API or a selector, it
// must not find Portico's own label.
func (t *Translator) movesLabel(key string) bool {
	return Reserved(key) || matches(t.movedLabels, key)
}

// hidesAnnotation reports whether an annotation of the tenant stays off the
// host.
func (t *Translator) hidesAnnotation(kind, key string) bool {
	return Reserved(key) || matches(t.hiddenAnnotations[""], key) || matches(t.hiddenAnnotations[kind], key) ||
		t.hostsAnnotation(kind, key)
}

// hostsAnnotation reports whether an annotation is written by the host only;
// where both have it, the tenant sees the host's value.
func (t *Translator) hostsAnnotation(kind, key string) bool {
	return matches(t.hostAnnotations[kind], key)
}
