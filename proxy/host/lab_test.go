//go:build lab

package host_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"net/netip"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
)

func TestLab(t *testing.T) {
	rc, err := clientcmd.BuildConfigFromFlags("", "/tmp/lab/admin.conf")
	if err != nil {
		t.Fatal(err)
	}
	rc = host.ClientConfig(rc)
	client := kubernetes.NewForConfigOrDie(rc)
	ctx := t.Context()
	ns := fmt.Sprintf("hostlab-%d", time.Now().Unix())
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	defer client.CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{})
	door, err := host.EnsureService(ctx, client, host.DoorOptions{Cluster: "vc", Namespace: ns, ServiceAccount: "vc-workload", TargetPort: 8443, Advertise: netip.MustParseAddr("10.0.0.5")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := host.EnsureService(ctx, client, host.DoorOptions{Cluster: "vc", Namespace: ns, ServiceAccount: "vc-workload", TargetPort: 8444, Advertise: netip.MustParseAddr("10.0.0.6")}); err != nil {
		t.Fatal(err)
	}
	tr, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: ns, Owner: door.Owner, WorkloadServiceAccount: "vc-workload", APIServerIP: door.ClusterIP})
	if err != nil {
		t.Fatal(err)
	}
	cfg := host.Config{Client: client, REST: rc, Translator: tr, Scheme: scheme.Scheme, AllowBinding: false}
	nf, nl := typesOf("pods")
	s := host.NewStorage(cfg, schema.GroupResource{Resource: "pods"}, "/pods", nf, nl)
	cc, err := cacher.NewCacherFromConfig(cacher.Config{
		Storage: s, Versioner: storage.APIObjectVersioner{}, GroupResource: schema.GroupResource{Resource: "pods"},
		EventsHistoryWindow: cacher.DefaultEventFreshDuration, ResourcePrefix: "/pods",
		KeyFunc: func(o runtime.Object) (string, error) { return podKey(o.(*corev1.Pod)), nil },
		NewFunc: nf, NewListFunc: nl, GetAttrsFunc: podAttrs,
		Codec: scheme.Codecs.LegacyCodec(corev1.SchemeGroupVersion),
	})
	if err != nil {
		t.Fatal(err)
	}
	up := cacher.NewCacheDelegator(cc, s)
	defer cc.Stop()
	defer up.Stop()
	d := host.NewDelegator(up, s)
	poll(t, func() bool { return d.ReadinessCheck() == nil })

	pod := newPod("demo", "web")
	grace := int64(1)
	pod.Spec.TerminationGracePeriodSeconds = &grace
	pod.Spec.Containers[0].Image = "registry.k8s.io/pause:3.10"
	pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("1m")}
	pod.Finalizers = []string{"example.com/hold"}
	out := &corev1.Pod{}
	t0 := time.Now()
	if err := d.Create(ctx, "/pods/demo/web", pod, out, 0); err != nil {
		t.Fatal(err)
	}
	t.Log("create", time.Since(t0), out.UID, out.ResourceVersion, out.Spec.NodeName)
	t0 = time.Now()
	got := &corev1.Pod{}
	if err := d.Get(ctx, "/pods/demo/web", storage.GetOptions{}, got); err != nil {
		t.Fatal(err)
	}
	t.Log("get right after", time.Since(t0))
	upd := func(sub string, f func(*corev1.Pod)) *corev1.Pod {
		t.Helper()
		o := &corev1.Pod{}
		t0 := time.Now()
		tries := 0
		err := d.GuaranteedUpdate(as(ctx, sub), "/pods/demo/web", o, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
			tries++
			f(in.(*corev1.Pod))
			return in, nil
		}), nil)
		if err != nil {
			t.Fatalf("%s: %v", sub, err)
		}
		t.Log("update", sub, time.Since(t0), "tries", tries, "rv", o.ResourceVersion)
		return o
	}
	o := upd("", func(p *corev1.Pod) { p.Labels["x"] = "y"; p.Annotations = map[string]string{"a": "b"} })
	if o.Labels["x"] != "y" {
		t.Error(o.Labels)
	}
	upd("status", func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: "example.com/gate", Status: "True"})
	})
	o = upd("ephemeralcontainers", func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "debug", Image: "registry.k8s.io/pause:3.10", ImagePullPolicy: "IfNotPresent", TerminationMessagePolicy: "File", TerminationMessagePath: "/x",
			Env: []corev1.EnvVar{{Name: "N", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Key: "k"}}}},
		}})
		p.Labels["dbg"] = "1"
	})
	if o.Spec.EphemeralContainers[0].Env[0].ValueFrom.ConfigMapKeyRef.Name != "cm" || o.Labels["dbg"] != "1" {
		t.Errorf("%+v", o.Spec.EphemeralContainers)
	}
	o = upd("resize", func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("2m")}
	})
	if q := o.Spec.Containers[0].Resources.Requests["cpu"]; q.String() != "2m" {
		t.Error(q)
	}
	for _, c := range o.Status.Conditions {
		if c.Type == "example.com/gate" {
			t.Log("gate kept")
		}
	}
	o = upd("", begin(1))
	if o.DeletionTimestamp == nil {
		t.Error("no deletion timestamp")
	}
	poll(t, func() bool {
		_ = d.Get(ctx, "/pods/demo/web", storage.GetOptions{}, got)
		return got.DeletionGracePeriodSeconds != nil && *got.DeletionGracePeriodSeconds == 0
	})
	if !slices.Equal(got.Finalizers, []string{"example.com/hold"}) {
		t.Error(got.Finalizers)
	}
	if err := d.Delete(ctx, "/pods/demo/web", &corev1.Pod{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	t0 = time.Now()
	if err := d.Get(ctx, "/pods/demo/web", storage.GetOptions{}, got); !storage.IsNotFound(err) {
		t.Errorf("after delete: %v", err)
	}
	t.Log("get after release", time.Since(t0))
	// no finalizers, unscheduled
	p2 := newPod("demo", "two")
	p2.Spec.NodeSelector = map[string]string{"no": "where"}
	if err := d.Create(ctx, "/pods/demo/two", p2, out, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(ctx, "/pods/demo/two", out, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := d.Get(ctx, "/pods/demo/two", storage.GetOptions{}, got); !storage.IsNotFound(err) {
		t.Errorf("after delete: %v", err)
	}
	// invalid
	bad := newPod("demo", "bad")
	bad.Spec.Containers[0].Name = "Not_Valid"
	err = d.Create(ctx, "/pods/demo/bad", bad, out, 0)
	t.Log("invalid:", err)
	if err == nil || strings.Contains(err.Error(), ns) || strings.Contains(err.Error(), "-x-") {
		t.Error(err)
	}

	snf, snl := typesOf("services")
	ss := host.NewStorage(cfg, schema.GroupResource{Resource: "services"}, "/services/specs", snf, snl)
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "dns"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"a": "b"}, Ports: []corev1.ServicePort{{Name: "udp", Protocol: "UDP", Port: 53}, {Name: "tcp", Protocol: "TCP", Port: 53}}}}
	so := &corev1.Service{}
	if err := ss.Create(ctx, "/services/specs/demo/dns", svc, so, 0); err != nil {
		t.Fatal(err)
	}
	t.Log("svc", so.Spec.ClusterIP, so.Spec.Selector)
	so = &corev1.Service{}
	if err := ss.GuaranteedUpdate(ctx, "/services/specs/demo/dns", so, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		x := in.(*corev1.Service)
		x.Spec.Ports[1].Name = "tcp2"
		x.Spec.Type = "NodePort"
		return x, nil
	}), nil); err != nil {
		t.Fatal(err)
	}
	t.Log("svc", so.Spec.Ports, so.Spec.Type)
	if err := ss.Delete(ctx, "/services/specs/demo/dns", so, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	k := &corev1.Service{}
	if err := ss.Get(ctx, "/services/specs/default/kubernetes", storage.GetOptions{}, k); err != nil {
		t.Fatal(err)
	}
	t.Log("kubernetes", k.Spec.ClusterIP, k.Labels)

	n := 150
	var through, direct time.Duration
	for i := range n {
		p := newPod("demo", fmt.Sprintf("p%d", i))
		p.Spec.NodeSelector = map[string]string{"no": "where"}
		t0 = time.Now()
		if err := d.Create(ctx, podKey(p), p, &corev1.Pod{}, 0); err != nil {
			t.Fatal(err)
		}
		through += time.Since(t0)
		p = newPod("", fmt.Sprintf("direct%d", i))
		p.Spec.NodeSelector = map[string]string{"no": "where"}
		t0 = time.Now()
		if _, err := client.CoreV1().Pods(ns).Create(ctx, p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		direct += time.Since(t0)
	}
	t.Log("create through", through/time.Duration(n), "direct", direct/time.Duration(n))
	t0 = time.Now()
	for i := range n {
		p := newPod("demo", fmt.Sprintf("p%d", i))
		if _, err := tr.ToHost(p, rewrite.Inputs{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Log("ToHost", time.Since(t0)/time.Duration(n))
	h, _ := client.CoreV1().Pods(ns).Get(ctx, tr.Name("demo", "p1"), metav1.GetOptions{})
	t0 = time.Now()
	for range n {
		if _, err := tr.ToVirtual(h); err != nil {
			t.Fatal(err)
		}
	}
	t.Log("ToVirtual", time.Since(t0)/time.Duration(n))
}
