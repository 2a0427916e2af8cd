// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/sync/leader"
	"portico.dev/portico/test/embedded"
)

// outage is the longest one that docs/configuration.md promises to clients that
// retry.
const outage = 2 * time.Second

// The leader dies in the middle of a rollout, without a word. The next one
// finishes it, nothing is made twice, and a client that asks another replica
// when one is gone hardly notices.
func TestLeaderKilledDuringARollout(t *testing.T) {
	const n = 50
	r := newReplicated(t, 2)
	client, census := r.client(), r.census()
	ctx := t.Context()
	leads, other := r.leads()
	prober := r.probe(client)
	embedded.Eventually(t, "default ServiceAccount", func(ctx context.Context) (bool, string) {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})

	// From nothing to n, through the replica that does not lead.
	if _, err := other.virtual.AppsV1().Deployments("default").Create(ctx, deploymentOf("web", "v1", n), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "some pods", func(context.Context) (bool, string) { return census.born("v1") >= n/5, "" })
	r.kill(leads)
	killed := time.Now()
	born := census.born("v1")
	next, _ := r.leads(leads)
	t.Logf("killed the leader after %d of %d pods; another led %v later (promised: %v)", born, n, time.Since(killed).Round(10*time.Millisecond), leader.Takeover)
	r.rolledOut(client, "default", "web")
	if got := census.born("v1"); got != n {
		t.Errorf("%d pods were made for %d replicas", got, n)
	}
	r.onceEach()

	// From one version to the next.
	r.start(leads)
	patch := []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"v2"}]}}}}`)
	if _, err := client.AppsV1().Deployments("default").Patch(ctx, "web", types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "some new pods", func(context.Context) (bool, string) { return census.born("v2") >= n/5, "" })
	r.kill(next)
	t.Logf("killed the leader after %d of %d new pods", census.born("v2"), n)
	r.rolledOut(client, "default", "web")
	if got := census.born("v2"); got != n {
		t.Errorf("%d new pods were made for %d replicas", got, n)
	}
	r.onceEach()

	longest, requests := prober.end()
	t.Logf("the longest of %d requests took %v with its retries (promised: %v)", requests, longest.Round(time.Millisecond), outage)
	if longest > outage {
		t.Errorf("a request took %v", longest)
	}
}

// Every replica is ended and started again, one after the other, while clients go
// on: one that keeps its connection, and one that makes a new connection for each
// request. As on a host, a new connection is led to a door that is open. No request
// of either fails, and none is told to come back later.
func TestRollingRestartFailsNoRequest(t *testing.T) {
	r := newReplicated(t, 2)
	r.doorsAre(r.replicas[0].virtual, r.replicas...)
	var users []*user
	for name, fresh := range map[string]bool{"keeps its connection": false, "makes new connections": true} {
		users = append(users, r.user(name, fresh))
	}
	for _, rep := range r.replicas {
		before := map[*user]int64{}
		for _, u := range users {
			before[u] = u.answers.Load()
		}
		r.end(rep)
		r.start(rep)
		r.doorsAre(rep.virtual, r.replicas...)
		for _, u := range users {
			embedded.Eventually(t, "a client that "+u.name+" goes on", func(context.Context) (bool, string) {
				return u.answers.Load() > before[u], ""
			})
		}
	}
	for _, u := range users {
		if failures := u.end(); len(failures) > 0 {
			t.Errorf("%d of %d requests failed for a client that %s:\n%s", len(failures), u.answers.Load(), u.name,
				strings.Join(failures[:min(len(failures), 10)], "\n"))
		}
	}
}

// Every write through one replica is there at the next read through another.
func TestWritesAreSeenThroughEveryReplica(t *testing.T) {
	r := newReplicated(t, 2)
	a, b := r.replicas[0], r.replicas[1]
	ctx := t.Context()
	embedded.Eventually(t, "default ServiceAccount", func(ctx context.Context) (bool, string) {
		_, err := a.virtual.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	var claim corev1.PersistentVolumeClaim
	if err := json.Unmarshal([]byte(`{"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}`), &claim); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		name := fmt.Sprintf("n%d", i)
		for _, way := range []struct{ to, from kubernetes.Interface }{{a.virtual, b.virtual}, {b.virtual, a.virtual}} {
			to, from := way.to.CoreV1(), way.from.CoreV1()
			meta := metav1.ObjectMeta{Name: name}
			p := embedded.Pod(name, nil)
			claim.ObjectMeta = meta
			for kind, err := range map[string]error{
				"pod":       second(to.Pods("default").Create(ctx, p, metav1.CreateOptions{})),
				"service":   second(to.Services("default").Create(ctx, &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}, metav1.CreateOptions{})),
				"claim":     second(to.PersistentVolumeClaims("default").Create(ctx, &claim, metav1.CreateOptions{})),
				"configmap": second(to.ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: meta}, metav1.CreateOptions{})),
			} {
				if err != nil {
					t.Fatalf("create %s: %v", kind, err)
				}
			}
			pods, err := from.Pods("default").List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
			if err != nil || len(pods.Items) != 1 {
				t.Errorf("list after create: %d pods, %v", len(pods.Items), err)
			}
			for kind, err := range map[string]error{
				"pod":       second(from.Pods("default").Get(ctx, name, metav1.GetOptions{})),
				"service":   second(from.Services("default").Get(ctx, name, metav1.GetOptions{})),
				"claim":     second(from.PersistentVolumeClaims("default").Get(ctx, name, metav1.GetOptions{})),
				"configmap": second(from.ConfigMaps("default").Get(ctx, name, metav1.GetOptions{})),
			} {
				if err != nil {
					t.Errorf("get %s after create: %v", kind, err)
				}
			}
			zero := int64(0)
			now := metav1.DeleteOptions{GracePeriodSeconds: &zero}
			for kind, err := range map[string]error{
				"pod":       to.Pods("default").Delete(ctx, name, now),
				"service":   to.Services("default").Delete(ctx, name, now),
				"claim":     to.PersistentVolumeClaims("default").Delete(ctx, name, now),
				"configmap": to.ConfigMaps("default").Delete(ctx, name, now),
			} {
				if err != nil {
					t.Fatalf("delete %s: %v", kind, err)
				}
			}
			for kind, err := range map[string]error{
				"pod":       second(from.Pods("default").Get(ctx, name, metav1.GetOptions{})),
				"service":   second(from.Services("default").Get(ctx, name, metav1.GetOptions{})),
				"configmap": second(from.ConfigMaps("default").Get(ctx, name, metav1.GetOptions{})),
			} {
				if !apierrors.IsNotFound(err) {
					t.Errorf("get %s after delete: %v", kind, err)
				}
			}
			// The host protects claims until its controller has looked.
			embedded.Eventually(t, "claim gone", func(ctx context.Context) (bool, string) {
				_, err := to.PersistentVolumeClaims("default").Get(ctx, name, metav1.GetOptions{})
				return apierrors.IsNotFound(err), fmt.Sprint(err)
			})
		}
	}
	// A watch that began at one replica goes on at another: both count alike.
	pods, err := a.virtual.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	configMaps, err := a.virtual.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.virtual.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "resumed"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.virtual.CoreV1().Pods("default").Create(ctx, embedded.Pod("resumed", nil), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	podEvents, err := b.virtual.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{ResourceVersion: pods.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer podEvents.Stop()
	configMapEvents, err := b.virtual.CoreV1().ConfigMaps("default").Watch(ctx, metav1.ListOptions{ResourceVersion: configMaps.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer configMapEvents.Stop()
	for kind, w := range map[string]watch.Interface{"pods": podEvents, "configmaps": configMapEvents} {
		select {
		case e := <-w.ResultChan():
			if m, ok := e.Object.(metav1.Object); !ok || e.Type != watch.Added || m.GetName() != "resumed" {
				t.Errorf("watch of %s went on with %s %v", kind, e.Type, e.Object)
			}
		case <-time.After(embedded.Patience):
			t.Errorf("watch of %s went on with nothing", kind)
		}
	}

	// An informer begins with the latest state too, through a replica that
	// could not know it by itself.
	created, err := a.virtual.CoreV1().Pods("default").Create(ctx, embedded.Pod("watched", nil), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(b.virtual, 0)
	lister := factory.Core().V1().Pods().Lister()
	factory.Core().V1().Pods().Informer()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	if got, err := lister.Pods("default").Get("watched"); err != nil || got.UID != created.UID {
		t.Errorf("a synced informer has %v, %v", got, err)
	}
}

func second[T any](_ T, err error) error { return err }

// A cluster is its store and its host namespace: replicas come and go, and may
// lose their directories.
func TestReplicasComeAndGo(t *testing.T) {
	r := newReplicated(t, 3)
	client := r.client()
	ca := func(rep *replica) string { return string(rep.config.CAData) }
	for _, rep := range r.replicas[1:] {
		if ca(rep) != ca(r.replicas[0]) {
			t.Error("replicas that started together have different authorities")
		}
	}
	if _, err := client.AppsV1().Deployments("default").Create(t.Context(), deploymentOf("web", "v1", 3), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.rolledOut(client, "default", "web")

	r.doorsAre(client, r.replicas...)

	// A leader that gets SIGTERM gives the lead up when it is done, and is off
	// the list of doors before it stops to serve.
	leads, other := r.leads()
	before := other.holder(t.Context())
	r.end(leads)
	if after := other.holder(t.Context()); after == before {
		t.Errorf("%s still leads after its end", after)
	}
	if doors := r.doors(t.Context()); len(doors) != 2 || slices.Contains(doors, leads.listen) {
		t.Errorf("doors after one was closed cleanly: %v", doors)
	}
	next, other := r.leads(leads)

	// One that dies cannot take itself off.
	r.kill(other)
	r.doorsAre(client, next)
	r.start(other)
	r.doorsAre(client, next, other)

	// All die, and come back with nothing but the configuration.
	was := ca(r.replicas[0])
	for _, rep := range r.replicas {
		if rep.process != nil {
			r.kill(rep)
		}
		if err := os.RemoveAll(filepath.Join(rep.dir, "pki")); err != nil {
			t.Fatal(err)
		}
	}
	r.start(r.replicas...)
	for _, rep := range r.replicas {
		if ca(rep) != was {
			t.Error("the authority is another one: every kubeconfig is void")
		}
	}
	if _, err := client.AppsV1().Deployments("default").UpdateScale(t.Context(), "web", &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}, Spec: autoscalingv1.ScaleSpec{Replicas: 5},
	}, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.rolledOut(client, "default", "web")
	r.onceEach()
}

// A leader that was stopped for longer than its lease wakes up into a cluster
// that another leads. It must end without making a mess.
func TestDeposedLeaderEnds(t *testing.T) {
	const n = 20
	r := newReplicated(t, 2)
	leads, other := r.leads()
	if _, err := other.virtual.AppsV1().Deployments("default").Create(t.Context(), deploymentOf("web", "v1", n), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	census := r.census()
	embedded.Eventually(t, "some pods", func(context.Context) (bool, string) { return census.born("v1") > 0, "" })
	if err := leads.process.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r.leads(leads)
	r.rolledOut(other.virtual, "default", "web")
	if err := leads.process.Cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-leads.process.Done:
	case <-time.After(embedded.Patience):
		t.Fatalf("the deposed leader goes on:\n%s", leads.process.Tail())
	}
	for _, want := range []string{"leadership was lost", "hint: "} {
		if !leads.process.Said(want) {
			t.Errorf("the deposed leader does not say %q:\n%s", want, leads.process.Tail())
		}
	}
	leads.process = nil
	// Requests in flight when it was stopped may have come through.
	r.rolledOut(other.virtual, "default", "web")
	r.onceEach()
	if holder := other.holder(t.Context()); !other.is(holder) {
		t.Errorf("%s leads", holder)
	}
	r.start(leads)
}

// Without its store a leader cannot know whether it leads, and ends. The others
// wait, and go on by themselves.
func TestStoreAwayForLongerThanALease(t *testing.T) {
	r := newReplicated(t, 2)
	leads, other := r.leads()
	r.etcd.Stop()
	select {
	case <-leads.process.Done:
	case <-time.After(embedded.Patience):
		t.Fatalf("the leader goes on without the store:\n%s", leads.process.Tail())
	}
	if !leads.process.Said("leadership was lost") {
		t.Errorf("the leader does not say why it ended:\n%s", leads.process.Tail())
	}
	leads.process = nil
	r.etcd.Start()
	if now, _ := r.leads(); now != other {
		t.Error("the replica that stayed does not lead")
	}
	if _, err := other.virtual.AppsV1().Deployments("default").Create(t.Context(), deploymentOf("web", "v1", 2), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.start(leads)
	r.rolledOut(r.client(), "default", "web")
}

// SQLite has one writer. A configuration that would only look highly available
// is refused.
func TestReplicasOnSQLiteAreRefused(t *testing.T) {
	dir := t.TempDir()
	p, err := embedded.Start(dir, "serve", nil, "serve", "--name", "c1", "--host-namespace", "default", "--data-dir", dir, "--replicas", "2")
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done
	for _, want := range []string{"error: ", "replicas: ", "shared store", "store.endpoint"} {
		if !strings.Contains(p.Tail(), want) {
			t.Errorf("output does not mention %q:\n%s", want, p.Tail())
		}
	}
}
