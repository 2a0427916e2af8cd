// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/proxy/hooks"
	"portico.dev/portico/rewrite"
)

// operatorsHooks are the webhooks and patches of a configuration. Their addresses are the
// operator's, so the rules of egress, which are for those of tenants, do not
// apply.
func (vc *virtualCluster) operatorsHooks() (*hooks.Hooks, error) {
	all := make([]hooks.Config, 0, len(vc.config.Hooks))
	for i := range vc.config.Hooks {
		all = append(all, hookOf(&vc.config.Hooks[i]))
	}
	patches := make([]hooks.PatchConfig, 0, len(vc.config.Patches))
	for i := range vc.config.Patches {
		patches = append(patches, patchOf(&vc.config.Patches[i]))
	}
	made, err := hooks.New(vc.translator, all, patches, clock.RealClock{})
	if err != nil {
		return nil, withHint(err, "expressions are CEL as in a MutatingAdmissionPolicy; the files of hooks[] are PEM files that porticod can read; the chart mounts those of controlPlane.hooksSecret in /etc/portico/hooks")
	}
	return made, nil
}

func hookOf(h *config.Hook) hooks.Config {
	c := hooks.Config{
		Name: h.Name, URL: h.URL, CAFile: h.CAFile, CertFile: h.CertFile, KeyFile: h.KeyFile,
		Timeout: h.Wait(), Ignore: h.FailurePolicy == config.HookIgnore, Resources: h.Kinds, Back: h.IsBack(),
	}
	c.Operations, c.References = operationsOf(h.Operations), referencesOf(h.References)
	return c
}

func patchOf(p *config.Patch) hooks.PatchConfig {
	return hooks.PatchConfig{
		Name: p.Name, Resources: p.Kinds, Operations: operationsOf(p.Operations),
		ApplyConfiguration: p.ApplyConfiguration, JSONPatch: p.JSONPatch, References: referencesOf(p.References),
	}
}

// operationsOf are creations where nothing else is asked for.
func operationsOf(words []string) []admissionv1.Operation {
	if len(words) == 0 {
		return []admissionv1.Operation{admissionv1.Create}
	}
	all := make([]admissionv1.Operation, 0, len(words))
	for _, op := range words {
		all = append(all, admissionv1.Operation(op))
	}
	return all
}

func referencesOf(listed []config.HookReference) []rewrite.Reference {
	all := make([]rewrite.Reference, 0, len(listed))
	for _, r := range listed {
		all = append(all, rewrite.Reference{Kind: r.Kind, Name: r.Name})
	}
	return all
}

// hooksOfIngresses shows copies of Ingresses to the hooks; nil if there are none.
func (c *composition) hooksOfIngresses() func(context.Context, *networkingv1.Ingress, *networkingv1.Ingress) (*networkingv1.Ingress, error) {
	if c.virtualCluster.hooks == nil {
		return nil
	}
	return func(ctx context.Context, virtual, copied *networkingv1.Ingress) (*networkingv1.Ingress, error) {
		changed, err := c.virtualCluster.hooks.Copy(ctx, hooks.Object{
			Kind:      networkingv1.SchemeGroupVersion.WithKind("Ingress"),
			Resource:  networkingv1.SchemeGroupVersion.WithResource("ingresses"),
			Virtual:   types.NamespacedName{Namespace: virtual.Namespace, Name: virtual.Name},
			Operation: admissionv1.Create,
		}, copied)
		var status apierrors.APIStatus
		if errors.As(err, &status) { // a hook knows the host's names, and the tenant reads its words in an Event
			return nil, &apierrors.StatusError{ErrStatus: c.translator.StatusWith(status.Status(), c.translator.Known("Ingress", copied))}
		}
		if err != nil {
			return nil, err
		}
		ingress, ok := changed.(*networkingv1.Ingress)
		if !ok {
			return nil, fmt.Errorf("hooks made a %T of an Ingress", changed)
		}
		return ingress, nil
	}
}
