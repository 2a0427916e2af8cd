// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package queue runs a reconcile function over a rate-limited work queue: the loop that every package under sync/ has.
//
// It is not a controller framework: no informers, no caches, no leader election. A key is handled by one worker at a
// time, an error puts it back with growing delay, and a handler may ask to see its key again at a later time.
//
// Files:
//
//	queue.go   Queue, Handler
package queue
