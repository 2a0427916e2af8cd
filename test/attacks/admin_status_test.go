// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"portico.dev/portico/test/embedded"
)

// gated creates a pod that the host's scheduler leaves alone, with a request of
// one CPU, and waits until the host has said so: it writes nothing more to it.
func gated(t *testing.T, c *embedded.Cluster, name string) *corev1.Pod {
	t.Helper()
	p := oneCPU(name)
	p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/wait"}}
	c.CreatePod("a", p)
	embedded.Eventually(t, "the scheduler's word", func(context.Context) (bool, string) {
		s := c.HostPod("a", name).Status
		return condition(&s, corev1.PodScheduled) != nil, fmt.Sprintf("%+v", s)
	})
	return c.HostPod("a", name)
}

func oneCPU(name string) *corev1.Pod {
	p := embedded.Pod(name, nil)
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
	return p
}

func condition(s *corev1.PodStatus, typ corev1.PodConditionType) *corev1.PodCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == typ {
			return &s.Conditions[i]
		}
	}
	return nil
}

// write is one way of writing a status.
type write func(ctx context.Context, api rest.Interface, resource, apiVersion, kind, name string, status any) error

// writes are all ways that the API has, with metadata next to the status or
// not.
var writes = map[string]write{
	"merge patch": func(ctx context.Context, api rest.Interface, resource, _, _, name string, status any) error {
		return patchStatus(ctx, api, types.MergePatchType, resource, name, map[string]any{"status": status})
	},
	"merge patch with metadata": func(ctx context.Context, api rest.Interface, resource, _, _, name string, status any) error {
		return patchStatus(ctx, api, types.MergePatchType, resource, name, map[string]any{
			"metadata": map[string]any{"labels": map[string]string{"written": "beside"}}, "status": status,
		})
	},
	"apply": func(ctx context.Context, api rest.Interface, resource, apiVersion, kind, name string, status any) error {
		return patchStatus(ctx, api, types.ApplyPatchType, resource, name, map[string]any{
			"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name}, "status": status,
		})
	},
	"PUT": func(ctx context.Context, api rest.Interface, resource, _, _, name string, status any) error {
		raw, err := api.Get().Namespace("a").Resource(resource).Name(name).Do(ctx).Raw()
		if err != nil {
			return err
		}
		object := map[string]any{}
		if err := json.Unmarshal(raw, &object); err != nil {
			return err
		}
		object["status"] = status
		if raw, err = json.Marshal(object); err != nil {
			return err
		}
		return api.Put().Namespace("a").Resource(resource).Name(name).SubResource("status").SetHeader("Content-Type", "application/json").Body(raw).Do(ctx).Error()
	},
}

func patchStatus(ctx context.Context, api rest.Interface, how types.PatchType, resource, name string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request := api.Patch(how).Namespace("a").Resource(resource).Name(name).SubResource("status").Body(raw)
	if how == types.ApplyPatchType {
		request = request.Param("fieldManager", "mallory").Param("force", "true")
	}
	return request.Do(ctx).Error()
}

// writesPodStatus writes a status in every way, each of which is accepted.
func writesPodStatus(t *testing.T, c *embedded.Cluster, name string, status map[string]any) {
	t.Helper()
	for how, write := range writes {
		if err := write(t.Context(), c.Virtual.CoreV1().RESTClient(), "pods", "v1", "Pod", name, status); err != nil {
			t.Errorf("%s: %v, want it accepted without effect", how, err)
		}
	}
}

// samePodStatus compares the status of a host pod with an earlier one, and with
// the status that the tenant sees.
func samePodStatus(t *testing.T, c *embedded.Cluster, before *corev1.Pod) {
	t.Helper()
	name, _, _ := strings.Cut(before.Name, "-x-")
	h := c.HostPod("a", name)
	if !apiequality.Semantic.DeepEqual(before.Status, h.Status) {
		t.Errorf("status of the host pod:\n%+v\nwant\n%+v", h.Status, before.Status)
	}
	v, err := c.Virtual.CoreV1().Pods("a").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Texts that only people read show as the tenant wrote them, and so does the
	// end of a pod, which lets the door do less.
	want := h.Status.DeepCopy()
	want.Message, want.Reason = v.Status.Message, v.Status.Reason
	if v.Status.Phase == corev1.PodFailed || v.Status.Phase == corev1.PodSucceeded {
		want.Phase = v.Status.Phase
	}
	if !apiequality.Semantic.DeepEqual(&v.Status, want) {
		t.Errorf("status inside: %+v\nwant the host's %+v", v.Status, h.Status)
	}
}

// A tenant whose host namespace has a quota says of waiting pods that they have
// ended, so that the quota does not count them and more can be created. That shows
// inside alone: the pods stay pending for the host, and the quota stays used.
func TestAttackEndedPhaseFreesTheQuota(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	quotas, ctx := c.Host.CoreV1().ResourceQuotas(c.Namespace), t.Context()
	_, err := quotas.Create(ctx, &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "cpus"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourceRequestsCPU: resource.MustParse("2")}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	used := func(want string, of corev1.ResourceName) {
		t.Helper()
		embedded.Eventually(t, "quota counted", func(ctx context.Context) (bool, string) {
			q, err := quotas.Get(ctx, "cpus", metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			_, counted := q.Status.Used[of]
			return counted && q.Status.Used.Name(corev1.ResourceRequestsCPU, resource.DecimalSI).Cmp(resource.MustParse(want)) == 0, fmt.Sprintf("%+v", q.Status)
		})
	}
	used("0", corev1.ResourceRequestsCPU)
	before := []*corev1.Pod{gated(t, c, "one"), gated(t, c, "two")}
	for _, name := range []string{"one", "two"} {
		for _, phase := range []corev1.PodPhase{corev1.PodFailed, corev1.PodSucceeded} {
			writesPodStatus(t, c, name, map[string]any{"phase": phase})
		}
	}
	for _, p := range before {
		samePodStatus(t, c, p)
	}
	// A quota with a new limit is counted again from all pods.
	if _, err := quotas.Patch(ctx, "cpus", types.MergePatchType, []byte(`{"spec":{"hard":{"pods":"100"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	used("2", corev1.ResourcePods)
	_, err = c.Virtual.CoreV1().Pods("a").Create(ctx, oneCPU("three"), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota") {
		t.Errorf("a third pod: %v, want the host's quota refusal", err)
	}
}

// A tenant writes into a status that containers have hardly any resources, so
// that the host's scheduler counts less of them. The host keeps its values.
func TestAttackResourcesInAStatus(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	before := gated(t, c, "p")
	little := map[string]any{"requests": map[string]string{"cpu": "1m"}}
	writesPodStatus(t, c, "p", map[string]any{
		"containerStatuses": []any{map[string]any{
			"name": "main", "image": "nginx", "imageID": "", "ready": true, "restartCount": 0, "started": true,
			"allocatedResources": map[string]string{"cpu": "1m"}, "resources": little, "state": map[string]any{"running": map[string]any{}},
		}},
		"resources": little, "allocatedResources": map[string]string{"cpu": "1m"}, "resize": "InProgress",
		"qosClass": "Burstable", "reason": "Evicted", "message": "by the tenant", "observedGeneration": 7, "startTime": "2020-01-01T00:00:00Z",
	})
	samePodStatus(t, c, before)
}

// A tenant writes conditions by which the host's components know each other: a
// pod is scheduled, ready, or being preempted. None reaches the host; a condition
// with a domain, which a readiness gate asks for, does in the same request.
func TestAttackConditionsOfComponents(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	before := gated(t, c, "p")
	forged := func(typ, reason string) map[string]any {
		return map[string]any{"type": typ, "status": "True", "reason": reason}
	}
	for how, write := range writes {
		gate := "gates.example.com/" + strings.ToLower(strings.ReplaceAll(how, " ", "-"))
		err := write(t.Context(), c.Virtual.CoreV1().RESTClient(), "pods", "v1", "Pod", "p", map[string]any{"conditions": []any{
			forged("PodScheduled", ""), forged("Ready", ""), forged("Initialized", ""), forged("ContainersReady", ""), forged("PodResizePending", "Deferred"),
			forged("DisruptionTarget", corev1.PodReasonPreemptionByScheduler), forged("Anything", ""), forged("kubernetes.io/anything", ""), forged(gate, "Checked"),
		}})
		if err != nil {
			t.Errorf("%s: %v, want it accepted", how, err)
		}
		s := c.HostPod("a", "p").Status
		if own := condition(&s, corev1.PodConditionType(gate)); own == nil || own.Status != corev1.ConditionTrue || own.Reason != "Checked" {
			t.Errorf("%s: the tenant's own condition on the host: %+v", how, s.Conditions)
		}
		for _, cond := range s.Conditions {
			if strings.HasPrefix(string(cond.Type), "gates.example.com/") {
				continue
			}
			if was := condition(&before.Status, cond.Type); was == nil || !apiequality.Semantic.DeepEqual(*was, cond) {
				t.Errorf("%s: condition on the host: %+v, want %+v", how, cond, was)
			}
		}
	}
}

// A tenant pretends that a pod is about to go because the host's scheduler
// preempts it. That does not reach the host; an eviction inside of the virtual
// cluster still has its own reason, by which Jobs distinguish it from a
// failure.
func TestAttackPreemptionPretended(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	before := gated(t, c, "p")
	writesPodStatus(t, c, "p", map[string]any{"conditions": []any{
		map[string]any{"type": "DisruptionTarget", "status": "True", "reason": corev1.PodReasonPreemptionByScheduler},
	}})
	samePodStatus(t, c, before)

	pods, ctx := c.Virtual.CoreV1().Pods("a"), t.Context()
	if _, err := pods.Patch(ctx, "p", types.MergePatchType, []byte(`{"metadata":{"finalizers":["example.com/stay"]}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Virtual.PolicyV1().Evictions("a").Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a"}}); err != nil {
		t.Fatal(err)
	}
	for side, s := range map[string]corev1.PodStatus{"host": c.HostPod("a", "p").Status, "virtual": statusOf(t, c, "p")} {
		if target := condition(&s, corev1.DisruptionTarget); target == nil || target.Reason != "EvictionByEvictionAPI" {
			t.Errorf("%s: conditions of an evicted pod: %+v", side, s.Conditions)
		}
	}
	if _, err := pods.Patch(ctx, "p", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
}

func statusOf(t *testing.T, c *embedded.Cluster, name string) corev1.PodStatus {
	t.Helper()
	p, err := c.Virtual.CoreV1().Pods("a").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p.Status
}

// A tenant sends a status along where no status is written: in a new pod, in an
// update of its spec, in a resize and along with an ephemeral container. The
// host gets none of it.
func TestAttackStatusBesideASpec(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	forged := corev1.PodStatus{Phase: corev1.PodSucceeded, Message: "forged", PodIP: "192.0.2.66", Conditions: []corev1.PodCondition{{Type: "example.com/gate", Status: corev1.ConditionTrue}}}
	p := oneCPU("new")
	p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/wait"}}
	p.Status = forged
	c.CreatePod("a", p)
	if s := c.HostPod("a", "new").Status; s.Phase != corev1.PodPending || s.Message != "" || s.PodIP != "" || condition(&s, "example.com/gate") != nil {
		t.Errorf("a new pod on the host: %+v", s)
	}

	before := gated(t, c, "p")
	raw, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	for subresource, spec := range map[string]string{
		"":                    `"metadata":{"labels":{"written":"beside"}}`,
		"resize":              `"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"2"}}}]}`,
		"ephemeralcontainers": `"spec":{"ephemeralContainers":[{"name":"debug","image":"busybox"}]}`,
	} {
		body := []byte(`{` + spec + `,"status":` + string(raw) + `}`)
		request := c.Virtual.CoreV1().RESTClient().Patch(types.StrategicMergePatchType).Namespace("a").Resource("pods").Name("p").Body(body)
		if subresource != "" {
			request = request.SubResource(subresource)
		}
		if err := request.Do(t.Context()).Error(); err != nil {
			t.Errorf("%q: %v, want the spec written", subresource, err)
		}
		s := c.HostPod("a", "p").Status
		if s.Phase != before.Status.Phase || s.Message != before.Status.Message || s.PodIP != "" || condition(&s, "example.com/gate") != nil {
			t.Errorf("%q: status of the host pod: %+v", subresource, s)
		}
	}
}

// A tenant writes that a volume claim is bound, larger than it is, and waits for
// its file system to grow. The host's claim keeps its status.
func TestAttackVolumeClaimBoundByTheTenant(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	class := "none-such"
	if _, err := c.Virtual.CoreV1().PersistentVolumeClaims("a").Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for how, write := range writes {
		if err := write(t.Context(), c.Virtual.CoreV1().RESTClient(), "persistentvolumeclaims", "v1", "PersistentVolumeClaim", "data", map[string]any{
			"phase": "Bound", "capacity": map[string]string{"storage": "1Ti"}, "accessModes": []string{"ReadWriteMany"},
			"allocatedResources": map[string]string{"storage": "1Gi"}, "allocatedResourceStatuses": map[string]string{"storage": "NodeResizePending"},
			"conditions": []any{
				map[string]any{"type": "FileSystemResizePending", "status": "True"}, map[string]any{"type": "example.com/seen", "status": "True"},
			},
		}); err != nil {
			t.Errorf("%s: %v, want it accepted without effect", how, err)
		}
		h, err := c.Host.CoreV1().PersistentVolumeClaims(c.Namespace).Get(t.Context(), c.HostName("a", "data"), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if want := (corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}); !apiequality.Semantic.DeepEqual(h.Status, want) {
			t.Errorf("%s: status on the host: %+v, want %+v", how, h.Status, want)
		}
	}
}

// A tenant writes addresses and conditions into the status of a Service of type
// LoadBalancer. The addresses and the conditions that cloud controllers write
// stay the host's.
func TestAttackServiceStatus(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	c.CreateService("a", "s", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}})
	cond := func(typ string) map[string]any {
		return map[string]any{"type": typ, "status": "True", "reason": "Forged", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
	}
	for how, write := range writes {
		if err := write(t.Context(), c.Virtual.CoreV1().RESTClient(), "services", "v1", "Service", "s", map[string]any{
			"loadBalancer": map[string]any{"ingress": []any{map[string]any{"ip": "192.0.2.53"}}},
			"conditions":   []any{cond(corev1.LoadBalancerPortsError), cond("Ready"), cond("example.com/seen")},
		}); err != nil {
			t.Errorf("%s: %v, want it accepted", how, err)
		}
		h, err := c.Host.CoreV1().Services(c.Namespace).Get(t.Context(), c.HostName("a", "s"), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if s := h.Status; len(s.LoadBalancer.Ingress) > 0 || len(s.Conditions) != 1 || s.Conditions[0].Type != "example.com/seen" {
			t.Errorf("%s: status on the host: %+v, want only the tenant's own condition", how, s)
		}
	}
}

// A tenant allocates devices to its claim and reserves it, by writing the
// claim's status. The host's scheduler is the only one to do so.
func TestAttackDevicesAllocatedByTheTenant(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "sync: {fromHost: {deviceClasses: {enabled: true}}, toHost: {resourceClaims: {enabled: true}}}\n")
	c.CreateNamespace("a")
	if _, err := c.Virtual.ResourceV1().ResourceClaims("a").Create(t.Context(), &resourcev1.ResourceClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "gpu"},
		Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{
			Name: "gpu", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu.example"},
		}}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for how, write := range writes {
		if err := write(t.Context(), c.Virtual.ResourceV1().RESTClient(), "resourceclaims", "resource.k8s.io/v1", "ResourceClaim", "gpu", map[string]any{
			"allocation": map[string]any{"devices": map[string]any{"results": []any{
				map[string]any{"request": "gpu", "driver": "gpu.example", "pool": "node", "device": "gpu-0"},
			}}},
			"reservedFor": []any{map[string]any{"resource": "pods", "name": "p", "uid": "1"}},
		}); err != nil {
			t.Errorf("%s: %v, want it accepted without effect", how, err)
		}
		h, err := c.Host.ResourceV1().ResourceClaims(c.Namespace).Get(t.Context(), c.HostName("a", "gpu"), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !apiequality.Semantic.DeepEqual(h.Status, resourcev1.ResourceClaimStatus{}) {
			t.Errorf("%s: status on the host: %+v, want none", how, h.Status)
		}
	}
}
