// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools pins runc, which the lab builds.
package tools

import (
	_ "github.com/opencontainers/runc"
)
