// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package cli is the commands of portico, one file each.
//
// # Invariants
//
//   - Every command can be run again after an interruption at any point, and
//     then finishes the work.
//   - No question is asked, and nothing stays in the foreground, unless a person
//     sits at a terminal.
//   - Nothing is waited for without a limit.
//
// portico ui is the exception to the second: it stays until it is interrupted.
//
// # Map
//
//	root.go        Main, app: the state that the commands share
//	plugin.go      the name, when kubectl runs it
//	create.go      portico create
//	apply.go       the steps of create and upgrade
//	values.go      -f and --set
//	version.go     portico version; which Kubernetes is served
//	connect.go     portico connect
//	enter.go       the steps of connect: address, credentials, entry
//	run.go         portico connect -- CMD
//	background.go  the hidden command of a background forward
//	disconnect.go  portico disconnect
//	list.go        portico list
//	delete.go      portico delete
//	convert.go     portico convert; files of a vcluster
//	pause.go       portico pause and resume
//	sleep.go       portico sleep and wake
//	sync.go        portico sync test
//	upgrade.go     portico upgrade
//	overview.go    everything that there is to say of a cluster
//	status.go      portico status and describe
//	logs.go        portico logs
//	rotate.go      portico rotate
//	snapshot.go    portico snapshot; restore.go  portico restore
//	debug.go       portico debug
//	doctor.go      portico doctor
//	ui.go          portico ui; uisource.go  what it shows and does
package cli
