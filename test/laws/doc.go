// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package laws holds the laws of rewrite (D7 in docs/decisions.md) against
// upstream's own code: objects come from the fuzzer of Kubernetes' API, and a
// pod's references are found by Kubernetes' own visitors, which know nothing of
// our tables. There are only tests here; package rewrite may not import their
// dependencies.
package laws
