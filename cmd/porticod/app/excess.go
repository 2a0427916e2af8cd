// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"portico.dev/portico/cmd/porticod/rights"
)

const (
	// excessTimeout bounds how long a start waits for the host's review of the
	// rights of its credential.
	excessTimeout = 5 * time.Second
	// maxExcess is how many rights the log names.
	maxExcess = 10
)

// everywhere are rights over other namespaces of the host that no
// configuration needs, the most telling first.
var everywhere = []authorizationv1.ResourceAttributes{
	{Verb: rbacv1.VerbAll, Group: rbacv1.APIGroupAll, Resource: rbacv1.ResourceAll},
	{Verb: "list", Resource: "secrets"},
	{Verb: "create", Resource: "pods"},
	{Verb: "create", Group: rbacv1.GroupName, Resource: "clusterrolebindings"},
	{Verb: "impersonate", Resource: "users"},
}

// warnOfExcess warns once of the rights of the host credential that the
// configuration does not need. An attacker who takes over this process has all
// of them.
func (vc *virtualCluster) warnOfExcess(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, excessTimeout)
	defer cancel()
	log := klog.FromContext(ctx)
	excess, err := vc.excess(ctx)
	if err != nil {
		log.Info("The host does not review the rights of porticod's credential", "err", err)
		return
	}
	if len(excess) == 0 {
		return
	}
	more := max(0, len(excess)-maxExcess)
	log.Info("Warning: porticod's credential for the host can do more than this configuration needs; porticod rights prints the rights that are enough",
		"excess", excess[:len(excess)-more], "more", more)
}

func (vc *virtualCluster) excess(ctx context.Context) ([]string, error) {
	var all []string
	for _, right := range everywhere {
		allowed, err := vc.hostAllows(ctx, right)
		if err != nil {
			return nil, err
		}
		if allowed {
			all = append(all, fmt.Sprintf("%s %s in all namespaces", right.Verb, right.Resource))
		}
		if allowed && right.Resource == rbacv1.ResourceAll {
			return all, nil // the rest follows
		}
	}
	review, err := vc.hostClient.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: vc.config.Host.Namespace},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return append(all, rights.Excess(slices.Concat(rights.For(vc.config), rights.Optional(vc.config)), review.Status.ResourceRules)...), nil
}
