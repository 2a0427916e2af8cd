// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/certs"
	"portico.dev/portico/store/limit"
	"portico.dev/portico/sync/conditions"
)

const (
	// nearlyFull is how much of a store may be used before it is reported, in
	// percent.
	nearlyFull = 85
	// lateRenewal is how much of its life a certificate has left when a renewal
	// that works has long happened.
	lateRenewal = 30 * 24 * time.Hour
)

// conditionsPart reports on the host, as Events about the anchor, how the cluster
// is. The cluster's Service would be the obvious object, but the tenant sees it.
func (c *composition) conditionsPart() (part, error) {
	hostEvents := newReporter(c.lead.host)
	about := func() *corev1.ObjectReference {
		return &corev1.ObjectReference{
			APIVersion: "v1", Kind: "ConfigMap", Namespace: c.config.Host.Namespace, Name: c.translator.AnchorName(), UID: c.translator.Owner().UID,
		}
	}
	c.keeper.OnPutBack(func(what string) { hostEvents.Event(about(), corev1.EventTypeNormal, "PutBack", what) })
	watcher := conditions.New(conditions.Config{
		Events: hostEvents,
		About:  about,
		Conditions: []conditions.Condition{
			{Reason: "StoreNotReady", Problem: func(time.Time) string { return textOf(c.backend.Ready()) }},
			{Reason: "StoreNearlyFull", Problem: func(time.Time) string { return c.storeProblem() }},
			{Reason: "EntranceNotReady", Problem: func(time.Time) string { return textOf(c.keeper.Ready()) }},
			{Reason: "CertificateEnds", Problem: func(now time.Time) string { return certificateProblem(c.bundleOfNow(), now) }},
		},
	})
	return part{leading: hostEvents.during(watcher.Run)}, nil
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (c *composition) storeProblem() string {
	meter, ok := c.backend.(limit.Meter)
	most, err := c.config.Store.MaxBytes()
	if !ok || err != nil || most == 0 {
		return ""
	}
	used, known := meter.Used()
	if !known {
		return ""
	}
	return spaceProblem(used, most)
}

// spaceProblem says how full a store is that is nearly full. The text changes
// with the bytes, which makes no new Event.
func spaceProblem(used, most int64) string {
	if used < most/100*nearlyFull {
		return ""
	}
	return fmt.Sprintf("The cluster's own objects have %s of store.maxSize, which is %s; above it, writes are refused",
		limit.Quantity(used), limit.Quantity(most))
}

// certificateProblem names the certificate that ends first, if a renewal is late
// or does not happen.
func certificateProblem(b *certs.Bundle, now time.Time) string {
	var first *end
	for _, e := range endsOf(b) {
		if e.err != nil {
			return fmt.Sprintf("Certificate %s cannot be read: %v", e.name, e.err)
		}
		if first == nil || e.at.Before(first.at) {
			first = &e
		}
	}
	if first == nil || first.at.Sub(now) > lateRenewal {
		return ""
	}
	at := first.at.UTC().Format(time.RFC3339)
	if first.authority {
		return fmt.Sprintf("Certificate %s ends at %s and porticod does not replace it; make a new cluster before", first.name, at)
	}
	return fmt.Sprintf("Certificate %s ends at %s and was not issued again; the log of porticod says why", first.name, at)
}
