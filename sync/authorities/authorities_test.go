// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package authorities_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"portico.dev/portico/sync/authorities"
)

// revocations are words that are taken from a list of words.
type revocations struct {
	mu      sync.Mutex
	words   []string
	changed chan struct{}
}

func (r *revocations) revoke(word string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.words = append(r.words, word)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *revocations) keep(list []byte) ([]byte, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := string(list)
	for _, w := range r.words {
		kept = strings.ReplaceAll(kept, w, "")
	}
	return []byte(kept), r.changed
}

type fixture struct {
	t      *testing.T
	client *fake.Clientset
	clock  *clocktesting.FakeClock
	*revocations
}

func run(t *testing.T, prepare func(*fake.Clientset), objects ...runtime.Object) *fixture {
	t.Helper()
	f := &fixture{t: t, client: fake.NewClientset(objects...), clock: clocktesting.NewFakeClock(time.Now()), revocations: &revocations{changed: make(chan struct{})}}
	if prepare != nil {
		prepare(f.client)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- authorities.Run(ctx, authorities.Config{Virtual: f.client, Keep: f.keep, Clock: f.clock})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

func list(content string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication"},
		Data:       map[string]string{"client-ca-file": content, "requestheader-client-ca-file": "old"},
	}
}

func (f *fixture) becomes(want string) {
	f.t.Helper()
	var got string
	if err := wait.PollUntilContextTimeout(f.t.Context(), 5*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		m, err := f.client.CoreV1().ConfigMaps("kube-system").Get(ctx, "extension-apiserver-authentication", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		got = m.Data["client-ca-file"]
		if m.Data["requestheader-client-ca-file"] != "old" {
			f.t.Fatal("another key was changed")
		}
		return got == want, nil
	}); err != nil {
		f.t.Fatalf("got %q, want %q: %v", got, want, err)
	}
}

// minute lets a minute pass once the loop waits for it.
func (f *fixture) minute() {
	f.t.Helper()
	if err := wait.PollUntilContextTimeout(f.t.Context(), time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		return f.clock.HasWaiters(), nil
	}); err != nil {
		f.t.Fatal(err)
	}
	f.clock.Step(time.Minute)
}

func TestRevokedAuthorityLeavesTheList(t *testing.T) {
	f := run(t, nil, list("old theirs new"))
	f.revoke("old ")
	f.becomes("theirs new")
}

// A replica that has not heard of the rotation adds it again.
func TestAuthorityThatComesBackLeavesAgain(t *testing.T) {
	f := run(t, nil, list("old new"))
	f.revoke("old ")
	f.becomes("new")
	if _, err := f.client.CoreV1().ConfigMaps("kube-system").Update(t.Context(), list("old new"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.minute()
	f.becomes("new")
}

func TestFailureIsTriedAgain(t *testing.T) {
	failures := 2
	f := run(t, func(client *fake.Clientset) {
		client.PrependReactor("update", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			failures--
			return failures >= 0, nil, errors.New("refused")
		})
	}, list("old new"))
	f.revoke("old ")
	f.minute() // both failures are tried again after a second
	f.minute()
	f.becomes("new")
}

func TestNothingIsMadeWithoutAList(t *testing.T) {
	f := run(t, nil)
	f.revoke("old ")
	for range 3 {
		f.minute()
	}
	for _, a := range f.client.Actions() {
		if a.GetVerb() != "get" {
			t.Errorf("%s %s", a.GetVerb(), a.GetResource().Resource)
		}
	}
}
