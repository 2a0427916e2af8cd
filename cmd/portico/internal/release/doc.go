// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package release installs, changes and removes the chart of a virtual cluster
// with Helm's own library, so that the helm program knows the release as well.
//
// Helm writes down that it is at work before it works. If it is killed, the
// record stays "pending", and Helm itself then refuses everything. Here, such a
// record is settled first: its writer is waited for if it may be at work, and
// the record is marked as failed if it is not.
//
// # Invariants
//
//   - Values that were given once are kept until they are named again.
//   - Nothing of a cluster that exists is changed unless that was asked for.
//   - A record whose writer runs on this machine is never settled.
//   - No wait of Helm's is used, except for hooks: its waits give no reason.
//   - The record of a release is the last thing of it to go.
//
// # Map
//
//	client.go     Client: records of releases
//	apply.go      Apply: installs, finishes or changes a release
//	settle.go     pending records and who writes them
//	uninstall.go  Uninstall, and Forget when all else is done
//	values.go     Source: values from files and flags
//	diff.go       Change: differences of values
package release
