// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite/marks"
)

// gatewayRound is how often the announcement of the host's gateway is read. It is
// one request, for names that change with the host's DNS.
const gatewayRound = 10 * time.Minute

// gatewayNames are those that the host's gateway leads to the door by. Everybody
// on the host may read them, and without rights to, there are none.
type gatewayNames struct {
	host               kubernetes.Interface
	cluster, namespace string
	names              atomic.Pointer[[]string]
}

// Names returns those of the last reading.
func (g *gatewayNames) Names() []string {
	if names := g.names.Load(); names != nil {
		return *names
	}
	return nil
}

// read reports whether there are others than before. A host that does not answer
// changes nothing.
func (g *gatewayNames) read(ctx context.Context) (changed bool) {
	found, err := g.host.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(ctx, marks.GatewayName, metav1.GetOptions{})
	var names []string
	switch {
	case err == nil:
		names = marks.GatewayOf(found.Data).Names(g.cluster, g.namespace)
	case !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err):
		klog.FromContext(ctx).V(2).Info("Did not learn the names of the host's gateway", "reason", err)
		return false
	}
	was := g.names.Swap(&names)
	return was == nil && len(names) > 0 || was != nil && !slices.Equal(*was, names)
}

// gatewayPart keeps the names of the host's gateway in the door's certificate.
func (c *composition) gatewayPart() (part, error) {
	return part{always: func(ctx context.Context) error {
		wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
			if c.gateway.read(ctx) {
				c.pki.Wake()
			}
		}, gatewayRound, 0.2, false)
		return nil
	}}, nil
}
