// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package rules holds the tables that drive the rewrite engine: which fields of
// which kinds name other objects, and why every other field needs no rule. It
// is data; it imports nothing and does nothing.
//
// A new reference is one row. A field that is in no table makes the engine's
// guard test fail (rewrite/guard_test.go), so a new Kubernetes version cannot
// bring a way out of the virtual cluster unnoticed. Another decision for every
// field is how far a tenant's value reaches; rewrite/reach_test.go fails for a
// field without a decision, and where the engine does otherwise.
//
// # Map
//
//	rule.go     Rule, Table, and the syntax of paths
//	keys.go     KeyGroup, and the labels and annotations that never pass
//	passing.go  those that pass, for most kinds; podkeys.go  those of pods that don't
//	pod.go service.go claim.go resourceclaim.go the rewritten fields
//	pushed.go   the fields of kinds whose copies the host has
//	storageclass.go  those of StorageClasses, and which parameters are dangerous
//	persistentvolume.go  those of PersistentVolumes, and the plugins that reach into a node
//	kept.go     the others, and the reasons
//	reach.go decided.go   the fields of a tenant's that have an effect on the host
//	volumes.go  volumes that a program on the host serves
package rules
