// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package fairshare bounds the load of one virtual cluster on its host:
// requests per second, and streams at a time.
//
// The door's own API priority and fairness bounds how many requests it works on,
// and not how many of them it sends on; and the tenant's administrator, a member
// of system:masters, is exempt from it. So there is a second limit at the one
// place through which all requests to the host go.
//
// # Requests
//
// A [Limiter] is the rate limiter of the host clients
// (k8s.io/client-go/util/flowcontrol). It has two token buckets:
//
//	bucket   requests                                     share
//	tenant   those made for a request at the door         each user in turn
//	system   those that Portico makes by itself           first come, first served
//
// The user is the authenticated one in the context of the request. As long as
// there are tokens a request costs a lock and no more. When they are used up,
// requests wait in one queue per user, and each token goes to the next user in
// turn: a user with a thousand waiting requests delays another's by one token. A
// user whose queue is full gets 429 at once, as does one whose request ends while
// it waits.
//
// Watches and lists that fill a cache, tokens, the leader's work and checks of
// health are system requests: no flood of a tenant's delays them. Their own
// bucket bounds the work that a tenant's objects make for them.
//
// # Streams
//
// [Streams] bounds exec, attach, port-forward, log and proxy connections, which
// upstream's server does not count. One user has half of them at most.
//
// # Limits
//
// It does not share the host among virtual clusters: each process has its own
// buckets, replicas of one cluster too. The host's API priority and fairness does
// that, by the user that each porticod is there.
//
// # Map
//
//	limiter.go   Limiter: which bucket a request is of
//	bucket.go    a token bucket with a queue per flow
//	streams.go   Streams
//	metrics.go   counts of delayed and refused requests
package fairshare
