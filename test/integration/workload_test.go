// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"

	"portico.dev/portico/test/embedded"
)

// The main job: a Deployment of the tenant runs as pods of the host, and
// nothing else of it is there.
func TestDeploymentRunsOnTheHost(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("demo-nginx")
	replicas := int32(2)
	labels := map[string]string{"app": "nginx"}
	_, err := c.Virtual.AppsV1().Deployments("demo-nginx").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "nginx-deployment"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: embedded.Pod("", nil).Spec},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "deployment available", func(ctx context.Context) (bool, string) {
		d, err := c.Virtual.AppsV1().Deployments("demo-nginx").Get(ctx, "nginx-deployment", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return d.Status.AvailableReplicas == 2, fmt.Sprintf("%+v", d.Status)
	})

	virtual, err := c.Virtual.CoreV1().Pods("demo-nginx").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(virtual.Items) != 2 {
		t.Fatalf("virtual pods: got %d, want 2", len(virtual.Items))
	}
	for _, v := range virtual.Items {
		h, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("demo-nginx", v.Name), metav1.GetOptions{})
		if err != nil {
			t.Errorf("host pod of %s: %v", v.Name, err)
			continue
		}
		if h.UID != v.UID || h.ResourceVersion == "" {
			t.Errorf("pod %s: virtual uid %s, host uid %s; they must be the same", v.Name, v.UID, h.UID)
		}
		if len(v.OwnerReferences) != 1 || v.OwnerReferences[0].Kind != "ReplicaSet" {
			t.Errorf("virtual pod %s: owner references %v, want its ReplicaSet", v.Name, v.OwnerReferences)
		}
		for _, o := range h.OwnerReferences {
			if o.Kind == "ReplicaSet" {
				t.Errorf("host pod %s refers to a virtual ReplicaSet; the host's garbage collector would delete it", h.Name)
			}
		}
	}
	// Wherever it may be: other tests put Deployments of their own on this host.
	ds, err := c.Host.AppsV1().Deployments(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds.Items {
		if d.Namespace == c.Namespace || strings.Contains(d.Name, "nginx-deployment") {
			t.Errorf("Deployment %s/%s on the host, want none of the tenant's", d.Namespace, d.Name)
		}
	}
	if _, err := c.Host.CoreV1().Namespaces().Get(t.Context(), "demo-nginx", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("virtual namespace on the host: %v, want not found", err)
	}
}

func TestPodVerbs(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	pods := c.Virtual.CoreV1().Pods("a")
	created := c.CreatePod("a", embedded.Pod("p", map[string]string{"k": "v"}))
	if created.Name != "p" || created.Namespace != "a" {
		t.Fatalf("created %s/%s, want a/p", created.Namespace, created.Name)
	}

	t.Run("get is read-your-writes", func(t *testing.T) {
		for i := range 20 {
			name := fmt.Sprintf("ryw-%d", i)
			c.CreatePod("a", embedded.Pod(name, nil))
			if _, err := pods.Get(t.Context(), name, metav1.GetOptions{}); err != nil {
				t.Fatalf("get right after create: %v", err)
			}
			list, err := pods.List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
			if err != nil || len(list.Items) != 1 {
				t.Fatalf("list right after create: %v, %v", list, err)
			}
		}
	})
	t.Run("create again is AlreadyExists", func(t *testing.T) {
		_, err := pods.Create(t.Context(), embedded.Pod("p", nil), metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) || strings.Contains(err.Error(), "-x-") {
			t.Errorf("got %v, want AlreadyExists with virtual names", err)
		}
	})
	patches := map[string]struct {
		kind types.PatchType
		body string
	}{
		"json":      {types.JSONPatchType, `[{"op":"add","path":"/metadata/labels/json","value":"1"}]`},
		"merge":     {types.MergePatchType, `{"metadata":{"labels":{"merge":"1"}}}`},
		"strategic": {types.StrategicMergePatchType, `{"metadata":{"labels":{"strategic":"1"}}}`},
	}
	for name, p := range patches {
		t.Run("patch "+name, func(t *testing.T) {
			got, err := pods.Patch(t.Context(), "p", p.kind, []byte(p.body), metav1.PatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Labels[name] != "1" || got.Labels["k"] != "v" {
				t.Errorf("labels after patch: %v", got.Labels)
			}
			h, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("a", "p"), metav1.GetOptions{})
			if err != nil || h.Labels[name] != "1" {
				t.Errorf("host pod: %v, %v; want the label there too", h.Labels, err)
			}
		})
	}
	t.Run("server-side apply", func(t *testing.T) {
		apply := corev1apply.Pod("p", "a").WithLabels(map[string]string{"applied": "1"})
		got, err := pods.Apply(t.Context(), apply, metav1.ApplyOptions{FieldManager: "tester"})
		if err != nil {
			t.Fatal(err)
		}
		if got.Labels["applied"] != "1" {
			t.Errorf("labels: %v", got.Labels)
		}
		_, err = pods.Apply(t.Context(), corev1apply.Pod("p", "a").WithLabels(map[string]string{"applied": "2"}), metav1.ApplyOptions{FieldManager: "other"})
		if !apierrors.IsConflict(err) {
			t.Errorf("apply by another manager: %v, want conflict", err)
		}
		got, err = pods.Apply(t.Context(), corev1apply.Pod("p", "a"), metav1.ApplyOptions{FieldManager: "tester"})
		if err != nil {
			t.Fatal(err)
		}
		if _, still := got.Labels["applied"]; still {
			t.Errorf("label not removed by applying without it: %v", got.Labels)
		}
	})
	t.Run("update with a stale resourceVersion is Conflict", func(t *testing.T) {
		stale := created.DeepCopy()
		stale.Labels = map[string]string{"stale": "1"}
		if _, err := pods.Update(t.Context(), stale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			t.Errorf("got %v, want conflict", err)
		}
	})
	t.Run("no-op update keeps the resourceVersion", func(t *testing.T) {
		c.Settled("a", "p")
		now, err := pods.Get(t.Context(), "p", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := pods.Update(t.Context(), now, metav1.UpdateOptions{})
		if err != nil || again.ResourceVersion != now.ResourceVersion {
			t.Errorf("resourceVersion %s became %s, %v", now.ResourceVersion, again.ResourceVersion, err)
		}
	})
	t.Run("dry-run create leaves nothing", func(t *testing.T) {
		if _, err := pods.Create(t.Context(), embedded.Pod("dry", nil), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("a", "dry"), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("host pod after dry-run: %v", err)
		}
	})
	t.Run("delete", func(t *testing.T) {
		if err := pods.Delete(t.Context(), "p", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		embedded.Eventually(t, "pod gone on both sides", func(ctx context.Context) (bool, string) {
			_, verr := pods.Get(ctx, "p", metav1.GetOptions{})
			_, herr := c.Host.CoreV1().Pods(c.Namespace).Get(ctx, c.HostName("a", "p"), metav1.GetOptions{})
			return apierrors.IsNotFound(verr) && apierrors.IsNotFound(herr), fmt.Sprint(verr, herr)
		})
	})
}

func TestWatchSeesOneNamespace(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	c.CreateNamespace("b")
	list, err := c.Virtual.CoreV1().Pods("a").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Virtual.CoreV1().Pods("a").Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	c.CreatePod("b", embedded.Pod("other", nil))
	c.CreatePod("a", embedded.Pod("mine", nil))
	for e := range w.ResultChan() {
		p, ok := e.Object.(*corev1.Pod)
		if !ok {
			t.Fatalf("watch event %s: %T", e.Type, e.Object)
		}
		if p.Namespace != "a" || p.Name != "mine" {
			t.Fatalf("event about %s/%s in a watch of namespace a", p.Namespace, p.Name)
		}
		if e.Type == watch.Added {
			return
		}
	}
	t.Fatal("watch ended without the event")
}

func TestDeleteCollectionStaysInItsNamespace(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	c.CreateNamespace("b")
	for _, ns := range []string{"a", "b"} {
		c.CreatePod(ns, embedded.Pod("p", map[string]string{"app": "x"}))
	}
	zero := int64(0)
	err := c.Virtual.CoreV1().Pods("a").DeleteCollection(t.Context(), metav1.DeleteOptions{GracePeriodSeconds: &zero}, metav1.ListOptions{LabelSelector: "app=x"})
	if err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "pods of a gone", func(ctx context.Context) (bool, string) {
		l, err := c.Virtual.CoreV1().Pods("a").List(ctx, metav1.ListOptions{})
		return err == nil && len(l.Items) == 0, fmt.Sprint(err)
	})
	if _, err := c.Virtual.CoreV1().Pods("b").Get(t.Context(), "p", metav1.GetOptions{}); err != nil {
		t.Errorf("pod of the other namespace: %v", err)
	}
}

func TestServiceHasTheHostsAddress(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	svc, err := c.Virtual.CoreV1().Services("a").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.Host.CoreV1().Services(c.Namespace).Get(t.Context(), c.HostName("a", "web"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if svc.Spec.ClusterIP == "" || svc.Spec.ClusterIP != h.Spec.ClusterIP {
		t.Errorf("ClusterIP: virtual %q, host %q", svc.Spec.ClusterIP, h.Spec.ClusterIP)
	}
	if svc.Spec.Ports[0].NodePort == 0 || svc.Spec.Ports[0].NodePort != h.Spec.Ports[0].NodePort {
		t.Errorf("node port: virtual %d, host %d", svc.Spec.Ports[0].NodePort, h.Spec.Ports[0].NodePort)
	}
	if len(svc.Spec.Selector) != 1 {
		t.Errorf("virtual selector %v, want the tenant's alone", svc.Spec.Selector)
	}

	c.CreatePod("a", embedded.Pod("web-1", map[string]string{"app": "web"}))
	embedded.Eventually(t, "EndpointSlice lists the pod", func(ctx context.Context) (bool, string) {
		l, err := c.Virtual.DiscoveryV1().EndpointSlices("a").List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=web"})
		if err != nil || len(l.Items) == 0 || len(l.Items[0].Endpoints) == 0 {
			return false, fmt.Sprint(l, err)
		}
		ref := l.Items[0].Endpoints[0].TargetRef
		return ref != nil && ref.Name == "web-1", fmt.Sprint(ref)
	})

	// Resubmitting the manifest without the allocated values is no change.
	svc.Spec.ClusterIP, svc.Spec.ClusterIPs, svc.Spec.Ports[0].NodePort = "", nil, 0
	again, err := c.Virtual.CoreV1().Services("a").Update(t.Context(), svc, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if again.Spec.ClusterIP != h.Spec.ClusterIP {
		t.Errorf("ClusterIP became %q after resubmitting, want %q", again.Spec.ClusterIP, h.Spec.ClusterIP)
	}
}

func TestHeadlessServiceStaysHeadless(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	svc, err := c.Virtual.CoreV1().Services("a").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": "db"}, Ports: []corev1.ServicePort{{Port: 5432}}},
	}, metav1.CreateOptions{})
	if err != nil || svc.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Fatalf("got %v, %v", svc, err)
	}
}

func TestDefaultKubernetesService(t *testing.T) {
	c := newCluster(t)
	svc, err := c.Virtual.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.Host.CoreV1().Services(c.Namespace).Get(t.Context(), c.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if svc.Spec.ClusterIP == "" || svc.Spec.ClusterIP != h.Spec.ClusterIP {
		t.Errorf("ClusterIP: virtual %q, the cluster's own host Service %q", svc.Spec.ClusterIP, h.Spec.ClusterIP)
	}
	// Every host object is owned by this Service: a tenant who could delete it
	// would delete the cluster.
	err = c.Virtual.CoreV1().Services("default").Delete(t.Context(), "kubernetes", metav1.DeleteOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("delete default/kubernetes: %v, want forbidden", err)
	}
}

func TestPersistentVolumeClaimIsTheHosts(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	class := "standard"
	var claim corev1.PersistentVolumeClaim
	manifest := `{"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}`
	if err := json.Unmarshal([]byte(manifest), &claim); err != nil {
		t.Fatal(err)
	}
	claim.Spec.StorageClassName = &class
	v, err := c.Virtual.CoreV1().PersistentVolumeClaims("a").Create(t.Context(), &claim, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.Host.CoreV1().PersistentVolumeClaims(c.Namespace).Get(t.Context(), c.HostName("a", "data"), metav1.GetOptions{})
	if err != nil || h.UID != v.UID {
		t.Fatalf("host claim: %v, %v", h, err)
	}
}

func TestEvictionHonoursTheVirtualDisruptionBudget(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	labels := map[string]string{"app": "x"}
	c.CreatePod("a", embedded.Pod("p", labels))
	c.Settled("a", "p")
	one := intstr.FromInt32(1)
	_, err := c.Virtual.PolicyV1().PodDisruptionBudgets("a").Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "b"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: labels}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "budget observed", func(ctx context.Context) (bool, string) {
		b, err := c.Virtual.PolicyV1().PodDisruptionBudgets("a").Get(ctx, "b", metav1.GetOptions{})
		return err == nil && b.Status.ObservedGeneration == b.Generation && b.Status.CurrentHealthy == 1, fmt.Sprint(b, err)
	})
	evict := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a"}}
	if err := c.Virtual.PolicyV1().Evictions("a").Evict(t.Context(), evict); !apierrors.IsTooManyRequests(err) {
		t.Fatalf("evict under the budget: %v, want 429", err)
	}
	if err := c.Virtual.PolicyV1().PodDisruptionBudgets("a").Delete(t.Context(), "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "evicted", func(ctx context.Context) (bool, string) {
		err := c.Virtual.PolicyV1().Evictions("a").Evict(ctx, evict)
		return err == nil || apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}

// The variables of Services are in a ConfigMap of the host, and a container reads
// it before the tenant's own ConfigMap, so that a key of that wins: also a key
// that comes later. The pod is as small as without Services, and the tenant sees
// none of it.
func TestServiceVariablesGiveWayToTheTenants(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	c.CreateService("a", "redis", corev1.ServiceSpec{Selector: map[string]string{"app": "redis"}, Ports: []corev1.ServicePort{{Port: 6379}}})
	p := embedded.Pod("web", nil)
	from := []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}
	p.Spec.Containers[0].EnvFrom = from
	if shown := c.CreatePod("a", p); !reflect.DeepEqual(shown.Spec.Containers[0].EnvFrom, from) {
		t.Errorf("the tenant sees %v", shown.Spec.Containers[0].EnvFrom)
	}
	h, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("a", "web"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctr := h.Spec.Containers[0]
	if len(ctr.Env) != 0 || len(ctr.EnvFrom) != 2 || ctr.EnvFrom[1].ConfigMapRef.Name != c.HostName("a", "settings") {
		t.Fatalf("the host container has %v and reads %v", ctr.Env, ctr.EnvFrom)
	}
	embedded.Eventually(t, "the variables", func(ctx context.Context) (bool, string) {
		m, err := c.Host.CoreV1().ConfigMaps(c.Namespace).Get(ctx, ctr.EnvFrom[0].ConfigMapRef.Name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return m.Data["REDIS_SERVICE_PORT"] == "6379" && m.Data["KUBERNETES_SERVICE_HOST"] != "", fmt.Sprint(m.Data)
	})
}
