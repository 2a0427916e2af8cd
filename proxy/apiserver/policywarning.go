// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"io"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apiserver/pkg/admission"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/warning"
)

// policyWarning is an admission plugin that refuses nothing. A user who writes
// a NetworkPolicy takes it for a wall; where the host does not get it, the
// answer says so.
type policyWarning struct{}

const (
	policyWarningPlugin = "NetworkPolicyWarning"
	notEnforced         = "not enforced: the host of this cluster does not get its NetworkPolicies; its operator can set sync.toHost.networkPolicies"
)

func (w policyWarning) register(o *genericoptions.AdmissionOptions) {
	o.Plugins.Register(policyWarningPlugin, func(io.Reader) (admission.Interface, error) { return w, nil })
	o.RecommendedPluginOrder = append(o.RecommendedPluginOrder, policyWarningPlugin)
}

// Handles implements admission.Interface.
func (policyWarning) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Validate implements admission.ValidationInterface.
func (policyWarning) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetResource().GroupResource() == networkingv1.Resource("networkpolicies") {
		warning.AddWarning(ctx, "", notEnforced)
	}
	return nil
}
