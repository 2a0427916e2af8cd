// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package activity

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// Judge says which requests are activity.
type Judge struct {
	// IgnoredAgents are user agents whose requests are none. A * at the end
	// stands for any text.
	IgnoredAgents []string
	// PodsKeepAwake says that requests of the cluster's own pods are activity.
	PodsKeepAwake bool
}

// quiet are the API groups whose requests programs repeat for as long as they
// run: leases, reviews of rights, and measurements.
var quiet = []string{"coordination.k8s.io", "authorization.k8s.io", "authentication.k8s.io", "metrics.k8s.io"}

// streams are the subresources whose requests last for as long as a person uses
// them.
var streams = []string{"exec", "attach", "portforward", "proxy", "log"}

// Counts reports whether a request is activity.
func (j Judge) Counts(who user.Info, r *request.RequestInfo, agent string) bool {
	if who == nil || r == nil || !r.IsResourceRequest || slices.Contains(quiet, r.APIGroup) {
		return false // Discovery, health, metrics and documents are no resources.
	}
	if r.Verb == "watch" {
		return false
	}
	if r.Resource == "events" && r.Verb != "get" && r.Verb != "list" {
		return false // Programs write them.
	}
	return j.isUser(who) && !j.ignored(agent)
}

// isStream reports whether a request lasts while it is used.
func isStream(r *request.RequestInfo) bool {
	return (r.Resource == "pods" || r.Resource == "services" || r.Resource == "nodes") && slices.Contains(streams, r.Subresource)
}

// isUser reports whether a request comes from outside of the cluster, or from
// one of its pods where these count.
func (j Judge) isUser(who user.Info) bool {
	namespace, _, err := serviceaccount.SplitUsername(who.GetName())
	if err != nil {
		// porticod itself, and all that are not authenticated.
		return !strings.HasPrefix(who.GetName(), "system:") || slices.Contains(who.GetGroups(), user.SystemPrivilegedGroup) && who.GetName() != user.APIServerUser
	}
	extra := who.GetExtra()
	if len(extra[serviceaccount.PodNameKey]) > 0 {
		return j.PodsKeepAwake && namespace != metav1.NamespaceSystem
	}
	// A token that was made for a program outside. The cluster's own controllers
	// have none: they are impersonated.
	return namespace != metav1.NamespaceSystem || len(extra[user.CredentialIDKey]) > 0
}

func (j Judge) ignored(agent string) bool {
	return slices.ContainsFunc(j.IgnoredAgents, func(pattern string) bool {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(agent, prefix)
		}
		return agent == pattern
	})
}
