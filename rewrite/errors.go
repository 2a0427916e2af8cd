// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"errors"
	"fmt"
)

var (
	// ErrForeign is returned for a host object that is not a translated object
	// of this cluster: it lacks the labels and annotations that identify it, or
	// they do not lead back to its name.
	ErrForeign = errors.New("host object does not belong to this virtual cluster")

	// ErrOwnService is returned for an attempt to translate a new
	// default/kubernetes Service, or endpoints of it: it is the cluster's own
	// host Service, which only the installation writes.
	ErrOwnService = errors.New("the kubernetes Service is the cluster's own and cannot be written")

	// ErrOwnEndpoints is returned for an attempt to translate endpoints of a
	// Service of which the installation alone says where it leads.
	ErrOwnEndpoints = errors.New("the endpoints of this Service are the cluster's own and cannot be written")

	// ErrNoClass is returned, wrapped, for a pod that names a class that no
	// longer exists. The whole text is for the tenant.
	ErrNoClass = errors.New("not found")

	// ErrKind is returned for an object of a kind that has no translation.
	ErrKind = errors.New("no translation for this kind")

	errNoOverlay = errors.New("annotation " + AnnotationOverlay + " is missing")
)

// CorruptOverlayError is returned by ToVirtual next to a usable object when the
// overlay of the host object cannot be read. Tenants cannot write it, so a user
// of the host did. Without it the object shows neither the tenant's owner
// references nor its finalizers, and fields that were replaced show the host's
// value. The next write repairs it as far as that goes.
type CorruptOverlayError struct {
	Kind, Namespace, Name string // of the virtual object
	HostName              string
	Err                   error
}

func (e *CorruptOverlayError) Error() string {
	return fmt.Sprintf("read the overlay of %s %s/%s: %v", e.Kind, e.Namespace, e.Name, e.Err)
}

func (e *CorruptOverlayError) Unwrap() error { return e.Err }
