// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/proxy/door"
)

// directoryOf returns a directory that has seen some Services.
func directoryOf(t *testing.T, namespaces []string, services ...*corev1.Service) *Directory {
	t.Helper()
	objects := make([]runtime.Object, 0, len(services))
	for _, s := range services {
		objects = append(objects, s)
	}
	return running(t, NewDirectory(fake.NewClientset(objects...), namespaces...))
}

func running(t *testing.T, d *Directory) *Directory {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if !cache.WaitForCacheSync(ctx.Done(), d.Synced) {
		t.Fatal("the directory does not fill")
	}
	return d
}

// TestDirectoryKnowsTheDoorThatPorticodMakes: the two packages agree.
func TestDirectoryKnowsTheDoorThatPorticodMakes(t *testing.T) {
	client := fake.NewClientset(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: shop.Namespace, Name: shop.Name, Labels: map[string]string{"portico.dev/cluster": shop.Name}},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.7"},
	})
	if _, err := door.EnsureService(t.Context(), client, door.Options{Cluster: shop.Name, Namespace: shop.Namespace, TargetPort: 8443}); err != nil {
		t.Fatal(err)
	}
	if at, err := running(t, NewDirectory(client)).Door(shop); err != nil || at.String() != "10.96.0.7:443" {
		t.Errorf("%v, %v", at, err)
	}
}

// TestDirectoryOfNamespaces: only those that are listed are asked for and led to.
func TestDirectoryOfNamespaces(t *testing.T) {
	theirs := service(func(s *corev1.Service) { s.Namespace = other.Namespace })
	client := fake.NewClientset(service(nil), theirs)
	d := running(t, NewDirectory(client, shop.Namespace))
	if _, err := d.Door(shop); err != nil {
		t.Errorf("a listed one: %v", err)
	}
	if at, err := d.Door(other); err == nil {
		t.Errorf("one that is not listed: %v", at)
	}
	for _, a := range client.Actions() {
		if a.GetNamespace() != shop.Namespace {
			t.Errorf("asked %q for %s", a.GetNamespace(), a.GetResource().Resource)
		}
	}
}
