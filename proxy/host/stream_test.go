// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	registryrest "k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
)

const podPath = "/api/v1/namespaces/" + hostNamespace + "/pods/" + hostWeb

// streaming is a door with streams in front of a host that answers with a given
// handler.
type streaming struct {
	t       *testing.T
	streams *host.Streams
	door    *httptest.Server
	seen    []*http.Request // by the host
	allowed []string        // verbs
}

// newStreaming serves pod demo/web and service demo/web. The door routes by
// subresource as the API server does; verb is the one a GET was authorized as.
func newStreaming(t *testing.T, onHost http.HandlerFunc) *streaming {
	t.Helper()
	s := &streaming{t: t, allowed: []string{"create"}}
	hostServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.seen = append(s.seen, r)
		onHost(w, r)
	}))
	t.Cleanup(hostServer.Close)
	cfg := &rest.Config{Host: hostServer.URL, BearerToken: "door-token", QPS: -1}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.streams, err = host.NewStreams(host.Config{Client: client, REST: cfg, Translator: newTranslator(t), Scheme: scheme.Scheme},
		only{"pods"}, only{"services"}, s)
	if err != nil {
		t.Fatal(err)
	}
	s.door = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.door.Close)
	return s
}

// only is a getter that has demo/web, and one with a name that is hashed.
type only struct{ resource string }

func (o only) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	if request.NamespaceValue(ctx) != "demo" || name != "web" && name != longName {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: o.resource}, name)
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name}}, nil
}

// Authorize implements authorizer.UnconditionalAuthorizer.
func (s *streaming) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	for _, v := range s.allowed {
		if a.GetVerb() == v {
			return authorizer.DecisionAllow, "", nil
		}
	}
	return authorizer.DecisionDeny, "not you", nil
}

type responder struct{ w http.ResponseWriter }

func (r responder) Object(code int, obj runtime.Object) {
	r.w.Header().Set("Content-Type", "application/json")
	r.w.WriteHeader(code)
	_ = json.NewEncoder(r.w).Encode(obj)
}

func (r responder) Error(err error) {
	st := metav1.Status{Code: 500, Message: err.Error()}
	if s, ok := err.(apierrors.APIStatus); ok {
		st = s.Status()
	}
	r.Object(int(st.Code), &st)
}

// serve handles /<namespace>/<resource>/<id>/<subresource>[/<path>].
func (s *streaming) serve(w http.ResponseWriter, r *http.Request) {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 5)
	namespace, resource, id, sub := parts[0], parts[1], parts[2], parts[3]
	verb := map[string]string{"GET": "get", "POST": "create"}[r.Method]
	ctx := request.WithNamespace(r.Context(), namespace)
	ctx = request.WithRequestInfo(ctx, &request.RequestInfo{IsResourceRequest: true, Verb: verb, Resource: resource, Subresource: sub, Namespace: namespace, Name: id})
	ctx = request.WithUser(ctx, &user.DefaultInfo{Name: "tenant"})
	resp := responder{w}
	var handler http.Handler
	var err error
	switch sub {
	case "proxy":
		subpath := ""
		if len(parts) > 4 {
			subpath = parts[4]
		}
		handler, err = s.streams.Proxy(ctx, resource, id, subpath, resp)
	case "log":
		s.serveLog(ctx, w, id, cmp.Or(r.URL.Query().Get("container"), "c"), resp)
		return
	default:
		handler, err = s.streams.Connect(ctx, sub, id, resp)
	}
	if err != nil {
		resp.Error(err)
		return
	}
	handler.ServeHTTP(w, r.WithContext(ctx))
}

func (s *streaming) serveLog(ctx context.Context, w http.ResponseWriter, id, container string, resp responder) {
	obj, err := s.streams.Log(ctx, id, &corev1.PodLogOptions{Container: container, Follow: true, InsecureSkipTLSVerifyBackend: true})
	if err == nil {
		var stream io.ReadCloser
		if stream, _, _, err = obj.(registryrest.ResourceStreamer).InputStream(ctx, "", ""); err == nil {
			defer func() { _ = stream.Close() }()
			_, _ = io.Copy(w, stream)
			return
		}
	}
	resp.Error(err)
}

// open sends a request that wants to change protocols and returns the answer
// and, if it was 101, the connection.
func (s *streaming) open(method, path string, headers ...string) (*http.Response, net.Conn, *bufio.Reader) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.door.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	req := method + " " + path + " HTTP/1.1\r\nHost: door\r\n"
	for _, h := range headers {
		req += h + "\r\n"
	}
	if method == "POST" {
		req += "Content-Length: 0\r\n"
	}
	if _, err := io.WriteString(conn, req+"\r\n"); err != nil {
		s.t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, conn, r
}

// echo answers with 101 and sends back its input.
func echo(protocol string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n", protocol)
		_ = rw.Flush()
		_, _ = io.Copy(conn, rw)
	}
}

func TestUpgradesPassBytesBothWays(t *testing.T) {
	for name, tc := range map[string]struct{ method, protocol string }{
		"SPDY":      {"POST", "SPDY/3.1"},
		"WebSocket": {"GET", "websocket"},
	} {
		for _, sub := range []string{"exec", "attach", "portforward"} {
			t.Run(name+" "+sub, func(t *testing.T) {
				s := newStreaming(t, echo(tc.protocol))
				resp, conn, r := s.open(tc.method, "/demo/pods/web/"+sub+"?command=a&command=b%20c&stdin=true", "Connection: Upgrade", "Upgrade: "+tc.protocol, "X-Stream-Protocol-Version: v4.channel.k8s.io")
				if resp.StatusCode != 101 || resp.Header.Get("X-Stream-Protocol-Version") != "v4.channel.k8s.io" {
					t.Fatalf("answer %d %v", resp.StatusCode, resp.Header)
				}
				for _, said := range []string{"hello\n", "\x00\x01binary\n"} {
					if _, err := io.WriteString(conn, said); err != nil {
						t.Fatal(err)
					}
					if got, err := r.ReadString('\n'); err != nil || got != said {
						t.Fatalf("echoed %q, %v", got, err)
					}
				}
				if got := s.seen[0].URL; got.Path != podPath+"/"+sub || got.RawQuery != "command=a&command=b%20c&stdin=true" {
					t.Errorf("the host was asked for %s", got)
				}
			})
		}
	}
}

// A tenant sends every header that could make them another user on the host:
// the host sees the door and nothing of the tenant.
func TestForgedIdentityHeadersDoNotReachTheHost(t *testing.T) {
	s := newStreaming(t, echo("websocket"))
	s.open("GET", "/demo/pods/web/exec?command=id", "Connection: Upgrade", "Upgrade: websocket",
		"Authorization: Bearer tenant-token", "Cookie: session=tenant", "impersonate-user: system:admin", "Impersonate-Group: system:masters",
		"Impersonate-Extra-Scopes: all", "X-Remote-User: admin", "X-Remote-Group: system:masters", "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1",
		"Audit-ID: chosen-by-the-tenant",
		"Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.dGVuYW50LXRva2Vu, v5.channel.k8s.io", "Sec-WebSocket-Key: k")
	h := s.seen[0].Header
	for _, name := range []string{"Cookie", "Impersonate-User", "Impersonate-Group", "Impersonate-Extra-Scopes", "X-Remote-User", "X-Remote-Group", "X-Forwarded-For", "Forwarded", "Audit-Id"} {
		if v := h.Values(name); len(v) > 0 {
			t.Errorf("%s: %q reached the host", name, v)
		}
	}
	if got := h.Values("Authorization"); len(got) != 1 || got[0] != "Bearer door-token" {
		t.Errorf("the host sees %q", got)
	}
	if got := h.Values("Sec-Websocket-Protocol"); len(got) != 1 || got[0] != "v5.channel.k8s.io" {
		t.Errorf("protocols %q", got)
	}
	if h.Get("Sec-Websocket-Key") != "k" {
		t.Error("the WebSocket key was lost")
	}
}

func hostSays(st metav1.Status) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		st.TypeMeta, st.Status = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, metav1.StatusFailure
		w.Header().Add("Warning", `299 - "pod `+hostWeb+` is old"`)
		responder{w}.Object(int(st.Code), &st)
	}
}

func readStatus(t *testing.T, resp *http.Response) metav1.Status {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(body); strings.Contains(s, hostNamespace) || strings.Contains(s, hostWeb) {
		t.Errorf("the answer tells about the host: %s", s)
	}
	var st metav1.Status
	if err := json.Unmarshal(body, &st); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return st
}

func TestHostErrorInsteadOfAStreamIsInVirtualNames(t *testing.T) {
	s := newStreaming(t, hostSays(metav1.Status{
		Code: 400, Reason: metav1.StatusReasonBadRequest,
		Message: "container x is not valid for pod " + hostWeb, Details: &metav1.StatusDetails{Name: hostWeb, Kind: "pods"},
	}))
	for _, path := range []string{"/demo/pods/web/exec?container=x", "/demo/pods/web/portforward"} {
		resp, _, _ := s.open("POST", path, "Connection: Upgrade", "Upgrade: SPDY/3.1")
		st := readStatus(t, resp)
		if resp.StatusCode != 400 || st.Message != "container x is not valid for pod web" || st.Details.Name != "web" {
			t.Errorf("%s: %d %+v", path, resp.StatusCode, st)
		}
		if got := resp.Header.Get("Warning"); got != `299 - "pod web is old"` {
			t.Errorf("warning %q", got)
		}
	}
	resp, err := http.Get(s.door.URL + "/demo/pods/web/log")
	if err != nil {
		t.Fatal(err)
	}
	if st := readStatus(t, resp); st.Message != "container x is not valid for pod web" {
		t.Errorf("log: %+v", st)
	}
}

func TestDoorsMissingRightsAreNotTheTenantsToRead(t *testing.T) {
	s := newStreaming(t, hostSays(metav1.Status{
		Code: 403, Reason: metav1.StatusReasonForbidden,
		Message: `pods "` + hostWeb + `" is forbidden: User "system:serviceaccount:` + hostNamespace + `:portico" cannot create resource "pods/exec"`,
	}))
	resp, _, _ := s.open("POST", "/demo/pods/web/exec", "Connection: Upgrade", "Upgrade: SPDY/3.1")
	if st := readStatus(t, resp); st.Code != 503 {
		t.Errorf("%+v", st)
	}
}

// A webhook of the host's may watch over exec as well.
func TestHostsFailedWebhookOfAStreamNamesNoAddress(t *testing.T) {
	s := newStreaming(t, hostSays(metav1.Status{
		Code: 500, Reason: metav1.StatusReasonInternalError,
		Message: `Internal error occurred: failed calling webhook "audit.example.com": failed to call webhook: Post "https://audit.security.svc:443/v": dial tcp 10.96.3.4:443: connect: connection refused`,
	}))
	resp, _, _ := s.open("POST", "/demo/pods/web/exec", "Connection: Upgrade", "Upgrade: SPDY/3.1")
	want := `Internal error occurred: the host of this cluster failed calling webhook "audit.example.com"`
	if st := readStatus(t, resp); resp.StatusCode != 500 || st.Message != want {
		t.Errorf("%d %+v", resp.StatusCode, st)
	}
}

func TestStreamOfAnAbsentPodIs404WithoutAskingTheHost(t *testing.T) {
	s := newStreaming(t, echo("SPDY/3.1"))
	for _, path := range []string{"/demo/pods/absent/exec", "/other/pods/web/exec", "/demo/pods/" + hostWeb + "/exec", "/demo/pods/absent/log", "/demo/services/absent:80/proxy/"} {
		resp, _, _ := s.open("POST", path, "Connection: Upgrade", "Upgrade: SPDY/3.1")
		if resp.StatusCode != 404 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if len(s.seen) != 0 {
		t.Errorf("the host was asked for %v", s.seen[0].URL)
	}
}

// A WebSocket begins with GET. A user who may only read must not get a shell.
func TestWebSocketNeedsTheRightToCreate(t *testing.T) {
	s := newStreaming(t, echo("websocket"))
	s.allowed = []string{"get"}
	for _, sub := range []string{"exec", "attach", "portforward"} {
		resp, _, _ := s.open("GET", "/demo/pods/web/"+sub, "Connection: Upgrade", "Upgrade: websocket")
		if st := readStatus(t, resp); st.Code != 403 {
			t.Errorf("%s: %+v", sub, st)
		}
	}
	if len(s.seen) != 0 {
		t.Error("the host was asked")
	}
}

// The host pod has a container that the tenant's has not.
func TestHiddenContainerIsNoneToStreamFrom(t *testing.T) {
	s := newStreaming(t, echo("SPDY/3.1"))
	query := "?container=" + rewrite.EtcHostsName
	for _, path := range []string{
		"/demo/pods/web/exec" + query, "/demo/pods/web/attach" + query, "/demo/pods/web/exec?container=c&container=" + rewrite.EtcHostsName,
		"/demo/pods/web/log" + query,
	} {
		resp, _, _ := s.open("POST", path, "Connection: Upgrade", "Upgrade: SPDY/3.1")
		if st := readStatus(t, resp); st.Code != 400 || st.Message != "container "+rewrite.EtcHostsName+" is not valid for pod web" {
			t.Errorf("%s: %+v", path, st)
		}
	}
	if len(s.seen) != 0 {
		t.Errorf("the host was asked for %v", s.seen[0].URL)
	}
}

func TestStreamWithoutUpgradeIs400(t *testing.T) {
	s := newStreaming(t, echo("websocket"))
	resp, err := http.Post(s.door.URL+"/demo/pods/web/exec", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if st := readStatus(t, resp); st.Code != 400 || len(s.seen) != 0 {
		t.Errorf("%+v, host asked %d times", st, len(s.seen))
	}
}

func TestUnreachableHostIs503ForStreams(t *testing.T) {
	s := newStreaming(t, func(w http.ResponseWriter, _ *http.Request) {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.Close()
		}
	})
	resp, _, _ := s.open("POST", "/demo/pods/web/exec", "Connection: Upgrade", "Upgrade: SPDY/3.1")
	if st := readStatus(t, resp); st.Code != 503 || strings.Contains(st.Message, "127.0.0.1") {
		t.Errorf("exec: %+v", st)
	}
	plain, err := http.Get(s.door.URL + "/demo/pods/web/log")
	if err != nil {
		t.Fatal(err)
	}
	if st := readStatus(t, plain); st.Code != 503 || strings.Contains(st.Message, "127.0.0.1") {
		t.Errorf("log: %+v", st)
	}
}

func TestLog(t *testing.T) {
	s := newStreaming(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "line of "+hostWeb+"\n") })
	resp, err := http.Get(s.door.URL + "/demo/pods/web/log")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	// The output of a container is not translated.
	if body, _ := io.ReadAll(resp.Body); string(body) != "line of "+hostWeb+"\n" {
		t.Errorf("log %q", body)
	}
	want := url.Values{"container": {"c"}, "follow": {"true"}}
	if got := s.seen[0].URL; got.Path != podPath+"/log" || got.Query().Encode() != want.Encode() {
		t.Errorf("the host was asked for %s", got)
	}
}

func TestProxyLeadsLinksBackThroughTheDoor(t *testing.T) {
	hostPath := "/api/v1/namespaces/" + hostNamespace + "/services/https:" + hostWeb + ":443/proxy"
	s := newStreaming(t, func(w http.ResponseWriter, r *http.Request) {
		switch strings.TrimPrefix(r.URL.Path, hostPath) {
		case "/page/":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprintf(w, `<a href="%s/next">`, hostPath)
		case "/old":
			w.Header().Set("Location", "https://host.example:6443"+hostPath+"/new?x=y")
			w.WriteHeader(302)
		case "":
			// As the host's proxy does it for a path without a slash at its end.
			w.Header().Set("Location", hostPath+"/?x=y")
			w.WriteHeader(301)
		case "/own-error":
			w.WriteHeader(404)
			fmt.Fprint(w, "no such page in "+hostWeb)
		default:
			t.Errorf("host path %s", r.URL.Path)
		}
	})
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(path string) (*http.Response, string) {
		resp, err := client.Get(s.door.URL + "/demo/services/https:web:443/proxy" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		return resp, string(body)
	}
	virtual := "/api/v1/namespaces/demo/services/https:web:443/proxy"
	if _, body := get("/page/"); body != `<a href="`+virtual+`/next">` {
		t.Errorf("page %s", body)
	}
	if resp, _ := get("/old"); resp.Header.Get("Location") != virtual+"/new?x=y" {
		t.Errorf("redirect to %s", resp.Header.Get("Location"))
	}
	if resp, _ := get("?x=y"); resp.StatusCode != 301 || resp.Header.Get("Location") != virtual+"/?x=y" {
		t.Errorf("the root without a slash: %d to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	if resp, body := get("/own-error"); resp.StatusCode != 404 || body != "no such page in "+hostWeb {
		t.Errorf("the backend's own error: %d %s", resp.StatusCode, body)
	}
}

// The door may read Secrets of its host namespace, its tenants may not.
func TestProxyPathDoesNotLeadIntoTheHostAPI(t *testing.T) {
	s := newStreaming(t, func(http.ResponseWriter, *http.Request) {})
	for _, subpath := range []string{"../../../secrets/door", "a/../../../../secrets", "..", "/../x", "./../../exec"} {
		h, err := s.streams.Proxy(request.WithNamespace(t.Context(), "demo"), "pods", "web:80", subpath, responder{httptest.NewRecorder()})
		if err != nil {
			t.Fatal(err)
		}
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://door/x", nil))
	}
	for _, r := range s.seen {
		if !strings.HasPrefix(r.URL.Path+"/", podPath+":80/proxy/") || strings.Contains(r.URL.Path, "..") {
			t.Errorf("the host was asked for %s", r.URL.Path)
		}
	}
	if len(s.seen) != 5 {
		t.Errorf("%d requests", len(s.seen))
	}
}

// An id that the URL of the host cannot hold would leave the name out, and the
// next segment would become it.
func TestProxyOfAnUnspeakablePortIs400(t *testing.T) {
	s := newStreaming(t, func(http.ResponseWriter, *http.Request) {})
	for _, id := range []string{"web:%2e", "web:a%", "http:web:%/"} {
		_, err := s.streams.Proxy(request.WithNamespace(t.Context(), "demo"), "pods", id, "exec", responder{httptest.NewRecorder()})
		if !apierrors.IsBadRequest(err) {
			t.Errorf("%s: %v", id, err)
		}
	}
}
