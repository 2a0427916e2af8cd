// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"portico.dev/portico/test/embedded"
)

// A tenant writes annotations and labels with Portico's own prefix, to give a
// pod the identity of another object or to put it into another namespace. They
// are the tenant's inside; the host pod keeps its identity.
func TestAttackTenantWritesReservedKeys(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	unchanged := func(t *testing.T, name string) {
		t.Helper()
		h := c.HostPod("a", name)
		if h.Labels["portico.dev/cluster"] != c.Name || h.Labels["portico.dev/namespace"] != "a" || h.Annotations["portico.dev/name"] != name {
			t.Errorf("the host pod has the labels %v and the annotations %v", h.Labels, h.Annotations)
		}
		for _, values := range []map[string]string{h.Labels, h.Annotations} {
			for k, v := range values {
				if v == "forged" && !strings.HasPrefix(k, "portico.dev/label-") {
					t.Errorf("%s is on the host as the tenant wrote it", k)
				}
			}
		}
	}
	for name, keys := range map[string][]string{
		"overlay":   {"portico.dev/overlay"},
		"cluster":   {"portico.dev/cluster"},
		"namespace": {"portico.dev/namespace"},
		"all":       {"portico.dev/overlay", "portico.dev/cluster", "portico.dev/namespace", "portico.dev/name", "portico.dev/kind", "portico.dev/composed", "portico.dev/door"},
	} {
		t.Run(name, func(t *testing.T) {
			p := embedded.Pod(name, map[string]string{})
			p.Annotations = map[string]string{}
			for _, k := range keys {
				p.Labels[k], p.Annotations[k] = "forged", "forged"
			}
			if made := c.CreatePod("a", p); made.Labels[keys[0]] != "forged" || made.Annotations[keys[0]] != "forged" {
				t.Errorf("the tenant sees the labels %v and the annotations %v", made.Labels, made.Annotations)
			}
			unchanged(t, name)
		})
	}
	c.CreatePod("a", embedded.Pod("q", nil))
	_, err := c.Virtual.CoreV1().Pods("a").Patch(t.Context(), "q", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"portico.dev/overlay":"forged"},"labels":{"portico.dev/namespace":"forged"}}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	unchanged(t, "q")
}

// A tenant names a Secret by the name that the Secret of another namespace has
// on the host. The host pod mounts nothing of that namespace.
func TestAttackVolumeNamesOtherNamespaceThroughHostNaming(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("victim")
	c.CreateNamespace("mallory")
	if _, err := c.Virtual.CoreV1().Secrets("victim").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "token"}, StringData: map[string]string{"k": "v"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := embedded.Pod("p", nil)
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: c.HostName("victim", "token")}}}}
	c.CreatePod("mallory", p)
	h, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("mallory", "p"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range h.Spec.Volumes {
		if v.Secret != nil && v.Secret.SecretName == c.HostName("victim", "token") {
			t.Errorf("the host pod mounts the other namespace's Secret %s", v.Secret.SecretName)
		}
	}
}

// A tenant's Service selects by Portico's own label, to get the traffic of pods
// of another namespace. On the host it selects pods of its own namespace only.
func TestAttackServiceSelectsOtherNamespace(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	c.CreateNamespace("victim")
	c.CreatePod("victim", embedded.Pod("p", nil))
	c.CreateService("a", "s", corev1.ServiceSpec{Selector: map[string]string{"portico.dev/namespace": "victim"}, Ports: []corev1.ServicePort{{Port: 80}}})
	h, err := c.Host.CoreV1().Services(c.Namespace).Get(t.Context(), c.HostName("a", "s"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if h.Spec.Selector["portico.dev/namespace"] != "a" || h.Spec.Selector["portico.dev/cluster"] != c.Name {
		t.Errorf("the host Service selects by %v", h.Spec.Selector)
	}
	l, err := c.Host.CoreV1().Pods(c.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: labels.FormatLabels(h.Spec.Selector)})
	if err != nil || len(l.Items) != 0 {
		t.Errorf("pods of the Service on the host: %v, %v; want none", l.Items, err)
	}
}

// A tenant writes addresses that the host acts on: a pod's in its status, to
// which the host's API server proxies, a load balancer's, and external IPs. None
// reaches the host.
func TestAttackAddressesThatTheHostActsOn(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	pods, services := c.Virtual.CoreV1().Pods("a"), c.Virtual.CoreV1().Services("a")
	p := embedded.Pod("p", nil)
	p.Spec.NodeSelector = map[string]string{"no": "such-node"}
	c.CreatePod("a", p)
	status := `{"status":{"podIP":"192.0.2.66","podIPs":[{"ip":"192.0.2.66"}],"nominatedNodeName":"mine","message":"seen","conditions":[{"type":"example.com/gate","status":"True"}]}}`
	got, err := pods.Patch(t.Context(), "p", types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("a", "p"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// A text for people shows inside, and only there.
	messages := map[string]string{"virtual": "seen", "host": ""}
	for side, s := range map[string]corev1.PodStatus{"virtual": got.Status, "host": h.Status} {
		if s.PodIP != "" || len(s.PodIPs) > 0 || s.NominatedNodeName != "" || s.Message != messages[side] || condition(&s, "example.com/gate") == nil {
			t.Errorf("status of the %s pod: %+v, want the tenant's own condition, the message %q and no address", side, s, messages[side])
		}
	}

	c.CreateService("a", "s", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}})
	if _, err := services.Patch(t.Context(), "s", types.MergePatchType, []byte(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.53"}]}}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	s, err := c.Host.CoreV1().Services(c.Namespace).Get(t.Context(), c.HostName("a", "s"), metav1.GetOptions{})
	if err != nil || len(s.Status.LoadBalancer.Ingress) > 0 {
		t.Errorf("load balancer on the host: %+v (%v)", s.Status, err)
	}
	if _, err := services.Patch(t.Context(), "s", types.MergePatchType, []byte(`{"spec":{"externalIPs":["192.0.2.53"]}}`), metav1.PatchOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("external IPs: %v, want 403", err)
	}
}

// A user with all rights on the pods of one namespace tries host names, odd
// paths, proxy headers and forged continue tokens to reach the pods of another.
// All requests are refused and the other pod is untouched.
func TestAttackHostNamesAndPathsAtTheDoor(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("victim")
	c.CreateNamespace("mallory")
	c.CreatePod("victim", embedded.Pod("p", nil))
	rule := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "pods/*", "services", "services/*"}, Verbs: []string{"*"}}
	if _, err := c.Virtual.RbacV1().Roles("mallory").Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Virtual.RbacV1().RoleBindings("mallory").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "m"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "m"},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: "mallory"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(c.Config)
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
	embedded.Eventually(t, "the rights of mallory", func(context.Context) (bool, string) {
		code, answer := do(http.MethodGet, "/api/v1/namespaces/mallory/pods", nil)
		return code == http.StatusOK, answer
	})

	const own = "/api/v1/namespaces/mallory/"
	host := c.HostName("victim", "p")
	paths := []string{
		own + "pods/" + host, own + "pods/..%2f..%2fvictim%2fpods%2fp", own + "pods/..%2fp/log", own + "pods/%2e%2e/victim",
		own + "../victim/pods/p", "/api/v1/namespaces/mallory%2f..%2fvictim/pods/p", "/api/v1//namespaces/victim/pods", "/api/v1/namespaces/victim/pods/p",
		"/api/v1/namespaces/" + c.Namespace + "/pods/" + host, own + "services/..%2f" + c.Name + "/proxy/", own + "services/" + c.Name + "/proxy/",
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
	v, err := c.Virtual.CoreV1().Pods("victim").Get(t.Context(), "p", metav1.GetOptions{})
	if err != nil || v.DeletionTimestamp != nil || v.Labels["mallory"] != "" || v.Status.Message == "mallory" {
		t.Errorf("the victim's pod: %+v (%v)", v, err)
	}
}

// A tenant's administrator asks the process for its heap, its command line and
// a higher log level. None of these paths exists.
func TestAttackAdministratorLooksIntoTheProcess(t *testing.T) {
	c := embedded.NewCluster(t)
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/trace", "/debug/flags/v"} {
		if err := c.Virtual.CoreV1().RESTClient().Get().AbsPath(path).Do(t.Context()).Error(); !apierrors.IsNotFound(err) {
			t.Errorf("GET %s: %v, want that there is nothing", path, err)
		}
	}
	if err := c.Virtual.CoreV1().RESTClient().Put().AbsPath("/debug/flags/v").Body([]byte("9")).Do(t.Context()).Error(); !apierrors.IsNotFound(err) {
		t.Errorf("set the log level: %v, want that there is nothing", err)
	}
}
