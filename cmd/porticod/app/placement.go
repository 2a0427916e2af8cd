// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/controllers"
	"portico.dev/portico/sync/nodes"
	"portico.dev/portico/sync/occupancy"
)

// placement reports the host's refusals to the scheduler inside, ahead of a
// binding. The parts fill it in before the scheduler starts.
type placement struct {
	translator *rewrite.Translator
	room       *occupancy.Room
	mirror     *nodes.Mirror
}

var _ controllers.Placement = &placement{}

// LeftToHost implements controllers.Placement.
func (p *placement) LeftToHost(pod *corev1.Pod) bool { return p.translator.LeftToHost(pod) }

// Refuses implements controllers.Placement. The check of the binding has the
// last word, so a fact that is not known here is no refusal: a runtime class of
// the host may add tolerations.
func (p *placement) Refuses(pod *corev1.Pod) func(node string) string {
	inRoom, tolerations := p.room.Refuses(pod), p.translator.HostTolerations(pod)
	return func(node string) string {
		if pod.Spec.RuntimeClassName == nil && p.mirror.KeepsAway(node, tolerations) {
			return "had a taint of the host that the pod cannot tolerate there"
		}
		return inRoom(node)
	}
}
