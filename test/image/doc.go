// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command image packs files into a container image of one layer: an OCI archive
// that container engines load and containerd imports. It needs no engine, and the
// same files make the same bytes. Next to the image, it writes the Go modules that
// the programs are made of, as CycloneDX.
//
// # Map
//
//	main.go       flags
//	pack.go       the archive
//	materials.go  the bill of materials
package main
