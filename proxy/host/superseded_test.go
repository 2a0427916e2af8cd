// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/storage"
	testclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/proxy/host"
)

// writeBack labels a pod as a client does that sends back the object which it
// read: the registry compares the revision.
func (f *fixture) writeBack(ctx context.Context, read *corev1.Pod) (*corev1.Pod, error) {
	f.t.Helper()
	out := &corev1.Pod{}
	err := f.GuaranteedUpdate(ctx, podKey(read), out, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		p := in.(*corev1.Pod)
		if p.ResourceVersion != read.ResourceVersion {
			return nil, apierrors.NewConflict(corev1.Resource("pods"), read.Name, errors.New("modified"))
		}
		p.Labels["written"] = "back"
		return p, nil
	}), nil)
	return out, err
}

func asking(ctx context.Context, verb, subresource string) context.Context {
	return request.WithRequestInfo(ctx, &request.RequestInfo{IsResourceRequest: true, Verb: verb, APIVersion: "v1", Resource: "pods", Subresource: subresource})
}

// running is a kubelet's write.
func running(h tree) { h["status"] = tree{"phase": "Running"} }

func TestWriteOnTheRevisionThatTheDoorCalledNewest(t *testing.T) {
	for reason, c := range map[string]struct {
		verb, subresource string // of the request; put if empty
		meanwhile         func(tree)
		again             func(tree)
		conflict          bool
	}{
		"a kubelet was faster":               {meanwhile: running},
		"a kubelet was faster twice":         {meanwhile: running, again: func(h tree) { h["status"] = tree{"phase": "Running", "podIP": "10.0.0.1"} }},
		"a patch with a revision":            {verb: "patch", meanwhile: running},
		"a resize":                           {subresource: "resize", meanwhile: running},
		"the scheduler was faster":           {meanwhile: func(h tree) { h["spec"].(tree)["nodeName"] = "node-1" }, conflict: true},
		"somebody changed a label":           {meanwhile: func(h tree) { md(h)["labels"].(tree)["app"] = "other" }, conflict: true},
		"a deletion began":                   {meanwhile: func(h tree) { md(h)["deletionTimestamp"] = "2026-01-01T00:00:00Z" }, conflict: true},
		"the scheduler after the kubelet":    {meanwhile: running, again: func(h tree) { h["spec"].(tree)["nodeName"] = "node-1" }, conflict: true},
		"a write of the status":              {subresource: "status", meanwhile: running, conflict: true},
		"a deletion, which may depend on it": {verb: "delete", meanwhile: running, conflict: true},
		"an eviction":                        {verb: "create", subresource: "eviction", meanwhile: running, conflict: true},
	} {
		for when, told := range map[string]bool{"the door does not know yet": false, "the door knows by now": true} {
			t.Run(reason+", "+when, func(t *testing.T) {
				f := newFixture(t, "pods")
				read := f.create(newPod("demo", "web"))
				for _, change := range []func(tree){c.meanwhile, c.again} {
					if change == nil {
						continue
					}
					f.host.edit("pods", hostWeb, change)
					if told {
						if err := f.Get(t.Context(), podKey(read), storage.GetOptions{}, &corev1.Pod{}); err != nil {
							t.Fatal(err)
						}
					}
				}
				verb := c.verb
				if verb == "" {
					verb = "update"
				}
				out, err := f.writeBack(asking(t.Context(), verb, c.subresource), read)
				if c.conflict {
					if !apierrors.IsConflict(err) {
						t.Errorf("got %v, want the conflict", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				h := f.host.get("pods", hostWeb)
				if out.Labels["written"] != "back" || out.Status.Phase != corev1.PodRunning {
					t.Errorf("shown: labels %v, phase %s", out.Labels, out.Status.Phase)
				}
				if h["status"].(tree)["phase"] != "Running" || md(h)["labels"].(tree)["written"] != "back" || out.ResourceVersion != md(h)["resourceVersion"] {
					t.Errorf("on the host: %v", h)
				}
			})
		}
	}
}

// After a moment, the client could have known better.
func TestWriteOnAnOldRevision(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	f := newFixture(t, "pods", func(c *host.Config) { c.Clock = clock })
	read := f.create(newPod("demo", "web"))
	f.host.edit("pods", hostWeb, running)
	if err := f.Get(t.Context(), podKey(read), storage.GetOptions{}, &corev1.Pod{}); err != nil {
		t.Fatal(err)
	}
	clock.Step(time.Second)
	f.host.writes()
	if _, err := f.writeBack(asking(t.Context(), "update", ""), read); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want the conflict", err)
	}
	if diff := cmp.Diff([]string(nil), f.host.writes()); diff != "" {
		t.Errorf("host calls (-want +got):\n%s", diff)
	}
}

// Each try runs the tenant's admission webhooks. A storage that knows the revision
// which the request names makes those only that can succeed.
func TestWriteOnANamedRevisionIsTriedFewTimes(t *testing.T) {
	for reason, c := range map[string]struct {
		known bool // the request names its revision
		old   bool // and it is one that the door did not show a moment ago
		tries int
	}{
		"a revision of a moment ago":            {known: true, tries: 2},
		"an old one":                            {known: true, old: true, tries: 1},
		"a revision of a moment ago, not named": {tries: 5},
	} {
		t.Run(reason, func(t *testing.T) {
			f := newFixture(t, "pods")
			read := f.create(newPod("demo", "web"))
			for _, phase := range []string{"Pending", "Running", "Failed", "Unknown"} {
				f.host.edit("pods", hostWeb, func(h tree) { h["status"] = tree{"phase": phase} })
				if err := f.Get(t.Context(), podKey(read), storage.GetOptions{}, &corev1.Pod{}); err != nil {
					t.Fatal(err)
				}
			}
			rv := read.ResourceVersion
			if c.old {
				rv = "1"
			}
			ctx, note := asking(t.Context(), "update", ""), func(runtime.Object) {}
			if c.known {
				ctx, note = host.WithRevision(ctx)
			}
			tries := 0
			err := f.GuaranteedUpdate(ctx, podKey(read), &corev1.Pod{}, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
				tries++
				p := in.(*corev1.Pod)
				updated := p.DeepCopy()
				updated.ResourceVersion = rv
				note(updated)
				if p.ResourceVersion != rv {
					return nil, apierrors.NewConflict(corev1.Resource("pods"), p.Name, errors.New("modified"))
				}
				updated.Labels["written"] = "back"
				return updated, nil
			}), nil)
			if tries != c.tries || apierrors.IsConflict(err) != c.old {
				t.Errorf("%d tries, want %d; %v", tries, c.tries, err)
			}
		})
	}
}

// A write without changes is answered with the object as it is.
func TestWriteOfNothingOnTheNewestRevision(t *testing.T) {
	f := newFixture(t, "pods")
	pod := newPod("demo", "web")
	pod.Labels["written"] = "back"
	read := f.create(pod)
	f.host.edit("pods", hostWeb, running)
	out, err := f.writeBack(asking(t.Context(), "update", ""), read)
	if err != nil {
		t.Fatal(err)
	}
	if want := md(f.host.get("pods", hostWeb))["resourceVersion"]; out.ResourceVersion != want || out.Status.Phase != corev1.PodRunning {
		t.Errorf("shown: revision %s, phase %s, want %s", out.ResourceVersion, out.Status.Phase, want)
	}
}

// A client revokes its approval in a condition of its own, and another, which read
// the pod before, acts on the approval with the revision that it read. Each has a
// part of what the other decides by: the second gets a conflict, as on a host.
func TestAttackWriteOnARevokedApproval(t *testing.T) {
	approved := func(status string) func(tree) {
		return func(h tree) {
			h["status"] = tree{"conditions": []any{tree{"type": "example.com/approved", "status": status}, tree{"type": "Ready", "status": "True"}}}
		}
	}
	f := newFixture(t, "pods")
	pod, read := f.create(newPod("demo", "web")), &corev1.Pod{}
	f.host.edit("pods", hostWeb, approved("True"))
	if err := f.Get(t.Context(), podKey(pod), storage.GetOptions{}, read); err != nil {
		t.Fatal(err)
	}
	f.host.edit("pods", hostWeb, approved("False"))
	if _, err := f.writeBack(asking(t.Context(), "update", ""), read); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want the conflict", err)
	}
}
