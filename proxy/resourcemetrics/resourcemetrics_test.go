// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package resourcemetrics

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	corelisters "k8s.io/client-go/listers/core/v1"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/metrics/pkg/apis/metrics"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"k8s.io/metrics/pkg/client/clientset/versioned/fake"

	"portico.dev/portico/rewrite"
)

const hostNamespace = "team-a"

// host is a host with these metrics. The fake client selects by labels, which
// measured gives to all pods.
type host struct {
	*fake.Clientset
	pods  []v1beta1.PodMetrics
	nodes []v1beta1.NodeMetrics
	err   error
}

func newHost() *host {
	h := &host{Clientset: fake.NewSimpleClientset()}
	h.PrependReactor("*", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetNamespace() != hostNamespace {
			return true, nil, errors.New("asked outside of the host namespace: " + a.GetNamespace())
		}
		if h.err != nil {
			return true, nil, h.err
		}
		get, ok := a.(clienttesting.GetAction)
		if !ok {
			return true, &v1beta1.PodMetricsList{Items: h.pods}, nil
		}
		for _, p := range h.pods {
			if p.Name == get.GetName() {
				return true, &p, nil
			}
		}
		return true, nil, apierrors.NewNotFound(schema.GroupResource{Group: "metrics.k8s.io", Resource: "pods"}, get.GetName())
	})
	h.PrependReactor("*", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		get, ok := a.(clienttesting.GetAction)
		if !ok {
			return true, &v1beta1.NodeMetricsList{Items: h.nodes}, h.err
		}
		for _, n := range h.nodes {
			if n.Name == get.GetName() {
				return true, &n, h.err
			}
		}
		return true, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "nodes"}, get.GetName())
	})
	return h
}

func usage(cpu string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("3Mi")}
}

// measured is the host's metrics of a pod; its labels are the host's.
func measured(name string) v1beta1.PodMetrics {
	namespace := "shop"
	if strings.Contains(name, "-x-blog-x-") {
		namespace = "blog"
	}
	return v1beta1.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: name, Labels: map[string]string{rewrite.LabelCluster: "vc", rewrite.LabelNamespace: namespace, "app": "host"}},
		Window:     metav1.Duration{Duration: 15 * time.Second},
		Containers: []v1beta1.ContainerMetrics{{Name: "a", Usage: usage("10m")}, {Name: "b", Usage: usage("5m")}},
	}
}

func virtualPod(namespace, name, app string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": app}}}
}

func config(t *testing.T, h *host, shown func(string) bool, objects ...runtime.Object) Config {
	t.Helper()
	translator, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: hostNamespace})
	if err != nil {
		t.Fatal(err)
	}
	indexers := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	pods, nodes := cache.NewIndexer(cache.MetaNamespaceKeyFunc, indexers), cache.NewIndexer(cache.MetaNamespaceKeyFunc, indexers)
	for _, o := range objects {
		into := pods
		if _, isNode := o.(*corev1.Node); isNode {
			into = nodes
		}
		if err := into.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	return Config{
		Host: h.MetricsV1beta1(), Translator: translator, Shown: shown,
		Pods: corelisters.NewPodLister(pods), Nodes: corelisters.NewNodeLister(nodes),
	}
}

func listPods(t *testing.T, c Config, namespace string, options *metainternalversion.ListOptions) []string {
	t.Helper()
	list, err := (&podMetrics{config: c}).List(request.WithNamespace(t.Context(), namespace), options)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range list.(*metrics.PodMetricsList).Items {
		out = append(out, p.Namespace+"/"+p.Name+" "+p.Labels["app"])
	}
	return out
}

func TestPodsAreTheTenantsInVirtualNames(t *testing.T) {
	h := newHost()
	h.pods = []v1beta1.PodMetrics{measured("web-x-shop-x-vc"), measured("db-x-shop-x-vc"), measured("web-x-blog-x-vc")}
	c := config(t, h, nil, virtualPod("shop", "web", "web"), virtualPod("shop", "db", "db"), virtualPod("blog", "web", "web"), virtualPod("shop", "young", "web"))
	for name, tc := range map[string]struct {
		namespace string
		options   *metainternalversion.ListOptions
		want      []string
	}{
		"all":       {"", nil, []string{"blog/web web", "shop/db db", "shop/web web"}},
		"namespace": {"shop", nil, []string{"shop/db db", "shop/web web"}},
		"label":     {"", &metainternalversion.ListOptions{LabelSelector: labels.SelectorFromSet(labels.Set{"app": "web"})}, []string{"blog/web web", "shop/web web"}},
		"name":      {"shop", &metainternalversion.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", "db")}, []string{"shop/db db"}},
		"nobody's":  {"empty", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, listPods(t, c, tc.namespace, tc.options)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Others have pods in the host namespace too: another virtual cluster, or the
// namespace's owner.
func TestMetricsOfOthersInTheHostNamespaceAreNotShown(t *testing.T) {
	h := newHost()
	h.pods = []v1beta1.PodMetrics{measured("web-x-shop-x-other"), measured("porticod-0"), measured("web-x-shop-x-vc")}
	c := config(t, h, nil, virtualPod("shop", "web", "web"), virtualPod("shop", "web-x-shop", "x"))
	if diff := cmp.Diff([]string{"shop/web web"}, listPods(t, c, "", nil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, name := range []string{"porticod-0", "web-x-shop-x-other", "web-x-shop-x-vc", "../pods/porticod-0"} {
		if _, err := (&podMetrics{config: c}).Get(request.WithNamespace(t.Context(), "shop"), name, nil); !apierrors.IsNotFound(err) {
			t.Errorf("get %q: %v", name, err)
		}
	}
}

func TestNothingOfTheHostIsInTheAnswer(t *testing.T) {
	h := newHost()
	h.pods = []v1beta1.PodMetrics{measured("web-x-shop-x-vc")}
	h.pods[0].Containers = append(h.pods[0].Containers, v1beta1.ContainerMetrics{Name: rewrite.EtcHostsName, Usage: usage("1m")})
	c := config(t, h, nil, virtualPod("shop", "web", "web"))
	got, err := (&podMetrics{config: c}).Get(request.WithNamespace(t.Context(), "shop"), "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{"-x-", hostNamespace, "portico.dev", "host"} {
		if strings.Contains(string(body), leak) {
			t.Errorf("%q is in %s", leak, body)
		}
	}
}

func TestHostTroubleIsUnavailableWithoutNames(t *testing.T) {
	for name, err := range map[string]error{
		"no rights":  apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "web-x-shop-x-vc", errors.New("in "+hostNamespace)),
		"no server":  apierrors.NewNotFound(schema.GroupResource{Resource: hostNamespace}, ""),
		"no network": errors.New("dial " + hostNamespace),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost()
			h.err = err
			c := config(t, h, nil, virtualPod("shop", "web", "web"))
			_, got := (&podMetrics{config: c}).List(t.Context(), nil)
			var status apierrors.APIStatus
			if !errors.As(got, &status) || status.Status().Code != http.StatusServiceUnavailable || strings.Contains(got.Error(), hostNamespace) {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A tenant can make a Node under the name of any host node.
func TestForgedNodeHasNoMetrics(t *testing.T) {
	h := newHost()
	h.nodes = []v1beta1.NodeMetrics{
		{ObjectMeta: metav1.ObjectMeta{Name: "worker-1"}, Usage: usage("1")},
		{ObjectMeta: metav1.ObjectMeta{Name: "secret"}, Usage: usage("2")},
	}
	node := func(name string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"mine": "x"}, Annotations: map[string]string{"portico.dev/host-node": "{}"}}}
	}
	for name, tc := range map[string]struct {
		shown func(string) bool
		want  []string
	}{
		"made-up nodes": {nil, nil},
		"real nodes":    {func(n string) bool { return n == "worker-1" }, []string{"worker-1 x"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &nodeMetrics{config: config(t, h, tc.shown, node("worker-1"), node("secret"))}
			list, err := r.List(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, n := range list.(*metrics.NodeMetricsList).Items {
				got = append(got, n.Name+" "+n.Labels["mine"])
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, err := r.Get(t.Context(), "secret", nil); !apierrors.IsNotFound(err) {
				t.Errorf("get: %v", err)
			}
		})
	}
}

func TestTable(t *testing.T) {
	h := newHost()
	h.pods = []v1beta1.PodMetrics{measured("web-x-shop-x-vc")}
	r := &podMetrics{config: config(t, h, nil, virtualPod("shop", "web", "web"))}
	ctx := request.WithNamespace(context.Background(), "shop")
	one, err := r.Get(ctx, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.List(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range []runtime.Object{one, list} {
		table, err := r.ConvertToTable(ctx, obj, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(table.Rows) != 1 || len(table.ColumnDefinitions) != 4 {
			t.Fatalf("table: %+v", table)
		}
		if diff := cmp.Diff([]any{"web", "15m", "6Mi", "15s"}, table.Rows[0].Cells); diff != "" {
			t.Errorf("cells (-want +got):\n%s", diff)
		}
	}
}

func TestGroupInstalls(t *testing.T) {
	info, err := APIGroup(config(t, newHost(), nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.PrioritizedVersions; len(got) != 1 || got[0] != GroupVersion {
		t.Errorf("versions: %v", got)
	}
}

// A pod that an earlier version named is measured under that name.
func TestFormerPodIsMeasured(t *testing.T) {
	const longName = "a-name-that-needs-the-hash-rule-on-the-host-because-it-is-so-long"
	h := newHost()
	c := config(t, h, nil, virtualPod("shop", longName, "web"))
	former, _ := c.Translator.FormerName("shop", longName)
	h.pods = []v1beta1.PodMetrics{measured(former)}
	if diff := cmp.Diff([]string{"shop/" + longName + " web"}, listPods(t, c, "", nil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, err := (&podMetrics{config: c}).Get(request.WithNamespace(t.Context(), "shop"), longName, nil)
	if err != nil || got.(*metrics.PodMetrics).Name != longName {
		t.Errorf("get: %v (%v)", got, err)
	}
}
