// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package attacks plays hostile users of Portico against a running virtual
// cluster on an embedded host. Each test is one attack: its comment describes
// the attempt and the required outcome.
//
// The first word of a file's name is the attacker:
//
//	admin        the tenant's administrator, with all rights inside
//	pod          a program in a pod of the tenant
//	neighbour    another tenant or another user of the host
//	hostreader   a user who can read the host namespace
//
// Attacks on the translation alone are laws of package rewrite and need no
// cluster; attacks that need a kubelet are in test/e2e. docs/attacks.md lists
// them all. It is written from the names and comments of the tests by
//
//	go test ./test/attacks -run TestPageOfAttacks -update
//
// This package is not a penetration test of Kubernetes: an attack belongs here
// if it aims at a part that Portico adds.
package attacks
