// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package fairshare

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/util/flowcontrol"
)

// Options of a Limiter.
type Options struct {
	// QPS is how many requests a second each of the two buckets lets through in
	// the long run; Burst is how many it lets through at once. Both are positive.
	QPS, Burst int
}

// Limiter is a flowcontrol.RateLimiter for all clients of the host.
type Limiter struct {
	qps            int
	tenant, system *bucket
}

var _ flowcontrol.RateLimiter = (*Limiter)(nil)

// NewLimiter returns a limiter with full buckets.
func NewLimiter(o Options) *Limiter {
	registerMetrics()
	return &Limiter{
		qps:    o.QPS,
		tenant: newBucket(o, o.Burst),
		// Portico's own loops have a handful of workers each.
		system: newBucket(o, unlimited),
	}
}

// Wait implements flowcontrol.RateLimiter: it returns when the request may go.
// The error of a tenant's request that may not is a Status (429).
func (l *Limiter) Wait(ctx context.Context) error {
	user, ok := request.UserFrom(ctx)
	if !ok {
		return l.system.wait(ctx, "", classSystem)
	}
	err := l.tenant.wait(ctx, user.GetName(), classTenant)
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	refused.WithLabelValues(refusedRequest).Inc()
	return apierrors.NewTooManyRequests(fmt.Sprintf(
		"this virtual cluster sends at most %d requests a second to its host, and too many of this user's wait already", l.qps), retryAfterSeconds)
}

// retryAfterSeconds is when a refused client is asked to come again.
const retryAfterSeconds = 1

// TryAccept implements flowcontrol.RateLimiter for a request of the system's.
func (l *Limiter) TryAccept() bool { return l.system.try() }

// Accept implements flowcontrol.RateLimiter for a request of the system's.
func (l *Limiter) Accept() { _ = l.system.wait(context.Background(), "", classSystem) }

// Stop implements flowcontrol.RateLimiter. There is nothing to stop.
func (l *Limiter) Stop() {}

// QPS implements flowcontrol.RateLimiter.
func (l *Limiter) QPS() float32 { return float32(l.qps) }
