// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package queue is the loop that every package under sync/ has: informers put
// keys into a rate-limited work queue, and a reconcile function handles them.
//
// It is not a controller framework: no caches, no leader election, and no
// opinion on which events concern which key.
//
// # Invariants
//
//   - A key is handled by one worker at a time. An error puts it back with
//     growing delay, and a handler may ask to see its key again later.
//   - No key is handled before the caches of all informers that the loop listens
//     to are filled.
//   - A loop that does not run collects no keys from its informers. When it
//     begins, its listeners hear of every object that is there.
//   - A listener gets objects only, also for a deletion that was missed.
//
// # Map
//
//	queue.go  Queue, Handler
//	loop.go   Loop, Listen, On: a queue that informers fill
package queue
