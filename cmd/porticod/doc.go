// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command porticod is Portico's server: one process is one virtual cluster.
//
// # Map
//
//	main.go     the program
//	profile.go  profiles of this process, in a build with the tag profile
package main
