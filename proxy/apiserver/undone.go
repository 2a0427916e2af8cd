// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

// Undone judges a tenant's writes to the objects of one kind, which porticod puts
// back where the host has another value: such a write is refused, instead of
// answered and undone. One that is made and has no effect gets a warning.
type Undone struct {
	Resource schema.GroupResource
	// New makes an empty object of the kind, in the version that Judge wants.
	New func() runtime.Object
	// Judge returns why a write is refused, or else remarks for its user. The
	// object before is nil when it is made, and the one after when it is
	// deleted.
	Judge func(before, after runtime.Object) (warnings []string, err error)
}

// undone is an admission plugin of the rows.
type undone map[schema.GroupResource]Undone

var _ admission.ValidationInterface = undone{}

// guardUndone makes a server ask the rows about writes.
func guardUndone(server *genericapiserver.Config, rows []Undone) {
	if len(rows) == 0 {
		return
	}
	all := undone{}
	for _, row := range rows {
		all[row.Resource] = row
	}
	server.AdmissionControl = admission.NewChainHandler(server.AdmissionControl, all)
}

// Handles implements admission.Interface.
func (u undone) Handles(op admission.Operation) bool { return op != admission.Connect }

// Validate implements admission.ValidationInterface. porticod's own writes are
// those that put back.
func (u undone) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	row, ok := u[a.GetResource().GroupResource()]
	if !ok || a.GetSubresource() != "" && a.GetSubresource() != "status" || a.GetUserInfo().GetName() == user.APIServerUser {
		return nil
	}
	before, err := row.versioned(a.GetOldObject())
	if err != nil {
		return err
	}
	after, err := row.versioned(a.GetObject())
	if err != nil || before == nil && after == nil {
		return err
	}
	warnings, err := row.Judge(before, after)
	if err != nil {
		return admission.NewForbidden(a, err)
	}
	for _, text := range warnings {
		warning.AddWarning(ctx, "", text)
	}
	return nil
}

func (u Undone) versioned(obj runtime.Object) (runtime.Object, error) {
	if obj == nil {
		return nil, nil
	}
	out := u.New()
	if err := legacyscheme.Scheme.Convert(obj, out, nil); err != nil {
		return nil, fmt.Errorf("convert %T: %w", obj, err)
	}
	return out, nil
}
