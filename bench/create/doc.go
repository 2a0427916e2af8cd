// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command create measures the wait of a person: from the start of portico create
// to the first answer of kubectl get namespaces, with the parts in between, and
// the memory of the control plane's pod once it is idle. The image is on the
// nodes already.
//
// It compares nothing and fails for no number: the mark is printed next to it.
//
// # Map
//
//	main.go     the runs, one after the other
//	moments.go  what a watch of the host sees in between
//	memory.go   what the kubelet says of the pod
//	report.go   the table
package main
