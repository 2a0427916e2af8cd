// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/pause"
	"portico.dev/portico/test/embedded"
)

// parked is a virtual cluster on the embedded host that no porticod serves: its
// pods, and all that the host would have from porticod, are the test's.
type parked struct {
	*door
	t               *testing.T
	name, namespace string
	translator      *rewrite.Translator
}

func newParked(t *testing.T, name string) *parked {
	t.Helper()
	p := &parked{door: newDoor(t, embedded.SharedHost(t)), t: t, name: name, namespace: "portico-" + name}
	p.must(t, "create", name, "--connect=false", "--wait=false", "--set", "controlPlane.persistence.enabled=false")
	client := embedded.SharedHost(t).Client
	scope := map[string]string{rewrite.LabelCluster: name}
	anchor, err := client.CoreV1().ConfigMaps(p.namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: rewrite.AnchorName(name), Labels: scope}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	credentials := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "pc-" + name, Labels: scope},
		StringData: map[string]string{"certificate-authority": "x", "client-certificate": "x", "client-key": "x"},
	}
	if _, err := client.CoreV1().Secrets(p.namespace).Create(t.Context(), credentials, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.translator, err = rewrite.New(rewrite.Cluster{
		Name: name, HostNamespace: p.namespace,
		Owner: metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: anchor.Name, UID: anchor.UID},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// create makes the host pod of a virtual one.
func (p *parked) create(name string, change func(*corev1.Pod)) {
	p.t.Helper()
	v := embedded.Pod(name, map[string]string{"app": name})
	v.Namespace = metav1.NamespaceDefault
	if change != nil {
		change(v)
	}
	h, err := p.translator.PodToHost(v, rewrite.Inputs{})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := embedded.SharedHost(p.t).Client.CoreV1().Pods(p.namespace).Create(p.t.Context(), h, metav1.CreateOptions{}); err != nil {
		p.t.Fatal(err)
	}
}

// onHost are the virtual pods that the host has, and the pods that are written
// down.
func (p *parked) onHost(ctx context.Context) (pods, records []string) {
	p.t.Helper()
	client := embedded.SharedHost(p.t).Client
	l, err := client.CoreV1().Pods(p.namespace).List(ctx, metav1.ListOptions{LabelSelector: rewrite.LabelNamespace})
	if err != nil {
		p.t.Fatal(err)
	}
	for i := range l.Items {
		pods = append(pods, l.Items[i].Annotations[rewrite.AnnotationName])
	}
	s, err := client.CoreV1().Secrets(p.namespace).List(ctx, metav1.ListOptions{LabelSelector: rewrite.LabelComposed + "=paused"})
	if err != nil {
		p.t.Fatal(err)
	}
	for i := range s.Items {
		records = append(records, s.Items[i].Name)
	}
	slices.Sort(pods)
	return pods, records
}

// is checks the control plane and the pods.
func (p *parked) is(paused bool, wantPods []string, wantRecords int) {
	p.t.Helper()
	set, err := embedded.SharedHost(p.t).Client.AppsV1().StatefulSets(p.namespace).Get(p.t.Context(), p.name, metav1.GetOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	replicas, noted := int32(1), ""
	if paused {
		replicas, noted = 0, "1"
	}
	if *set.Spec.Replicas != replicas || set.Annotations[pause.AnnotationReplicas] != noted {
		p.t.Errorf("the control plane has %d replicas and the note %q; want %d and %q", *set.Spec.Replicas, set.Annotations[pause.AnnotationReplicas], replicas, noted)
	}
	pods, records := p.onHost(p.t.Context())
	if !slices.Equal(pods, wantPods) || len(records) != wantRecords {
		p.t.Errorf("pods on the host %v, written down %v; want %v, and %d", pods, records, wantPods, wantRecords)
	}
}

// isHeld checks that a pod has its finalizer on both sides.
func (p *parked) isHeld(name, finalizer string) {
	p.t.Helper()
	h, err := embedded.SharedHost(p.t).Client.CoreV1().Pods(p.namespace).Get(p.t.Context(), p.translator.Name(metav1.NamespaceDefault, name), metav1.GetOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	v, err := p.translator.PodToVirtual(h)
	if err != nil {
		p.t.Fatal(err)
	}
	if !slices.Equal(v.Finalizers, []string{finalizer}) || !slices.Equal(h.Finalizers, []string{rewrite.FinalizerVirtual}) {
		p.t.Errorf("pod %s has the finalizers %v inside and %v on the host", name, v.Finalizers, h.Finalizers)
	}
}

// TestPauseAndResumeFinishAfterKill9AtEachWrite kills portico after each of its
// writes, and runs the same command again. No pod is lost and none is there twice.
func TestPauseAndResumeFinishAfterKill9AtEachWrite(t *testing.T) {
	p := newParked(t, "parked")
	bare := []string{"bare", "held"}
	p.create("bare", nil)
	p.create("held", func(v *corev1.Pod) { v.Finalizers = []string{"tenant.example/held"} })
	controlled := func() {
		yes := true
		p.create("replica", func(v *corev1.Pod) {
			v.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "web", Controller: &yes}}
		})
	}
	controlled()
	_, pausing := p.must(t, "pause", p.name)
	p.is(true, nil, 2)
	_, resuming := p.must(t, "resume", p.name)
	p.is(false, bare, 0)
	if pausing < 6 || resuming < 5 {
		t.Fatalf("a pause has %d writes and a resume %d: that is too few for three pods", pausing, resuming)
	}
	for n := 1; n <= max(pausing, resuming); n++ {
		t.Run(fmt.Sprintf("after write %d", n), func(t *testing.T) {
			p.t = t
			controlled()
			if n <= pausing {
				if said, _, err := p.run(t, n, "pause", p.name); err == nil {
					t.Errorf("the pause was not killed:\n%s", said)
				}
			}
			p.must(t, "pause", p.name)
			p.is(true, nil, 2)
			if n <= resuming {
				if said, _, err := p.run(t, n, "resume", p.name); err == nil {
					t.Errorf("the resume was not killed:\n%s", said)
				}
			}
			p.must(t, "resume", p.name)
			p.is(false, bare, 0)
			p.isHeld("held", "tenant.example/held")
		})
	}
	for n := 1; n < pausing; n++ { // without the pod that a controller makes again
		t.Run(fmt.Sprintf("a pause cut off after write %d, then a resume", n), func(t *testing.T) {
			p.t = t
			if said, _, err := p.run(t, n, "pause", p.name); err == nil {
				t.Errorf("the pause was not killed:\n%s", said)
			}
			p.must(t, "resume", p.name)
			p.is(false, bare, 0)
			p.isHeld("held", "tenant.example/held")
		})
	}
	p.t = t
	p.must(t, "delete", p.name)
	gone(t, p.name)
}
