// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

func runCrashWriter() bool { return false }
