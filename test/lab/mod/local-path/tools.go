// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools pins what test/lab/build builds from this module.
package tools

import (
	_ "github.com/rancher/local-path-provisioner"
)
