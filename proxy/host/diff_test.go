// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// comparedPod has about as much in its spec as the pods of applications.
func comparedPod() *corev1.Pod {
	container := corev1.Container{
		Name: "app", Image: "nginx:1", ImagePullPolicy: corev1.PullIfNotPresent,
		Ports:     []corev1.ContainerPort{{Name: "http", ContainerPort: 80, Protocol: corev1.ProtocolTCP}},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi")}},
	}
	for _, name := range []string{"HOST", "PORT", "PORT_HTTPS", "PORT_443_TCP", "PORT_443_TCP_PROTO", "PORT_443_TCP_PORT", "PORT_443_TCP_ADDR"} {
		container.Env = append(container.Env, corev1.EnvVar{Name: "KUBERNETES_" + name, Value: name})
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web-x-demo-x-a", Namespace: "host", UID: "uid", ResourceVersion: "7", Generation: 1,
			Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"portico.dev/overlay": "before"},
		},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{container}, DNSPolicy: corev1.DNSNone,
			DNSConfig: &corev1.PodDNSConfig{Nameservers: []string{"10.0.0.10"}, Searches: []string{"demo.svc.cluster.local", "svc.cluster.local"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
}

func label(p *corev1.Pod) { p.Labels = map[string]string{"app": "web", "touched": "yes"} }

// TestPatchesSayWhatChanged: a patch has the parts that changed and no others,
// and applied it gives the object that it was made for, with any part left out
// of the comparison.
func TestPatchesSayWhatChanged(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"nothing": {func(*corev1.Pod) {}, `{}`},
		"the host's own fields": {
			func(p *corev1.Pod) { p.UID, p.ResourceVersion, p.Generation = "other", "8", 2 }, `{}`,
		},
		"a label": {label, `{"metadata":{"labels":{"touched":"yes"}}}`},
		"an image": {
			func(p *corev1.Pod) { p.Spec.Containers[0].Image = "nginx:2" },
			`{"spec":{"$setElementOrder/containers":[{"name":"app"}],"containers":[{"image":"nginx:2","name":"app"}]}}`,
		},
		"a condition": {
			func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse },
			`{"status":{"$setElementOrder/conditions":[{"type":"Ready"}],"conditions":[{"status":"False","type":"Ready"}]}}`,
		},
		"a label and an image": {
			func(p *corev1.Pod) { label(p); p.Spec.Containers[0].Image = "nginx:2" },
			`{"metadata":{"labels":{"touched":"yes"}},"spec":{"$setElementOrder/containers":[{"name":"app"}],"containers":[{"image":"nginx:2","name":"app"}]}}`,
		},
		// Not to the letter the same, so they are compared, and mean the same.
		"an empty list for none": {func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{} }, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := comparedPod(), comparedPod()
			c.change(after)
			kept := after.DeepCopy()
			d, err := compare(before, after, corev1.Pod{})
			if err != nil {
				t.Fatal(err)
			}
			if d.format != types.StrategicMergePatchType && (d.spec != nil || d.status != nil) {
				t.Errorf("the patch is of type %s", d.format)
			}
			got := map[string]any{}
			for key, part := range map[string]map[string]any{"metadata": d.metadata, "spec": d.spec, "status": d.status} {
				if part != nil {
					got[key] = part
				}
			}
			var want map[string]any
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff(kept, after); d != "" {
				t.Errorf("the comparison changed the object (-before +after):\n%s", d)
			}
		})
	}
	if _, err := compare(&corev1.Pod{}, &corev1.Service{}, corev1.Pod{}); err == nil {
		t.Error("a pod is compared with a Service")
	}
}

// TestComparingStaysCheap holds the budget of the commonest update. As JSON, it
// was four times as much.
func TestComparingStaysCheap(t *testing.T) {
	before, after := runtime.Object(comparedPod()), comparedPod()
	label(after)
	got := testing.AllocsPerRun(100, func() {
		if _, err := compare(before, after, corev1.Pod{}); err != nil {
			t.Fatal(err)
		}
	})
	if budget := 125.0; got > budget {
		t.Errorf("%v allocations, and the budget is %v", got, budget)
	}
}

func BenchmarkCompare(b *testing.B) {
	before, after := comparedPod(), comparedPod()
	label(after)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := compare(before, after, corev1.Pod{}); err != nil {
			b.Fatal(err)
		}
	}
}
