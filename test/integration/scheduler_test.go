// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/rules"
	"portico.dev/portico/test/embedded"
)

const schedulerInside = "sync: {nodes: {syncAllNodes: true, enableScheduler: true}}\n"

// scheduled is a virtual cluster with a scheduler inside, on a host with two
// nodes of 32 CPUs. The tenant has labelled the second one.
type scheduled struct {
	*cluster
	plain, ssd string
}

var onSSD = map[string]string{"disktype": "ssd"}

// TestSchedulerInside: a scheduler inside places pods by the nodes as the tenant
// sees them, and by the host's rules where those are stricter.
func TestSchedulerInside(t *testing.T) {
	h := embedded.PrivateHost(t)
	nodes, err := h.Client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 2 {
		t.Fatalf("nodes of the host: %v, %v", nodes, err)
	}
	c := &scheduled{newClusterWith(t, h, schedulerInside), nodes.Items[0].Name, nodes.Items[1].Name}
	for _, node := range []string{c.plain, c.ssd} {
		c.node(t, node, "shown", func(*corev1.Node) bool { return true })
	}
	c.patchNode(t, c.Virtual.CoreV1().Nodes().Patch, c.ssd, `{"metadata":{"labels":{"disktype":"ssd"}}}`)
	c.patchNode(t, h.Client.CoreV1().Nodes().Patch, c.ssd, `{"metadata":{"labels":{"topology.kubernetes.io/zone":"a"}}}`)
	c.node(t, c.ssd, "in its zone", func(n *corev1.Node) bool { return n.Labels[corev1.LabelTopologyZone] == "a" })
	t.Run("label of the tenant's", c.label)
	t.Run("taint of the tenant's", c.taint)
	t.Run("cordon of the tenant's", c.cordon)
	t.Run("DaemonSet", c.daemonSet)
	t.Run("room taken by others", c.roomOfOthers)
	t.Run("preemption", c.preemption)
	t.Run("scheduler of the tenant's, and taint of the host's", c.ownScheduler)
	t.Run("refused by the host", c.refusedByTheHost)
	t.Run("volume where the pod is", c.volume)
	t.Run("left to the host", c.leftToTheHost)
	t.Run("after a crash", c.afterACrash)
}

type patchFunc func(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*corev1.Node, error)

func (c *scheduled) patchNode(t *testing.T, patch patchFunc, name, body string) {
	t.Helper()
	if _, err := patch(t.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// node waits until a condition holds for a virtual node.
func (c *scheduled) node(t *testing.T, name, what string, holds func(*corev1.Node) bool) {
	t.Helper()
	embedded.Eventually(t, "virtual node "+name+" "+what, func(ctx context.Context) (bool, string) {
		n, err := c.Virtual.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return holds(n), fmt.Sprintf("%+v %v", n.Spec, n.Status.Allocatable)
	})
}

// pod makes a pod of so many CPUs.
func (c *scheduled) pod(t *testing.T, name, cpus string, change func(*corev1.PodSpec)) {
	t.Helper()
	p := embedded.Pod(name, nil)
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpus)}
	if change != nil {
		change(&p.Spec)
	}
	embedded.Eventually(t, "pod "+name, func(ctx context.Context) (bool, string) {
		_, err := c.Virtual.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{})
		return err == nil, fmt.Sprint(err) // until the default account is there
	})
}

func (c *scheduled) seen(t *testing.T, name string, holds func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var got *corev1.Pod
	embedded.Eventually(t, "pod "+name, func(ctx context.Context) (bool, string) {
		var err error
		got, err = c.Virtual.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return holds(got), fmt.Sprintf("node %q, %+v", got.Spec.NodeName, got.Status)
	})
	return got
}

// runs waits until a pod is ready, on the node if one is given, on both sides.
func (c *scheduled) runs(t *testing.T, name, node string) {
	t.Helper()
	c.Settled("default", name)
	got, h := c.seen(t, name, func(*corev1.Pod) bool { return true }), c.HostPod("default", name)
	if node != "" && got.Spec.NodeName != node || h.Spec.NodeName != got.Spec.NodeName {
		t.Errorf("pod %s is on node %q inside and %q on the host, want %q", name, got.Spec.NodeName, h.Spec.NodeName, node)
	}
}

// waits waits until the scheduler inside has said that no node suits.
func (c *scheduled) waits(t *testing.T, name string) {
	t.Helper()
	c.seen(t, name, func(p *corev1.Pod) bool {
		for _, cond := range p.Status.Conditions {
			if cond.Type == corev1.PodScheduled && cond.Status == corev1.ConditionFalse {
				return p.Spec.NodeName == "" && cond.Reason == corev1.PodReasonUnschedulable
			}
		}
		return false
	})
}

func (c *scheduled) remove(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := c.Virtual.CoreV1().Pods("default").Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		embedded.Eventually(t, "pod "+name+" gone", func(ctx context.Context) (bool, string) {
			_, err := c.Virtual.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
			return apierrors.IsNotFound(err), fmt.Sprint(err)
		})
	}
}

func onNodesWith(labels map[string]string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) { s.NodeSelector = labels }
}

func (c *scheduled) label(t *testing.T) {
	c.pod(t, "selects", "1", onNodesWith(onSSD))
	c.pod(t, "prefers", "1", func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
				{Key: "disktype", Operator: corev1.NodeSelectorOpExists},
			}}},
		}}}
	})
	for _, name := range []string{"selects", "prefers"} {
		c.runs(t, name, c.ssd)
		// A kubelet judges by the labels of its own node, which has not this one.
		h, v := c.HostPod("default", name), c.seen(t, name, func(*corev1.Pod) bool { return true })
		if h.Spec.SchedulerName != rewrite.NoScheduler || len(h.Spec.NodeSelector) > 0 || h.Spec.Affinity != nil && h.Spec.Affinity.NodeAffinity != nil {
			t.Errorf("host pod %s has scheduler %q, selector %v, affinity %v", name, h.Spec.SchedulerName, h.Spec.NodeSelector, h.Spec.Affinity)
		}
		if v.Spec.SchedulerName != corev1.DefaultSchedulerName || len(v.Spec.NodeSelector) == 0 && v.Spec.Affinity.NodeAffinity == nil {
			t.Errorf("virtual pod %s has scheduler %q, selector %v, affinity %v", name, v.Spec.SchedulerName, v.Spec.NodeSelector, v.Spec.Affinity)
		}
		if inside, host := v.Labels[corev1.LabelTopologyZone], h.Labels[corev1.LabelTopologyZone]; inside != "a" || host != "a" {
			t.Errorf("pod %s is in zone %q inside and %q on the host", name, inside, host)
		}
	}
	c.remove(t, "selects", "prefers")
}

func (c *scheduled) taint(t *testing.T) {
	c.patchNode(t, c.Virtual.CoreV1().Nodes().Patch, c.ssd, `{"spec":{"taints":[{"key":"team","value":"a","effect":"NoSchedule"}]}}`)
	c.pod(t, "stranger", "1", onNodesWith(onSSD))
	c.waits(t, "stranger")
	c.pod(t, "elsewhere", "1", nil)
	c.runs(t, "elsewhere", c.plain)
	c.pod(t, "team", "1", func(s *corev1.PodSpec) {
		s.NodeSelector = onSSD
		s.Tolerations = []corev1.Toleration{{Key: "team", Value: "a", Effect: corev1.TaintEffectNoSchedule}}
	})
	c.runs(t, "team", c.ssd)
	c.patchNode(t, c.Virtual.CoreV1().Nodes().Patch, c.ssd, `{"spec":{"taints":null}}`)
	c.runs(t, "stranger", c.ssd)
	c.remove(t, "stranger", "elsewhere", "team")
}

func (c *scheduled) cordon(t *testing.T) {
	c.patchNode(t, c.Virtual.CoreV1().Nodes().Patch, c.ssd, `{"spec":{"unschedulable":true}}`)
	c.pod(t, "kept-away", "1", onNodesWith(onSSD))
	c.waits(t, "kept-away")
	c.patchNode(t, c.Virtual.CoreV1().Nodes().Patch, c.ssd, `{"spec":{"unschedulable":null}}`)
	c.runs(t, "kept-away", c.ssd)
	c.remove(t, "kept-away")
}

func (c *scheduled) daemonSet(t *testing.T) {
	labels := map[string]string{"app": "agent"}
	p := embedded.Pod("", labels)
	sets := c.Virtual.AppsV1().DaemonSets("default")
	if _, err := sets.Create(t.Context(), &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "agent"},
		Spec:       appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: p.ObjectMeta, Spec: p.Spec}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "a pod on each node", func(ctx context.Context) (bool, string) {
		ds, err := sets.Get(ctx, "agent", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return ds.Status.DesiredNumberScheduled == 2 && ds.Status.NumberReady == 2, fmt.Sprintf("%+v", ds.Status)
	})
	if err := sets.Delete(t.Context(), "agent", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// roomOfOthers: a pod of another user of the host takes 30 of 32 CPUs.
func (c *scheduled) roomOfOthers(t *testing.T) {
	ctx := t.Context()
	foreign := embedded.Pod("foreign", nil)
	foreign.Spec.NodeName = c.ssd
	foreign.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("30")}
	foreign.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 8080}}
	others := c.Host.CoreV1().Pods("default")
	embedded.Eventually(t, "pod of another user", func(ctx context.Context) (bool, string) {
		_, err := others.Create(ctx, foreign, metav1.CreateOptions{})
		return err == nil, fmt.Sprint(err)
	})
	cpus := func(want string) func(*corev1.Node) bool {
		return func(n *corev1.Node) bool { return n.Status.Allocatable.Cpu().String() == want }
	}
	c.node(t, c.ssd, "without the foreign pod's room", cpus("2"))
	c.pod(t, "large", "4", onNodesWith(onSSD))
	c.waits(t, "large")
	c.pod(t, "small", "1", onNodesWith(onSSD))
	c.runs(t, "small", c.ssd)

	// A binding by hand meets the same room.
	for name, what := range map[string]struct {
		change func(*corev1.PodSpec)
		says   string
	}{
		"too-large": {func(*corev1.PodSpec) {}, "not enough room: cpu"},
		"port-taken": {func(s *corev1.PodSpec) {
			s.Containers[0].Resources.Requests = nil
			s.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 8080}}
		}, "port 8080/TCP"},
	} {
		c.pod(t, name, "4", func(s *corev1.PodSpec) { s.SchedulerName = "by-hand"; what.change(s) })
		if err := c.bind(ctx, name, c.ssd); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), what.says) || strings.Contains(err.Error(), "foreign") {
			t.Errorf("binding of %s: %v, want a conflict that says %q and names nothing of others", name, err, what.says)
		}
	}
	if err := others.Delete(ctx, "foreign", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.node(t, c.ssd, "with all of its room", cpus("32"))
	c.runs(t, "large", c.ssd)
	c.remove(t, "large", "small", "too-large", "port-taken")
}

func (c *scheduled) bind(ctx context.Context, name, node string) error {
	return c.Virtual.CoreV1().Pods("default").Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Target: corev1.ObjectReference{Kind: "Node", Name: node},
	}, metav1.CreateOptions{})
}

// preemption: a class of the tenant's makes room inside, and means nothing on the
// host.
func (c *scheduled) preemption(t *testing.T) {
	if _, err := c.Virtual.SchedulingV1().PriorityClasses().Create(t.Context(), &schedulingv1.PriorityClass{
		ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 1000,
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.pod(t, "low", "20", onNodesWith(onSSD))
	c.runs(t, "low", c.ssd)
	c.pod(t, "high", "20", func(s *corev1.PodSpec) { s.NodeSelector, s.PriorityClassName = onSSD, "high" })
	c.runs(t, "high", c.ssd)
	if _, err := c.Virtual.CoreV1().Pods("default").Get(t.Context(), "low", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the pod of low priority: %v, want it preempted", err)
	}
	if p := *c.HostPod("default", "high").Spec.Priority; p != 0 {
		t.Errorf("priority on the host is %d, want 0", p)
	}
	c.remove(t, "high")
}

// ownScheduler: the tenant's own scheduler binds pods, but to no node that the
// host keeps for others.
func (c *scheduled) ownScheduler(t *testing.T) {
	c.patchNode(t, c.Host.CoreV1().Nodes().Patch, c.plain, `{"spec":{"taints":[{"key":"operators","value":"own","effect":"NoSchedule"}]}}`)
	c.node(t, c.plain, "tainted", func(n *corev1.Node) bool { return len(n.Spec.Taints) == 1 && n.Spec.Taints[0].Key == "operators" })
	c.pod(t, "own", "1", func(s *corev1.PodSpec) {
		s.SchedulerName = "tenants-own"
		s.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	})
	if err := c.bind(t.Context(), "own", c.plain); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "operators=own:NoSchedule") {
		t.Errorf("binding to a tainted node of the host: %v, want a refusal that names the taint", err)
	}
	if err := c.bind(t.Context(), "own", "no-such-node"); !apierrors.IsForbidden(err) {
		t.Errorf("binding to an unknown node: %v, want a refusal", err)
	}
	if err := c.bind(t.Context(), "own", c.ssd); err != nil {
		t.Errorf("binding: %v", err)
	}
	c.runs(t, "own", c.ssd)
	if got := c.seen(t, "own", func(*corev1.Pod) bool { return true }).Spec.SchedulerName; got != "tenants-own" {
		t.Errorf("scheduler is shown as %q", got)
	}
	c.patchNode(t, c.Host.CoreV1().Nodes().Patch, c.plain, `{"spec":{"taints":null}}`)
	c.node(t, c.plain, "without the taint", func(n *corev1.Node) bool { return len(n.Spec.Taints) == 0 })
	c.remove(t, "own")
}

// refusedByTheHost: the scheduler inside sees what the host would refuse, and looks
// elsewhere, although the pod tolerates everything inside.
func (c *scheduled) refusedByTheHost(t *testing.T) {
	c.patchNode(t, c.Host.CoreV1().Nodes().Patch, c.ssd, `{"spec":{"taints":[{"key":"operators","value":"own","effect":"NoSchedule"}]}}`)
	c.node(t, c.ssd, "tainted", func(n *corev1.Node) bool { return len(n.Spec.Taints) == 1 })
	everything := func(s *corev1.PodSpec) { s.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}} }
	for _, name := range []string{"one", "two", "three"} {
		c.pod(t, name, "1", everything)
		c.runs(t, name, c.plain)
	}
	c.pod(t, "nowhere", "1", func(s *corev1.PodSpec) { everything(s); s.NodeSelector = onSSD })
	c.waits(t, "nowhere")
	c.seen(t, "nowhere", func(p *corev1.Pod) bool {
		return strings.Contains(fmt.Sprint(p.Status.Conditions), "1 node(s) had a taint of the host that the pod cannot tolerate there")
	})
	c.patchNode(t, c.Host.CoreV1().Nodes().Patch, c.ssd, `{"spec":{"taints":null}}`)
	c.runs(t, "nowhere", c.ssd)
	c.remove(t, "one", "two", "three", "nowhere")
}

// volume: a claim waits for its first consumer, and the host provisions where the
// scheduler inside has put the pod. The test plays the provisioner.
func (c *scheduled) volume(t *testing.T) {
	ctx := t.Context()
	if _, err := c.Virtual.CoreV1().PersistentVolumeClaims("default").Create(ctx, claimOf("data", nil), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.pod(t, "stateful", "1", func(s *corev1.PodSpec) {
		s.NodeSelector = onSSD
		s.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
		}}}
	})
	var claim *corev1.PersistentVolumeClaim
	embedded.Eventually(t, "node of the claim on the host", func(ctx context.Context) (bool, string) {
		var err error
		claim, err = c.Host.CoreV1().PersistentVolumeClaims(c.Namespace).Get(ctx, c.HostName("default", "data"), metav1.GetOptions{})
		return err == nil && claim.Annotations[rules.SelectedNode] == c.ssd, fmt.Sprint(claim, err)
	})
	if _, err := c.Host.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-" + c.Namespace},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: claim.Spec.Resources.Requests, AccessModes: claim.Spec.AccessModes, StorageClassName: *claim.Spec.StorageClassName,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "csi.example.com", VolumeHandle: "1"}},
			ClaimRef:               &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{c.ssd}}},
			}}}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.runs(t, "stateful", c.ssd)
	c.remove(t, "stateful")

	// The volume leads the next pod to its node.
	c.pod(t, "again", "1", func(s *corev1.PodSpec) {
		s.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
		}}}
	})
	c.runs(t, "again", c.ssd)
	c.remove(t, "again")

	elsewhere := claimOf("elsewhere", nil)
	elsewhere.Annotations = map[string]string{rules.SelectedNode: "no-such-node"}
	if _, err := c.Virtual.CoreV1().PersistentVolumeClaims("default").Create(ctx, elsewhere, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a claim for a node that is not shown: %v, want a refusal", err)
	}
}

func (c *scheduled) leftToTheHost(t *testing.T) {
	c.pod(t, "left", "1", func(s *corev1.PodSpec) { s.SchedulerName = rewrite.HostScheduler })
	c.runs(t, "left", "")
	if got := c.HostPod("default", "left").Spec.SchedulerName; got != corev1.DefaultSchedulerName {
		t.Errorf("scheduler on the host is %q", got)
	}
	if got := c.seen(t, "left", func(*corev1.Pod) bool { return true }).Spec.SchedulerName; got != rewrite.HostScheduler {
		t.Errorf("scheduler inside is %q", got)
	}
	c.remove(t, "left")
}

// afterACrash: pods that wait for a node go on waiting while nobody schedules, and
// get one afterwards.
func (c *scheduled) afterACrash(t *testing.T) {
	c.patchNode(t, c.Virtual.CoreV1().Nodes().Patch, c.ssd, `{"spec":{"unschedulable":true}}`)
	c.pod(t, "patient", "1", onNodesWith(onSSD))
	c.waits(t, "patient")
	c.Kill()
	if got := c.HostPod("default", "patient"); got.Spec.NodeName != "" || got.Spec.SchedulerName != rewrite.NoScheduler {
		t.Errorf("without a scheduler, the host pod is on %q and names %q", got.Spec.NodeName, got.Spec.SchedulerName)
	}
	c.Start()
	c.waits(t, "patient")
	c.patchNode(t, c.Virtual.CoreV1().Nodes().Patch, c.ssd, `{"spec":{"unschedulable":null}}`)
	c.runs(t, "patient", c.ssd)
	c.remove(t, "patient")
}
