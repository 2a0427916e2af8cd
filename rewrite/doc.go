// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package rewrite turns the objects of a virtual cluster into the objects of
// the host namespace that carries it, and back.
//
// It is pure: no I/O, no clock, no context, no log, no global state. A
// [Translator] is a value computed from a [Cluster]; the facts that a
// translation needs besides the object itself come in as [Inputs]. The same
// arguments always give the same bytes. One thing can change while it is used: the
// owner of all objects, when somebody deleted it on the host ([Translator.SetOwner]).
//
// It is not a client and not a policy: it does not know which objects exist on
// the host, and whether a tenant may create a privileged pod is decided at the
// door, before anything is translated.
//
// # How an object is translated
//
// ToHost works on a deep copy, in three steps:
//
//  1. Translate. Metadata gets its host form (metadata.go). Fields that name
//     other objects are rewritten by one walker (walk.go) that is driven by the
//     tables of package rules. Fields that are more than a name (DNS, tokens,
//     environment, affinity) are rewritten by a pass, a small pair of
//     functions, one forth and one back.
//  2. Keep. When the object is on the host already, every field that the tenant
//     sees unchanged keeps the value it has on the host (keep.go). This makes
//     updates small: a translation is decided once, and a later change of the
//     configuration, of a Service or of a webhook on the host cannot make an
//     unrelated update touch an immutable field. The host keeps its status,
//     except for the fields that the kind's table names (ownstatus.go).
//  3. Seal. All values that cannot be computed back from the host object go
//     into one compressed annotation, the overlay (overlay.go).
//
// ToVirtual runs the same passes backwards. A field is turned back only while
// the host still has the value that was written; any other value is the host's
// own change and is shown as it is.
//
// # Invariants
//
// The laws of docs/decisions.md D7, each held by a test in laws_test.go:
//
//  1. ToVirtual(ToHost(v)) == v.
//  2. After the host changed its copy, ToVirtual shows v plus those changes
//     and nothing that ToHost added.
//  3. Names are injective; a host name is never split, only looked up.
//  4. Every field that can name an object or select pods has a row in package
//     rules, or a reason there why it needs none; also of kinds whose copies
//     the host has.
//  5. No selector and no reference leaves the virtual namespace and cluster.
//  6. No host name reaches the tenant in the text of a status.
//
// And one that the storage above relies on: with Inputs.Host set to h,
// ToHost(ToVirtual(h)) equals h in everything but the overlay's bytes.
//
// # Map
//
//	cluster.go      Cluster, Inputs, Translator
//	translate.go    ToHost and ToVirtual for any kind; the state of a translation
//	kind.go         the three steps, once for all kinds on the host
//	pod.go          a pod, forth and back: the list of its passes
//	service.go claim.go resourceclaim.go pushed.go   the other kinds
//	ingress.go      IngressPolicy, and the copy of an Ingress
//	budget.go       the copy of a PodDisruptionBudget
//	custom.go       copies of kinds without a table; custompath.go  their fields; customlooks.go  fields that look like references
//	networkpolicy.go   the copy of a policy; networkpolicydoor.go  the way to porticod; networkpolicybounds.go  the operator's limits
//	dns.go          the one Service whose spec is not the tenant's
//	names.go        host names; former.go  former ones; keys.go  reserved and moved keys
//	metadata.go     labels, annotations, owners, finalizers
//	passing.go      which labels and annotations reach the host; ownkeys.go the owners of those on the host
//	walk.go         the walker; fields.go  the fields of a type; references.go fieldpath.go its actions
//	selector.go affinity.go containers.go env.go etchosts.go identity.go network.go placement.go podclaims.go tolerations.go volumes.go   passes
//	keep.go         unchanged fields stay
//	ownstatus.go    a status is the host's, except for the tenant's conditions
//	shownstatus.go  a tenant's status that is shown inside only
//	generation.go   changes of a spec that the host does not see count too
//	overlay.go      the annotation; record.go  entries of passes in it; overlaycache.go  those read before
//	text.go status.go   host text to virtual text; places.go  the fields it names
//	composed.go     a kubelet's texts about composed objects
//	validate.go     values that a tenant may not write; admit.go values that a tenant may not add, by configuration
//	errors.go       ErrForeign, CorruptOverlayError
//	persistentvolume.go  volumes of the tenant's that claims have on the host
//	storageclass.go  classes of the tenant's that claims have on the host
//	classes.go  names of priority, runtime and device classes
//	projections.go  token, certificate and trust projections
//	set.go  sets of strings
//	changed.go      changes of an operator's to a host object, and those that would break the laws
//	hidden.go       the parts that the tenant does not see; hiddentexts.go  texts without them
//	validate_etchosts.go  names that the hidden container uses
package rewrite
