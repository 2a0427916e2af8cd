// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// The overlay holds what the tenant may not have: a tenant who could write it
// could claim another object's identity.
func TestAttackTenantWritesReservedKeys(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("a")
	for name, meta := range map[string]metav1.ObjectMeta{
		"overlay annotation": {Name: "p", Annotations: map[string]string{"portico.dev/overlay": "x"}},
		"cluster label":      {Name: "p", Labels: map[string]string{"portico.dev/cluster": "other"}},
		"namespace label":    {Name: "p", Labels: map[string]string{"portico.dev/namespace": "kube-system"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := pod("p", nil)
			p.ObjectMeta = meta
			if _, err := c.virtual.CoreV1().Pods("a").Create(t.Context(), p, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
				t.Errorf("create: %v, want 422", err)
			}
		})
	}
	c.createPod("a", pod("q", nil))
	_, err := c.virtual.CoreV1().Pods("a").Patch(t.Context(), "q", types.MergePatchType, []byte(`{"metadata":{"annotations":{"portico.dev/overlay":"x"}}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) {
		t.Errorf("patch: %v, want 422", err)
	}
}

func TestAttackVolumeNamesOtherNamespaceThroughHostNaming(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("victim")
	c.createNamespace("mallory")
	if _, err := c.virtual.CoreV1().Secrets("victim").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "token"}, StringData: map[string]string{"k": "v"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := pod("p", nil)
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: c.hostName("victim", "token")}}}}
	c.createPod("mallory", p)
	h, err := c.host.CoreV1().Pods(c.namespace).Get(t.Context(), c.hostName("mallory", "p"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range h.Spec.Volumes {
		if v.Secret != nil && v.Secret.SecretName == c.hostName("victim", "token") {
			t.Errorf("the host pod mounts the other namespace's Secret %s", v.Secret.SecretName)
		}
	}
}

func TestAttackServiceSelectsOtherNamespace(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("a")
	_, err := c.virtual.CoreV1().Services("a").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "s"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"portico.dev/namespace": "victim"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err == nil {
		h, herr := c.host.CoreV1().Services(c.namespace).Get(t.Context(), c.hostName("a", "s"), metav1.GetOptions{})
		if herr != nil {
			t.Fatal(herr)
		}
		if h.Spec.Selector["portico.dev/namespace"] != "a" {
			t.Errorf("host selector %v reaches out of the namespace", h.Spec.Selector)
		}
	}
}

// What the host acts on is not the tenant's to say: its API server proxies to
// the podIP of a status, its nodes take the traffic to a load balancer's
// address and to external IPs.
func TestAttackAddressesThatTheHostActsOn(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("a")
	pods, services := c.virtual.CoreV1().Pods("a"), c.virtual.CoreV1().Services("a")
	p := pod("p", nil)
	p.Spec.NodeSelector = map[string]string{"no": "such-node"}
	c.createPod("a", p)
	status := `{"status":{"podIP":"192.0.2.66","podIPs":[{"ip":"192.0.2.66"}],"nominatedNodeName":"mine","message":"seen","conditions":[{"type":"example.com/gate","status":"True"}]}}`
	got, err := pods.Patch(t.Context(), "p", types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.host.CoreV1().Pods(c.namespace).Get(t.Context(), c.hostName("a", "p"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for side, s := range map[string]corev1.PodStatus{"virtual": got.Status, "host": h.Status} {
		if s.PodIP != "" || len(s.PodIPs) > 0 || s.NominatedNodeName != "" || s.Message != "seen" {
			t.Errorf("status of the %s pod: %+v, want the message and no address", side, s)
		}
	}

	c.createService("a", "s", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}})
	if _, err := services.Patch(t.Context(), "s", types.MergePatchType, []byte(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.53"}]}}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	s, err := c.host.CoreV1().Services(c.namespace).Get(t.Context(), c.hostName("a", "s"), metav1.GetOptions{})
	if err != nil || len(s.Status.LoadBalancer.Ingress) > 0 {
		t.Errorf("load balancer on the host: %+v (%v)", s.Status, err)
	}
	if _, err := services.Patch(t.Context(), "s", types.MergePatchType, []byte(`{"spec":{"externalIPs":["192.0.2.53"]}}`), metav1.PatchOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("external IPs: %v, want 403", err)
	}
}

// A path, a header or a token that means something on the host means nothing
// at the door: a user who may do everything with the pods of one namespace gets
// at no other's, by whatever name.
func TestAttackHostNamesAndPathsAtTheDoor(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("victim")
	c.createNamespace("mallory")
	c.createPod("victim", pod("p", nil))
	rule := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "pods/*", "services", "services/*"}, Verbs: []string{"*"}}
	if _, err := c.virtual.RbacV1().Roles("mallory").Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.virtual.RbacV1().RoleBindings("mallory").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "m"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "m"},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: "mallory"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(c.config)
	config.Impersonate.UserName = "mallory"
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	do := func(method, path string, headers map[string]string) (int, string) {
		t.Helper()
		body := io.Reader(nil)
		if method != http.MethodGet {
			body = strings.NewReader(`{"metadata":{"labels":{"mallory":"was-here"}},"status":{"message":"mallory"}}`)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, config.Host+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/merge-patch+json")
		for k, v := range headers {
			req.Header.Set(k, v)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(answer)
	}
	eventually(t, "the rights of mallory", func(context.Context) (bool, string) {
		code, answer := do(http.MethodGet, "/api/v1/namespaces/mallory/pods", nil)
		return code == http.StatusOK, answer
	})

	const own = "/api/v1/namespaces/mallory/"
	host := c.hostName("victim", "p")
	paths := []string{
		own + "pods/" + host, own + "pods/..%2f..%2fvictim%2fpods%2fp", own + "pods/..%2fp/log", own + "pods/%2e%2e/victim",
		own + "../victim/pods/p", "/api/v1/namespaces/mallory%2f..%2fvictim/pods/p", "/api/v1//namespaces/victim/pods", "/api/v1/namespaces/victim/pods/p",
		"/api/v1/namespaces/" + c.namespace + "/pods/" + host, own + "services/..%2f" + c.name + "/proxy/", own + "services/" + c.name + "/proxy/",
	}
	for _, sub := range []string{"log", "exec", "attach", "portforward", "proxy/", "status", "binding", "eviction", "resize", "ephemeralcontainers"} {
		paths = append(paths, own+"pods/"+host+"/"+sub)
	}
	for _, path := range paths {
		for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodPost, http.MethodDelete} {
			code, answer := do(method, path, nil)
			if code < http.StatusBadRequest || strings.Contains(answer, `"uid"`) {
				t.Errorf("%s %s: %d %s", method, path, code, answer)
			}
		}
	}
	for name, headers := range map[string]map[string]string{
		"X-Remote":    {"X-Remote-User": "system:admin", "X-Remote-Group": "system:masters"},
		"Forwarded":   {"X-Forwarded-User": "system:admin", "X-Forwarded-Uri": own + "pods", "X-Original-Url": own + "pods"},
		"other verbs": {"X-Http-Method-Override": "GET"},
	} {
		if code, answer := do(http.MethodGet, "/api/v1/namespaces/victim/pods/p", headers); code != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, code, answer)
		}
	}

	t.Run("continue tokens", func(t *testing.T) {
		for reason, token := range map[string]string{
			"another namespace": `{"v":"meta.k8s.io/v1","rv":-1,"start":"/../victim/o\u0000"}`,
			"a host name":       `{"v":"meta.k8s.io/v1","rv":-1,"start":"/` + host[:1] + `\u0000"}`,
			"nonsense":          `{}`,
		} {
			code, answer := do(http.MethodGet, own+"pods?limit=1&continue="+base64.RawURLEncoding.EncodeToString([]byte(token)), nil)
			if strings.Contains(answer, `"uid"`) {
				t.Errorf("%s: %d %s", reason, code, answer)
			}
		}
	})
	v, err := c.virtual.CoreV1().Pods("victim").Get(t.Context(), "p", metav1.GetOptions{})
	if err != nil || v.DeletionTimestamp != nil || v.Labels["mallory"] != "" || v.Status.Message == "mallory" {
		t.Errorf("the victim's pod: %+v (%v)", v, err)
	}
}

func TestAttackAdministratorLooksIntoTheProcess(t *testing.T) {
	c := newCluster(t)
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/trace", "/debug/flags/v"} {
		if err := c.virtual.CoreV1().RESTClient().Get().AbsPath(path).Do(t.Context()).Error(); !apierrors.IsNotFound(err) {
			t.Errorf("GET %s: %v, want that there is nothing", path, err)
		}
	}
	if err := c.virtual.CoreV1().RESTClient().Put().AbsPath("/debug/flags/v").Body([]byte("9")).Do(t.Context()).Error(); !apierrors.IsNotFound(err) {
		t.Errorf("set the log level: %v, want that there is nothing", err)
	}
}

func TestHostQuotaRefusalReachesTheTenantInVirtualNames(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("a")
	_, err := c.host.CoreV1().ResourceQuotas(c.namespace).Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "limit"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"pods": resource.MustParse("0")}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "quota observed", func(ctx context.Context) (bool, string) {
		q, err := c.host.CoreV1().ResourceQuotas(c.namespace).Get(ctx, "limit", metav1.GetOptions{})
		return err == nil && len(q.Status.Hard) > 0, fmt.Sprint(q, err)
	})
	_, err = c.virtual.CoreV1().Pods("a").Create(t.Context(), pod("p", nil), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota") {
		t.Fatalf("create: %v, want the host's quota refusal", err)
	}
	if strings.Contains(err.Error(), "-x-") {
		t.Errorf("host name in %q", err)
	}
	if l, err := c.host.CoreV1().Pods(c.namespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(l.Items) != 0 {
		t.Errorf("host pods after a refusal: %d, %v", len(l.Items), err)
	}
}

func TestHostPodSecurityRefusalReachesTheTenantInVirtualNames(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("a")
	enforce := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`)
	if _, err := c.host.CoreV1().Namespaces().Patch(t.Context(), c.namespace, types.MergePatchType, enforce, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	p := pod("p", nil)
	p.Spec.HostNetwork = true
	eventually(t, "refusal", func(ctx context.Context) (bool, string) {
		// The host's admission sees the new label through an informer.
		_, err := c.virtual.CoreV1().Pods("a").Create(ctx, p, metav1.CreateOptions{})
		if err == nil {
			return false, "created"
		}
		if strings.Contains(err.Error(), "-x-") {
			t.Errorf("host name in %q", err)
		}
		return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "violates PodSecurity"), err.Error()
	})
}

// The namespace in the body and the one in the URL must agree, or a tenant's
// tool would write where its user did not look.
func TestManifestForAnotherNamespaceIsRefused(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("a")
	c.createNamespace("b")
	p := pod("p", nil)
	p.Namespace = "b"
	result := c.virtual.CoreV1().RESTClient().Post().Namespace("a").Resource("pods").Body(p).Do(t.Context())
	if err := result.Error(); !apierrors.IsBadRequest(err) {
		t.Errorf("got %v, want 400", err)
	}
	p.Namespace = "missing"
	if _, err := c.virtual.CoreV1().Pods("missing").Create(t.Context(), p, metav1.CreateOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("pod in a namespace that does not exist: %v, want 404", err)
	}
	if l, err := c.host.CoreV1().Pods(c.namespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(l.Items) != 0 {
		t.Errorf("host pods after refusals: %v, %v; want none", l.Items, err)
	}
}

func TestLongNamesFitTheHost(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("a")
	long := strings.Repeat("n", 63)
	c.createPod("a", pod(long, nil))
	other := strings.Repeat("n", 62) + "m"
	c.createPod("a", pod(other, nil))
	l, err := c.virtual.CoreV1().Pods("a").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(l.Items) != 2 {
		t.Fatalf("got %v, %v; want both pods", l, err)
	}
}

func TestHostDeletesAnObjectBehindTheDoor(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("a")
	c.createPod("a", pod("p", nil))
	zero := int64(0)
	if err := c.host.CoreV1().Pods(c.namespace).Delete(t.Context(), c.hostName("a", "p"), metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pod gone for the tenant", func(ctx context.Context) (bool, string) {
		_, err := c.virtual.CoreV1().Pods("a").Get(ctx, "p", metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}

func TestCorruptOverlayIsListedReportedAndRepaired(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("a")
	c.createPod("a", pod("p", map[string]string{"k": "v"}))
	settled(t, c, "a", "p")
	broken := []byte(`{"metadata":{"annotations":{"portico.dev/overlay":"not an overlay"}}}`)
	if _, err := c.host.CoreV1().Pods(c.namespace).Patch(t.Context(), c.hostName("a", "p"), types.MergePatchType, broken, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	l, err := c.virtual.CoreV1().Pods("a").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(l.Items) != 1 || l.Items[0].Name != "p" {
		t.Fatalf("list with a corrupt overlay: %v, %v", l, err)
	}
	eventually(t, "event about the overlay", func(ctx context.Context) (bool, string) {
		l, err := c.virtual.CoreV1().Events("a").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, e := range l.Items {
			if e.InvolvedObject.Name == "p" && strings.Contains(e.Reason, "Overlay") {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%d events", len(l.Items))
	})
	if _, err := c.virtual.CoreV1().Pods("a").Patch(t.Context(), "p", types.MergePatchType, []byte(`{"metadata":{"labels":{"again":"1"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatalf("write after corruption: %v", err)
	}
	h, err := c.host.CoreV1().Pods(c.namespace).Get(t.Context(), c.hostName("a", "p"), metav1.GetOptions{})
	if err != nil || h.Annotations["portico.dev/overlay"] == "not an overlay" {
		t.Errorf("overlay after the next write: %q, %v; want it repaired", h.Annotations["portico.dev/overlay"], err)
	}
}

func TestTwoClustersSeeNothingOfEachOther(t *testing.T) {
	one, two := newCluster(t), newCluster(t)
	for _, c := range []*cluster{one, two} {
		c.createNamespace("a")
		c.createPod("a", pod("p-"+c.namespace, nil))
	}
	for _, c := range []*cluster{one, two} {
		l, err := c.virtual.CoreV1().Pods(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(l.Items) != 1 || l.Items[0].Name != "p-"+c.namespace {
			t.Errorf("pods of %s: %v, %v", c.namespace, l, err)
		}
	}
}
