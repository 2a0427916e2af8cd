// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodes_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/nodes"
)

// mirror is a running Mirror between two fake clusters.
type mirror struct {
	*fixture
	mirror *nodes.Mirror
}

func startMirror(t *testing.T, cfg nodes.MirrorConfig, virtual []runtime.Object, host ...runtime.Object) *mirror {
	t.Helper()
	m := &mirror{fixture: &fixture{Harness: harness.New(t, virtual, host)}}
	cfg.Virtual, cfg.Informers, cfg.Host, cfg.Clock = m.Virtual, m.Informers, m.Host, m.Clock
	var err error
	if m.mirror, err = nodes.NewMirror(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.hostIsUntouched) // after the loops have ended
	m.Run(m.mirror.Observe, m.mirror.Run)
	return m
}

// hostIsUntouched holds after every test: the rights of a Mirror are to read.
func (m *mirror) hostIsUntouched() {
	for _, w := range harness.Writes(&m.Host.Fake, "") {
		m.T.Errorf("the host got %s", w)
	}
}

// changeHost changes a host node behind the Mirror's back, as a kubelet would.
func (m *mirror) changeHost(name string, change func(*corev1.Node)) {
	m.T.Helper()
	gvr := corev1.SchemeGroupVersion.WithResource("nodes")
	obj, err := m.Host.Tracker().Get(gvr, "", name)
	if err != nil {
		m.T.Fatal(err)
	}
	node := obj.(*corev1.Node).DeepCopy()
	node.ResourceVersion += "1"
	change(node)
	if err := m.Host.Tracker().Update(gvr, node, ""); err != nil {
		m.T.Fatal(err)
	}
}

func (m *mirror) deleteHost(name string) {
	m.T.Helper()
	if err := m.Host.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("nodes"), "", name); err != nil {
		m.T.Fatal(err)
	}
}

// tenant changes a virtual Node.
func (m *mirror) tenant(name string, change func(*corev1.Node)) {
	m.T.Helper()
	node, err := m.Virtual.CoreV1().Nodes().Get(m.T.Context(), name, metav1.GetOptions{})
	if err != nil {
		m.T.Fatal(err)
	}
	change(node)
	if _, err := m.Virtual.CoreV1().Nodes().Update(m.T.Context(), node, metav1.UpdateOptions{}); err != nil {
		m.T.Fatal(err)
	}
}

func (m *mirror) writes() int {
	n := 0
	for _, a := range m.Virtual.Actions() {
		if v := a.GetVerb(); a.GetResource().Resource == "nodes" && (v == "create" || v == "update" || v == "patch") {
			n++
		}
	}
	return n
}

func hostNode(name string) *corev1.Node {
	resources := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi")}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: "host-uid", ResourceVersion: "1",
			Labels: map[string]string{corev1.LabelHostname: name, "disk": "ssd", "pool": "a"},
			Annotations: map[string]string{
				"example.com/rack": "7", "projectcalico.org/IPv4Address": "10.9.8.7/24", "k3s.io/node-args": "[--token x]",
				"flannel.alpha.coreos.com/backend-data": `{"VtepMAC":"a"}`, "csi.volume.kubernetes.io/nodeid": "{}", "network.cilium.io/wg-pub-key": "k",
			},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubelet"}},
		},
		Spec: corev1.NodeSpec{
			PodCIDR: "10.1.0.0/24", PodCIDRs: []string{"10.1.0.0/24"}, ProviderID: "cloud://1",
			Taints: []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectNoSchedule}},
		},
		Status: corev1.NodeStatus{
			Capacity: resources, Allocatable: resources,
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.7"}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: 10250}},
			NodeInfo:        corev1.NodeSystemInfo{KubeletVersion: "v1.36.0", KernelVersion: "6.1"},
			Images:          []corev1.ContainerImage{{Names: []string{"someone/secret:1"}}},
			VolumesInUse:    []corev1.UniqueVolumeName{"kubernetes.io/csi/x^y"},
			VolumesAttached: []corev1.AttachedVolume{{Name: "kubernetes.io/csi/x^y"}},
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
				LastHeartbeatTime: metav1.Unix(1000, 0), LastTransitionTime: metav1.Unix(900, 0),
			}},
		},
	}
}

func exists(n *corev1.Node) bool  { return n != nil }
func missing(n *corev1.Node) bool { return n == nil }

func TestHostNodeIsShownAsItIs(t *testing.T) {
	m := startMirror(t, nodes.MirrorConfig{}, nil, hostNode("worker-1"))
	got := m.node("worker-1", "the host's node", exists)
	want := hostNode("worker-1")
	if diff := cmp.Diff(want.Labels, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Spec, got.Spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	want.Status.VolumesInUse, want.Status.VolumesAttached = nil, nil // of everybody's pods
	if diff := cmp.Diff(want.Status, got.Status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if m.writes() != 1 {
		t.Errorf("%d writes for one new node", m.writes())
	}
}

// The notes of node agents for themselves would show a tenant the host's
// network and machines.
func TestPrivateAnnotationsOfTheHostDoNotLeak(t *testing.T) {
	m := startMirror(t, nodes.MirrorConfig{}, nil, hostNode("worker-1"))
	got := m.node("worker-1", "the host's node", exists).Annotations
	record := got[nodes.AnnotationHost]
	delete(got, nodes.AnnotationHost)
	if diff := cmp.Diff(map[string]string{"example.com/rack": "7"}, got); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if strings.Contains(record, "calico") {
		t.Errorf("the record names what is hidden: %s", record)
	}
}

func TestImagesCanBeHidden(t *testing.T) {
	m := startMirror(t, nodes.MirrorConfig{HideImages: true}, nil, hostNode("worker-1"))
	if got := m.node("worker-1", "the host's node", exists); len(got.Status.Images) != 0 {
		t.Errorf("images are shown: %+v", got.Status.Images)
	}
}

// Inside, such a taint would keep DaemonSets away and make the taint eviction
// controller delete every pod again and again: the toleration is enforced on
// the host, and the tenant's pods do not have it.
func TestTaintsThatEveryPodToleratesAreNotShown(t *testing.T) {
	dedicated := hostNode("worker-1")
	dedicated.Spec.Taints = append(dedicated.Spec.Taints, corev1.Taint{Key: "tenants", Value: "only", Effect: corev1.TaintEffectNoExecute})
	m := startMirror(t, nodes.MirrorConfig{Tolerations: []corev1.Toleration{{Key: "tenants", Operator: corev1.TolerationOpExists}}}, nil, dedicated)
	if got := m.node("worker-1", "the host's node", exists).Spec.Taints; len(got) != 1 || got[0].Key != "gpu" {
		t.Errorf("taints: %+v", got)
	}
}

func TestOnlyHostNodesAreVouchedFor(t *testing.T) {
	forged := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "forged", Annotations: map[string]string{nodes.AnnotationHost: `{"uid":"x"}`}}}
	m := startMirror(t, nodes.MirrorConfig{InUse: true}, []runtime.Object{forged, pod("a", "worker-1"), pod("b", "forged")}, hostNode("worker-1"), hostNode("worker-2"))
	m.node("worker-1", "the node in use", exists)
	for name, want := range map[string]bool{"worker-1": true, "worker-2": false, "forged": false} {
		if got := m.mirror.Shown(name); got != want {
			t.Errorf("Shown(%q) is %v", name, got)
		}
	}
}

// A tenant's toleration that does not count on the host lets no pod onto a node
// there. Taints that every pod tolerates keep none away.
func TestTaintsThatKeepPodsAwayOnTheHost(t *testing.T) {
	tainted := func(name string, taints ...corev1.Taint) *corev1.Node {
		n := hostNode(name)
		n.Spec.Taints = taints
		return n
	}
	enforced := []corev1.Toleration{{Key: "tenants", Operator: corev1.TolerationOpExists}}
	m := startMirror(t, nodes.MirrorConfig{Tolerations: enforced}, nil,
		tainted("free", corev1.Taint{Key: "tenants", Effect: corev1.TaintEffectNoSchedule}, corev1.Taint{Key: "busy", Effect: corev1.TaintEffectPreferNoSchedule}),
		tainted("gpu", corev1.Taint{Key: "gpu", Effect: corev1.TaintEffectNoSchedule}), tainted("out", corev1.Taint{Key: "out", Effect: corev1.TaintEffectNoExecute}))
	for _, name := range []string{"free", "gpu", "out"} {
		m.node(name, "shown", exists)
	}
	gpu := append([]corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}}, enforced...)
	for name, want := range map[string][2]bool{"free": {false, false}, "gpu": {true, false}, "out": {true, true}, "missing": {false, false}} {
		if got := [2]bool{m.mirror.KeepsAway(name, enforced), m.mirror.KeepsAway(name, gpu)}; got != want {
			t.Errorf("node %s keeps away pods without and with the toleration of gpu: %v, want %v", name, got, want)
		}
	}
}

func TestHeartbeatsAreNotWritten(t *testing.T) {
	m := startMirror(t, nodes.MirrorConfig{}, nil, hostNode("worker-1"), hostNode("worker-2"))
	m.node("worker-1", "the host's node", exists)
	m.node("worker-2", "the host's node", exists)
	before := m.writes()
	for i := range 10 {
		m.changeHost("worker-1", func(n *corev1.Node) { n.Status.Conditions[0].LastHeartbeatTime = metav1.Unix(int64(2000+i), 0) })
	}
	// A change of another node comes after them in the same watch.
	m.changeHost("worker-2", func(n *corev1.Node) { n.Labels["marker"] = "x" })
	m.node("worker-2", "the marker", func(n *corev1.Node) bool { return n.Labels["marker"] == "x" })
	if got := m.writes() - before; got != 1 {
		t.Errorf("%d writes, want only the marker's", got)
	}
}

func TestConditionsFollowAtOnce(t *testing.T) {
	m := startMirror(t, nodes.MirrorConfig{}, nil, hostNode("worker-1"))
	m.node("worker-1", "a ready node", ready)
	m.changeHost("worker-1", func(n *corev1.Node) {
		n.Status.Conditions[0].Status, n.Status.Conditions[0].LastHeartbeatTime = corev1.ConditionUnknown, metav1.Unix(3000, 0)
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute})
	})
	got := m.node("worker-1", "an unready node with a taint", func(n *corev1.Node) bool { return !ready(n) && len(n.Spec.Taints) == 2 })
	if !got.Status.Conditions[0].LastHeartbeatTime.Equal(&metav1.Time{Time: time.Unix(3000, 0)}) {
		t.Errorf("condition: %+v", got.Status.Conditions[0])
	}
	m.changeHost("worker-1", func(n *corev1.Node) {
		n.Spec.Taints = n.Spec.Taints[:1]
		n.Status.Conditions[0].Status = corev1.ConditionTrue
	})
	m.node("worker-1", "a ready node without the taint", func(n *corev1.Node) bool { return ready(n) && len(n.Spec.Taints) == 1 })
}

func TestWhatTheTenantAddedSurvivesHostChanges(t *testing.T) {
	m := startMirror(t, nodes.MirrorConfig{}, nil, hostNode("worker-1"))
	m.node("worker-1", "the host's node", exists)
	m.tenant("worker-1", func(n *corev1.Node) {
		n.Labels["mine"] = "yes"
		n.Annotations["mine"] = "too"
		n.Spec.Unschedulable = true
		n.Spec.Taints = append([]corev1.Taint{{Key: "mine", Effect: corev1.TaintEffectNoExecute}}, n.Spec.Taints...)
		n.Status.Capacity["example.com/mine"] = resource.MustParse("3") // the fake API has no subresources
	})
	m.changeHost("worker-1", func(n *corev1.Node) {
		delete(n.Labels, "disk")
		n.Labels["zone"] = "b"
		delete(n.Annotations, "example.com/rack")
		n.Spec.Taints = nil
		n.Status.Capacity = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("8")}
	})
	got := m.node("worker-1", "the host's change", func(n *corev1.Node) bool { return n.Labels["zone"] == "b" && len(n.Spec.Taints) == 1 })
	want := map[string]string{corev1.LabelHostname: "worker-1", "pool": "a", "zone": "b", "mine": "yes"}
	if diff := cmp.Diff(want, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if got.Annotations["mine"] != "too" || got.Annotations["example.com/rack"] != "" {
		t.Errorf("annotations: %v", got.Annotations)
	}
	if got.Spec.Taints[0].Key != "mine" || !got.Spec.Unschedulable {
		t.Errorf("spec: %+v", got.Spec)
	}
	if q := got.Status.Capacity["example.com/mine"]; q.Value() != 3 {
		t.Errorf("capacity: %v", got.Status.Capacity)
	}
	// As a kubelet does, so that a scheduler inside can give it away.
	if q := got.Status.Allocatable["example.com/mine"]; q.Value() != 3 {
		t.Errorf("allocatable: %v", got.Status.Allocatable)
	}
	if _, left := got.Status.Capacity[corev1.ResourceMemory]; left {
		t.Errorf("capacity that the host took away is left: %v", got.Status.Capacity)
	}
}

// A resource that the tenant takes back is gone.
func TestTenantTakesAResourceBack(t *testing.T) {
	m := startMirror(t, nodes.MirrorConfig{}, nil, hostNode("worker-1"))
	m.node("worker-1", "the host's node", exists)
	has := func(want bool) func(*corev1.Node) bool {
		return func(n *corev1.Node) bool {
			_, has := n.Status.Allocatable["example.com/mine"]
			return has == want && n.Status.Allocatable.Cpu().String() == "4"
		}
	}
	m.tenant("worker-1", func(n *corev1.Node) { n.Status.Capacity["example.com/mine"] = resource.MustParse("3") })
	m.node("worker-1", "the tenant's resource", has(true))
	m.tenant("worker-1", func(n *corev1.Node) { delete(n.Status.Capacity, "example.com/mine") })
	m.node("worker-1", "no resource of the tenant's", has(false))
}

func TestTheHostWinsForWhatItContributes(t *testing.T) {
	m := startMirror(t, nodes.MirrorConfig{}, nil, hostNode("worker-1"))
	m.node("worker-1", "the host's node", exists)
	m.tenant("worker-1", func(n *corev1.Node) {
		n.Labels["disk"] = "floppy"
		delete(n.Labels, "pool")
		n.Spec.Taints = nil
		n.Annotations[nodes.AnnotationHost] = "not a record"
	})
	got := m.node("worker-1", "the host's values", func(n *corev1.Node) bool {
		return n.Labels["disk"] == "ssd" && n.Labels["pool"] == "a" && len(n.Spec.Taints) == 1
	})
	if !strings.Contains(got.Annotations[nodes.AnnotationHost], "uid") {
		t.Errorf("the record was not repaired: %v", got.Annotations)
	}
}

func TestCordons(t *testing.T) {
	for name, c := range map[string]struct {
		tenantFirst bool
		want        bool
	}{
		"of the host goes with the host's":  {tenantFirst: false, want: false},
		"of the tenant outlives the host's": {tenantFirst: true, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			m := startMirror(t, nodes.MirrorConfig{}, nil, hostNode("worker-1"))
			m.node("worker-1", "the host's node", exists)
			if c.tenantFirst {
				m.tenant("worker-1", func(n *corev1.Node) { n.Spec.Unschedulable = true })
			}
			m.changeHost("worker-1", func(n *corev1.Node) { n.Spec.Unschedulable = true; n.Labels["step"] = "1" })
			m.node("worker-1", "the cordon", func(n *corev1.Node) bool { return n.Spec.Unschedulable && n.Labels["step"] == "1" })
			m.changeHost("worker-1", func(n *corev1.Node) { n.Spec.Unschedulable = false; n.Labels["step"] = "2" })
			got := m.node("worker-1", "the end of the host's cordon", func(n *corev1.Node) bool { return n.Labels["step"] == "2" })
			if got.Spec.Unschedulable != c.want {
				t.Errorf("unschedulable is %v", got.Spec.Unschedulable)
			}
		})
	}
}

func TestTenantCannotUncordonAHostNode(t *testing.T) {
	cordoned := hostNode("worker-1")
	cordoned.Spec.Unschedulable = true
	m := startMirror(t, nodes.MirrorConfig{}, nil, cordoned)
	m.node("worker-1", "the cordon", exists)
	m.tenant("worker-1", func(n *corev1.Node) { n.Spec.Unschedulable = false; n.Labels["mine"] = "x" })
	m.node("worker-1", "the cordon again", func(n *corev1.Node) bool { return n.Spec.Unschedulable && n.Labels["mine"] == "x" })
}

func TestNodeGoesWithTheHosts(t *testing.T) {
	own := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}
	m := startMirror(t, nodes.MirrorConfig{}, []runtime.Object{own}, hostNode("worker-1"))
	m.node("worker-1", "the host's node", exists)
	m.deleteHost("worker-1")
	m.node("worker-1", "no node", missing)
	if n := m.node("mine", "the tenant's node", exists); len(n.Annotations) != 0 {
		t.Errorf("the tenant's node was changed: %+v", n)
	}
}

func TestNodeThatWentWhileNobodyWatchedIsRemoved(t *testing.T) {
	stale := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "old", Annotations: map[string]string{nodes.AnnotationHost: `{"uid":"x"}`}}}
	m := startMirror(t, nodes.MirrorConfig{}, []runtime.Object{stale}, hostNode("worker-1"))
	m.node("old", "no node", missing)
}

func TestDeletedNodeComesBack(t *testing.T) {
	m := startMirror(t, nodes.MirrorConfig{}, nil, hostNode("worker-1"))
	m.node("worker-1", "the host's node", exists)
	if err := m.Virtual.CoreV1().Nodes().Delete(t.Context(), "worker-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	m.node("worker-1", "the host's node again", exists)
}

// A machine that was replaced under its name has another provider ID, which the
// API does not let an existing Node have.
func TestReplacedHostNodeIsAnotherNode(t *testing.T) {
	m := startMirror(t, nodes.MirrorConfig{}, nil, hostNode("worker-1"))
	m.node("worker-1", "the host's node", exists)
	m.tenant("worker-1", func(n *corev1.Node) { n.Labels["mine"] = "x" })
	m.changeHost("worker-1", func(n *corev1.Node) { n.UID, n.Spec.ProviderID = "other", "cloud://2" })
	got := m.node("worker-1", "the new node", func(n *corev1.Node) bool { return n != nil && n.Spec.ProviderID == "cloud://2" })
	if got.Labels["mine"] != "" {
		t.Error("the new node has a label of the old one")
	}
}

// A tenant who knows a host node's name could otherwise prepare a Node with an
// address of its own.
func TestTenantMadeNodeUnderAHostsNameBecomesTheHosts(t *testing.T) {
	forged := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Labels: map[string]string{"mine": "x"}},
		Spec:       corev1.NodeSpec{ProviderID: "forged://1"},
		Status: corev1.NodeStatus{
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "169.254.169.254"}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: 80}},
		},
	}
	m := startMirror(t, nodes.MirrorConfig{}, []runtime.Object{forged}, hostNode("worker-1"))
	got := m.node("worker-1", "the host's labels", func(n *corev1.Node) bool { return n.Labels["disk"] == "ssd" })
	if diff := cmp.Diff(hostNode("worker-1").Status.Addresses, got.Status.Addresses); diff != "" || got.Status.DaemonEndpoints.KubeletEndpoint.Port != 10250 {
		t.Errorf("the tenant's address stayed: %+v", got.Status)
	}
	if got.Labels["mine"] != "x" {
		t.Error("the tenant's label is gone")
	}
}

func TestMadeUpNodesBecomeRealOnes(t *testing.T) {
	fakes := []runtime.Object{
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Labels: map[string]string{nodes.LabelFake: "true", "beta.kubernetes.io/os": "linux", "mine": "x"}}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "gone", Labels: map[string]string{nodes.LabelFake: "true"}}},
	}
	m := startMirror(t, nodes.MirrorConfig{}, fakes, hostNode("worker-1"))
	got := m.node("worker-1", "the host's node", func(n *corev1.Node) bool { return n.Labels["disk"] == "ssd" })
	if diff := cmp.Diff(map[string]string{corev1.LabelHostname: "worker-1", "disk": "ssd", "pool": "a", "mine": "x"}, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	m.node("gone", "no node", missing)
}

func TestRealNodesBecomeMadeUpOnes(t *testing.T) {
	real1 := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Annotations: map[string]string{nodes.AnnotationHost: `{"uid":"x"}`}}}
	idle := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-2", Annotations: map[string]string{nodes.AnnotationHost: `{"uid":"y"}`}}}
	h := start(t, real1, idle, pod("a", "worker-1"))
	h.node("worker-1", "a made-up node", func(n *corev1.Node) bool { return n != nil && n.Labels[nodes.LabelFake] != "" && ready(n) })
	h.node("worker-2", "no node", missing)
}

func TestOnlyNodesInUseAreShown(t *testing.T) {
	m := startMirror(t, nodes.MirrorConfig{InUse: true, Linger: 30 * time.Second}, []runtime.Object{pod("a", "worker-1")}, hostNode("worker-1"), hostNode("worker-2"))
	m.node("worker-1", "the node in use", exists)
	m.createPod(pod("b", "worker-2"))
	m.node("worker-2", "the node in use", exists)
	m.deletePod("a")
	m.changeHost("worker-1", func(n *corev1.Node) { n.Labels["marker"] = "x" })
	m.node("worker-1", "a change while it lingers", func(n *corev1.Node) bool { return n != nil && n.Labels["marker"] == "x" })
	m.node("worker-1", "no node", func(n *corev1.Node) bool {
		m.Clock.Step(31 * time.Second)
		return n == nil
	})
	m.node("worker-2", "the node in use", exists)
}

func TestSelectorIsTheHosts(t *testing.T) {
	m := startMirror(t, nodes.MirrorConfig{Selector: labels.SelectorFromSet(labels.Set{"pool": "a"})}, nil, hostNode("worker-1"))
	m.node("worker-1", "the node", exists)
	for _, a := range m.Host.Actions() {
		if l, ok := a.(clienttesting.ListAction); ok && l.GetListRestrictions().Labels.String() != "pool=a" {
			t.Errorf("the host was asked for %q", l.GetListRestrictions().Labels)
		}
	}
}

func TestMissingRightsAreTold(t *testing.T) {
	for _, verb := range []string{"list", "watch"} {
		t.Run(verb, func(t *testing.T) {
			host := fake.NewClientset()
			refusal := apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", nil)
			host.PrependReactor(verb, "nodes", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, refusal })
			host.PrependWatchReactor("nodes", clienttesting.DefaultWatchReactor(nil, nil))
			if verb == "watch" {
				host.PrependWatchReactor("nodes", clienttesting.DefaultWatchReactor(nil, refusal))
			}
			if err := nodes.CheckAccess(t.Context(), host); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), verb) {
				t.Errorf("got %v", err)
			}
		})
	}
}
