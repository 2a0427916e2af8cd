// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/every"
	"portico.dev/portico/sync/kinds"
)

// ingressesPart brings the tenant's Ingresses to the host, and shows where the
// host lets requests in.
func (c *composition) ingressesPart() (part, error) {
	if !c.config.Sync.ToHost.Ingresses.Enabled {
		return part{}, nil
	}
	policy := c.config.Sync.ToHost.Ingresses.Policy()
	p, err := every.New(every.Config[*networkingv1.Ingress]{
		Row: kinds.PushedIngresses(policy), Translator: c.translator, Informers: c.shared, Host: c.lead.host, Events: c.report, Reason: "NotOnHost",
		Inputs: c.formerServices,
		Wanted: func(virtual *networkingv1.Ingress) (bool, string) {
			if !policy.Offered(virtual) {
				return false, ""
			}
			if errs := policy.Validate(virtual); len(errs) > 0 {
				return false, errs.ToAggregate().Error()
			}
			return true, ""
		},
		Change: c.hooksOfIngresses(),
		Show: func(ctx context.Context, virtual, host *networkingv1.Ingress) error {
			var status networkingv1.IngressStatus
			if host != nil {
				status = *host.Status.DeepCopy()
			}
			if equality.Semantic.DeepEqual(virtual.Status, status) {
				return nil
			}
			shown := virtual.DeepCopy()
			shown.Status = status
			_, err := c.lead.virtual.NetworkingV1().Ingresses(shown.Namespace).UpdateStatus(ctx, shown, metav1.UpdateOptions{})
			return err
		},
	})
	if err != nil {
		return part{}, err
	}
	return part{leading: p.Run}, nil
}

// formerServices finds which of the Services that an Ingress leads to have a former
// name on the host. Only long names had another one.
func (c *composition) formerServices(ctx context.Context, virtual *networkingv1.Ingress) (in rewrite.Inputs, err error) {
	for _, service := range rewrite.IngressServices(virtual) {
		names := c.translator.HostNames("Service", virtual.Namespace, service)
		if len(names) == 1 {
			continue
		}
		found, err := rewrite.Find(c.translator, "Service", virtual.Namespace, service, func(name string) (*corev1.Service, error) {
			return c.lead.host.CoreV1().Services(c.config.Host.Namespace).Get(ctx, name, metav1.GetOptions{})
		})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return in, fmt.Errorf("look for Service %s/%s on the host: %w", virtual.Namespace, service, err)
		case found.Name != names[0]:
			in.Former = append(in.Former, rewrite.Named{Kind: "Service", Name: service})
		}
	}
	return in, nil
}

// ingressesOnHost tells those that are on the host; nil if none can be.
func (c *composition) ingressesOnHost() func(*networkingv1.Ingress) bool {
	if !c.config.Sync.ToHost.Ingresses.Enabled {
		return nil
	}
	policy := c.config.Sync.ToHost.Ingresses.Policy()
	return func(i *networkingv1.Ingress) bool { return policy.Offered(i) && len(policy.Validate(i)) == 0 }
}

// ofIngresses judges writes to Ingresses. One that the operator does not allow is
// refused, unless it was so before; one that stays inside has a warning.
func ofIngresses(policy *rewrite.IngressPolicy) func(before, after *networkingv1.Ingress) ([]string, error) {
	return func(before, after *networkingv1.Ingress) ([]string, error) {
		switch {
		case after == nil:
			return nil, nil
		case before != nil && equality.Semantic.DeepEqual(before.Spec, after.Spec) && equality.Semantic.DeepEqual(before.Annotations, after.Annotations):
			if policy.Offered(after) && !equality.Semantic.DeepEqual(before.Status, after.Status) {
				return nil, fmt.Errorf("the status of an Ingress of class %s is the host's", *after.Spec.IngressClassName)
			}
			return nil, nil
		case !policy.Offered(after):
			return []string{"the host of this cluster does not serve this Ingress: it does for spec.ingressClassName " + strings.Join(policy.Classes, ", ")}, nil
		}
		if errs := policy.Validate(after); len(errs) > 0 {
			return nil, errs.ToAggregate()
		}
		var warnings []string
		for _, key := range policy.Kept(after) {
			if key != corev1.LastAppliedConfigAnnotation {
				warnings = append(warnings, "annotation "+key+" does not reach the host of this cluster")
			}
		}
		return warnings, nil
	}
}
