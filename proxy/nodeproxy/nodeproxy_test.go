// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodeproxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"portico.dev/portico/rewrite"
)

const hostNamespace = "team-a"

// responder keeps the error that a handler reports.
type responder struct{ err error }

func (r *responder) Error(err error)          { r.err = err }
func (*responder) Object(int, runtime.Object) {}

// fixture is a Server whose host answers every path alike, and notes the
// requested paths.
type fixture struct {
	t      *testing.T
	server *Server
	asked  []string
	answer string
	code   int
}

func newFixture(t *testing.T, answer string, pods ...*corev1.Pod) *fixture {
	t.Helper()
	f := &fixture{t: t, answer: answer, code: http.StatusOK}
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f.asked = append(f.asked, r.Method+" "+r.URL.RequestURI()+string(body)+r.Header.Get("X-Tenant"))
		w.WriteHeader(f.code)
		_, _ = io.WriteString(w, f.answer)
	}))
	t.Cleanup(host.Close)
	client, err := kubernetes.NewForConfig(&restclient.Config{Host: host.URL})
	if err != nil {
		t.Fatal(err)
	}
	translator, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: hostNamespace})
	if err != nil {
		t.Fatal(err)
	}
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	for _, p := range pods {
		if err := indexer.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	f.server = New(Config{
		Host: client, Translator: translator, Pods: corelisters.NewPodLister(indexer),
		Shown: func(n string) bool { return n == "worker-1" },
	})
	return f
}

// get asks the server, and returns the error that a client would see.
func (f *fixture) get(node, path, query string) (*httptest.ResponseRecorder, error) {
	f.t.Helper()
	var r responder
	handler, err := f.server.Handler(node, path, &r)
	if err != nil {
		return nil, err
	}
	request := httptest.NewRequest(http.MethodGet, "/api/v1/nodes/x/proxy?"+query, strings.NewReader("body"))
	request.Header.Set("X-Tenant", "header")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder, r.err
}

func virtualPod(namespace, name, uid string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)},
		Spec: corev1.PodSpec{NodeName: "worker-1", Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
		}}}},
	}
}

// A kubelet runs commands in any pod of its node for any client that may ask
// it. A tenant asks for such paths: they are refused, and the kubelet is not
// asked.
func TestAttackPathsOfTheKubeletThatDoMoreThanAnswer(t *testing.T) {
	f := newFixture(t, "should not be asked")
	for _, path := range []string{
		"", "/", "/run/kube-system/dns/dns", "/exec/kube-system/dns/dns", "/attach/a/b/c", "/portForward/a/b", "/containerLogs/a/b/c",
		"/configz", "/logs/", "/metrics", "/debug/pprof/heap", "/debug/flags/v", "/checkpoint/a/b/c", "/runningpods/", "/stats", "/spec",
		// Ways around a comparison.
		"/pods/../run/kube-system/dns/dns", "/pods/..%2frun/a/b/c", "/pods%2f..%2frun", "/pods/%2e%2e/run", "//pods", "/./pods", "/pods/",
		"/pods?x", "/pods#x", "/pods;x", "/pods\x00", "/PODS", "/metrics/resource/../../run/a/b/c", "/stats/summary/..", "/healthz/../run",
		"/metrics//cadvisor", "/healthz/ping", "\\pods", "/pods\\..\\run",
	} {
		if _, err := f.get("worker-1", path, ""); !apierrors.IsForbidden(err) {
			t.Errorf("%q: got %v", path, err)
		}
	}
	if len(f.asked) != 0 {
		t.Errorf("the host was asked: %q", f.asked)
	}
}

// A tenant can make Nodes, with any address, and write any node into a URL.
func TestAttackOtherNodesAndPorts(t *testing.T) {
	f := newFixture(t, "should not be asked")
	for node, is := range map[string]func(error) bool{
		"tenant-made":          apierrors.IsNotFound,
		"":                     apierrors.IsNotFound,
		"..":                   apierrors.IsNotFound,
		"worker-1/../worker-2": apierrors.IsNotFound,
		"worker-1%2f..":        apierrors.IsNotFound,
		"169.254.169.254":      apierrors.IsNotFound,
		"worker-1:10255":       apierrors.IsBadRequest,
		"worker-1:10250":       apierrors.IsBadRequest,
		"https:worker-1:10250": apierrors.IsBadRequest,
		"http:worker-1:":       apierrors.IsBadRequest,
	} {
		if _, err := f.get(node, "/healthz", ""); !is(err) {
			t.Errorf("%q: got %v", node, err)
		}
	}
	if len(f.asked) != 0 {
		t.Errorf("the host was asked: %q", f.asked)
	}
}

func TestNothingOfARequestReachesTheHost(t *testing.T) {
	f := newFixture(t, "{}")
	if _, err := f.get("worker-1", "/stats/summary", "only_cpu_and_memory=true&evil=1"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.get("worker-1", "/stats/summary", "only_cpu_and_memory=maybe&evil=1"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"GET /api/v1/nodes/worker-1/proxy/stats/summary?only_cpu_and_memory=true", "GET /api/v1/nodes/worker-1/proxy/stats/summary",
	}
	if diff := cmp.Diff(want, f.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestOnlyReadingIsAnswered(t *testing.T) {
	f := newFixture(t, "ok")
	var r responder
	handler, err := f.server.Handler("worker-1", "/healthz", &r)
	if err != nil {
		t.Fatal(err)
	}
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
	if !apierrors.IsMethodNotSupported(r.err) || len(f.asked) != 0 {
		t.Errorf("got %v; asked %q", r.err, f.asked)
	}
}

// The kubelet's own list has the pods of everybody on the node, so it is not asked.
func TestPodsAreTheVirtualOnesOfTheNode(t *testing.T) {
	elsewhere := virtualPod("shop", "elsewhere", "3")
	elsewhere.Spec.NodeName = "worker-2"
	f := newFixture(t, "should not be asked", virtualPod("shop", "web", "1"), elsewhere)
	got, err := f.get("worker-1", "/pods", "")
	if err != nil {
		t.Fatal(err)
	}
	var list corev1.PodList
	if err := json.Unmarshal(got.Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.Items[0].Name != "web" || list.Kind != "PodList" || len(f.asked) != 0 {
		t.Errorf("got %+v; asked %q", list, f.asked)
	}
}

func TestSummaryHasNothingOfOthers(t *testing.T) {
	pod := func(namespace, name, uid string) stats.PodStats {
		return stats.PodStats{
			PodRef:     stats.PodReference{Namespace: namespace, Name: name, UID: uid},
			Containers: []stats.ContainerStats{{Name: "c"}},
			VolumeStats: []stats.VolumeStats{
				{Name: "data", PVCRef: &stats.PVCReference{Namespace: namespace, Name: "data-x-shop-x-vc"}},
				{Name: "injected", PVCRef: &stats.PVCReference{Namespace: namespace, Name: "secret"}},
			},
		}
	}
	all := stats.Summary{
		Node: stats.NodeStats{NodeName: "worker-1", Network: &stats.NetworkStats{Interfaces: []stats.InterfaceStats{{Name: "veth-of-secret"}}}},
		Pods: []stats.PodStats{
			pod(hostNamespace, "web-x-shop-x-vc", "1"),
			pod("secret-namespace", "web-x-shop-x-vc", "1"),   // the same name in another namespace
			pod(hostNamespace, "web-x-shop-x-vc", "secret-2"), // the one before it
			pod(hostNamespace, "web-x-shop-x-secret", "3"),    // another cluster's
		},
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, string(raw), virtualPod("shop", "web", "1"))
	got, err := f.get("worker-1", "/stats/summary", "")
	if err != nil {
		t.Fatal(err)
	}
	noLeak(t, got.Body.String())
	var summary stats.Summary
	if err := json.Unmarshal(got.Body.Bytes(), &summary); err != nil {
		t.Fatal(err)
	}
	if len(summary.Pods) != 1 {
		t.Fatalf("pods: %+v", summary.Pods)
	}
	want := stats.PodStats{
		PodRef: stats.PodReference{Namespace: "shop", Name: "web", UID: "1"}, Containers: []stats.ContainerStats{{Name: "c"}},
		VolumeStats: []stats.VolumeStats{{Name: "data", PVCRef: &stats.PVCReference{Namespace: "shop", Name: "data"}}},
	}
	if diff := cmp.Diff(want, summary.Pods[0]); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
}

func noLeak(t *testing.T, s string) {
	t.Helper()
	for _, leak := range []string{"secret", "-x-", hostNamespace} {
		if strings.Contains(s, leak) {
			t.Errorf("%q is in the answer:\n%s", leak, s)
		}
	}
}

func TestMetricsHaveNothingOfOthers(t *testing.T) {
	const raw = `# HELP container_cpu_usage_seconds_total Cores
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="c",namespace="team-a",pod="web-x-shop-x-vc"} 1.5 1795418750887
container_cpu_usage_seconds_total{container="c",namespace="team-b",pod="web-x-shop-x-vc"} 2
container_cpu_usage_seconds_total{container="secret",namespace="team-a",pod="web-x-shop-x-secret"} 3
container_cpu_usage_seconds_total{container="c",namespace="team-a",pod="web-x-shop-x-vc-secret"} 4
container_cpu_usage_seconds_total{container="",id="/",image="",name="",namespace="",pod=""} 5
container_cpu_usage_seconds_total{container="",id="/kubepods/podsecret",image="",name="",namespace="",pod=""} 6
container_cpu_usage_seconds_total{container="",id="/",namespace="secret",pod=""} 7
# TYPE container_network_receive_bytes_total counter
container_network_receive_bytes_total{id="/",interface="veth-secret",namespace="",pod=""} 8
# TYPE future_metric gauge
future_metric{owner="secret"} 9
# TYPE machine_cpu_cores gauge
machine_cpu_cores{machine_id="m"} 10
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 11
# TYPE prober_probe_total counter
prober_probe_total{container="c",namespace="team-a",pod="web-x-shop-x-vc",pod_uid="1",result="successful"} 12
prober_probe_total{container="c",namespace="team-a",pod="web-x-shop-x-vc",pod_uid="secret",result="successful"} 13
# TYPE scrape_error gauge
scrape_error 0
`
	const want = `# HELP container_cpu_usage_seconds_total Cores
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="c",namespace="shop",pod="web"} 1.5 1795418750887
container_cpu_usage_seconds_total{container="",id="/",image="",name="",namespace="",pod=""} 5
# TYPE machine_cpu_cores gauge
machine_cpu_cores{machine_id="m"} 10
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 11
# TYPE prober_probe_total counter
prober_probe_total{container="c",namespace="shop",pod="web",pod_uid="1",result="successful"} 12
# TYPE scrape_error gauge
scrape_error 0
`
	for _, path := range []string{"/metrics/resource", "/metrics/cadvisor", "/metrics/probes"} {
		f := newFixture(t, raw, virtualPod("shop", "web", "1"))
		got, err := f.get("worker-1", path, "")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Body.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		if want := []string{"GET /api/v1/nodes/worker-1/proxy" + path}; !cmp.Equal(want, f.asked) {
			t.Errorf("asked %q", f.asked)
		}
	}
}

func TestWhatIsNotUnderstoodIsNotShown(t *testing.T) {
	for _, path := range []string{"/metrics/cadvisor", "/stats/summary", "/healthz"} {
		f := newFixture(t, `{"secret`)
		got, err := f.get("worker-1", path, "")
		if path != "/healthz" {
			var status apierrors.APIStatus
			if !errors.As(err, &status) || status.Status().Code != http.StatusServiceUnavailable {
				t.Errorf("%s: got %v", path, err)
			}
			noLeak(t, err.Error())
		}
		noLeak(t, got.Body.String())
	}
}

func TestHostsRefusalIsToldWithoutNames(t *testing.T) {
	f := newFixture(t, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"secret team-a","code":403}`)
	f.code = http.StatusForbidden
	_, err := f.get("worker-1", "/healthz", "")
	if err == nil {
		t.Fatal("no error")
	}
	noLeak(t, err.Error())
}

// A pod and a claim that an earlier version named are the tenant's as well.
func TestFormerNamesAreTheTenants(t *testing.T) {
	pod := virtualPod("shop", longName, "1")
	pod.Spec.Volumes[0].PersistentVolumeClaim.ClaimName = longName
	f := newFixture(t, "", pod)
	former, _ := f.server.cfg.Translator.FormerName("shop", longName)
	raw, err := json.Marshal(stats.Summary{Node: stats.NodeStats{NodeName: "worker-1"}, Pods: []stats.PodStats{{
		PodRef:      stats.PodReference{Namespace: hostNamespace, Name: former, UID: "1"},
		VolumeStats: []stats.VolumeStats{{Name: "data", PVCRef: &stats.PVCReference{Namespace: hostNamespace, Name: former}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	f.answer = string(raw)
	got, err := f.get("worker-1", "/stats/summary", "")
	if err != nil {
		t.Fatal(err)
	}
	var summary stats.Summary
	if err := json.Unmarshal(got.Body.Bytes(), &summary); err != nil {
		t.Fatal(err)
	}
	if len(summary.Pods) != 1 || summary.Pods[0].PodRef.Name != longName || len(summary.Pods[0].VolumeStats) != 1 || summary.Pods[0].VolumeStats[0].PVCRef.Name != longName {
		t.Errorf("pods %+v", summary.Pods)
	}
	f.answer = fmt.Sprintf("# TYPE prober_probe_total counter\nprober_probe_total{namespace=%q,pod=%q,pod_uid=\"1\"} 12\n", hostNamespace, former)
	if got, err = f.get("worker-1", "/metrics/probes", ""); err != nil || !strings.Contains(got.Body.String(), `pod="`+longName+`"`) {
		t.Errorf("metrics %s (%v)", got.Body, err)
	}
}

// longName is hashed on the host.
const longName = "a-name-that-needs-the-hash-rule-on-the-host-because-it-is-so-long"
