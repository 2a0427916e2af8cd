// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/ptr"

	"portico.dev/portico/test/embedded"
)

// notAllowed is a tenant's error about an address that is not dialled.
const notAllowed = "is not an address of this cluster and not in egress.allow"

// noDoor is their error about the Service of the door, which in these tests
// leads nowhere: a loopback address is no endpoint.
const noDoor = `no endpoints available for service "kubernetes"`

// allowLoopback is the configuration of an operator whose webhooks are on
// porticod's machine, as these tests' are.
const allowLoopback = "egress:\n  allow: [127.0.0.0/8]\n"

// allowAll is that of an operator who trusts the network.
const allowAll = "egress:\n  allow: [0.0.0.0/0, '::/0']\n"

// trap is a TLS server on porticod's machine that counts its connections.
type trap struct {
	*httptest.Server
	connections atomic.Int32
}

func newTrap(t *testing.T, answer http.HandlerFunc) *trap {
	t.Helper()
	s := &trap{}
	s.Server = httptest.NewUnstartedServer(answer)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// closed is the handler of a server that must not be reached.
func closed(http.ResponseWriter, *http.Request) {}

// port is the server's, with the colon before it in a URL.
func (s *trap) port() string { return ":" + fmt.Sprint(s.Listener.Addr().(*net.TCPAddr).Port) }

func (s *trap) caBundle() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// untouched fails the test if the server had a connection.
func (s *trap) untouched(t *testing.T) {
	t.Helper()
	if n := s.connections.Load(); n != 0 {
		t.Errorf("the server had %d connections, want none", n)
	}
}

// callWebhook makes a webhook for ConfigMaps of namespace "a", creates one
// until the webhook is known, and returns the tenant's error.
func callWebhook(t *testing.T, c *embedded.Cluster, client admissionregistrationv1.WebhookClientConfig, want string) {
	t.Helper()
	hooks := c.Virtual.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	created, err := hooks.Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "hook-"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "hook.example.com", ClientConfig: client, AdmissionReviewVersions: []string{"v1"},
			SideEffects: ptr.To(admissionregistrationv1.SideEffectClassNone), FailurePolicy: ptr.To(admissionregistrationv1.Fail),
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "a"}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create the webhook: %v", err)
	}
	create := func(ctx context.Context) error {
		_, err := c.Virtual.CoreV1().ConfigMaps("a").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "m-"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	var refused error
	embedded.Eventually(t, "the webhook's first call", func(ctx context.Context) (bool, string) {
		refused = create(ctx)
		return refused != nil, "created"
	})
	if !strings.Contains(refused.Error(), want) {
		t.Errorf("webhook %s: %v, want %q", describe(client), refused, want)
	}
	if want == notAllowed && !apierrors.IsInternalError(refused) {
		t.Errorf("webhook %s: %v, want 500 as of any webhook that can't be called", describe(client), refused)
	}
	if err := hooks.Delete(t.Context(), created.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "the webhook's end", func(ctx context.Context) (bool, string) {
		err := create(ctx)
		return err == nil, fmt.Sprint(err)
	})
}

func describe(c admissionregistrationv1.WebhookClientConfig) string {
	if c.Service != nil {
		return "at Service " + c.Service.Namespace + "/" + c.Service.Name
	}
	return "at " + *c.URL
}

func at(url string, ca []byte) admissionregistrationv1.WebhookClientConfig {
	return admissionregistrationv1.WebhookClientConfig{URL: ptr.To(url), CABundle: ca}
}

func atService(namespace, name, path string, port int32, ca []byte) admissionregistrationv1.WebhookClientConfig {
	return admissionregistrationv1.WebhookClientConfig{
		Service:  &admissionregistrationv1.ServiceReference{Namespace: namespace, Name: name, Path: ptr.To(path), Port: ptr.To(port)},
		CABundle: ca,
	}
}

// A tenant's webhook has the URL of a server on porticod's loopback, written in
// every way that leads there. It is not called, and the tenant reads why.
func TestAttackWebhookAtLoopback(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), allowAll)
	c.CreateNamespace("a")
	s := newTrap(t, closed)
	for _, host := range []string{"127.0.0.1", "localhost", "127.8.8.8", "[::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "0.0.0.0", "[::]", "2130706433", "127.1"} {
		callWebhook(t, c, at("https://"+host+s.port()+"/", s.caBundle()), notAllowed)
	}
	s.untouched(t)
}

// A tenant's webhook has an address of porticod's machine, or that of the
// metadata service of the host's cloud. It is not called, even if the operator
// has allowed every network.
func TestAttackWebhookAtOwnAndLinkLocalAddresses(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), allowAll)
	c.CreateNamespace("a")
	s := newTrap(t, closed)
	hosts := []string{"169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "224.0.0.1", "[::ffff:169.254.169.254]"}
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		ip, _, err := net.ParseCIDR(a.String())
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, strings.TrimSuffix(net.JoinHostPort(ip.String(), ""), ":"))
	}
	for _, host := range hosts {
		callWebhook(t, c, at("https://"+host+s.port()+"/", s.caBundle()), notAllowed)
	}
	s.untouched(t)
}

// A tenant's webhook is at the API of the host, or at porticod's own door, on a
// network that the operator has allowed. Neither is called.
func TestAttackWebhookAtHostAPIAndDoor(t *testing.T) {
	h := embedded.SharedHost(t)
	c := embedded.NewClusterWith(t, h, allowLoopback)
	c.CreateNamespace("a")
	for _, api := range []string{h.Config.Host, c.Config.Host} {
		u, err := url.Parse(api)
		if err != nil {
			t.Fatal(err)
		}
		callWebhook(t, c, at(api+"/", nil), notAllowed)
		callWebhook(t, c, at("https://localhost:"+u.Port()+"/", nil), notAllowed)
	}
}

// A tenant's webhook is behind a Service of theirs that leads to porticod: by an
// external name, by the name of another Service, or by EndpointSlices that they
// write. It is not called.
func TestAttackWebhookServiceLeadsOutOfTheCluster(t *testing.T) {
	c := embedded.NewCluster(t)
	c.CreateNamespace("a")
	s := newTrap(t, closed)
	port := int32(s.Listener.Addr().(*net.TCPAddr).Port)
	for name, to := range map[string]string{"loop": "127.0.0.1", "local": "localhost", "door": "kubernetes.default.svc.cluster.local", "chain": "loop.a.svc"} {
		c.CreateService("a", name, corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: to})
		if name != "door" { // it has its own port
			callWebhook(t, c, atService("a", name, "/", port, s.caBundle()), notAllowed)
			continue
		}
		callWebhook(t, c, atService("a", name, "/", 443, s.caBundle()), noDoor)
	}
	written := c.CreateService("a", "written", corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443}}})
	if _, err := c.Virtual.DiscoveryV1().EndpointSlices("a").Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "written-1", Labels: map[string]string{discoveryv1.LabelServiceName: "written"}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.66"}}},
		Ports: []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To(port)}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	callWebhook(t, c, atService("a", "written", "/", 443, s.caBundle()), notAllowed)
	callWebhook(t, c, at("https://"+written.Spec.ClusterIP+"/", s.caBundle()), notAllowed)
	s.untouched(t)
}

// A webhook that may be called redirects the review to plain HTTP, to get it
// sent in clear text or to an address that may not be dialled. The redirect is
// not followed.
func TestAttackWebhookRedirectsToHTTP(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), allowLoopback)
	c.CreateNamespace("a")
	var followed atomic.Int32
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer plain.Close()
	s := newTrap(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/stolen", http.StatusTemporaryRedirect)
	})
	callWebhook(t, c, at("https://127.0.0.1"+s.port()+"/", s.caBundle()), "redirect, which is not followed")
	if s.connections.Load() == 0 || followed.Load() != 0 {
		t.Errorf("%d connections to the webhook, %d to where it redirects; want some and none", s.connections.Load(), followed.Load())
	}
}

// A tenant's webhook is a server of the operator's that is no webhook, whose
// error page the tenant wants to read. The page is not in the error; a review's
// own message is.
func TestAttackWebhookErrorPage(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), allowLoopback)
	c.CreateNamespace("a")
	var last atomic.Value
	s := newTrap(t, func(w http.ResponseWriter, r *http.Request) {
		last.Store(r.Header.Get("Authorization"))
		if r.URL.Path == "/page" {
			http.Error(w, "s3cret", http.StatusInternalServerError)
			return
		}
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Message: "denied by review"}}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	})
	base := "https://127.0.0.1" + s.port()
	callWebhook(t, c, at(base+"/review", s.caBundle()), "denied by review")
	callWebhook(t, c, at(base+"/page", s.caBundle()), "its answer is not a review, and not shown")
	if got := last.Load(); got != "" {
		t.Errorf("the webhook was sent the credential %q", got)
	}
}

// A tenant's webhook has the name of the API server, for which upstream falls
// back to the token of the process's own pod on the host, and the tenant leads
// that name to a server of theirs. The call goes to the API server itself and
// nowhere else.
func TestAttackWebhookNamedLikeTheAPIServer(t *testing.T) {
	s := newTrap(t, closed)
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), allowLoopback)
	if err := c.Process.End(15); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Environment = []string{"KUBERNETES_SERVICE_HOST=" + host, "KUBERNETES_SERVICE_PORT=" + port}
	c.Start()
	c.CreateNamespace("a")
	callWebhook(t, c, at("https://kubernetes.default.svc/apis/none", s.caBundle()), "the server could not find the requested resource")
	callWebhook(t, c, at("https://kubernetes.default.svc:443/apis/none", s.caBundle()), "the server could not find the requested resource")
	callWebhook(t, c, atService("default", "kubernetes", "/apis/none", 443, s.caBundle()), "the server could not find the requested resource")
	callWebhook(t, c, at("https://kubernetes.default.svc"+s.port()+"/", s.caBundle()), "no service port")
	callWebhook(t, c, at("https://kubernetes.default.svc.cluster.local/", s.caBundle()), noDoor)
	s.untouched(t)
}

var (
	apiServices = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// create makes a cluster-scoped object.
func create(t *testing.T, c *embedded.Cluster, kind schema.GroupVersionResource, text string) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Resource(kind).Create(t.Context(), obj, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return client
}

// aggregate registers an API group that a Service of namespace "a" serves, and
// returns the text about its availability that the tenant reads.
func aggregate(t *testing.T, c *embedded.Cluster, group, service string, port int) string {
	t.Helper()
	client := create(t, c, apiServices, fmt.Sprintf(`{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"v1.%[1]s"},
		"spec":{"group":%[1]q,"version":"v1","groupPriorityMinimum":100,"versionPriority":100,"insecureSkipTLSVerify":true,
		"service":{"namespace":"a","name":%[2]q,"port":%[3]d}}}`, group, service, port))
	var message string
	embedded.Eventually(t, "availability of "+group, func(ctx context.Context) (bool, string) {
		obj, err := client.Resource(apiServices).Get(ctx, "v1."+group, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		conditions, _, err := unstructured.NestedSlice(obj.Object, "status", "conditions")
		for _, condition := range conditions {
			if m, ok := condition.(map[string]any); ok && m["type"] == "Available" && m["reason"] != "ServiceNotFound" {
				message = fmt.Sprint(m["status"], " ", m["message"])
				return true, ""
			}
		}
		return false, fmt.Sprint(obj.Object["status"], err)
	})
	return message
}

// A tenant registers an API group behind a Service that is an external name of
// porticod's loopback, to be sent the front proxy's client certificate and the
// groups of system:masters. No connection is made.
func TestAttackAPIServiceLeadsToLoopback(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), allowAll)
	c.CreateNamespace("a")
	s := newTrap(t, closed)
	port := s.Listener.Addr().(*net.TCPAddr).Port
	for name, to := range map[string]string{"loop": "127.0.0.1", "local": "localhost", "short": "127.1"} {
		c.CreateService("a", name, corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: to})
		if message := aggregate(t, c, name+".example.com", name, port); !strings.HasPrefix(message, "False ") || !strings.Contains(message, notAllowed) {
			t.Errorf("external name %s: %s", to, message)
		}
	}
	s.untouched(t)
}

// A tenant registers an API group whose Service leads to the API of the host or
// to porticod's door, which would take the front proxy's word for who asks. No
// request with that certificate is made to either.
func TestAttackFrontProxyCertificateAtTheDoor(t *testing.T) {
	h := embedded.SharedHost(t)
	c := embedded.NewClusterWith(t, h, allowLoopback)
	c.CreateNamespace("a")
	c.CreateService("a", "loop", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "127.0.0.1"})
	c.CreateService("a", "kubernetes", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "kubernetes.default.svc"})
	for group, api := range map[string]string{"host.example.com": h.Config.Host, "door.example.com": c.Config.Host} {
		u, err := url.Parse(api)
		if err != nil {
			t.Fatal(err)
		}
		port, err := net.LookupPort("tcp", u.Port())
		if err != nil {
			t.Fatal(err)
		}
		if message := aggregate(t, c, group, "loop", port); !strings.HasPrefix(message, "False ") || !strings.Contains(message, notAllowed) {
			t.Errorf("%s: %s", group, message)
		}
	}
	if message := aggregate(t, c, "self.example.com", "kubernetes", 443); !strings.HasPrefix(message, "False ") || !strings.Contains(message, noDoor) {
		t.Errorf("the API server by its name: %s", message)
	}
}

// A server that the operator has allowed is reached by an APIService, gets the
// front proxy's certificate, as in every cluster, and redirects: neither the
// aggregator nor its check of availability follows.
func TestAttackAggregatedAPIRedirects(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), allowLoopback)
	c.CreateNamespace("a")
	var followed atomic.Int32
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer plain.Close()
	s := newTrap(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) })
	c.CreateService("a", "loop", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "127.0.0.1"})
	message := aggregate(t, c, "redirect.example.com", "loop", s.Listener.Addr().(*net.TCPAddr).Port)
	if !strings.HasPrefix(message, "False ") || !strings.Contains(message, "bad status") {
		t.Errorf("availability: %s, want the redirect as a bad status", message)
	}
	if s.connections.Load() == 0 || followed.Load() != 0 {
		t.Errorf("%d connections to the server, %d to where it redirects; want some and none", s.connections.Load(), followed.Load())
	}
}

// convert makes a custom resource whose version v2 a webhook converts, and
// returns the error that the tenant reads instead of an object.
func convert(t *testing.T, c *embedded.Cluster, plural, clientConfig string) string {
	t.Helper()
	group := plural + ".example.com"
	version := `{"name":%q,"served":true,"storage":%t,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}`
	client := create(t, c, definitions, fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"%[1]s.%[2]s"},
		"spec":{"group":%[2]q,"scope":"Cluster","names":{"plural":%[1]q,"kind":"Thing","listKind":"ThingList"},"versions":[%[3]s,%[4]s],
		"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":%[5]s}}}}`,
		plural, group, fmt.Sprintf(version, "v1", true), fmt.Sprintf(version, "v2", false), clientConfig))
	thing := &unstructured.Unstructured{Object: map[string]any{"apiVersion": group + "/v1", "kind": "Thing", "metadata": map[string]any{"name": "x"}}}
	stored := client.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: plural})
	embedded.Eventually(t, "a stored object of "+group, func(ctx context.Context) (bool, string) {
		_, err := stored.Create(ctx, thing, metav1.CreateOptions{})
		return err == nil || apierrors.IsAlreadyExists(err), fmt.Sprint(err)
	})
	var message string
	embedded.Eventually(t, "a conversion of "+group, func(ctx context.Context) (bool, string) {
		_, err := client.Resource(schema.GroupVersionResource{Group: group, Version: "v2", Resource: plural}).Get(ctx, "x", metav1.GetOptions{})
		message = fmt.Sprint(err)
		return strings.Contains(message, "conversion webhook"), message
	})
	return message
}

// A tenant's conversion webhook is on porticod's loopback, by its URL or by an
// external name. It is not called.
func TestAttackConversionWebhookAtLoopback(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), allowAll)
	c.CreateNamespace("a")
	s := newTrap(t, closed)
	c.CreateService("a", "loop", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"})
	for plural, config := range map[string]string{
		"urls":     fmt.Sprintf(`{"url":"https://127.0.0.1%s/"}`, s.port()),
		"services": fmt.Sprintf(`{"service":{"namespace":"a","name":"loop","port":%s}}`, s.port()[1:]),
	} {
		if message := convert(t, c, plural, config); !strings.Contains(message, notAllowed) {
			t.Errorf("%s: %s", plural, message)
		}
	}
	s.untouched(t)
}

// A tenant's conversion webhook is a server of the operator's that is no
// webhook: it redirects to plain HTTP, or answers with a page. The redirect is
// not followed and the page is not in the error.
func TestAttackConversionWebhookAnswers(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), allowLoopback)
	var followed atomic.Int32
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer plain.Close()
	s := newTrap(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, plain.URL, http.StatusPermanentRedirect)
			return
		}
		_, _ = io.WriteString(w, "s3cret")
	})
	ca, err := json.Marshal(s.caBundle())
	if err != nil {
		t.Fatal(err)
	}
	for plural, want := range map[string]string{"redirect": "redirect, which is not followed", "page": "answer is not a JSON object"} {
		message := convert(t, c, plural, fmt.Sprintf(`{"url":"https://127.0.0.1%s/%s","caBundle":%s}`, s.port(), plural, ca))
		if !strings.Contains(message, want) || strings.Contains(message, "s3cret") {
			t.Errorf("%s: %s, want %q", plural, message, want)
		}
	}
	if followed.Load() != 0 {
		t.Error("the redirect was followed")
	}
}
