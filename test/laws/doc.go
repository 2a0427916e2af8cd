// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package laws holds the laws of rewrite (D7 in docs/decisions.md) against what
// upstream itself says: objects come from the fuzzer of Kubernetes' API, and
// what a pod names is found by Kubernetes' own visitors, which know nothing of
// our tables. There are only tests here; package rewrite may not import what
// they need.
package laws
