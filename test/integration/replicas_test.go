// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/leader"
	"portico.dev/portico/test/servers"
)

// replicated is one virtual cluster with several porticods on one etcd.
type replicated struct {
	t         *testing.T
	name      string
	namespace string // on the host
	host      kubernetes.Interface
	etcd      *servers.Server
	replicas  []*replica
}

// replica is one of the porticods. It keeps its address over restarts.
type replica struct {
	dir, listen string
	process     *process
	config      *rest.Config
	virtual     kubernetes.Interface
}

// newReplicated starts a virtual cluster of n replicas, all at the same time.
func newReplicated(t *testing.T, n int) *replicated {
	t.Helper()
	h := sharedHost(t)
	ns, err := h.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "ha-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create host namespace: %v", err)
	}
	r := &replicated{t: t, name: "c1", namespace: ns.Name, host: h.client, etcd: servers.Etcd(t, servers.EtcdOptions{})}
	t.Cleanup(func() {
		if err := h.client.CoreV1().Namespaces().Delete(context.Background(), r.namespace, metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete host namespace: %v", err)
		}
	})
	for range n {
		rep := &replica{dir: t.TempDir(), listen: freeAddress(t)}
		r.replicas = append(r.replicas, rep)
		config := fmt.Sprintf("name: %s\nhost:\n  kubeconfig: %s\n  namespace: %s\ndataDir: %s\nlisten: %s\nreplicas: %d\nstore:\n  endpoint: etcd://%s\n",
			r.name, h.kubeconfigPath(), r.namespace, rep.dir, rep.listen, n, r.etcd.Address)
		if err := os.WriteFile(filepath.Join(rep.dir, "portico.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.end(rep) })
	}
	r.start(r.replicas...)
	return r
}

// start starts replicas at the same time and waits until all are ready.
func (r *replicated) start(replicas ...*replica) {
	r.t.Helper()
	var err error
	for _, rep := range replicas {
		_ = os.Remove(filepath.Join(rep.dir, "kubeconfig.yaml"))
		if rep.process, err = start(rep.dir, "serve", "serve", "--config", filepath.Join(rep.dir, "portico.yaml")); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, rep := range replicas {
		if rep.config, err = rep.process.kubeconfig(filepath.Join(rep.dir, "kubeconfig.yaml")); err != nil {
			r.t.Fatalf("start porticod: %v", err)
		}
		rep.config.QPS = -1
		if rep.virtual, err = kubernetes.NewForConfig(rep.config); err != nil {
			r.t.Fatal(err)
		}
	}
}

// end ends a replica cleanly, if it runs.
func (r *replicated) end(rep *replica) {
	r.t.Helper()
	if rep.process == nil {
		return
	}
	if err := rep.process.end(syscall.SIGTERM); err != nil {
		r.t.Errorf("porticod did not shut down cleanly: %v\n%s", err, rep.process.tail())
	}
	rep.process = nil
}

// kill ends a replica with no chance to clean up.
func (r *replicated) kill(rep *replica) {
	r.t.Helper()
	var exit *exec.ExitError
	if err := rep.process.end(syscall.SIGKILL); err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	rep.process = nil
}

// ownAddress is one of this machine that is not loopback: the API takes no
// other as an endpoint.
func ownAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Fatal("this machine has no address beside loopback, which replicas need to reach one another")
	return ""
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(ownAddress(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// leads waits until a replica leads that runs and is not one of without. It
// returns it and another that runs, if there is one.
func (r *replicated) leads(without ...*replica) (leads, other *replica) {
	r.t.Helper()
	eventually(r.t, "a replica leads", func(ctx context.Context) (bool, string) {
		leads, other = nil, nil
		holder := ""
		for _, rep := range r.replicas {
			if rep.process == nil || slices.Contains(without, rep) {
				continue
			}
			if holder = rep.holder(ctx); strings.Contains(holder, rep.listen[strings.LastIndex(rep.listen, ":"):]+"_") {
				leads = rep
			} else {
				other = rep
			}
		}
		return leads != nil, holder
	})
	return leads, other
}

// holder is who leads, as a replica knows it.
func (rep *replica) holder(ctx context.Context) string {
	l, err := rep.virtual.CoordinationV1().Leases(leader.LeaseNamespace).Get(ctx, leader.LeaseName, metav1.GetOptions{})
	if err != nil || l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// doors are the addresses behind the cluster's own Service on the host.
func (r *replicated) doors(ctx context.Context) []string {
	found, err := r.host.DiscoveryV1().EndpointSlices(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + r.name})
	if err != nil {
		return []string{err.Error()}
	}
	var doors []string
	for _, s := range found.Items {
		for _, e := range s.Endpoints {
			if *e.Conditions.Ready {
				doors = append(doors, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*s.Ports[0].Port))))
			}
		}
	}
	slices.Sort(doors)
	return doors
}

// doorsAre waits until pods of the host, and clients inside, are led to these
// replicas and no other.
func (r *replicated) doorsAre(client kubernetes.Interface, replicas ...*replica) {
	r.t.Helper()
	var want []string
	for _, rep := range replicas {
		want = append(want, rep.listen)
	}
	slices.Sort(want)
	eventually(r.t, "doors on the host", func(ctx context.Context) (bool, string) {
		doors := r.doors(ctx)
		return slices.Equal(doors, want), fmt.Sprint(doors, want)
	})
	eventually(r.t, "endpoints of default/kubernetes", func(ctx context.Context) (bool, string) {
		e, err := client.CoreV1().Endpoints("default").Get(ctx, "kubernetes", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		var shown []string
		for _, s := range e.Subsets {
			for _, a := range s.Addresses {
				shown = append(shown, net.JoinHostPort(a.IP, strconv.Itoa(int(s.Ports[0].Port))))
			}
		}
		slices.Sort(shown)
		return slices.Equal(shown, want), fmt.Sprint(shown, want)
	})
}

// anyReplica is the transport of a client that knows all replicas, and asks
// the next one when one does not answer.
type anyReplica struct {
	addresses []string
	transport http.RoundTripper
	current   atomic.Int64
}

// RoundTrip implements http.RoundTripper. A write whose answer was lost may
// have been carried out; callers know by AlreadyExists and Conflict.
func (a *anyReplica) RoundTrip(r *http.Request) (*http.Response, error) {
	var err error
	for range 2 * len(a.addresses) {
		at := a.current.Load()
		again := r.Clone(r.Context())
		again.URL.Host = a.addresses[int(at)%len(a.addresses)]
		if r.GetBody != nil {
			if again.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		response, failed := a.transport.RoundTrip(again)
		if failed == nil {
			return response, nil
		}
		if err = failed; r.Context().Err() != nil {
			return nil, err
		}
		a.current.CompareAndSwap(at, at+1)
	}
	return nil, err
}

// client returns a client of all replicas.
func (r *replicated) client() kubernetes.Interface {
	r.t.Helper()
	config := rest.CopyConfig(r.replicas[0].config)
	transport, err := rest.TransportFor(config)
	if err != nil {
		r.t.Fatal(err)
	}
	any := &anyReplica{transport: transport}
	for _, rep := range r.replicas {
		any.addresses = append(any.addresses, rep.listen)
	}
	client, err := kubernetes.NewForConfigAndClient(&rest.Config{Host: config.Host, QPS: -1}, &http.Client{Transport: any})
	if err != nil {
		r.t.Fatal(err)
	}
	return client
}

// prober uses the cluster all the time, and notes how long the longest request
// took until it succeeded, with all of its retries.
type prober struct {
	stop    context.CancelFunc
	done    chan struct{}
	longest time.Duration
	count   int
	last    error
}

func (r *replicated) probe(client kubernetes.Interface) *prober {
	ctx, stop := context.WithCancel(r.t.Context())
	p := &prober{stop: stop, done: make(chan struct{})}
	configMaps := client.CoreV1().ConfigMaps("default")
	requests := []func(i int) error{
		func(i int) error {
			_, err := configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("probe-%d", i)}}, metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				return nil // the answer to the first try was lost
			}
			return err
		},
		func(i int) error {
			_, err := configMaps.Get(ctx, fmt.Sprintf("probe-%d", i), metav1.GetOptions{})
			return err
		},
		func(int) error {
			_, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{Limit: 5})
			return err
		},
	}
	go func() {
		defer close(p.done)
		for i := 0; ctx.Err() == nil; i++ {
			for _, request := range requests {
				began := time.Now()
				for ctx.Err() == nil {
					if p.last = request(i); p.last == nil {
						break
					}
				}
				if ctx.Err() == nil {
					p.longest = max(p.longest, time.Since(began))
					p.count++
				}
			}
			select { // Leaves the machine to the cluster.
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return p
}

// end stops the probe and returns what it has found.
func (p *prober) end() (longest time.Duration, requests int) {
	p.stop()
	<-p.done
	return p.longest, p.count
}

// census counts the pods that were ever made on the host, by the image they run.
type census struct {
	mu   sync.Mutex
	uids map[types.UID]string
	done chan struct{}
}

func (r *replicated) census() *census {
	r.t.Helper()
	pods := r.host.CoreV1().Pods(r.namespace)
	list, err := pods.List(r.t.Context(), metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	w, err := pods.Watch(r.t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		r.t.Fatal(err)
	}
	c := &census{uids: map[types.UID]string{}, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for e := range w.ResultChan() {
			if p, ok := e.Object.(*corev1.Pod); ok && e.Type == watch.Added {
				c.mu.Lock()
				c.uids[p.UID] = p.Spec.Containers[0].Image
				c.mu.Unlock()
			}
		}
	}()
	r.t.Cleanup(w.Stop)
	return c
}

func (c *census) born(image string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.uids {
		if i == image {
			n++
		}
	}
	return n
}

func deploymentOf(name, image string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	spec := pod("", nil).Spec
	spec.Containers[0].Image = image
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		},
	}
}

// rolledOut waits until a Deployment has all of its replicas, and none else.
func (r *replicated) rolledOut(client kubernetes.Interface, namespace, name string) {
	r.t.Helper()
	eventually(r.t, "rollout complete", func(ctx context.Context) (bool, string) {
		d, err := client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		n, s := *d.Spec.Replicas, d.Status
		return s.ObservedGeneration == d.Generation && s.UpdatedReplicas == n && s.AvailableReplicas == n && s.Replicas == n, fmt.Sprintf("%+v", s)
	})
	eventually(r.t, "exactly the replicas on the host", func(ctx context.Context) (bool, string) {
		d, err := client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		pods, err := r.host.CoreV1().Pods(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
		if err != nil {
			return false, err.Error()
		}
		return len(pods.Items) == int(*d.Spec.Replicas), fmt.Sprint(len(pods.Items))
	})
}

// onceEach checks that no virtual object has two objects on the host.
func (r *replicated) onceEach() {
	r.t.Helper()
	seen := map[string]string{}
	note := func(m metav1.Object, kind string) {
		a := m.GetAnnotations()
		key := kind + " " + a[rewrite.AnnotationKind] + " " + a[rewrite.AnnotationNamespace] + "/" + a[rewrite.AnnotationName]
		if a[rewrite.AnnotationName] == "" {
			return
		}
		if other, twice := seen[key]; twice {
			r.t.Errorf("%s is on the host twice: %s and %s", key, other, m.GetName())
		}
		seen[key] = m.GetName()
	}
	ctx, core := r.t.Context(), r.host.CoreV1()
	pods, err := core.Pods(r.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	secrets, err := core.Secrets(r.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	configMaps, err := core.ConfigMaps(r.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	services, err := core.Services(r.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range pods.Items {
		note(&pods.Items[i], "Pod")
	}
	for i := range secrets.Items {
		note(&secrets.Items[i], "Secret")
	}
	for i := range configMaps.Items {
		note(&configMaps.Items[i], "ConfigMap")
	}
	for i := range services.Items {
		note(&services.Items[i], "Service")
	}
}

// outage is what docs/configuration.md promises to clients that retry.
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
	eventually(t, "default ServiceAccount", func(ctx context.Context) (bool, string) {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})

	// From nothing to n, through the replica that does not lead.
	if _, err := other.virtual.AppsV1().Deployments("default").Create(ctx, deploymentOf("web", "v1", n), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "some pods", func(context.Context) (bool, string) { return census.born("v1") >= n/5, "" })
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
	eventually(t, "some new pods", func(context.Context) (bool, string) { return census.born("v2") >= n/5, "" })
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

// Whatever is written through one replica is there at the next read through
// another.
func TestWritesAreSeenThroughEveryReplica(t *testing.T) {
	r := newReplicated(t, 2)
	a, b := r.replicas[0], r.replicas[1]
	ctx := t.Context()
	eventually(t, "default ServiceAccount", func(ctx context.Context) (bool, string) {
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
			p := pod(name, nil)
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
			eventually(t, "claim gone", func(ctx context.Context) (bool, string) {
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
	if _, err := a.virtual.CoreV1().Pods("default").Create(ctx, pod("resumed", nil), metav1.CreateOptions{}); err != nil {
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
		case <-time.After(patience):
			t.Errorf("watch of %s went on with nothing", kind)
		}
	}

	// An informer begins with the latest state too, through a replica that
	// could not know it by itself.
	created, err := a.virtual.CoreV1().Pods("default").Create(ctx, pod("watched", nil), metav1.CreateOptions{})
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

	// A leader that is told to end gives the lead up when it is done, and is
	// off the list of doors before it stops to serve.
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
	eventually(t, "some pods", func(context.Context) (bool, string) { return census.born("v1") > 0, "" })
	if err := leads.process.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r.leads(leads)
	r.rolledOut(other.virtual, "default", "web")
	if err := leads.process.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-leads.process.done:
	case <-time.After(patience):
		t.Fatalf("the deposed leader goes on:\n%s", leads.process.tail())
	}
	for _, want := range []string{"leadership was lost", "hint: "} {
		if !leads.process.said(want) {
			t.Errorf("the deposed leader does not say %q:\n%s", want, leads.process.tail())
		}
	}
	leads.process = nil
	// What was in flight when it was stopped may have come through.
	r.rolledOut(other.virtual, "default", "web")
	r.onceEach()
	if holder := other.holder(t.Context()); !strings.Contains(holder, other.listen[strings.LastIndex(other.listen, ":"):]+"_") {
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
	case <-leads.process.done:
	case <-time.After(patience):
		t.Fatalf("the leader goes on without the store:\n%s", leads.process.tail())
	}
	if !leads.process.said("leadership was lost") {
		t.Errorf("the leader does not say why it ended:\n%s", leads.process.tail())
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

// SQLite has one writer. What would only look highly available is refused.
func TestReplicasOnSQLiteAreRefused(t *testing.T) {
	dir := t.TempDir()
	p, err := start(dir, "serve", "serve", "--name", "c1", "--host-namespace", "default", "--data-dir", dir, "--replicas", "2")
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	for _, want := range []string{"error: ", "replicas: ", "shared store", "store.endpoint"} {
		if !strings.Contains(p.tail(), want) {
			t.Errorf("output does not mention %q:\n%s", want, p.tail())
		}
	}
}
