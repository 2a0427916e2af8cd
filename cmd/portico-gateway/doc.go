// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command portico-gateway leads clients from one address to all virtual clusters
// of a host. docs/gateway.md is its manual, and package gateway the work.
//
//	portico-gateway --listen :8443 --domain gw.example.com
//
// It links no API server and keeps no state: several of them stand behind one
// Service.
//
// # Map
//
//	main.go         signals and exit codes
//	run.go          the wiring
//	options.go      flags
//	certificate.go  the certificate for CONNECT, read again when it changes
//	health.go       the other listener: probes and metrics
package main
