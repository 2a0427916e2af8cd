// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package robustness kills a store, again and again, and judges its answers and
// the data that it left. It holds tests only.
//
// A child process opens the store and runs clients and watches against it until
// it is killed. It writes down each request before it is sent and each answer
// after it came, in one stream, so that the order of the lines is the order of
// time. The next child first dumps the log that the store kept since then. The
// parent compares:
//
//   - every acknowledged write is in the log, at the revision of the answer;
//     writes of unknown outcome are there whole or not at all
//   - revisions are dense and never reused, and older ones are unchanged
//   - each answer is right at one moment between request and answer, in one
//     order for all clients: porcupine decides that it is linearizable
//   - each watch, resumed after each kill where it had stopped, delivers each
//     change of its range once, in order, whole, with its previous value; a
//     progress notification never comes before a change that it covers
//   - keys vanish without a request only with their lease, after its time
//
// The outcome of a write that was not answered is decided by the log, since each
// writes a value that nothing else writes. So each round is judged alone, from
// the state where the last one was found right, and thousands take no memory.
//
// # Limits
//
// A kill loses the process's memory, not the kernel's: it is no power cut.
// Package sqlite has tests of torn files.
package robustness
