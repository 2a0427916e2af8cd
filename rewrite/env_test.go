// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/rewrite"
)

// service is a Service of the namespace.
func service(name, ip string, age int, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(int64(1e9-age), 0))},
		Spec:       corev1.ServiceSpec{ClusterIP: ip, Ports: ports},
	}
}

func TestServiceVariables(t *testing.T) {
	apiServer := map[string]string{
		"KUBERNETES_SERVICE_HOST": "10.96.7.7", "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_SERVICE_PORT_HTTPS": "443",
		"KUBERNETES_PORT": "tcp://10.96.7.7:443", "KUBERNETES_PORT_443_TCP": "tcp://10.96.7.7:443",
		"KUBERNETES_PORT_443_TCP_PROTO": "tcp", "KUBERNETES_PORT_443_TCP_PORT": "443", "KUBERNETES_PORT_443_TCP_ADDR": "10.96.7.7",
	}
	db := map[string]string{
		"DB_MAIN_SERVICE_HOST": "10.96.1.2", "DB_MAIN_SERVICE_PORT": "5432", "DB_MAIN_PORT": "udp://10.96.1.2:5432",
		"DB_MAIN_PORT_5432_UDP": "udp://10.96.1.2:5432", "DB_MAIN_PORT_5432_UDP_PROTO": "udp", "DB_MAIN_PORT_5432_UDP_PORT": "5432", "DB_MAIN_PORT_5432_UDP_ADDR": "10.96.1.2",
	}
	own := map[string]string{
		"KUBERNETES_SERVICE_HOST": "10.96.1.9", "KUBERNETES_SERVICE_PORT": "80", "KUBERNETES_PORT": "tcp://10.96.1.9:80",
		"KUBERNETES_PORT_80_TCP": "tcp://10.96.1.9:80", "KUBERNETES_PORT_80_TCP_PROTO": "tcp", "KUBERNETES_PORT_80_TCP_PORT": "80", "KUBERNETES_PORT_80_TCP_ADDR": "10.96.1.9",
	}
	all := maps.Clone(apiServer)
	maps.Copy(all, db)
	udp := corev1.ServicePort{Port: 5432, Protocol: corev1.ProtocolUDP}
	named := service("kubernetes", "10.96.1.9", 1, corev1.ServicePort{Port: 80})
	for reason, c := range map[string]struct {
		namespace string
		services  []*corev1.Service
		want      map[string]string
	}{
		"a pod without links has those of the API server": {want: apiServer},
		"a Service without an address has none":           {"demo", []*corev1.Service{service("headless", corev1.ClusterIPNone, 1, udp), service("external", "", 1)}, apiServer},
		"as a kubelet names them":                         {"demo", []*corev1.Service{service("db-main", "10.96.1.2", 1, udp)}, all},
		"the namespace's own Service of that name wins":   {"demo", []*corev1.Service{named}, own},
		"and in default it is the API server":             {"default", []*corev1.Service{named}, apiServer},
		"a headless one of that name does not win":        {"demo", []*corev1.Service{service("kubernetes", corev1.ClusterIPNone, 1, udp)}, apiServer},
	} {
		t.Run(reason, func(t *testing.T) {
			got, left := mustNew(t, testCluster()).ServiceVariables(c.namespace, c.services)
			if d := diff(c.want, got); d != "" || left != 0 {
				t.Errorf("%d left out; variables (-want +got):\n%s", left, d)
			}
		})
	}
}

// TestServiceVariablesFit: the ConfigMap of a namespace with any number of
// Services is one that the host takes, and the API server and the oldest
// Services are in it.
func TestServiceVariablesFit(t *testing.T) {
	var services []*corev1.Service
	for i := range 2000 {
		services = append(services, service(fmt.Sprintf("svc-with-a-rather-long-name-%d", i), "10.96.1.1", i, corev1.ServicePort{Name: "http", Port: 80}, corev1.ServicePort{Name: "https", Port: 443}))
	}
	data, left := mustNew(t, testCluster()).ServiceVariables("demo", services)
	size := 0
	for k, v := range data {
		size += len(k) + len(v)
	}
	if size > 1<<20 || left < 1000 || left > 1600 {
		t.Errorf("%d bytes, and %d Services are left out", size, left)
	}
	for _, want := range []string{"KUBERNETES_SERVICE_HOST", "SVC_WITH_A_RATHER_LONG_NAME_1999_SERVICE_HOST"} {
		if data[want] == "" {
			t.Errorf("%s is not among them", want)
		}
	}
}

// TestContainersReadServiceVariables: each container of the tenant reads the
// ConfigMap with the variables, before anything that its tenant names, and the
// pod is as large in a namespace with many Services as in one with none.
func TestContainersReadServiceVariables(t *testing.T) {
	yes, no := true, false
	tr := mustNew(t, testCluster())
	silent := testCluster()
	silent.APIServerIP = ""
	for reason, c := range map[string]struct {
		tr    *rewrite.Translator
		links *bool
		want  string
	}{
		"links are the default":              {tr, nil, tr.ServiceVariablesName("demo")},
		"links":                              {tr, &yes, tr.ServiceVariablesName("demo")},
		"no links: the API server always":    {tr, &no, tr.ServiceVariablesName("")},
		"no links and no known API server":   {mustNew(t, silent), &no, ""},
		"links although no API server is so": {mustNew(t, silent), &yes, tr.ServiceVariablesName("demo")},
	} {
		t.Run(reason, func(t *testing.T) {
			v := pod("demo", "p", nil)
			v.Spec.EnableServiceLinks, v.Spec.Subdomain = c.links, "sub" // with a hidden init container
			from := []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}}}
			v.Spec.InitContainers = []corev1.Container{{Name: "i", EnvFrom: from}}
			v.Spec.Containers = []corev1.Container{{Name: "c", EnvFrom: from}}
			h := toHost(t, c.tr, v, testInputs()).(*corev1.Pod)
			if h.Spec.EnableServiceLinks == nil || *h.Spec.EnableServiceLinks {
				t.Error("the host's own Services would be linked")
			}
			want := []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: c.tr.Name("demo", "s")}}}}
			if c.want != "" {
				first := corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: c.want}}}
				want = append([]corev1.EnvFromSource{first}, want...)
			}
			for _, ctr := range []corev1.Container{h.Spec.InitContainers[1], h.Spec.Containers[0]} {
				if d := diff(want, ctr.EnvFrom); d != "" || len(ctr.Env) != 0 {
					t.Errorf("%s has the variables %v and reads (-want +got):\n%s", ctr.Name, ctr.Env, d)
				}
			}
			if hidden := h.Spec.InitContainers[0]; len(hidden.EnvFrom) != 0 {
				t.Errorf("the container that nobody sees reads %v", hidden.EnvFrom)
			}
		})
	}
}

// TestServiceVariablesAreHidden also where the overlay is lost.
func TestServiceVariablesAreHidden(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "p", nil)
	v.Spec.Containers = []corev1.Container{{Name: "c"}}
	h := toHost(t, tr, v, testInputs()).(*corev1.Pod)
	h.Annotations[rewrite.AnnotationOverlay] = "lost"
	got, err := tr.PodToVirtual(h)
	if err == nil || got == nil {
		t.Fatalf("pod %v, error %v; want both", got, err)
	}
	if from := got.Spec.Containers[0].EnvFrom; len(from) != 0 {
		t.Errorf("the tenant sees %v", from)
	}
}

// TestVariablesOfAnEarlierVersion: a pod into which an earlier version wrote the
// variables looks as its tenant wrote it, and an update leaves them there.
func TestVariablesOfAnEarlierVersion(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := readFormer(t, "testdata/former/pod-variables.host.yaml")
	v := readObject(t, "testdata/pod.in.yaml").(*corev1.Pod)
	v.TypeMeta = metav1.TypeMeta{}
	seen := toVirtual(t, tr, h).(*corev1.Pod)
	if d := diff(wire(t, v), seen); d != "" {
		t.Errorf("the tenant sees (-want +got):\n%s", d)
	}
	for path, want := range map[string]string{"env[0].name": "spec.containers[0]", "env[23].name": "spec.containers[0].env[0].name"} {
		if got, _ := about(tr, h, "spec.containers[0]."+path); got != want {
			t.Errorf("%s (%v) is %s, want %s", path, h.Spec.Containers[0].Env, got, want)
		}
	}
	after := seen.DeepCopy()
	after.Spec.Containers[0].Image = "other:2"
	again := toHost(t, tr, after, rewrite.Inputs{Host: h}).(*corev1.Pod)
	want := h.DeepCopy()
	want.Spec.Containers[0].Image = "other:2"
	if d := diff(want.Spec, again.Spec); d != "" {
		t.Errorf("an update of the image makes on the host (-want +got):\n%s", d)
	}
	if d := diff(after, toVirtual(t, tr, again)); d != "" {
		t.Errorf("and the tenant sees then (-want +got):\n%s", d)
	}
}

// readFormer reads a host pod that was rendered as TestGolden does.
func readFormer(t *testing.T, path string) *corev1.Pod {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	object, overlay, _ := strings.Cut(string(raw), "\n---\n")
	h := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(object), h); err != nil {
		t.Fatal(err)
	}
	packed, err := yaml.YAMLToJSON([]byte(overlay))
	if err != nil {
		t.Fatal(err)
	}
	h.TypeMeta = metav1.TypeMeta{}
	h.Annotations[rewrite.AnnotationOverlay] = rewrite.PackOverlay(string(packed))
	return h
}
