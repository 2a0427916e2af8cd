// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
)

// running returns a factory as the API server has it: its pod informer runs
// and knows one pod.
func running(t *testing.T) informers.SharedInformerFactory {
	t.Helper()
	client := fake.NewClientset(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}})
	f := informers.NewSharedInformerFactory(client, 0)
	f.Core().V1().Pods().Informer()
	f.StartWithContext(t.Context())
	f.WaitForCacheSyncWithContext(t.Context())
	t.Cleanup(f.Shutdown)
	return f
}

func TestHandlersOfARunningInformerWaitForTheirRelease(t *testing.T) {
	f := running(t)
	held, release := hold(t.Context(), f)
	built := false // as a field that a constructor sets after it has registered the handler
	seen := make(chan bool, 1)
	registration, err := held.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { seen <- built },
	})
	if err != nil {
		t.Fatal(err)
	}
	if pods, err := held.Core().V1().Pods().Lister().List(labels.Everything()); err != nil || len(pods) != 1 {
		t.Errorf("the lister has %d pods (%v), want that of the running informer", len(pods), err)
	}
	if registration.HasSynced() {
		t.Error("the handler counts as synced before it has seen anything")
	}
	built = true
	release()
	if !<-seen {
		t.Error("the handler was called before its release")
	}
	<-registration.HasSyncedChecker().Done()
}

// A controller that was never built must not be called, and must not keep the
// API server's informers from ending.
func TestHandlersThatAreNeverReleasedSeeNothing(t *testing.T) {
	f := running(t)
	ctx, abandon := context.WithCancel(t.Context())
	held, _ := hold(ctx, f)
	called := make(chan struct{}, 1)
	registration, err := held.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { called <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	abandon()
	<-registration.HasSyncedChecker().Done()
	select {
	case <-called:
		t.Error("the handler was called")
	default:
	}
}

// An accessor that is not overridden would hand out informers that hold nothing.
func TestEveryGroupIsHeld(t *testing.T) {
	f := informers.NewSharedInformerFactory(fake.NewClientset(), 0)
	held, _ := hold(t.Context(), f)
	for i := range reflect.TypeFor[informers.SharedInformerFactory]().NumMethod() {
		m := reflect.TypeFor[informers.SharedInformerFactory]().Method(i)
		if m.Type.NumIn() != 0 || m.Type.NumOut() != 1 || m.Name == "InformerName" {
			continue
		}
		group := reflect.ValueOf(held).MethodByName(m.Name).Call(nil)[0]
		version := group.MethodByName(group.Type().Method(0).Name).Call(nil)[0]
		kind := version.MethodByName(version.Type().Method(0).Name).Call(nil)[0]
		// Upstream puts a type around the informer that it is given.
		typed := kind.MethodByName("Informer").Call(nil)[0].Elem().Elem()
		if informer := typed.Field(0).Elem(); informer.Type() != reflect.TypeFor[*heldInformer]() {
			t.Errorf("%s gives a %v", m.Name, informer.Type())
		}
	}
}
