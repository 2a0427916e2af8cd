// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/test/embedded"
)

// refusedFields are the fields that a 422 says are forbidden, or the error if it
// is another one.
func refusedFields(err error) string {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		return fmt.Sprintf("error %v", err)
	}
	var fields []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeForbidden {
			fields = append(fields, cause.Field)
		}
	}
	return strings.Join(fields, " ")
}

// nothingOnTheHost fails if a host pod of the cluster exists.
func nothingOnTheHost(t *testing.T, c *embedded.Cluster) {
	t.Helper()
	l, err := c.Host.CoreV1().Pods(c.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(l.Items) > 0 {
		t.Errorf("%d pods on the host (%v), want none", len(l.Items), err)
	}
}

// A tenant describes volumes in a pod that drivers on the host would mount with
// the operator's credentials, or as the node: inline CSI, a cloud's disk, an NFS
// export, a program of a FlexVolume. Each pod is refused (422) with the field's
// path, and none reaches the host.
func TestAttackInlineVolumeOfADriverOnTheHost(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	for field, source := range map[string]corev1.VolumeSource{
		"csi.driver": {CSI: &corev1.CSIVolumeSource{
			Driver: "smb.csi.k8s.io", VolumeAttributes: map[string]string{"source": "//files.example/other-tenant"},
			NodePublishSecretRef: &corev1.LocalObjectReference{Name: "mine"},
		}},
		"awsElasticBlockStore": {AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "vol-0123456789abcdef0"}},
		"nfs":                  {NFS: &corev1.NFSVolumeSource{Server: "192.0.2.7", Path: "/exports"}},
		"iscsi":                {ISCSI: &corev1.ISCSIVolumeSource{TargetPortal: "192.0.2.7:3260", IQN: "iqn.2001-04.com.example:disk", ISCSIInterface: "default"}},
		"flexVolume.driver":    {FlexVolume: &corev1.FlexVolumeSource{Driver: "example/any"}},
	} {
		p := embedded.Pod("p", nil)
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: source}}
		_, err := c.Virtual.CoreV1().Pods("a").Create(t.Context(), p, metav1.CreateOptions{})
		if got := refusedFields(err); got != "spec.volumes[0]."+field {
			t.Errorf("%s: %s is refused", field, got)
		}
	}
	nothingOnTheHost(t, c)
}

// A tenant's pod has a volume of a driver that the operator allowed by name. It
// is made, and one of another driver next to it is still refused.
func TestAttackInlineVolumeBesideAnAllowedDriver(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "pods: {volumeDrivers: [secrets-store.csi.k8s.io]}\n")
	c.CreateNamespace("a")
	p := embedded.Pod("p", nil)
	allowed := corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "secrets-store.csi.k8s.io", ReadOnly: ptr.To(true)}}
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: allowed}, {Name: "w", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "secrets-store"}}}}
	_, err := c.Virtual.CoreV1().Pods("a").Create(t.Context(), p, metav1.CreateOptions{})
	if got := refusedFields(err); got != "spec.volumes[1].csi.driver" {
		t.Errorf("%s is refused", got)
	}
	p.Spec.Volumes = p.Spec.Volumes[:1]
	c.CreatePod("a", p)
}

func claim(name string, change func(*corev1.PersistentVolumeClaimSpec)) *corev1.PersistentVolumeClaim {
	v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	change(&v.Spec)
	return v
}

// createClaim makes a claim and returns both sides of it.
func createClaim(t *testing.T, c *embedded.Cluster, v *corev1.PersistentVolumeClaim) (virtual, host *corev1.PersistentVolumeClaim) {
	t.Helper()
	virtual, err := c.Virtual.CoreV1().PersistentVolumeClaims("a").Create(t.Context(), v, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	host, err = c.Host.CoreV1().PersistentVolumeClaims(c.Namespace).Get(t.Context(), c.HostName("a", v.Name), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return virtual, host
}

// A tenant names an available volume of the host in a claim, when it is made
// and by the one update that the API allows. The host claim names a volume of
// the tenant's cluster, which does not exist, and the tenant sees the name that
// they wrote.
func TestAttackClaimNamesAHostVolume(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	const theirs = "pv-of-another-tenant"
	check := func(way string, virtual, host *corev1.PersistentVolumeClaim) {
		t.Helper()
		if virtual.Spec.VolumeName != theirs {
			t.Errorf("%s: the tenant sees the volume %q", way, virtual.Spec.VolumeName)
		}
		if !strings.HasPrefix(host.Spec.VolumeName, "portico-"+theirs+"-x-") {
			t.Errorf("%s: the host claim names the volume %q", way, host.Spec.VolumeName)
		}
	}
	none := ptr.To("none")
	v, h := createClaim(t, c, claim("made", func(s *corev1.PersistentVolumeClaimSpec) { s.StorageClassName, s.VolumeName = none, theirs }))
	check("create", v, h)

	createClaim(t, c, claim("changed", func(s *corev1.PersistentVolumeClaimSpec) { s.StorageClassName = none }))
	v, err := c.Virtual.CoreV1().PersistentVolumeClaims("a").Patch(t.Context(), "changed", types.MergePatchType, []byte(`{"spec":{"volumeName":"`+theirs+`"}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h, err = c.Host.CoreV1().PersistentVolumeClaims(c.Namespace).Get(t.Context(), c.HostName("a", "changed"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	check("patch", v, h)
	// Set, it is set for good.
	_, err = c.Virtual.CoreV1().PersistentVolumeClaims("a").Patch(t.Context(), "changed", types.MergePatchType, []byte(`{"spec":{"volumeName":"other"}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) {
		t.Errorf("another name: %v, want 422", err)
	}
}

// A tenant selects volumes of the host by their labels, or asks for any one that
// has no class, in a claim and in a pod's ephemeral volume. The host claim
// selects volumes with the labels of the tenant's cluster only.
func TestAttackClaimSelectsHostVolumes(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	theirs := labels.Set{"disk": "fast"}
	ours := labels.Merge(theirs, labels.Set{rewrite.LabelCluster: c.Name, rewrite.LabelHostNamespace: c.Namespace})
	check := func(way string, h *corev1.PersistentVolumeClaim) {
		t.Helper()
		s, err := metav1.LabelSelectorAsSelector(h.Spec.Selector)
		if err != nil || s.Matches(theirs) || !s.Matches(ours) {
			t.Errorf("%s: the host claim selects %v (%v)", way, h.Spec.Selector, err)
		}
	}
	fast := &metav1.LabelSelector{MatchLabels: theirs}
	v, h := createClaim(t, c, claim("labels", func(s *corev1.PersistentVolumeClaimSpec) { s.StorageClassName, s.Selector = ptr.To("none"), fast }))
	check("labels", h)
	if len(v.Spec.Selector.MatchLabels) != 1 {
		t.Errorf("the tenant sees the selector %v", v.Spec.Selector)
	}
	v, h = createClaim(t, c, claim("classless", func(s *corev1.PersistentVolumeClaimSpec) { s.StorageClassName = ptr.To("") }))
	check("no class", h)
	if v.Spec.Selector != nil {
		t.Errorf("the tenant sees the selector %v", v.Spec.Selector)
	}

	p := embedded.Pod("p", nil)
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{
		VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: claim("", func(s *corev1.PersistentVolumeClaimSpec) { s.StorageClassName, s.Selector = ptr.To("none"), fast }).Spec},
	}}}}
	c.CreatePod("a", p)
	embedded.Eventually(t, "claim of the ephemeral volume", func(ctx context.Context) (bool, string) {
		h, err := c.Host.CoreV1().PersistentVolumeClaims(c.Namespace).Get(ctx, c.HostName("a", "p-v"), metav1.GetOptions{})
		if err == nil {
			check("ephemeral volume", h)
		}
		return err == nil, fmt.Sprint(err)
	})
}

// A tenant makes a claim of the data in another namespace, a virtual one or one
// of the host. No namespace reaches the host, and the name is one of the claim's
// own namespace.
func TestAttackClaimFromASourceInAnotherNamespace(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	source := func(namespace *string) *corev1.TypedObjectReference {
		return &corev1.TypedObjectReference{APIGroup: ptr.To("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: "backup", Namespace: namespace}
	}
	for name, namespace := range map[string]string{"virtual": "victim", "host": "kube-system"} {
		_, h := createClaim(t, c, claim(name, func(s *corev1.PersistentVolumeClaimSpec) { s.DataSourceRef = source(&namespace) }))
		if ref := h.Spec.DataSourceRef; ref != nil {
			t.Errorf("%s: the host claim is made of %+v, want of nothing", name, ref)
		}
	}
	_, h := createClaim(t, c, claim("own", func(s *corev1.PersistentVolumeClaimSpec) { s.DataSourceRef = source(nil) }))
	if ref := h.Spec.DataSourceRef; ref == nil || ref.Namespace != nil || ref.Name != c.HostName("a", "backup") {
		t.Errorf("own namespace: the host claim is made of %+v", ref)
	}
}

// hostNode makes a node of the host that is there for one test.
func hostNode(t *testing.T, c kubernetes.Interface, name string, nodeLabels map[string]string, taints ...corev1.Taint) {
	t.Helper()
	_, err := c.CoreV1().Nodes().Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: nodeLabels}, Spec: corev1.NodeSpec{Taints: taints},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func onNode(pod, node string, tolerations ...corev1.Toleration) *corev1.Pod {
	p := embedded.Pod(pod, nil)
	p.Spec.NodeName, p.Spec.Tolerations = node, tolerations
	return p
}

// A tenant names nodes in pods to find out which ones the host has, where it
// may read nodes and where it may not. A node that is not shown is answered as
// one that does not exist: 403, in the same words.
func TestAttackNodeNamesAreProbed(t *testing.T) {
	h := embedded.SharedHost(t)
	hostNode(t, h.Client, "probed-hidden", nil)
	hostNode(t, h.Client, "probed-shown", map[string]string{"probed": "yes"})
	for mode, more := range map[string]string{"made-up nodes": "", "host nodes": "sync: {nodes: {nodeSelector: probed=yes}}\n"} {
		t.Run(mode, func(t *testing.T) {
			c := embedded.NewClusterWith(t, h, more)
			c.CreateNamespace("a")
			answer := func(node string) string {
				_, err := c.Virtual.CoreV1().Pods("a").Create(t.Context(), onNode("p", node), metav1.CreateOptions{})
				if !apierrors.IsForbidden(err) {
					t.Errorf("node %s: %v, want 403", node, err)
					return ""
				}
				return strings.ReplaceAll(err.Error(), node, "NODE")
			}
			if hidden, missing := answer("probed-hidden"), answer("probed-missing"); hidden != missing {
				t.Errorf("not shown: %s\nmissing: %s", hidden, missing)
			}
			// A Node that the tenant makes under the name is no evidence.
			if _, err := c.Virtual.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "probed-hidden"}}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			if hidden, missing := answer("probed-hidden"), answer("probed-missing"); hidden != missing {
				t.Errorf("forged: %s\nmissing: %s", hidden, missing)
			}
			nothingOnTheHost(t, c)
		})
	}
}

// A tenant puts a pod on a shown node by name, past the host's scheduler and the
// taint that keeps pods away, with and without a toleration that the operator
// did not allow. It is refused (403), and the message names the taint.
func TestAttackPodNamesATaintedNode(t *testing.T) {
	h := embedded.SharedHost(t)
	taint := corev1.Taint{Key: "dedicated", Value: "operators", Effect: corev1.TaintEffectNoSchedule}
	hostNode(t, h.Client, "guarded-tainted", map[string]string{"guarded": "yes"}, taint)
	hostNode(t, h.Client, "guarded-gpu", map[string]string{"guarded": "yes"}, corev1.Taint{Key: "gpu", Effect: corev1.TaintEffectNoExecute})
	c := embedded.NewClusterWith(t, h, "sync: {nodes: {nodeSelector: guarded=yes}}\npods: {allowedTolerations: [gpu]}\n")
	c.CreateNamespace("a")
	for _, name := range []string{"guarded-tainted", "guarded-gpu"} {
		embedded.Eventually(t, "node "+name, func(ctx context.Context) (bool, string) {
			_, err := c.Virtual.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
			return err == nil, fmt.Sprint(err)
		})
	}
	everything := corev1.Toleration{Operator: corev1.TolerationOpExists}
	for name, p := range map[string]*corev1.Pod{
		"no toleration":        onNode("p", "guarded-tainted"),
		"the taint's":          onNode("p", "guarded-tainted", corev1.Toleration{Key: "dedicated", Operator: corev1.TolerationOpExists}),
		"of everything":        onNode("p", "guarded-tainted", everything),
		"none, but allowed to": onNode("p", "guarded-gpu"),
	} {
		_, err := c.Virtual.CoreV1().Pods("a").Create(t.Context(), p, metav1.CreateOptions{})
		want := map[string]string{"guarded-tainted": "dedicated=operators:NoSchedule", "guarded-gpu": "gpu:NoExecute"}[p.Spec.NodeName]
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "has the taint "+want) {
			t.Errorf("%s: %v, want 403 that names the taint %s", name, err, want)
		}
	}
	nothingOnTheHost(t, c)
	c.CreatePod("a", onNode("p", "guarded-gpu", everything))
	if got := c.HostPod("a", "p").Spec.NodeName; got != "guarded-gpu" {
		t.Errorf("a pod that tolerates an allowed taint is on %q", got)
	}
}

// A tenant binds a pod to a node itself, by both ways that the API has. It is
// refused (403): the host's scheduler alone does so.
func TestAttackTenantBindsAPod(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	p := embedded.Pod("p", nil)
	p.Spec.NodeSelector = map[string]string{"no": "such-node"}
	c.CreatePod("a", p)
	nodes, err := c.Host.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{nodes.Items[0].Name, "missing"} {
		binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}
		if err := c.Virtual.CoreV1().Pods("a").Bind(t.Context(), binding, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("pods/binding to %s: %v, want 403", node, err)
		}
		if err := c.Virtual.CoreV1().RESTClient().Post().Namespace("a").Resource("bindings").Body(binding).Do(t.Context()).Error(); !apierrors.IsForbidden(err) {
			t.Errorf("bindings to %s: %v, want 403", node, err)
		}
	}
	if got := c.HostPod("a", "p").Spec.NodeName; got != "" {
		t.Errorf("the host pod is on %s", got)
	}
}

// A tenant names a scheduler that the operator runs for others. On the host the
// pod names one that does not exist, and is never placed; the tenant sees the
// name that they wrote.
func TestAttackPodNamesAHostScheduler(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "pods: {schedulers: [batch]}\n")
	c.CreateNamespace("a")
	for name, want := range map[string]string{"operators": rewrite.NoScheduler, "batch": "batch", "default-scheduler": "default-scheduler"} {
		p := embedded.Pod(name, nil)
		p.Spec.SchedulerName = name
		if got := c.CreatePod("a", p).Spec.SchedulerName; got != name {
			t.Errorf("%s is shown as %s", name, got)
		}
		if got := c.HostPod("a", name).Spec.SchedulerName; got != want {
			t.Errorf("%s is %s on the host, want %s", name, got, want)
		}
	}
	c.Settled("a", "default-scheduler") // by now the host's scheduler has seen them all
	if got := c.HostPod("a", "operators").Spec.NodeName; got != "" {
		t.Errorf("the pod of a foreign scheduler is on %s", got)
	}
}

// A tenant's pod tolerates the taints of control-plane nodes and of other
// tenants' nodes, by key, all at once, and later. The host pod has none of these
// tolerations, and the tenant sees all.
func TestAttackPodToleratesTheOperatorsTaints(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	p := embedded.Pod("p", nil)
	p.Spec.NodeSelector = map[string]string{"no": "such-node"}
	p.Spec.Tolerations = []corev1.Toleration{
		{Key: "node-role.kubernetes.io/control-plane", Operator: corev1.TolerationOpExists}, {Operator: corev1.TolerationOpExists},
	}
	want := append(c.CreatePod("a", p).Spec.Tolerations, corev1.Toleration{Key: "dedicated", Operator: corev1.TolerationOpEqual, Value: "team-b"})
	v, err := c.Virtual.CoreV1().Pods("a").Patch(t.Context(), "p", types.JSONPatchType,
		[]byte(`[{"op":"add","path":"/spec/tolerations/-","value":{"key":"dedicated","operator":"Equal","value":"team-b"}}]`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(v.Spec.Tolerations, want) {
		t.Errorf("the tenant sees %v, want %v", v.Spec.Tolerations, want)
	}
	for _, toleration := range c.HostPod("a", "p").Spec.Tolerations {
		if !strings.HasPrefix(toleration.Key, "node.kubernetes.io/") {
			t.Errorf("the host pod tolerates %+v", toleration)
		}
	}
}

// A tenant gives a Service external IPs, to take other people's traffic, by
// create, update, patch, apply and the status. No way leads to the host.
func TestAttackExternalIPs(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	services := c.Virtual.CoreV1().Services("a")
	ports := []corev1.ServicePort{{Port: 80}}
	svc := c.CreateService("a", "s", corev1.ServiceSpec{Ports: ports})
	ips := []byte(`{"spec":{"externalIPs":["192.0.2.53"]}}`)
	apply := []byte(`{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"ports":[{"port":80}],"externalIPs":["192.0.2.53"]}}`)
	for way, try := range map[string]func() error{
		"create": func() error {
			_, err := services.Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "t"}, Spec: corev1.ServiceSpec{Ports: ports, ExternalIPs: []string{"192.0.2.53"}}}, metav1.CreateOptions{})
			return err
		},
		"update": func() error {
			s := svc.DeepCopy()
			s.Spec.ExternalIPs = []string{"192.0.2.53"}
			_, err := services.Update(t.Context(), s, metav1.UpdateOptions{})
			return err
		},
		"patch": func() error {
			_, err := services.Patch(t.Context(), "s", types.MergePatchType, ips, metav1.PatchOptions{})
			return err
		},
		"apply": func() error {
			_, err := services.Patch(t.Context(), "s", types.ApplyPatchType, apply, metav1.PatchOptions{FieldManager: "mallory", Force: ptr.To(true)})
			return err
		},
	} {
		if err := try(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want 403", way, err)
		}
	}
	// The API ignores the spec in a write of the status.
	if _, err := services.Patch(t.Context(), "s", types.MergePatchType, ips, metav1.PatchOptions{}, "status"); err != nil && !apierrors.IsForbidden(err) {
		t.Errorf("status: %v", err)
	}
	l, err := c.Host.CoreV1().Services(c.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range l.Items {
		if len(h.Spec.ExternalIPs) > 0 {
			t.Errorf("Service %s of the host has the external IPs %v", h.Name, h.Spec.ExternalIPs)
		}
	}
}

// A tenant writes Endpoints and a slice for kube-system/kube-dns, to answer the
// questions of all pods. Neither reaches the host, where those of an ordinary
// Service do.
func TestAttackEndpointsOfTheDNS(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateService("kube-system", "marker", corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}})
	for _, service := range []string{rewrite.DNSName, "marker"} {
		_, err := c.Virtual.DiscoveryV1().EndpointSlices("kube-system").Create(t.Context(), &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: service + "-mine", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.66"}}},
			Ports: []discoveryv1.EndpointPort{{Name: ptr.To("dns"), Port: ptr.To[int32](53), Protocol: ptr.To(corev1.ProtocolUDP)}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	endpoints := &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Name: rewrite.DNSName},
		Subsets:    []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: "192.0.2.66"}}, Ports: []corev1.EndpointPort{{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}}}},
	}
	if _, err := c.Virtual.CoreV1().Endpoints("kube-system").Create(t.Context(), endpoints, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	hostSlices := func(ctx context.Context) []discoveryv1.EndpointSlice {
		l, err := c.Host.DiscoveryV1().EndpointSlices(c.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return l.Items
	}
	embedded.Eventually(t, "slice of an ordinary Service on the host", func(ctx context.Context) (bool, string) {
		all := hostSlices(ctx)
		return slices.ContainsFunc(all, func(s discoveryv1.EndpointSlice) bool { return s.Name == c.HostName("kube-system", "marker-mine") }), fmt.Sprint(len(all))
	})
	dns := c.HostName("kube-system", rewrite.DNSName)
	for _, s := range hostSlices(t.Context()) {
		if s.Name != c.HostName("kube-system", "marker-mine") && slices.ContainsFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return slices.Contains(e.Addresses, "192.0.2.66") }) {
			t.Errorf("slice %s of the host for Service %s has the tenant's address (the DNS is %s)", s.Name, s.Labels[discoveryv1.LabelServiceName], dns)
		}
	}
}
