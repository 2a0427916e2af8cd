// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"strings"
)

// The reserved prefix. A tenant's keys under it are never on the host as they are
// (a virtual cluster inside of this one writes some), and all selectors of Portico
// on the host use these keys only.
const (
	Prefix = "portico.dev/"

	// LabelCluster and LabelNamespace scope every host object.
	LabelCluster   = Prefix + "cluster"
	LabelNamespace = Prefix + "namespace"

	// LabelComposed marks host objects that are no translation of a virtual
	// object but were composed for the cluster. Its value is the purpose.
	LabelComposed = Prefix + "composed"
	// LabelHostNamespace distinguishes clusters of one name on host objects
	// that are in no namespace.
	LabelHostNamespace = Prefix + "host-namespace"

	// AnnotationName, AnnotationNamespace and AnnotationKind say which virtual
	// object a host object is; AnnotationOverlay holds the values that are
	// virtual only.
	AnnotationName      = Prefix + "name"
	AnnotationNamespace = Prefix + "namespace"
	AnnotationKind      = Prefix + "kind"
	AnnotationOverlay   = Prefix + "overlay"

	// Annotations that the downward API reads in place of a host field. They
	// exist only on pods that ask for them.
	AnnotationLabels         = Prefix + "labels"
	AnnotationAnnotations    = Prefix + "annotations"
	AnnotationServiceAccount = Prefix + "service-account"

	// AnnotationEtcHosts is the one reserved key of a tenant that is read, on a pod
	// that is created. With the value "kubelet" nothing is added to the pod for
	// the sake of /etc/hosts.
	AnnotationEtcHosts = Prefix + "etc-hosts"

	// FinalizerVirtual holds a host object while virtual finalizers exist.
	FinalizerVirtual = Prefix + "virtual-finalizers"

	// ManagedBy marks pushed EndpointSlices, so that no controller of the host
	// takes them for its own.
	ManagedBy = "portico.dev"
)

// Hashed keys stand in for keys that must not be on the host as they are. Their
// 50 bits are enough: a key names nothing, and tenants who find two keys with
// one hash may write both on the objects of their own cluster. Our selectors
// find no others. Selectors in pods that exist have these keys, and cannot
// change.
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

func movedLabelKey(key string) string      { return movedLabelPrefix + hash(key)[:keyHash] }
func namespaceLabelKey(key string) string  { return namespaceLabelPrefix + hash(key)[:keyHash] }
func movedAnnotationKey(key string) string { return movedAnnotationPrefix + hash(key)[:keyHash] }
