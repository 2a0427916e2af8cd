// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// Action is the engine's treatment of a field.
type Action string

const (
	// Reference is the name of an object in the same namespace.
	Reference Action = "reference"
	// FieldPath is a path of the downward API.
	FieldPath Action = "field path"
	// Text is written by the host for people to read. Host names in it are
	// turned back.
	Text Action = "text"
	// Pass is rewritten by a pass of the engine.
	Pass Action = "pass"
)

// Rule is one row: a field and its treatment.
//
// A path is made of JSON names joined by dots. "[]" goes through a list,
// "['key']" picks one key of a map, and "{a,b}" stands for several names, as in
//
//	spec.{initContainers,containers}[].env[].valueFrom.secretKeyRef.name
type Rule struct {
	Path   string
	Action Action
	// Kind is the kind of the object named.
	Kind string
	// Pass names the function of the engine that rewrites the field. It exists,
	// and it uses the field: rewrite/guard_test.go looks for both.
	Pass string
	// Optional marks a reference whose object may be missing even though no
	// "optional" field next to it says so.
	Optional bool
}

// Excuse lists fields that are left alone and says why that is safe.
type Excuse struct {
	Reason string
	Paths  []string
}

// Share is the tenant's part of a status field.
type Share string

const (
	// Whole is a field that a controller of the tenant's writes. It reaches the
	// host as it is written.
	Whole Share = "whole"
	// Conditions is a list of conditions. The tenant has those of qualified types
	// that the host did not write first, and those of StatusRule.Unqualified.
	Conditions Share = "conditions"
	// Shown is a field that the host keeps. The tenant's value is shown inside
	// until the host's changes, like conditions that do not reach the host.
	Shown Share = "shown"
)

// StatusRule is a field of a status that is the tenant's, or partly so. A
// status holds the findings of a cluster's components, and other components act
// on it, so every field without a row is the host's: a tenant's value of it has
// no effect.
type StatusRule struct {
	// Field is the JSON name of the field below "status".
	Field string
	Share Share
	// Unqualified are types of conditions without a domain that controllers in
	// the virtual cluster write too, each with the reasons that may be given.
	Unqualified map[string][]string
	// Values are those of the tenant's that are shown, of a Shown field that is a
	// string. None means all.
	Values []string
	// Placement says that a scheduler writes the field, so that the row holds
	// only in a cluster that has one of its own.
	Placement bool
}

// Table is everything about the fields of one kind.
type Table struct {
	Kind   string
	Rules  []Rule
	Kept   []Excuse
	Status []StatusRule
	Reach  []Decision // besides Decided
}
