// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/test/embedded"
)

// keysPatch is a merge patch of labels and annotations. A nil value removes.
func keysPatch(labels, annotations map[string]any) []byte {
	keys := map[string]any{}
	if labels != nil {
		keys["labels"] = labels
	}
	if annotations != nil {
		keys["annotations"] = annotations
	}
	body, err := json.Marshal(map[string]any{"metadata": keys})
	if err != nil {
		panic(err) // of strings and nil: impossible
	}
	return body
}

// want fails unless m has exactly these keys besides Portico's own.
func want(t *testing.T, what string, m map[string]string, keys map[string]string) {
	t.Helper()
	got := map[string]string{}
	for k, v := range m {
		if !rewrite.Reserved(k) {
			got[k] = v
		}
	}
	if !maps.Equal(got, keys) {
		t.Errorf("%s: %v, want %v", what, got, keys)
	}
}

func hostService(c *embedded.Cluster, namespace, name string) *corev1.Service {
	c.T.Helper()
	s, err := c.Host.CoreV1().Services(c.Namespace).Get(c.T.Context(), c.HostName(namespace, name), metav1.GetOptions{})
	if err != nil {
		c.T.Fatal(err)
	}
	return s
}

// A tenant's Service asks the host's controllers for a DNS name, for a load
// balancer of its liking and to be adopted, when it is created and later. None
// of that is on the host, and the tenant reads the same back.
func TestAttackServiceAsksForNamesAndLoadBalancers(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	created := map[string]string{
		"external-dns.alpha.kubernetes.io/hostname":              "bank.example.com",
		"service.beta.kubernetes.io/aws-load-balancer-internal":  "false",
		"metallb.universe.tf/loadBalancerIPs":                    "192.0.2.7",
		"service.beta.kubernetes.io/azure-load-balancer-ipv4":    "192.0.2.7",
		"service.beta.kubernetes.io/load-balancer-source-ranges": "198.51.100.0/24", // narrows, as the field does
	}
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "s", Labels: map[string]string{"argocd.argoproj.io/instance": "host-app"}, Annotations: created},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	if _, err := c.Virtual.CoreV1().Services("a").Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	later := keysPatch(map[string]any{"kubernetes.io/cluster-service": "true"}, map[string]any{"cloud.google.com/neg": `{"ingress":true}`})
	seen, err := c.Virtual.CoreV1().Services("a").Patch(t.Context(), "s", types.MergePatchType, later, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := hostService(c, "a", "s")
	want(t, "labels on the host", h.Labels, nil)
	want(t, "annotations on the host", h.Annotations, map[string]string{"service.beta.kubernetes.io/load-balancer-source-ranges": "198.51.100.0/24"})
	all := maps.Clone(created)
	all["cloud.google.com/neg"] = `{"ingress":true}`
	want(t, "annotations inside", seen.Annotations, all)
	want(t, "labels inside", seen.Labels, map[string]string{"argocd.argoproj.io/instance": "host-app", "kubernetes.io/cluster-service": "true"})
}

// A tenant has a Secret copied into every namespace of the host, and a
// ConfigMap loaded as policy by the host's policy engine, by annotation and
// label. The copies on the host have neither, also after an update.
func TestAttackSecretAsksToBeCopied(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	m := metav1.ObjectMeta{
		Name: "o", Labels: map[string]string{"openpolicyagent.org/policy": "rego"},
		Annotations: map[string]string{"replicator.v1.mittwald.de/replicate-to": ".*", "reflector.v1.k8s.emberstack.com/reflection-auto-enabled": "true"},
	}
	core := c.Virtual.CoreV1()
	if _, err := core.Secrets("a").Create(t.Context(), &corev1.Secret{ObjectMeta: m, StringData: map[string]string{"k": "1"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.ConfigMaps("a").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: m, Data: map[string]string{"k": "1"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := embedded.Pod("p", nil)
	p.Spec.Volumes = []corev1.Volume{
		{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "o"}}},
		{Name: "c", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "o"}}}},
	}
	c.CreatePod("a", p)
	// The copies must have been written again before they are looked at.
	if _, err := core.Secrets("a").Patch(t.Context(), "o", types.MergePatchType, []byte(`{"stringData":{"k":"2"},"metadata":{"labels":{"more":"x"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.ConfigMaps("a").Patch(t.Context(), "o", types.MergePatchType, []byte(`{"data":{"k":"2"},"metadata":{"labels":{"more":"x"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	name := c.HostName("a", "o")
	embedded.Eventually(t, "both copies are new", func(ctx context.Context) (bool, string) {
		secret, err := c.Host.CoreV1().Secrets(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		config, err := c.Host.CoreV1().ConfigMaps(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		want(t, "labels of the Secret", secret.Labels, nil)
		want(t, "annotations of the Secret", secret.Annotations, nil)
		want(t, "labels of the ConfigMap", config.Labels, nil)
		want(t, "annotations of the ConfigMap", config.Annotations, nil)
		return string(secret.Data["k"]) == "2" && config.Data["k"] == "2", fmt.Sprint(secret.Data, config.Data)
	})
}

// A tenant's pod asks for a cloud identity, further networks, devices, the
// host's secrets, a neighbour's queue, to be let out of the mesh and to hold
// its node. None of the keys is on the host; keys that no tool reads are.
func TestAttackPodAsksToolsOfTheHost(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	p := embedded.Pod("p", map[string]string{
		"app": "web", "app.kubernetes.io/managed-by": "Helm",
		"sidecar.istio.io/inject": "false", "azure.workload.identity/use": "true", "kueue.x-k8s.io/queue-name": "neighbour",
		"admission.datadoghq.com/enabled": "true", "aadpodidbinding": "admin", "image-policy.k8s.io/break-glass": "true",
	})
	p.Annotations = map[string]string{
		"note": "x", "k8s.v1.cni.cncf.io/networks": "host-net", "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin", "iam.amazonaws.com/role": "admin",
		"vault.hashicorp.com/agent-inject": "true", "devices.nri.io/pod": "/dev/kvm", "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
		"policies.kyverno.io/exclude": "true", "co.elastic.logs/enabled": "false", "traffic.sidecar.istio.io/excludeOutboundPorts": "443",
	}
	labels, annotations := maps.Clone(p.Labels), maps.Clone(p.Annotations)
	seen := c.CreatePod("a", p)
	h := c.HostPod("a", "p")
	want(t, "labels on the host", h.Labels, map[string]string{"app": "web", "app.kubernetes.io/managed-by": "Helm"})
	want(t, "annotations on the host", h.Annotations, map[string]string{"note": "x"})
	want(t, "labels inside", seen.Labels, labels)
	want(t, "annotations inside", seen.Annotations, annotations)
}

// A tenant writes onto a pod that is running the commands that the host's backup
// runs, and labels that keep it out of the backup. Neither is on the host.
func TestAttackBackupRunsCommands(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", nil))
	patch := keysPatch(map[string]any{"velero.io/exclude-from-backup": "true"},
		map[string]any{"pre.hook.backup.velero.io/command": `["/bin/sh","-c","id"]`, "k8up.io/backupcommand": "id"})
	seen, err := c.Virtual.CoreV1().Pods("a").Patch(t.Context(), "p", types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := c.HostPod("a", "p")
	want(t, "labels on the host", h.Labels, nil)
	want(t, "annotations on the host", h.Annotations, nil)
	want(t, "labels inside", seen.Labels, map[string]string{"velero.io/exclude-from-backup": "true"})
	if len(seen.Annotations) != 2 {
		t.Errorf("annotations inside: %v", seen.Annotations)
	}
}

// A tenant labels pods with a key of the host's scheduler and lets a Service
// select by it, to have the Service find other pods or none. On the host the
// Service selects exactly its pod, and so do lists inside.
func TestAttackServiceSelectsByAMovedLabel(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	const key = "kueue.x-k8s.io/queue-name"
	c.CreatePod("a", embedded.Pod("p", map[string]string{key: "mine"}))
	c.CreatePod("a", embedded.Pod("q", map[string]string{key: "other"}))
	c.CreateService("a", "s", corev1.ServiceSpec{Selector: map[string]string{key: "mine"}, Ports: []corev1.ServicePort{{Port: 80}}})
	selector := hostService(c, "a", "s").Spec.Selector
	if _, plain := selector[key]; plain {
		t.Errorf("the host Service selects by %s", key)
	}
	list, err := c.Host.CoreV1().Pods(c.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: selector})})
	if err != nil || len(list.Items) != 1 || list.Items[0].Name != c.HostName("a", "p") {
		t.Errorf("the host Service selects %d pods, %v", len(list.Items), err)
	}
	inside, err := c.Virtual.CoreV1().Pods("a").List(t.Context(), metav1.ListOptions{LabelSelector: key + "=mine"})
	if err != nil || len(inside.Items) != 1 || inside.Items[0].Name != "p" {
		t.Errorf("inside, %d pods are selected, %v", len(inside.Items), err)
	}
}

// A tenant's claim names the node that its volume is made for, and keeps itself
// out of the host's backup. Both stay inside.
func TestAttackClaimChoosesANode(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	mine := map[string]string{"volume.kubernetes.io/selected-node": "control-plane", "backup.velero.io/x": "y"}
	v, err := c.Virtual.CoreV1().PersistentVolumeClaims("a").Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "c", Labels: map[string]string{"velero.io/exclude-from-backup": "true"}, Annotations: mine},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.Host.CoreV1().PersistentVolumeClaims(c.Namespace).Get(t.Context(), c.HostName("a", "c"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "labels on the host", h.Labels, nil)
	for k := range mine {
		if v, there := h.Annotations[k]; there {
			t.Errorf("annotation %s on the host: %q", k, v)
		}
		if v.Annotations[k] != mine[k] {
			t.Errorf("annotation %s inside: %q", k, v.Annotations[k])
		}
	}
}

// A tenant changes and removes labels and annotations that the operator put on
// its objects on the host, such as those that costs are counted by. They stay.
func TestAttackTenantRemovesWhatTheOperatorWrote(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", map[string]string{"app": "web"}))
	c.CreateService("a", "s", corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}})
	operators := keysPatch(map[string]any{"cost-center": "tenant-7", "app": "quarantine"}, map[string]any{"scanned": "bad"})
	name := func(n string) string { return c.HostName("a", n) }
	if _, err := c.Host.CoreV1().Pods(c.Namespace).Patch(t.Context(), name("p"), types.MergePatchType, operators, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Host.CoreV1().Services(c.Namespace).Patch(t.Context(), name("s"), types.MergePatchType, operators, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, patch := range [][]byte{
		keysPatch(map[string]any{"cost-center": "tenant-8", "app": "web"}, map[string]any{"scanned": "good"}),
		keysPatch(map[string]any{"cost-center": nil, "app": nil}, map[string]any{"scanned": nil}),
	} {
		if _, err := c.Virtual.CoreV1().Pods("a").Patch(t.Context(), "p", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Virtual.CoreV1().Services("a").Patch(t.Context(), "s", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		labels, annotations := map[string]string{"cost-center": "tenant-7", "app": "quarantine"}, map[string]string{"scanned": "bad"}
		pod, service := c.HostPod("a", "p"), hostService(c, "a", "s")
		want(t, "labels of the pod", pod.Labels, labels)
		want(t, "annotations of the pod", pod.Annotations, annotations)
		want(t, "labels of the Service", service.Labels, labels)
		want(t, "annotations of the Service", service.Annotations, annotations)
	}
}

// A tenant's controller insists on an annotation that a controller of the host
// insists on as well, to have both, and the door, write for ever. Each gets its
// way on its own side, after a write or two.
func TestAttackFightOverAnAnnotation(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", nil))
	c.CreateService("a", "p", corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}})
	for _, of := range []struct {
		kind string
		api  func(k kubernetes.Interface, namespace string) patcher
	}{
		{"pod", func(k kubernetes.Interface, ns string) patcher { return podPatcher{k, ns} }},
		{"service", func(k kubernetes.Interface, ns string) patcher { return servicePatcher{k, ns} }},
	} {
		t.Run(of.kind, func(t *testing.T) {
			tenant := insist(t, of.api(c.Virtual, "a"), "p", "mine")
			host := insist(t, of.api(c.Host, c.Namespace), c.HostName("a", "p"), "theirs")
			embedded.Eventually(t, "both have what they insist on", func(context.Context) (bool, string) {
				// Both at once, and each has seen so itself.
				return tenant.content.Load() && host.content.Load() && tenant.value(t) == "mine" && host.value(t) == "theirs",
					fmt.Sprintf("inside %q, on the host %q", tenant.value(t), host.value(t))
			})
			if n, m := tenant.writes.Load(), host.writes.Load(); n > 2 || m > 1 {
				t.Errorf("the tenant wrote %d times, the host %d times", n, m)
			}
		})
	}
}

// patcher reads and writes the annotations of one kind.
type patcher interface {
	get(ctx context.Context, name string) (metav1.Object, error)
	patch(ctx context.Context, name string, body []byte) (metav1.Object, error)
	watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

type podPatcher struct {
	kubernetes.Interface
	namespace string
}

func (p podPatcher) get(ctx context.Context, name string) (metav1.Object, error) {
	return p.CoreV1().Pods(p.namespace).Get(ctx, name, metav1.GetOptions{})
}

func (p podPatcher) patch(ctx context.Context, name string, body []byte) (metav1.Object, error) {
	return p.CoreV1().Pods(p.namespace).Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
}

func (p podPatcher) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return p.CoreV1().Pods(p.namespace).Watch(ctx, o)
}

type servicePatcher struct {
	kubernetes.Interface
	namespace string
}

func (p servicePatcher) get(ctx context.Context, name string) (metav1.Object, error) {
	return p.CoreV1().Services(p.namespace).Get(ctx, name, metav1.GetOptions{})
}

func (p servicePatcher) patch(ctx context.Context, name string, body []byte) (metav1.Object, error) {
	return p.CoreV1().Services(p.namespace).Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
}

func (p servicePatcher) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return p.CoreV1().Services(p.namespace).Watch(ctx, o)
}

// contested is the annotation that both controllers insist on.
const contested = "contested"

// controller insists on a value of one annotation.
type controller struct {
	patcher
	name    string
	writes  atomic.Int32
	content atomic.Bool // with the newest state that it has seen
}

// insist starts a controller. It ends with the test.
func insist(t *testing.T, p patcher, name, value string) *controller {
	t.Helper()
	c := &controller{patcher: p, name: name}
	w, err := p.watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { w.Stop(); <-ended })
	go func() {
		defer close(ended)
		written := uint64(0) // the revision of its last write
		for event := range w.ResultChan() {
			m, ok := event.Object.(metav1.Object)
			if !ok || revision(m) < written {
				continue // the past
			}
			if m.GetAnnotations()[contested] == value {
				c.content.Store(true)
				continue
			}
			c.content.Store(false)
			after, err := c.patch(t.Context(), name, keysPatch(nil, map[string]any{contested: value}))
			if err != nil {
				if t.Context().Err() == nil {
					t.Errorf("write %q: %v", value, err)
				}
				return
			}
			written = revision(after)
			c.writes.Add(1)
		}
	}()
	return c
}

func revision(m metav1.Object) uint64 {
	n, err := strconv.ParseUint(m.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (c *controller) value(t *testing.T) string {
	t.Helper()
	m, err := c.get(t.Context(), c.name)
	if err != nil {
		t.Fatal(err)
	}
	return m.GetAnnotations()[contested]
}
