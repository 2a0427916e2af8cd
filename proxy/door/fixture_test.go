// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door_test

// hostNamespace is the host namespace of all tests.
const hostNamespace = "team-a"
