// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/classes"
)

// pushing is a running Pusher between two fake clusters.
type pushing struct {
	t             *testing.T
	tr            *rewrite.Translator
	virtual, host *fake.Clientset
	pusher        *classes.Pusher
	// stop ends the loops, and returns when none of them can write any more.
	stop func()
}

func translator(t *testing.T, namespace string) *rewrite.Translator {
	t.Helper()
	tr, err := rewrite.New(rewrite.Cluster{
		Name: "vc", HostNamespace: namespace,
		Owner: metav1.OwnerReference{APIVersion: "v1", Kind: "Service", Name: "vc", UID: "door-uid"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func startPusher(t *testing.T, virtual, host []runtime.Object) *pushing {
	t.Helper()
	p := &pushing{t: t, tr: translator(t, "team-a"), virtual: fake.NewClientset(virtual...), host: fake.NewClientset(host...)}
	factory := informers.NewSharedInformerFactory(p.virtual, 0)
	var err error
	p.pusher, err = classes.NewPusher(classes.PushConfig{
		Translator: p.tr, Virtual: p.virtual, Informers: factory, Host: p.host, Leader: p.host,
	}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- p.pusher.Observe(ctx) }()
	go func() { done <- p.pusher.Run(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("pusher: %v", err)
			}
		}
		factory.Shutdown()
	})
	t.Cleanup(p.stop)
	return p
}

// eventually waits until the host class satisfies want; a nil class is one that
// does not exist.
func (p *pushing) eventually(name, what string, want func(*schedulingv1.PriorityClass) bool) {
	p.t.Helper()
	var last *schedulingv1.PriorityClass
	err := wait.PollUntilContextTimeout(p.t.Context(), 5*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		class, err := p.host.SchedulingV1().PriorityClasses().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			class, err = nil, nil
		}
		last = class
		return err == nil && want(class), err
	})
	if err != nil {
		p.t.Fatalf("host class %s: %s: %v; last %+v", name, what, err, last)
	}
}

func (p *pushing) of(name, want string) {
	p.t.Helper()
	if got, err := p.pusher.For(p.t.Context(), podOf(name, "")); err != nil || got != want {
		p.t.Errorf("pushed class of a pod with %q: %q, %v, want %q", name, got, err, want)
	}
}

func (p *pushing) hostNames() []string {
	p.t.Helper()
	list, err := p.host.SchedulingV1().PriorityClasses().List(p.t.Context(), metav1.ListOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names
}

func TestCopiesFollowTheTenantsClasses(t *testing.T) {
	p := startPusher(t, []runtime.Object{priorityClass("gold", 500)}, nil)
	ctx, client, copied := t.Context(), p.virtual.SchedulingV1().PriorityClasses(), p.tr.ClusterName("gold")
	p.eventually(copied, "pushed", value(500))
	p.of("gold", "gold")

	class, err := client.Get(ctx, "gold", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	class.Description, class.GlobalDefault = "changed", true
	if _, err := client.Update(ctx, class, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.eventually(copied, "changed, and no default", func(c *schedulingv1.PriorityClass) bool {
		return c != nil && c.Description == "changed" && !c.GlobalDefault
	})
	class.Value = 600 // which a real API refuses: the class has to be made again
	if _, err := client.Update(ctx, class, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.eventually(copied, "made again", value(600))

	if err := client.Delete(ctx, "gold", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	p.eventually(copied, "gone with the tenant's", gone)
	if got, err := p.pusher.For(ctx, podOf("gold", "")); !errors.Is(err, rewrite.ErrNoClass) {
		t.Errorf("a class that has gone: %q, %v, want %v", got, err, rewrite.ErrNoClass)
	}
}

// TestLeftoversGo: classes that were deleted while no process watched; others'
// stay.
func TestLeftoversGo(t *testing.T) {
	copyOf := func(namespace string) *schedulingv1.PriorityClass {
		class, err := translator(t, namespace).PriorityClassToHost(priorityClass("old", 5), 1000)
		if err != nil {
			t.Fatal(err)
		}
		return class
	}
	ours, theirs := copyOf("team-a"), copyOf("team-b")
	p := startPusher(t, nil, []runtime.Object{ours, theirs, priorityClass("hosts", 7)})
	p.eventually(ours.Name, "gone", gone)
	p.eventually(theirs.Name, "still there", value(5))
	p.eventually("hosts", "still there", value(7))
}

func TestPodsPushTheirClassFirst(t *testing.T) {
	tr, virtual, host := translator(t, "team-a"), fake.NewClientset(priorityClass("gold", 500)), fake.NewClientset()
	pusher, err := classes.NewPusher(classes.PushConfig{
		Translator: tr, Virtual: virtual, Informers: informers.NewSharedInformerFactory(virtual, 0), Host: host, Leader: host,
	}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	p := &pushing{t: t, tr: tr, virtual: virtual, host: host, pusher: pusher} // which does not run
	p.of("gold", "gold")
	p.eventually(tr.ClusterName("gold"), "pushed for the pod", value(500))
	p.of("gold", "gold")
}

// TestAttackPushedClasses: not above the limit, not as a class of the system or
// the host's, not over somebody else's.
func TestAttackPushedClasses(t *testing.T) {
	tr := translator(t, "team-a")
	hosts := priorityClass("hosts", 900_000_000)
	hosts.Annotations = map[string]string{classes.AnnotationHost: "uid-1"}
	taken := priorityClass(tr.ClusterName("taken"), 7)
	p := startPusher(t, []runtime.Object{
		priorityClass("high", 1_000_000_000), priorityClass("system-node-critical", 2_000_001_000), hosts, priorityClass("taken", 5),
	}, []runtime.Object{taken})
	p.eventually(tr.ClusterName("high"), "pushed with the limit", value(1000))
	p.of("high", "high")
	p.of("system-node-critical", "")
	p.of("hosts", "")
	if got, err := p.pusher.For(t.Context(), podOf("taken", "")); err == nil {
		t.Errorf("a class under the name of a copy: %q, want an error", got)
	}
	p.eventually(taken.Name, "left alone", value(7))
	if names := p.hostNames(); len(names) != 2 {
		t.Errorf("classes on the host: %v, want 2", names)
	}
}

// TestAttackShowAnotherClustersClass: a class that another cluster has pushed
// is not the host's to show.
func TestAttackShowAnotherClustersClass(t *testing.T) {
	theirs, err := translator(t, "team-b").PriorityClassToHost(priorityClass("gold", 5), 1000)
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, classes.Config{PriorityClasses: labels.Everything()}, nil, []runtime.Object{theirs, priorityClass("hosts", 7)})
	h.eventually("hosts", "shown", value(7)) // so all of the host's have been looked at
	if _, err := h.virtual.SchedulingV1().PriorityClasses().Get(t.Context(), theirs.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("another cluster's class: %v, want that it is not shown", err)
	}
}

// TestAttackManyPriorityClasses: no quota of the host bounds objects outside of
// a namespace.
func TestAttackManyPriorityClasses(t *testing.T) {
	const most = 100
	var virtual []runtime.Object
	for i := range most + 20 {
		virtual = append(virtual, priorityClass(fmt.Sprintf("class-%d", i), 5))
	}
	p := startPusher(t, virtual, nil)
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		return len(p.hostNames()) >= most, nil
	})
	if err != nil {
		t.Fatalf("%d classes on the host: %v", len(p.hostNames()), err)
	}
	refused := 0
	for i := range most + 20 {
		name := fmt.Sprintf("class-%d", i)
		switch got, err := p.pusher.For(t.Context(), podOf(name, "")); {
		case errors.Is(err, rewrite.ErrNoClass):
			refused++
		case err != nil || got != name:
			t.Errorf("a pod with %s: %q, %v", name, got, err)
		}
	}
	if n := len(p.hostNames()); n != most || refused != 20 {
		t.Errorf("%d classes on the host and %d pods refused, want %d and 20", n, refused, most)
	}
}

// The copy that an earlier version made under another name is replaced by that of
// today: pods have the priority that they were made with. It goes with its class
// as well, and a class that somebody else on the host has by that name stays.
func TestFormerCopyIsReplaced(t *testing.T) {
	const longName = "a-class-whose-name-is-hashed-on-the-host-because-it-is-so-very-long"
	tr := translator(t, "team-a")
	former, had := tr.FormerClusterName(longName)
	if !had {
		t.Fatal("the name is not long enough")
	}
	for reason, c := range map[string]struct {
		virtual []runtime.Object
		change  func(*schedulingv1.PriorityClass)
		want    []string
	}{
		"its class is there": {[]runtime.Object{priorityClass(longName, 500)}, nil, []string{tr.ClusterName(longName)}},
		"its class is gone":  {nil, nil, nil},
		"it is the operator's": {[]runtime.Object{priorityClass(longName, 500)}, func(h *schedulingv1.PriorityClass) { h.Labels, h.Annotations = nil, nil },
			[]string{former, tr.ClusterName(longName)}},
	} {
		t.Run(reason, func(t *testing.T) {
			h, err := tr.PriorityClassToHost(priorityClass(longName, 500), 1000)
			if err != nil {
				t.Fatal(err)
			}
			h.Name = former
			if c.change != nil {
				c.change(h)
			}
			p := startPusher(t, append(c.virtual, priorityClass("marker", 1)), []runtime.Object{h})
			p.eventually(tr.ClusterName("marker"), "pushed", value(1))
			want := append(slices.Clone(c.want), tr.ClusterName("marker"))
			slices.Sort(want)
			p.eventually(former, "as it is to be", func(h *schedulingv1.PriorityClass) bool { return (h != nil) == slices.Contains(want, former) })
			var got []string
			err = wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, patience, true, func(context.Context) (bool, error) {
				got = p.hostNames()
				slices.Sort(got)
				return slices.Equal(got, want), nil
			})
			if err != nil {
				t.Errorf("the host has %q, want %q", got, want)
			}
			// A wrong deletion may come late.
			if _, err := p.virtual.SchedulingV1().PriorityClasses().Create(t.Context(), priorityClass("marker-2", 2), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			p.eventually(tr.ClusterName("marker-2"), "pushed", value(2))
			p.stop()
			got = slices.DeleteFunc(p.hostNames(), func(name string) bool { return name == tr.ClusterName("marker-2") })
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("in the end the host has %q, want %q", got, want)
			}
		})
	}
}

// TestTriedPodBringsNoClass: a pod of a dry run makes no copy. Once there is one, the
// pod has it.
func TestTriedPodBringsNoClass(t *testing.T) {
	p := &pushing{t: t, tr: translator(t, "team-a"), virtual: fake.NewClientset(priorityClass("gold", 500)), host: fake.NewClientset()}
	var err error
	p.pusher, err = classes.NewPusher(classes.PushConfig{
		Translator: p.tr, Virtual: p.virtual, Informers: informers.NewSharedInformerFactory(p.virtual, 0), Host: p.host, Leader: p.host,
	}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.pusher.Tried(t.Context(), podOf("gold", "")); got != "" || err != nil {
		t.Errorf("class of a tried pod: %q, %v", got, err)
	}
	if got, err := p.pusher.Tried(t.Context(), podOf("none", "")); !errors.Is(err, rewrite.ErrNoClass) {
		t.Errorf("a class that is not there: %q, %v", got, err)
	}
	if names := p.hostNames(); len(names) > 0 {
		t.Errorf("the host has %v after a dry run", names)
	}
	running := startPusher(t, []runtime.Object{priorityClass("gold", 500)}, nil)
	running.eventually(running.tr.ClusterName("gold"), "pushed", value(500))
	if err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		got, err := running.pusher.Tried(ctx, podOf("gold", ""))
		return got == "gold", err
	}); err != nil {
		t.Errorf("class of a tried pod whose class has a copy: %v", err)
	}
}
