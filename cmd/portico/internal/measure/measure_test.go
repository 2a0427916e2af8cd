// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"k8s.io/metrics/pkg/client/clientset/versioned/fake"
)

func TestPodsAddsContainers(t *testing.T) {
	usage := func(cpu, memory string) metricsv1beta1.ContainerMetrics {
		return metricsv1beta1.ContainerMetrics{Usage: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}}
	}
	client := fake.NewSimpleClientset()
	client.PrependReactor("list", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if got := a.(clienttesting.ListAction).GetListRestrictions().Labels.String(); got != "portico.dev/door" {
			t.Errorf("selector %q", got)
		}
		return true, &metricsv1beta1.PodMetricsList{Items: []metricsv1beta1.PodMetrics{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "vc-0", Labels: map[string]string{"portico.dev/door": "vc"}}, Containers: []metricsv1beta1.ContainerMetrics{usage("3m", "90Mi"), usage("1500u", "1Mi")},
		}}}, nil
	})
	got, err := Pods(t.Context(), client.MetricsV1beta1(), "ns")
	if err != nil {
		t.Fatal(err)
	}
	// 1.5 m is rounded up.
	want := map[types.NamespacedName]Usage{{Namespace: "ns", Name: "vc-0"}: {CPU: 5, Memory: 91 << 20}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("usage (-want +got):\n%s", d)
	}
}

func TestPortIsThatOfPorticod(t *testing.T) {
	ports := []corev1.ContainerPort{{Name: "https", ContainerPort: 8443}, {Name: "metrics", ContainerPort: 9402}}
	for name, want := range map[string]int{"porticod": 9402, "sidecar": 0} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: name, Ports: ports}}}}
		if got := Port(pod); got != want {
			t.Errorf("container %s: port %d, want %d", name, got, want)
		}
	}
}

func TestAskWantsTheRightServer(t *testing.T) {
	const measured = "# TYPE portico_store_used_bytes gauge\nportico_store_used_bytes 1.234e+06\n# TYPE portico_store_limit_bytes gauge\nportico_store_limit_bytes 2e+09\n"
	answer := measured
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer right" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	const name = "example.com" // that of httptest's certificate
	got, err := ask(t.Context(), server.URL, name, authority, "right")
	if d := cmp.Diff(Store{Used: 1234000, Limit: 2000000000}, got); err != nil || d != "" {
		t.Errorf("store (-want +got):\n%s%v", d, err)
	}
	for reason, c := range map[string]struct {
		name, token, answer, want string
		authority                 []byte
	}{
		"another token":   {name, "wrong", measured, "401", authority},
		"another name":    {"vc.ns.svc", "right", measured, "not vc.ns.svc", authority},
		"no authority":    {name, "right", measured, "cannot be read", nil},
		"no measurements": {name, "right", "", "does not say", authority},
		"no text of it":   {name, "right", "{", "measure a store", authority},
	} {
		answer = c.answer
		if _, err := ask(t.Context(), server.URL, c.name, c.authority, c.token); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", reason, err, c.want)
		}
	}
}
