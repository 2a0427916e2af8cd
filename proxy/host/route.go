// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// fieldManager is who the door is in the host's managedFields.
const fieldManager = "portico"

// Subresources of the host that a change may have to go to.
const (
	subMain      = ""
	subStatus    = "status"
	subEphemeral = "ephemeralcontainers"
	subResize    = "resize"
	subBinding   = "binding"
)

// patch is one PATCH of a host object.
type patch struct {
	subresource string
	format      types.PatchType
	body        []byte
}

func (p patch) subresources() []string {
	if p.subresource == subMain {
		return nil
	}
	return []string{p.subresource}
}

// step is one host call of an update, still without the revision that it is
// conditional on: each step takes that from the reply to the one before.
type step struct {
	subresource            string
	metadata, spec, status map[string]any
	bind                   string // the node, for subBinding
}

// plan is the list of host calls of an update, in order.
//
// Storage sees an old and a new object; the host has verbs. Most updates are
// one call. Those that need two are ordered so that a failure in between leaves
// an object that is shown truthfully and can be updated again: the metadata
// goes first, because it holds the overlay, without which the tenant would see
// host names in the fields that the second call writes. An overlay entry for a
// field that is not there yet is ignored. A deletion comes last, when the
// finalizer that has to hold the object is there.
type plan struct {
	format types.PatchType
	steps  []step
	// after is the host object that the steps make. Errors and warnings are
	// about it.
	after runtime.Object
	// asked is the virtual object of the tenant, in the host's version.
	asked runtime.Object
	// grace is set when the update starts a deletion or shortens its grace
	// period.
	grace *int64
	// settle is called with the outcome of the steps, if something was brought
	// onto the host for them.
	settle func(refused bool)
}

// calls counts the calls of a plan.
func (p plan) calls() int {
	if p.grace != nil {
		return len(p.steps) + 1
	}
	return len(p.steps)
}

// changesSpec reports whether a plan asks for anything that the host may drop.
func (p plan) changesSpec() bool {
	return slices.ContainsFunc(p.steps, func(st step) bool { return st.spec != nil })
}

// route decides which host calls apply d.
//
// The request's own subresource determines its changes. Other differences come
// from the virtual registry, which does a thing that the host does by itself (a
// new generation, the PodScheduled condition of a binding), and are left out.
// Callers inside this process come without a request or with the eviction
// subresource; their changed fields determine the calls.
func (s *Storage) route(ctx context.Context, d diff, before, after runtime.Object) plan {
	p := plan{format: d.format}
	var rest []step
	switch s.subresourceOf(ctx) {
	case subMain:
		d.status = nil
	case subStatus:
		d.spec = nil
	case subEphemeral, subResize:
		d.status = nil
		if d.spec != nil {
			rest = append(rest, step{subresource: s.subresourceOf(ctx), spec: d.spec})
			d.spec = nil
		}
	case subBinding:
		d.status = nil
	}
	if s.kind.divert != nil {
		rest = append(rest, s.kind.divert(&d, before, after)...)
	}
	if len(d.spec) == 0 {
		d.spec = nil
	}
	switch {
	case d.status == nil:
		if d.metadata != nil || d.spec != nil {
			p.steps = append(p.steps, step{metadata: d.metadata, spec: d.spec})
		}
	case d.spec == nil:
		// The host takes metadata together with a status.
		p.steps = append(p.steps, step{subresource: subStatus, metadata: d.metadata, status: d.status})
	default:
		p.steps = append(p.steps,
			step{metadata: d.metadata, spec: d.spec},
			step{subresource: subStatus, status: d.status})
	}
	p.steps = append(p.steps, rest...)
	return p
}

// subUnknown stands for a caller without a subresource that determines its
// changes.
const subUnknown = "unknown"

// subresourceOf returns the subresource of the request that ctx belongs to, or
// subUnknown when there is none, or it is about something else.
func (s *Storage) subresourceOf(ctx context.Context) string {
	info, ok := request.RequestInfoFrom(ctx)
	if !ok || !info.IsResourceRequest || info.APIGroup != s.resource.Group || info.Resource != s.resource.Resource {
		return subUnknown
	}
	switch info.Subresource {
	case subMain, subStatus, subEphemeral, subResize, subBinding:
		return info.Subresource
	}
	return subUnknown
}

// deletion returns the grace period when an update of a virtual object starts
// its deletion, or makes a deletion that is under way come sooner. The
// registry does both as updates; a host takes neither but as DELETE.
func deletion(before, after runtime.Object) (*int64, error) {
	b, err := meta.Accessor(before)
	if err != nil {
		return nil, err
	}
	a, err := meta.Accessor(after)
	if err != nil {
		return nil, err
	}
	if a.GetDeletionTimestamp() == nil {
		return nil, nil
	}
	grace := int64(0)
	if g := a.GetDeletionGracePeriodSeconds(); g != nil {
		grace = *g
	}
	if b.GetDeletionTimestamp() != nil {
		old := b.GetDeletionGracePeriodSeconds()
		if old == nil || grace >= *old {
			return nil, nil
		}
	}
	return &grace, nil
}

// patch makes the call of a step that is conditional on the object that was
// read: another revision or another object of that name is a conflict.
func (st step) patch(format types.PatchType, uid types.UID, rv string) (patch, error) {
	metadata := make(map[string]any, len(st.metadata)+2)
	for k, v := range st.metadata {
		metadata[k] = v
	}
	metadata["uid"] = string(uid)
	metadata["resourceVersion"] = rv
	tree := map[string]any{"metadata": metadata}
	if st.spec != nil {
		tree["spec"] = st.spec
	}
	if st.status != nil {
		tree["status"] = st.status
	}
	body, err := json.Marshal(tree)
	if err != nil {
		return patch{}, err
	}
	return patch{subresource: st.subresource, format: format, body: body}, nil
}
