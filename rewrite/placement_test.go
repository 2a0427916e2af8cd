// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/rules"
)

func insideTranslator(t *testing.T, change ...func(*rewrite.Cluster)) *rewrite.Translator {
	t.Helper()
	c := rewrite.Cluster{Name: "c", HostNamespace: "h", SchedulesInside: true, Schedulers: []string{"batch", "default-scheduler"}}
	for _, f := range change {
		f(&c)
	}
	return mustNew(t, c)
}

// With a scheduler inside, the host's gets only pods that are left to it by name.
func TestSchedulersOfAClusterThatSchedulesInside(t *testing.T) {
	tr := insideTranslator(t)
	for name, want := range map[string]string{
		"": rewrite.NoScheduler, "default-scheduler": rewrite.NoScheduler, "tenants-own": rewrite.NoScheduler, rewrite.NoScheduler: rewrite.NoScheduler,
		rewrite.HostScheduler: "default-scheduler", "batch": "batch",
	} {
		v := pod("demo", "p", nil)
		v.Spec.SchedulerName = name
		h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
		if h.Spec.SchedulerName != want {
			t.Errorf("the scheduler %q is %q on the host, want %q", name, h.Spec.SchedulerName, want)
		}
		if got := toVirtual(t, tr, h).(*corev1.Pod).Spec.SchedulerName; got != name {
			t.Errorf("the scheduler %q is shown as %q", name, got)
		}
	}
}

// A kubelet judges node selectors and affinity by its own node, which has none of
// the tenant's labels. The operator's selector is the host's to judge.
func TestNodeTermsOfPodsThatAreScheduledInside(t *testing.T) {
	affinity := &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
		{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disktype", Operator: corev1.NodeSelectorOpExists}}},
	}}}
	tr := insideTranslator(t, func(c *rewrite.Cluster) { c.NodeSelector = map[string]string{"pool": "tenants"} })
	for scheduler, kept := range map[string]bool{"default-scheduler": false, "own": false, rewrite.HostScheduler: true, "batch": true} {
		v := pod("demo", "p", nil)
		v.Spec.SchedulerName, v.Spec.NodeSelector = scheduler, map[string]string{"disktype": "ssd", "pool": "other"}
		v.Spec.Affinity = &corev1.Affinity{NodeAffinity: affinity.DeepCopy()}
		h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
		want := map[string]string{"pool": "tenants"}
		if kept {
			want["disktype"] = "ssd"
		}
		if d := diff(want, h.Spec.NodeSelector); d != "" {
			t.Errorf("selector of a pod of %s on the host (-want +got):\n%s", scheduler, d)
		}
		if has := h.Spec.Affinity.NodeAffinity != nil; has != kept {
			t.Errorf("pod of %s has its node affinity on the host: %v, want %v", scheduler, has, kept)
		}
		if d := diff(v, toVirtual(t, tr, h)); d != "" {
			t.Errorf("pod of %s inside (-want +got):\n%s", scheduler, d)
		}
	}
}

// A selector that is added under a scheduling gate stays inside like the others,
// and a pod that exists keeps its side when the configuration changes.
func TestNodeTermsOfPodsThatExist(t *testing.T) {
	inside, outside := insideTranslator(t), mustNew(t, rewrite.Cluster{Name: "c", HostNamespace: "h"})
	for name, c := range map[string]struct {
		was, now *rewrite.Translator
		onHost   bool
	}{
		"inside": {inside, inside, false}, "switched off": {inside, outside, true}, "switched on": {outside, inside, true},
	} {
		t.Run(name, func(t *testing.T) {
			v := pod("demo", "p", nil)
			v.Spec.SchedulerName = "default-scheduler"
			v.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "wait"}}
			host := toHost(t, c.was, v, rewrite.Inputs{}).(*corev1.Pod)
			scheduler := host.Spec.SchedulerName
			after := changedBy(t, c.now, host, func(v *corev1.Pod) { v.Spec.NodeSelector = map[string]string{"a": "b"} })
			if after.Spec.SchedulerName != scheduler || len(after.Spec.NodeSelector) > 0 != c.onHost {
				t.Errorf("host pod has scheduler %q, selector %v", after.Spec.SchedulerName, after.Spec.NodeSelector)
			}
			seen := toVirtual(t, c.now, after).(*corev1.Pod)
			if seen.Spec.NodeSelector["a"] != "b" || seen.Spec.SchedulerName != "default-scheduler" {
				t.Errorf("seen with scheduler %q, selector %v", seen.Spec.SchedulerName, seen.Spec.NodeSelector)
			}
		})
	}
}

// A scheduler inside writes which node a pod waits for, and why it removes
// another. The host's scheduler would reserve room by the first, and wait by the
// second: both show inside only, and end with the binding.
func TestStatusThatASchedulerWrites(t *testing.T) {
	preempted := corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonPreemptionByScheduler}
	unscheduled := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}
	for name, c := range map[string]struct {
		tr    *rewrite.Translator
		shown bool
	}{
		"inside": {insideTranslator(t), true}, "on the host": {mustNew(t, rewrite.Cluster{Name: "c", HostNamespace: "h"}), false},
	} {
		t.Run(name, func(t *testing.T) {
			host := toHost(t, c.tr, pod("demo", "p", nil), rewrite.Inputs{}).(*corev1.Pod)
			after := changedBy(t, c.tr, host, func(v *corev1.Pod) {
				v.Status.NominatedNodeName, v.Status.Conditions = "n", []corev1.PodCondition{preempted, unscheduled}
			})
			if s := after.Status; s.NominatedNodeName != "" || len(s.Conditions) > 0 {
				t.Errorf("status on the host: %+v", s)
			}
			seen := toVirtual(t, c.tr, after).(*corev1.Pod).Status
			if got := seen.NominatedNodeName == "n"; got != c.shown {
				t.Errorf("nominated node %q, shown: want %v", seen.NominatedNodeName, c.shown)
			}
			want := []corev1.PodCondition{unscheduled}
			if c.shown {
				want = []corev1.PodCondition{preempted, unscheduled}
			}
			if d := diff(want, seen.Conditions); d != "" {
				t.Errorf("conditions inside (-want +got):\n%s", d)
			}

			bound := changedBy(t, c.tr, after, func(v *corev1.Pod) {
				v.Spec.NodeName, v.Status.NominatedNodeName = "n", ""
				v.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
			})
			seen = toVirtual(t, c.tr, bound).(*corev1.Pod).Status
			if seen.NominatedNodeName != "" || len(seen.Conditions) > 0 {
				t.Errorf("inside after the binding, before the host has written: %+v", seen)
			}
		})
	}
}

// A binding costs no write of the overlay, if its scheduler has written nothing
// before.
func TestBindingChangesNoAnnotation(t *testing.T) {
	tr := insideTranslator(t)
	host := toHost(t, tr, pod("demo", "p", nil), rewrite.Inputs{}).(*corev1.Pod)
	bound := changedBy(t, tr, host, func(v *corev1.Pod) {
		v.Spec.NodeName = "n"
		v.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
	})
	if d := diff(host.Annotations, bound.Annotations); d != "" {
		t.Errorf("annotations (-before +after):\n%s", d)
	}
}

// Devices are allocated where they are known.
func TestPodsWithClaimsAreLeftToTheHost(t *testing.T) {
	claim := "gpu"
	for name, c := range map[string]struct {
		claims    bool
		scheduler string
		want      string
		left      bool
	}{
		"claims reach the host":     {true, "default-scheduler", "default-scheduler", true},
		"the tenant's own waits":    {true, "tenants-own", rewrite.NoScheduler, true},
		"claims of the tenant only": {false, "default-scheduler", rewrite.NoScheduler, false},
	} {
		tr := insideTranslator(t, func(cl *rewrite.Cluster) { cl.ResourceClaims = c.claims })
		v := pod("demo", "p", nil)
		v.Spec.SchedulerName = c.scheduler
		v.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimName: &claim}}
		if got := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod).Spec.SchedulerName; got != c.want {
			t.Errorf("%s: scheduler on the host is %q, want %q", name, got, c.want)
		}
		if got := tr.LeftToHost(v); got != c.left {
			t.Errorf("%s: left to the host: %v", name, got)
		}
	}
}

// The scheduler inside asks which tolerations a pod has on the host.
func TestTolerationsThatCountOnTheHost(t *testing.T) {
	enforced := corev1.Toleration{Key: "tenants", Operator: corev1.TolerationOpExists}
	tr := insideTranslator(t, func(c *rewrite.Cluster) {
		c.Tolerations, c.AllowedTolerations = []corev1.Toleration{enforced}, []string{"gpu"}
	})
	v := pod("demo", "p", nil)
	v.Spec.Tolerations = []corev1.Toleration{{Key: "operators", Operator: corev1.TolerationOpExists}, {Key: "gpu", Operator: corev1.TolerationOpExists}}
	got := tr.HostTolerations(v)
	if d := diff(toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod).Spec.Tolerations, got); d != "" {
		t.Errorf("others than those of the host pod (-host pod +got):\n%s", d)
	}
	if want := []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}, enforced}; diff(want, got) != "" {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(v.Spec.Tolerations) != 2 || v.Spec.Tolerations[0].Key != "operators" {
		t.Errorf("the pod was changed: %v", v.Spec.Tolerations)
	}
}

// A tenant says on which node of the host the volume of a claim is made. That does
// not reach the host unless the cluster has a scheduler of its own, which then
// says so, again after the host's provisioner has asked for another node.
func TestAttackClaimSelectsANodeOfTheHost(t *testing.T) {
	claim := func() *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{}
		c.Namespace, c.Name = "demo", "data"
		return c
	}
	selects := func(node string) func(*corev1.PersistentVolumeClaim) {
		return func(c *corev1.PersistentVolumeClaim) {
			c.Annotations = map[string]string{rules.SelectedNode: node, "pv.kubernetes.io/bind-completed": "yes"}
		}
	}
	outside := mustNew(t, rewrite.Cluster{Name: "c", HostNamespace: "h"})
	h := toHost(t, outside, claim(), rewrite.Inputs{}).(*corev1.PersistentVolumeClaim)
	if got, ok := changedBy(t, outside, h, selects("n")).Annotations[rules.SelectedNode]; ok {
		t.Errorf("without a scheduler inside, the node %q is on the host", got)
	}

	tr := insideTranslator(t)
	h = toHost(t, tr, claim(), rewrite.Inputs{}).(*corev1.PersistentVolumeClaim)
	h = changedBy(t, tr, h, selects("one"))
	if _, ok := h.Annotations["pv.kubernetes.io/bind-completed"]; ok || h.Annotations[rules.SelectedNode] != "one" {
		t.Errorf("annotations on the host: %v, want the node alone", h.Annotations)
	}
	delete(h.Annotations, rules.SelectedNode)
	if got, ok := toVirtual(t, tr, h).(*corev1.PersistentVolumeClaim).Annotations[rules.SelectedNode]; ok {
		t.Errorf("the node %q shows after the provisioner has taken it away", got)
	}
	h = changedBy(t, tr, h, selects("two"))
	if h.Annotations[rules.SelectedNode] != "two" {
		t.Errorf("annotations on the host: %v, want the second node", h.Annotations)
	}
}
