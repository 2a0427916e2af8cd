// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
)

// classed is a pod as the door's admission leaves it.
func classed() *corev1.Pod {
	v := pod("demo", "p", nil)
	priority, policy, runtime := int32(1000), corev1.PreemptLowerPriority, "gvisor"
	v.Spec.PriorityClassName, v.Spec.Priority, v.Spec.PreemptionPolicy = "gold", &priority, &policy
	v.Spec.RuntimeClassName = &runtime
	v.Spec.Overhead = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
	return v
}

var offered = rewrite.HostClasses{Priority: "gold", Runtime: "gvisor"}

func TestClassesOfTheHostPassWithTheirNames(t *testing.T) {
	tr, v := mustNew(t, testCluster()), classed()
	h := podToHost(t, v, rewrite.Inputs{HostClasses: offered})
	if h.Spec.PriorityClassName != "gold" || h.Spec.RuntimeClassName == nil || *h.Spec.RuntimeClassName != "gvisor" {
		t.Errorf("host pod has classes %q, %v", h.Spec.PriorityClassName, h.Spec.RuntimeClassName)
	}
	// The host's admission refuses a pod whose values are not its own.
	if h.Spec.Priority != nil || h.Spec.PreemptionPolicy != nil || h.Spec.Overhead != nil {
		t.Errorf("host pod has priority %v, policy %v, overhead %v", h.Spec.Priority, h.Spec.PreemptionPolicy, h.Spec.Overhead)
	}
	if d := diff(v, toVirtual(t, tr, h)); d != "" {
		t.Errorf("the pod is not what it was (-want +got):\n%s", d)
	}

	// The tenant sees the values that hold on the host.
	priority, policy := int32(900), corev1.PreemptNever
	h.Spec.Priority, h.Spec.PreemptionPolicy = &priority, &policy
	h.Spec.Overhead = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("200m")}
	seen := toVirtual(t, tr, h).(*corev1.Pod)
	if *seen.Spec.Priority != 900 || *seen.Spec.PreemptionPolicy != corev1.PreemptNever || seen.Spec.Overhead.Cpu().String() != "200m" {
		t.Errorf("seen: priority %d, policy %s, overhead %v", *seen.Spec.Priority, *seen.Spec.PreemptionPolicy, seen.Spec.Overhead)
	}

	// An update leaves it alone, also when the class is offered no more.
	seen.Labels = map[string]string{"changed": "yes"}
	next := podToHost(t, seen, rewrite.Inputs{Host: h})
	if d := diff(h.Spec, next.Spec); d != "" {
		t.Errorf("an update of labels changes the host's spec (-before +after):\n%s", d)
	}
	if d := diff(seen.Spec, toVirtual(t, tr, next).(*corev1.Pod).Spec); d != "" {
		t.Errorf("and what is seen of it (-before +after):\n%s", d)
	}
}

func TestClassesThatAreNotTheHostsStayInside(t *testing.T) {
	tr, v := mustNew(t, testCluster()), classed()
	h := podToHost(t, v, rewrite.Inputs{HostClasses: rewrite.HostClasses{Priority: "gvisor", Runtime: "gold"}})
	noPriority(t, h)
	if h.Spec.RuntimeClassName != nil || h.Spec.Overhead != nil {
		t.Errorf("host pod has runtime class %v, overhead %v", h.Spec.RuntimeClassName, h.Spec.Overhead)
	}
	// The host gives the pod the class that is its own default.
	zero := int32(10)
	h.Spec.PriorityClassName, h.Spec.Priority = "host-default", &zero
	if d := diff(v, toVirtual(t, tr, h)); d != "" {
		t.Errorf("the pod is not what it was (-want +got):\n%s", d)
	}
}

// TestTheHostsDefaultClassIsNotShown: a class that the tenant did not name and
// cannot find.
func TestTheHostsDefaultClassIsNotShown(t *testing.T) {
	h := podToHost(t, pod("demo", "p", nil), rewrite.Inputs{})
	h.Spec.PriorityClassName = "host-default"
	if seen := toVirtual(t, mustNew(t, testCluster()), h).(*corev1.Pod); seen.Spec.PriorityClassName != "" {
		t.Errorf("tenant sees class %q", seen.Spec.PriorityClassName)
	}
}

// TestTheTenantsClassIsPushed: the pod names the copy on the host, and the
// tenant sees their own class with its own value, not the copy's.
func TestTheTenantsClassIsPushed(t *testing.T) {
	tr, v := mustNew(t, testCluster()), classed()
	v.Spec.RuntimeClassName, v.Spec.Overhead = nil, nil
	h := podToHost(t, v, rewrite.Inputs{HostClasses: rewrite.HostClasses{PushedPriority: "gold"}})
	if h.Spec.PriorityClassName != tr.ClusterName("gold") || h.Spec.Priority != nil || h.Spec.PreemptionPolicy != nil {
		t.Errorf("host pod has class %q, priority %v, policy %v", h.Spec.PriorityClassName, h.Spec.Priority, h.Spec.PreemptionPolicy)
	}
	capped, policy := int32(10), corev1.PreemptLowerPriority
	h.Spec.Priority, h.Spec.PreemptionPolicy = &capped, &policy
	if d := diff(v, toVirtual(t, tr, h)); d != "" {
		t.Errorf("the pod is not what it was (-want +got):\n%s", d)
	}
	text := tr.TextToVirtual("no PriorityClass with name "+tr.ClusterName("gold")+" was found", tr.Known("Pod", h))
	if text != "no PriorityClass with name gold was found" {
		t.Errorf("the tenant reads: %s", text)
	}

	v.Labels = map[string]string{"changed": "yes"}
	next := podToHost(t, v, rewrite.Inputs{Host: h})
	if d := diff(h.Spec, next.Spec); d != "" {
		t.Errorf("an update of labels changes the host's spec (-before +after):\n%s", d)
	}
}

func TestPriorityClassToHost(t *testing.T) {
	never, tr := corev1.PreemptNever, mustNew(t, testCluster())
	v := &schedulingv1.PriorityClass{
		ObjectMeta: metav1.ObjectMeta{
			Name: "gold", UID: "virtual", ResourceVersion: "7", Finalizers: []string{"a/b"},
			Labels: map[string]string{"for-tenants": "true"}, Annotations: map[string]string{"a": "b"},
		},
		Value: 1000, GlobalDefault: true, Description: "for what must run", PreemptionPolicy: &never,
	}
	h, err := tr.PriorityClassToHost(v, 1_000_000_000)
	if err != nil {
		t.Fatal(err)
	}
	want := &schedulingv1.PriorityClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        tr.ClusterName("gold"),
			Labels:      map[string]string{rewrite.LabelCluster: tr.Cluster().Name, rewrite.LabelHostNamespace: tr.Cluster().HostNamespace},
			Annotations: map[string]string{rewrite.AnnotationName: "gold", rewrite.AnnotationKind: "PriorityClass"},
		},
		Value: 1000, Description: "for what must run", PreemptionPolicy: &never,
	}
	if d := diff(want, h); d != "" {
		t.Errorf("host class (-want +got):\n%s", d)
	}
	if name, ours := tr.PushedClass("PriorityClass", h); name != "gold" || !ours {
		t.Errorf("the copy is of %q, %v", name, ours)
	}
}
