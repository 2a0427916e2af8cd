// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package config is the configuration of porticod serve: its file format, its
// environment variables and its flags, and their allowed values.
//
// It is not where values take effect; it does no I/O beyond reading the file.
//
// # Invariants
//
//   - A flag wins over an environment variable, which wins over the file,
//     which wins over the default.
//   - All mistakes are reported at once, each with its path.
//   - A key that is not known is a mistake, and so is a key whose feature does
//     not exist yet: nothing that an operator wrote is silently ignored.
//
// # Map
//
//	config.go    the format and its defaults
//	load.go      where values come from
//	unknown.go   which key was meant
//	validate.go  the allowed values
//	keys.go      the meaning of each key
//	reference.go the same as a table
//	schema.go    the JSON schema
//	customfile.go  sync.custom of another file
//	coredns.go metadata.go store.go fromhost.go tohost.go custom.go egress.go isolation.go proxyprotocol.go sleep.go mapservices.go imports.go hooks.go observe.go  the sections of the file that have rules of their own
package config
