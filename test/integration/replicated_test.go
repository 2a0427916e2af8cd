// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/leader"
	"portico.dev/portico/test/embedded"
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
	process     *embedded.Process
	config      *rest.Config
	virtual     kubernetes.Interface
}

// newReplicated starts a virtual cluster of n replicas, all at the same time.
func newReplicated(t *testing.T, n int) *replicated {
	t.Helper()
	h := embedded.SharedHost(t)
	ns, err := h.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "ha-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create host namespace: %v", err)
	}
	r := &replicated{t: t, name: "c1", namespace: ns.Name, host: h.Client, etcd: servers.Etcd(t, servers.EtcdOptions{})}
	t.Cleanup(func() {
		if err := h.Client.CoreV1().Namespaces().Delete(context.Background(), r.namespace, metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete host namespace: %v", err)
		}
	})
	for range n {
		rep := &replica{dir: t.TempDir(), listen: freeAddress(t)}
		r.replicas = append(r.replicas, rep)
		config := fmt.Sprintf("name: %s\nhost:\n  kubeconfig: %s\n  namespace: %s\ndataDir: %s\nlisten: %s\nreplicas: %d\nstore:\n  endpoint: etcd://%s\n  insecure: true\n",
			r.name, h.KubeconfigPath(), r.namespace, rep.dir, rep.listen, n, r.etcd.Address)
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
		if rep.process, err = embedded.Start(rep.dir, "serve", nil, "serve", "--config", filepath.Join(rep.dir, "portico.yaml")); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, rep := range replicas {
		if rep.config, err = rep.process.Kubeconfig(filepath.Join(rep.dir, "kubeconfig.yaml")); err != nil {
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
	if err := rep.process.End(syscall.SIGTERM); err != nil {
		r.t.Errorf("porticod did not shut down cleanly: %v\n%s", err, rep.process.Tail())
	}
	rep.process = nil
}

// kill ends a replica with no chance to clean up.
func (r *replicated) kill(rep *replica) {
	r.t.Helper()
	var exit *exec.ExitError
	if err := rep.process.End(syscall.SIGKILL); err != nil && !errors.As(err, &exit) {
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
	embedded.Eventually(r.t, "a replica leads", func(ctx context.Context) (bool, string) {
		leads, other = nil, nil
		holder := ""
		for _, rep := range r.replicas {
			if rep.process == nil || slices.Contains(without, rep) {
				continue
			}
			if holder = rep.holder(ctx); rep.is(holder) {
				leads = rep
			} else {
				other = rep
			}
		}
		return leads != nil, holder
	})
	return leads, other
}

// is reports whether a replica has, or had before a restart, an identity. It is
// random; the log alone says which replica it belongs to.
func (rep *replica) is(holder string) bool {
	return holder != "" && rep.process.Said(`"This replica has an identity" identity="`+holder+`"`)
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
	embedded.Eventually(r.t, "doors on the host", func(ctx context.Context) (bool, string) {
		doors := r.doors(ctx)
		return slices.Equal(doors, want), fmt.Sprint(doors, want)
	})
	embedded.Eventually(r.t, "endpoints of default/kubernetes", func(ctx context.Context) (bool, string) {
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

// user is a client that never tries a request again.
type user struct {
	name    string
	answers atomic.Int64
	stop    context.CancelFunc
	done    chan struct{}
	failed  []string // read after done
}

// user returns a user whose connections go to the doors that are open on the host,
// by turns, as through the cluster's Service. It reads, writes and lists until it
// is ended.
func (r *replicated) user(name string, freshConnections bool) *user {
	r.t.Helper()
	config := rest.CopyConfig(r.replicas[0].config)
	var turn atomic.Int64
	config.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		doors := r.doors(ctx)
		if len(doors) == 0 {
			return nil, errors.New("no door is open")
		}
		return (&net.Dialer{}).DialContext(ctx, network, doors[int(turn.Add(1))%len(doors)])
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(r.t.Context())
	u := &user{name: name, stop: stop, done: make(chan struct{})}
	r.t.Cleanup(stop)
	client := &http.Client{Transport: transport}
	request := func(i int) error {
		method, path, body := http.MethodGet, "/api/v1/namespaces/default/services", ""
		switch i % 3 {
		case 1:
			method, path, body = http.MethodPatch, "/api/v1/namespaces/default", `{"metadata":{"annotations":{"turn":"`+strconv.Itoa(i)+`"}}}`
		case 2:
			path = "/api/v1/namespaces/default/pods"
		}
		req, err := http.NewRequestWithContext(ctx, method, config.Host+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Close = freshConnections
		req.Header.Set("Content-Type", "application/merge-patch+json")
		answer, err := client.Do(req)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s %s: %s %.300s", method, path, answer.Status, text)
		}
		return err
	}
	go func() {
		defer close(u.done)
		for i := 0; ctx.Err() == nil; i++ {
			if err := request(i); err == nil {
				u.answers.Add(1)
			} else if ctx.Err() == nil {
				u.failed = append(u.failed, time.Now().Format(time.StampMilli)+" "+err.Error())
			}
			select { // Leaves the machine to the cluster.
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return u
}

// end ends the requests and returns those that failed.
func (u *user) end() []string {
	u.stop()
	<-u.done
	return u.failed
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

// end stops the probe and returns its findings.
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
	spec := embedded.Pod("", nil).Spec
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
	embedded.Eventually(r.t, "rollout complete", func(ctx context.Context) (bool, string) {
		d, err := client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		n, s := *d.Spec.Replicas, d.Status
		return s.ObservedGeneration == d.Generation && s.UpdatedReplicas == n && s.AvailableReplicas == n && s.Replicas == n, fmt.Sprintf("%+v", s)
	})
	embedded.Eventually(r.t, "exactly the replicas on the host", func(ctx context.Context) (bool, string) {
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
