// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/rules"
)

// nodesFixture has four nodes on the host, of which "hidden" is not shown. The
// operator's node selector is pool=tenants, and the tenant's pods may tolerate
// the taint "gpu".
func nodesFixture(t *testing.T, change ...func(*host.Config)) *fixture {
	t.Helper()
	cluster := newTranslator(t).Cluster()
	cluster.NodeSelector = map[string]string{"pool": "tenants"}
	cluster.Tolerations = []corev1.Toleration{{Key: "tenants", Operator: corev1.TolerationOpExists}}
	cluster.AllowedTolerations = []string{"gpu"}
	tr, err := rewrite.New(cluster)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{"plain": true, "tainted": true, "cordoned": true, "elsewhere": true, "gone": true}
	f := newFixture(t, "pods", append([]func(*host.Config){func(c *host.Config) {
		c.Translator, c.AllowBinding, c.ReadNodes = tr, true, true
		c.NodeTakesPods = func(name string) bool { return shown[name] }
	}}, change...)...)
	f.tr = tr
	node := func(name, pool string, unschedulable bool, taints ...corev1.Taint) {
		f.host.put("nodes", &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pool": pool}},
			Spec:       corev1.NodeSpec{Taints: taints, Unschedulable: unschedulable},
		})
	}
	node("plain", "tenants", false,
		corev1.Taint{Key: "tenants", Value: "only", Effect: corev1.TaintEffectNoSchedule}, corev1.Taint{Key: "busy", Effect: corev1.TaintEffectPreferNoSchedule})
	node("tainted", "tenants", false, corev1.Taint{Key: "gpu", Value: "a100", Effect: corev1.TaintEffectNoSchedule})
	node("cordoned", "tenants", true)
	node("elsewhere", "operators", false)
	node("hidden", "tenants", false)
	return f
}

// A tenant names a pod's node, or binds the pod to it, and so passes by the
// host's scheduler and all that keeps tenants off the operator's nodes. The node
// has to be one that is shown, and its labels and taints hold all the same.
func TestAttackPodNamesItsNode(t *testing.T) {
	tolerates := func(key string) corev1.Toleration {
		return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists}
	}
	const unknown = "is not a node of this cluster that takes pods"
	for name, c := range map[string]struct {
		node       string
		toleration corev1.Toleration
		refusal    string
	}{
		"a node that is shown":                 {node: "plain"},
		"a node that does not exist":           {node: "missing", refusal: unknown},
		"a node that is not shown":             {node: "hidden", refusal: unknown},
		"a node that has just gone":            {node: "gone", refusal: unknown},
		"a node without the enforced label":    {node: "elsewhere", refusal: unknown},
		"a taint":                              {node: "tainted", refusal: "has the taint gpu=a100:NoSchedule, and"},
		"a taint, tolerated":                   {node: "tainted", toleration: tolerates("gpu")},
		"a cordon":                             {node: "cordoned", refusal: "has the taint node.kubernetes.io/unschedulable:NoSchedule, and"},
		"a cordon, tolerated as by DaemonSets": {node: "cordoned", toleration: tolerates("node.kubernetes.io/unschedulable")},
		"a taint, with what does not count":    {node: "tainted", toleration: tolerates("other"), refusal: "has the taint gpu=a100:NoSchedule, and"},
	} {
		t.Run(name, func(t *testing.T) {
			check := func(way string, f *fixture, err error) {
				t.Helper()
				if c.refusal == "" {
					if err != nil {
						t.Errorf("%s: %v", way, err)
					} else if got := f.host.get("pods", hostWeb)["spec"].(tree)["nodeName"]; got != c.node {
						t.Errorf("%s: the host pod is on %v, want %s", way, got, c.node)
					}
					return
				}
				if st := statusOf(t, err); st.Code != http.StatusForbidden ||
					!strings.HasPrefix(st.Message, `pods "web" is forbidden: node "`+c.node+`" `+c.refusal) {
					t.Errorf("%s: %d %s", way, st.Code, st.Message)
				}
				if w := f.host.writes(); len(w) > 0 {
					t.Errorf("%s: host calls %v", way, w)
				}
			}
			pod := newPod("demo", "web")
			if c.toleration.Key != "" {
				pod.Spec.Tolerations = []corev1.Toleration{c.toleration}
			}
			bound := nodesFixture(t)
			waiting := bound.create(pod)
			bound.host.writes()
			_, err := bound.update(as(t.Context(), "binding"), waiting, func(p *corev1.Pod) { p.Spec.NodeName = c.node })
			check("binding", bound, err)

			born := nodesFixture(t)
			pod.Spec.NodeName = c.node
			check("spec.nodeName", born, born.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0))
		})
	}
}

// A binding for which the host has no room is a conflict, after which a scheduler
// looks again. A pod that names its node is the kubelet's to refuse.
func TestBindingNeedsRoom(t *testing.T) {
	full := errors.New(`node "plain" has not enough room: cpu`)
	var asked []string
	f := nodesFixture(t, func(c *host.Config) {
		c.Fits = func(n *corev1.Node, p *corev1.Pod) error {
			asked = append(asked, n.Name+" "+p.Name)
			return full
		}
	})
	waiting := f.create(newPod("demo", "web"))
	f.host.writes()
	bind := func() error {
		_, err := f.update(as(t.Context(), "binding"), waiting, func(p *corev1.Pod) { p.Spec.NodeName = "plain" })
		return err
	}
	if err := bind(); !apierrors.IsConflict(err) || !strings.HasSuffix(err.Error(), full.Error()) {
		t.Errorf("got %v, want a conflict", err)
	}
	if w := f.host.writes(); len(w) > 0 {
		t.Errorf("host calls %v", w)
	}
	if len(asked) == 0 || asked[0] != "plain "+hostWeb {
		t.Errorf("asked about %v, want the pod as the host has it", asked)
	}
	full = nil
	if err := bind(); err != nil || f.host.get("pods", hostWeb)["spec"].(tree)["nodeName"] != "plain" {
		t.Errorf("with room: %v", err)
	}

	full = errors.New("full")
	named := newPod("demo", "named")
	named.Spec.NodeName = "plain"
	f.create(named)
}

// A tenant finds out names of host nodes by naming them in pods. The answers
// about a node that is not shown and about one that does not exist differ in the
// name only, and the host is asked about neither.
func TestAttackNodeNameIsAnOracle(t *testing.T) {
	f := nodesFixture(t)
	answer := func(node string) string {
		pod := newPod("demo", "web")
		pod.Spec.NodeName = node
		st := statusOf(t, f.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0))
		st.Message = strings.ReplaceAll(st.Message, node, "NODE")
		return st.String()
	}
	reads := f.host.reads()
	if hidden, missing := answer("hidden"), answer("missing"); hidden != missing {
		t.Errorf("not shown: %s\nmissing: %s", hidden, missing)
	}
	if n := f.host.reads() - reads; n != 0 {
		t.Errorf("%d questions to the host, want none", n)
	}
}

// Without a right to read nodes, a pod of the cluster on the node is needed.
func TestPodNamesItsNodeWithoutRightsOnNodes(t *testing.T) {
	f := nodesFixture(t, func(c *host.Config) { c.ReadNodes = false })
	pod := newPod("demo", "web")
	pod.Spec.NodeName = "tainted"
	f.create(pod)
	if n := f.host.reads(); n != 0 {
		t.Errorf("%d questions to the host, want none", n)
	}
	pod = newPod("demo", "other")
	pod.Spec.NodeName = "hidden"
	if err := f.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0); !apierrors.IsForbidden(err) {
		t.Errorf("a node that is not shown: %v, want 403", err)
	}
	f = newFixture(t, "pods")
	if err := f.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0); !apierrors.IsForbidden(err) {
		t.Errorf("nothing is known of nodes: %v, want 403", err)
	}
}

// A pod is not let onto a node that the host does not describe.
func TestPodNamesItsNodeWhileTheHostDoesNotAnswer(t *testing.T) {
	f := nodesFixture(t)
	f.host.mu.Lock()
	f.host.answer = func(c call) *metav1.Status {
		if c.resource != "nodes" {
			return nil
		}
		return &metav1.Status{Status: "Failure", Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: `nodes "plain" is forbidden: User "door" cannot get`}
	}
	f.host.mu.Unlock()
	pod := newPod("demo", "web")
	pod.Spec.NodeName = "plain"
	err := f.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0)
	if !apierrors.IsServiceUnavailable(err) || strings.Contains(err.Error(), "door") {
		t.Errorf("got %v, want 503 that does not tell why", err)
	}
	if w := f.host.writes(); len(w) > 0 {
		t.Errorf("host calls %v", w)
	}
}

// A tenant adds an ephemeral container that mounts a Secret which a webhook of
// the host put into the pod. It is refused (422).
func TestAttackEphemeralContainerMountsWhatTheHostAdded(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	f.host.edit("pods", hostWeb, func(h tree) {
		h["spec"].(tree)["volumes"] = []any{tree{"name": "sidecar-token", "secret": tree{"secretName": "operators"}}}
	})
	_, err := f.update(as(t.Context(), "ephemeralcontainers"), pod, func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "debug", Image: "busybox", VolumeMounts: []corev1.VolumeMount{{Name: "sidecar-token", MountPath: "/x"}},
		}}}
	})
	st := statusOf(t, err)
	if st.Code != http.StatusUnprocessableEntity || len(st.Details.Causes) != 1 || st.Details.Causes[0].Field != "spec.ephemeralContainers[0].volumeMounts[0].name" {
		t.Errorf("got %d %s", st.Code, st.Message)
	}
	// The storage did not know of the volume at its first try, which the host
	// refused: it was about another revision of the pod.
	if got := f.host.get("pods", hostWeb)["spec"].(tree)["ephemeralContainers"]; got != nil {
		t.Errorf("the host pod has %v", got)
	}
}

// A tenant adds an external IP to a Service by a way that no admission watches.
// The storage refuses it too.
func TestAttackServiceGetsExternalIPsByAnUpdate(t *testing.T) {
	f := newFixture(t, "services")
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "s"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	if err := f.Create(t.Context(), "/services/demo/s", svc, &corev1.Service{}, 0); err != nil {
		t.Fatal(err)
	}
	f.host.writes()
	err := f.GuaranteedUpdate(t.Context(), "/services/demo/s", &corev1.Service{}, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		in.(*corev1.Service).Spec.ExternalIPs = []string{"192.0.2.53"}
		return in, nil
	}), nil)
	if !apierrors.IsInvalid(err) {
		t.Errorf("got %v, want 422", err)
	}
	if w := f.host.writes(); len(w) > 0 {
		t.Errorf("host calls %v", w)
	}
}

// A tenant has a volume made on a node that the cluster does not show, by the
// annotation by which a scheduler says where it is needed. It is refused (403), as
// a pod for that node is. A claim whose node has gone since can be changed.
func TestAttackClaimNeedsItsVolumeOnAHiddenNode(t *testing.T) {
	cluster := newTranslator(t).Cluster()
	cluster.SchedulesInside = true
	tr, err := rewrite.New(cluster)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{"plain": true}
	f := newFixture(t, "persistentvolumeclaims", func(c *host.Config) {
		c.Translator, c.NodeTakesPods = tr, func(name string) bool { return shown[name] }
	})
	const key, name = "/persistentvolumeclaims/demo/data", "data-x-demo-x-vc"
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "data", Annotations: map[string]string{rules.SelectedNode: "hidden"}}}
	if err := f.Create(t.Context(), key, claim, &corev1.PersistentVolumeClaim{}, 0); !apierrors.IsForbidden(err) {
		t.Errorf("a new claim: %v, want 403", err)
	}
	claim.Annotations = nil
	if err := f.Create(t.Context(), key, claim, &corev1.PersistentVolumeClaim{}, 0); err != nil {
		t.Fatal(err)
	}
	annotate := func(k, v string) error {
		return f.GuaranteedUpdate(t.Context(), key, &corev1.PersistentVolumeClaim{}, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
			metav1.SetMetaDataAnnotation(&in.(*corev1.PersistentVolumeClaim).ObjectMeta, k, v)
			return in, nil
		}), nil)
	}
	if err := annotate(rules.SelectedNode, "hidden"); !apierrors.IsForbidden(err) {
		t.Errorf("a claim that is there: %v, want 403", err)
	}
	if err := annotate(rules.SelectedNode, "plain"); err != nil {
		t.Errorf("a node that is shown: %v", err)
	}
	if got := md(f.host.get("persistentvolumeclaims", name))["annotations"].(tree)[rules.SelectedNode]; got != "plain" {
		t.Errorf("on the host the node is %v", got)
	}
	delete(shown, "plain")
	if err := annotate("example.com/note", "x"); err != nil {
		t.Errorf("another change after the node has gone: %v", err)
	}
}
