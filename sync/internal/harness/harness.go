// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	testingclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/rewrite"
)

const (
	// Cluster is the name of the virtual cluster, and HostNamespace the
	// namespace that carries it.
	Cluster, HostNamespace = "vc", "team-a"

	// patience is longer than anything here takes on a busy machine.
	patience = 30 * time.Second
	lookEach = 5 * time.Millisecond
)

// Harness is a virtual cluster and its host, both in memory.
type Harness struct {
	T             *testing.T
	Virtual, Host *fake.Clientset
	Translator    *rewrite.Translator
	Informers     informers.SharedInformerFactory // of the virtual cluster
	// Clock stands still until a test steps it.
	Clock *testingclock.FakeClock

	stop func()
}

// New returns a harness whose clusters have these objects. The cluster can be
// changed before the translator is made.
func New(t *testing.T, virtual, host []runtime.Object, change ...func(*rewrite.Cluster)) *Harness {
	t.Helper()
	client := fake.NewClientset(virtual...)
	return &Harness{
		T: t, Virtual: client, Host: fake.NewClientset(host...), Translator: Translator(t, change...),
		Informers: informers.NewSharedInformerFactory(client, 0),
		Clock:     testingclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
	}
}

// Translator returns the translator of the harness's cluster, or of a changed one.
func Translator(t *testing.T, change ...func(*rewrite.Cluster)) *rewrite.Translator {
	t.Helper()
	cluster := rewrite.Cluster{Name: Cluster, HostNamespace: HostNamespace}
	for _, f := range change {
		f(&cluster)
	}
	translator, err := rewrite.New(cluster)
	if err != nil {
		t.Fatal(err)
	}
	return translator
}

// Run runs the loops in the background until the test ends or Stop is called.
// The test fails if one of them returns an error.
func (h *Harness) Run(loops ...func(context.Context) error) { h.RunWith(h.T.Context(), loops...) }

// RunWith is Run with a context that carries more, such as a logger.
func (h *Harness) RunWith(ctx context.Context, loops ...func(context.Context) error) {
	h.T.Helper()
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, len(loops))
	for _, loop := range loops {
		go func() { ended <- loop(ctx) }()
	}
	h.stop = func() {
		cancel()
		for range loops {
			if err := <-ended; err != nil {
				h.T.Errorf("run: %v", err)
			}
		}
		h.Informers.Shutdown()
	}
	h.T.Cleanup(h.Stop)
}

// Stop ends the loops of Run, and returns when none of them can write any more.
func (h *Harness) Stop() {
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// Eventually waits until holds says so. A failed test prints seen.
func (h *Harness) Eventually(what string, holds func(ctx context.Context) (ok bool, seen any)) {
	h.T.Helper()
	Eventually(h.T, what, holds)
}

// Eventually is Harness.Eventually for tests that have none.
func Eventually(t *testing.T, what string, holds func(ctx context.Context) (ok bool, seen any)) {
	t.Helper()
	var last any
	err := wait.PollUntilContextTimeout(t.Context(), lookEach, patience, true, func(ctx context.Context) (ok bool, _ error) {
		ok, last = holds(ctx)
		return ok, nil
	})
	if err != nil {
		t.Fatalf("%s: %v; last seen: %+v", what, err, last)
	}
}

// LeavesAlone fails the test unless a controller, which is to write an object of
// the host that is not its own, does nothing but try to create it. It waits for
// the second try, when the first is over, and ends the loops, so that no write
// comes later.
func (h *Harness) LeavesAlone(resource, name string) {
	h.T.Helper()
	tries := func() (tries int, others []string) {
		for _, w := range Writes(&h.Host.Fake, resource) {
			switch {
			case w == "create "+name:
				tries++
			case strings.HasSuffix(w, " "+name):
				others = append(others, w)
			}
		}
		return tries, others
	}
	h.Eventually("another try to create "+name, func(context.Context) (bool, any) {
		n, others := tries()
		return n > 1 || len(others) > 0, others
	})
	h.Stop()
	if _, others := tries(); len(others) > 0 {
		h.T.Errorf("an object that is not ours got %v", others)
	}
}

// OnlyWrites ends the loops, and fails the test if the host got writes for
// other objects of a resource than those with these names. A test that waited
// for the last key it caused has then seen the effects of all keys before:
// loops take them in order, and Stop waits for those that are being handled.
func (h *Harness) OnlyWrites(resource string, names ...string) {
	h.T.Helper()
	h.Stop()
	for _, w := range Writes(&h.Host.Fake, resource) {
		if _, name, _ := strings.Cut(w, " "); !slices.Contains(names, name) {
			h.T.Errorf("the host got %s", w)
		}
	}
}

// Writes lists the writes that a cluster got for objects of a resource, in order
// and as "verb name", without reads. An empty resource is every one.
func Writes(cluster *clienttesting.Fake, resource string) []string {
	var out []string
	for _, a := range cluster.Actions() {
		if slices.Contains([]string{"get", "list", "watch"}, a.GetVerb()) || resource != "" && a.GetResource().Resource != resource {
			continue
		}
		out = append(out, fmt.Sprintf("%s %s", a.GetVerb(), nameOf(a)))
	}
	return out
}

func nameOf(a clienttesting.Action) string {
	switch a := a.(type) {
	case interface{ GetName() string }: // a patch or a deletion
		return a.GetName()
	case interface{ GetObject() runtime.Object }:
		if o, ok := a.GetObject().(interface{ GetName() string }); ok {
			return o.GetName()
		}
	}
	return ""
}
