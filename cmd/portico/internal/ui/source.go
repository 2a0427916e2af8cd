// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrUnknown is returned by a Source for a cluster that is not there.
var ErrUnknown = errors.New("there is no such virtual cluster")

// ID names a virtual cluster of the host.
type ID struct {
	Namespace, Name string
}

// Action is a command of portico that a button runs.
type Action string

// The actions.
const (
	Pause  Action = "pause"
	Resume Action = "resume"
	Sleep  Action = "sleep"
	Wake   Action = "wake"
	Delete Action = "delete"

	// stop is no command: it interrupts one, and no Source sees it.
	stop Action = "stop"
)

// Source looks at virtual clusters and changes them. Its methods are called from
// several goroutines.
type Source interface {
	// Clusters returns all clusters that the person may see.
	Clusters(ctx context.Context) (Fleet, error)
	// Cluster returns one of them, or ErrUnknown.
	Cluster(ctx context.Context, id ID) (*Cluster, error)
	// Do runs an action until it has ended, and writes lines about its progress, and
	// those of a failure.
	Do(ctx context.Context, action Action, id ID, progress io.Writer) error
}

// Fleet is the clusters of a host.
type Fleet struct {
	Host     string // the context of the kubeconfig
	Clusters []Cluster
	// Missing says, a sentence each, which columns the person may not see.
	Missing []string
}

// Cluster is one virtual cluster. The unset fields are not known.
type Cluster struct {
	ID
	// State is one word, as portico list has it, or Broken. Reason says why it does
	// not serve.
	State, Reason   string
	Version         string
	Replicas, Ready int32
	Created         time.Time
	// Pods is the number of the tenant's pods on the host.
	Pods *int
	// CPU in thousandths of a core and Memory in bytes are those of all replicas of
	// the control plane.
	CPU, Memory *int64
	// Store is the bytes in the store, and StoreLimit those that it may have.
	Store, StoreLimit *int64

	// LastUser used the cluster last, at LastActivity.
	LastUser     string
	LastActivity *time.Time
	// SleepsAfter is the time without users after which it sleeps, and SleepsBy the
	// calendar by which it does, in words.
	SleepsAfter, SleepsBy string
	SleepingSince, WakeAt *time.Time

	// The following are set by Cluster, and not by Clusters.
	Address      string
	ControlPlane []Pod
	Data         []string // volume claims
	Warnings     []Warning
}

// Pod is a replica of the control plane.
type Pod struct {
	Name, Node, Image, Problem string
	Ready                      bool
	Restarts                   int32
}

// Warning is an Event of the host.
type Warning struct {
	Object, Reason, Message string
	Seen                    time.Time
}

// Actions returns the actions that make sense in the cluster's state.
func (c *Cluster) Actions() []Action {
	switch c.State {
	case "Running", "Starting", "Broken":
		if c.State == "Running" && (c.SleepsAfter != "" || c.SleepsBy != "") {
			return []Action{Sleep, Pause, Delete}
		}
		return []Action{Pause, Delete}
	case "Sleeping":
		return []Action{Wake, Pause, Delete}
	case "Paused":
		return []Action{Resume, Delete}
	}
	return []Action{Delete}
}
