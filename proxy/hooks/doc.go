// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package hooks makes the changes of an operator to objects of a tenant. Patches,
// which are expressions in CEL, change host objects that porticod is about to
// write. Hooks are webhooks: they see these objects after the patches, and virtual
// objects on their way back to the tenant. A hook answers as an admission webhook
// does (admission/v1): it takes the object, changes it, or refuses it.
//
// It is not the tenant's admission, which runs before on the virtual object, nor
// the host's, which runs after on any object of the host. It knows neither
// clients nor storages: package host and the parts of sync call it with one
// object at a time.
//
// # Invariants
//
//   - A change that breaks the laws of package rewrite is never used. On the way
//     to the host it refuses the write, whatever the failure policy.
//   - An object on its way back is shown without a hook's changes rather than not
//     shown: to a controller inside, an object that is not shown is deleted.
//   - The address of a hook, its authority and the time that it has are the
//     operator's. Nothing of an object decides where it is sent; no redirect is
//     followed.
//   - No answer but a review reaches a tenant: errors name the hook, and neither its
//     address nor its page.
//
// # Map
//
//	hooks.go    Hooks: which hooks an object is shown to, in order
//	patches.go  patches: expressions in CEL, before the hooks
//	call.go     one review, there and back
//	copies.go   answers about copies that are made again and again
//	back.go     the way back to the tenant
//	metrics.go  measurements
package hooks
