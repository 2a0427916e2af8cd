// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
)

// fakeClients gives every controller the same client.
type fakeClients struct{ client *fake.Clientset }

func (f fakeClients) Config(string) (*rest.Config, error)         { return &rest.Config{}, nil }
func (f fakeClients) ConfigOrDie(string) *rest.Config             { return &rest.Config{} }
func (f fakeClients) Client(string) (kubernetes.Interface, error) { return f.client, nil }
func (f fakeClients) ClientOrDie(string) kubernetes.Interface     { return f.client }

func (f fakeClients) DiscoveryClient(string) (discovery.DiscoveryInterface, error) {
	return f.client.Discovery(), nil
}
func (f fakeClients) DiscoveryClientOrDie(string) discovery.DiscoveryInterface {
	return f.client.Discovery()
}

// The controller of admission policies is made by the first policy, and then
// does its work.
func TestLateControllerWorksOnceThereIsAnObject(t *testing.T) {
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	client := fake.NewClientset()
	shared := informers.NewSharedInformerFactory(client, 0)
	settings, err := Config{}.component()
	if err != nil {
		t.Fatal(err)
	}
	l := late{
		name:   names.ValidatingAdmissionPolicyStatusController,
		config: Config{Informers: shared},
		shared: app.ControllerContext{ClientBuilder: fakeClients{client}, InformerFactory: shared, ComponentConfig: settings},
		fail:   func(error) {},
	}
	done := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() { done <- l.run(running) }()

	policies := client.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "some", Generation: 1}}
	if _, err := policies.Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	updates, err := policies.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer updates.Stop()
	for checked := false; !checked; {
		if now, err := policies.Get(ctx, policy.Name, metav1.GetOptions{}); err == nil && now.Status.ObservedGeneration == 1 {
			break
		}
		select {
		case ev := <-updates.ResultChan():
			now, ok := ev.Object.(*admissionv1.ValidatingAdmissionPolicy)
			checked = ok && now.Status.ObservedGeneration == 1
		case <-ctx.Done():
			t.Fatal("the policy got no status")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
