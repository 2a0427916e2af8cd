// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// alertLimit is how long a client may take to hear that it is refused.
const alertLimit = time.Second

// passThrough leads a client that named a cluster in its handshake to the door.
// A name that no cluster has and one that is not permitted are refused in the
// same way.
func (g *Gateway) passThrough(ctx context.Context, c *client, cluster types.NamespacedName) {
	defer c.Close() //nolint:errcheck // There is nobody left to hear of it.
	door, err := g.dial(ctx, cluster, c.RemoteAddr(), true)
	if err != nil {
		klog.FromContext(ctx).V(4).Info("Refused a connection", "cluster", cluster, "reason", err)
		result, description := refusalOf(err).result, byte(alertInternal)
		if result == resultUnknown {
			description = alertUnrecognized
		}
		count(wayName, result)
		// The deadline of the hello may have passed while the cluster woke.
		if err := c.SetDeadline(time.Now().Add(alertLimit)); err == nil {
			alert(c.Conn, description)
		}
		return
	}
	defer door.Close() //nolint:errcheck // There is nobody left to hear of it.
	if err := c.SetDeadline(time.Time{}); err != nil {
		return
	}
	count(wayName, resultLed)
	join(c, door)
}
