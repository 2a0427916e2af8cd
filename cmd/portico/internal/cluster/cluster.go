// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/marks"
)

// State is how a cluster is, in one word.
type State string

// The states of a cluster.
const (
	Running    State = "Running"
	Starting   State = "Starting"   // some replicas are not ready
	Paused     State = "Paused"     // by a person
	Sleeping   State = "Sleeping"   // by itself, until a client comes
	Scaled     State = "ScaledDown" // by somebody, without a word
	Incomplete State = "Incomplete" // created halfway
	Deleting   State = "Deleting"
)

// Kinds of workload.
const (
	StatefulSet = "StatefulSet"
	Deployment  = "Deployment"
)

// Cluster is a virtual cluster as the host sees it. Its JSON form is stable.
type Cluster struct {
	Name      string    `json:"name"`
	Namespace string    `json:"namespace"`
	State     State     `json:"state"`
	Version   string    `json:"version,omitempty"`
	Created   time.Time `json:"created"`
	// AgeSeconds is counted at the time of the question.
	AgeSeconds int64 `json:"ageSeconds"`
	Replicas   int32 `json:"replicas"`
	Ready      int32 `json:"readyReplicas"`
	// Kind of the workload; empty where there is none.
	Kind string `json:"workload,omitempty"`
	// HostContext is the context of the kubeconfig that leads to its host.
	HostContext string `json:"hostContext,omitempty"`
	// Connected says that the current context leads there.
	Connected bool `json:"connected"`

	// PausedReplicas is the number of replicas that a paused cluster comes back
	// with.
	PausedReplicas int32 `json:"pausedReplicas,omitempty"`

	// SleepingSince is set for a cluster that sleeps, and WakeAt if it will wake
	// by itself.
	SleepingSince *time.Time `json:"sleepingSince,omitempty"`
	WakeAt        *time.Time `json:"wakeAt,omitempty"`
	// SleepsAfter is the time of inactivity after which the cluster sleeps.
	SleepsAfter string `json:"sleepsAfter,omitempty"`
	// SleepsBy is the calendar by which it sleeps, in words.
	SleepsBy string `json:"sleepsBy,omitempty"`
	// LastUser used the cluster last, at LastActivity. They are known of clusters
	// that go to sleep only.
	LastUser     string     `json:"lastUser,omitempty"`
	LastActivity *time.Time `json:"lastActivity,omitempty"`

	// Rolling says that not all pods are of the newest kind yet.
	Rolling bool `json:"rolling,omitempty"`
}

// Settled reports whether every replica is ready and of the newest kind.
func (c *Cluster) Settled() bool { return c.State == Running && !c.Rolling }

func fromStatefulSet(s *appsv1.StatefulSet) Cluster {
	c := fromMeta(s.ObjectMeta, StatefulSet, s.Spec.Replicas)
	c.Ready = s.Status.ReadyReplicas
	c.Rolling = s.Status.ObservedGeneration < s.Generation || s.Status.UpdatedReplicas < c.Replicas
	return c.judged()
}

func fromDeployment(d *appsv1.Deployment) Cluster {
	c := fromMeta(d.ObjectMeta, Deployment, d.Spec.Replicas)
	c.Ready = d.Status.ReadyReplicas
	c.Rolling = d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas < c.Replicas || d.Status.Replicas > c.Replicas
	return c.judged()
}

func fromMeta(m metav1.ObjectMeta, kind string, replicas *int32) Cluster {
	c := Cluster{
		Name: m.Labels[rewrite.LabelCluster], Namespace: m.Namespace, Kind: kind,
		Version: m.Labels[labelVersion], Created: m.CreationTimestamp.Time, Replicas: 1,
	}
	if replicas != nil {
		c.Replicas = *replicas
	}
	if m.DeletionTimestamp != nil {
		c.State = Deleting
	}
	rest := marks.RestOf(m.Annotations, c.Replicas)
	if rest.Paused {
		c.PausedReplicas = marks.Replicas(m.Annotations)
	}
	c.SleepingSince, c.WakeAt, c.SleepsAfter = known(rest.Sleeping), known(rest.WakeAt), m.Annotations[marks.AnnotationSleep]
	c.SleepsBy = m.Annotations[marks.AnnotationSleepSchedule]
	user, at := marks.LastActivity(m.Annotations)
	c.LastUser, c.LastActivity = user, known(at)
	return c
}

// known returns a time, if it is one.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (c Cluster) judged() Cluster {
	switch {
	case c.State == Deleting:
	case c.Replicas == 0 && c.PausedReplicas > 0:
		c.State = Paused
	case c.SleepingSince != nil:
		c.State = Sleeping
	case c.Replicas == 0:
		c.State = Scaled
	case c.Ready >= c.Replicas:
		c.State = Running
	default:
		c.State = Starting
	}
	return c
}
