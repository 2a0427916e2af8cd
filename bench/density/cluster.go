// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"

	"portico.dev/portico/cmd/porticod/child"
	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/marks"
)

// cluster is a virtual cluster, awake or not.
type cluster struct {
	fleet           *fleet
	name, namespace string
	dir             string
	door            netip.AddrPort
	client          kubernetes.Interface // through the gateway

	mu      sync.Mutex
	process *child.Process
	wanted  bool
	busy    bool
	killed  *child.Process // on purpose
	failed  error
}

// add makes a cluster and waits until it serves its Deployment.
func (f *fleet) add(ctx context.Context, name string) (*cluster, error) {
	c := &cluster{fleet: f, name: name, namespace: "vc-" + name, dir: filepath.Join(f.dir, name)}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if c.door, err = freePort(ctx); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("name: %s\nhost: {kubeconfig: %q, namespace: %s}\ndataDir: %q\nlisten: %s\ncoredns: {enabled: false}\nsleep: {afterInactivity: 12h}\n",
		c.name, f.kubeconfig, c.namespace, c.dir, c.door)
	if err := os.WriteFile(c.config(), []byte(config), 0o600); err != nil {
		return nil, err
	}
	if _, err := f.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("create a host namespace: %w", err)
	}
	f.mu.Lock()
	f.clusters[c.key()] = c
	f.mu.Unlock()
	labels := map[string]string{"app": "porticod"}
	if _, err := f.client.AppsV1().StatefulSets(c.namespace).Create(ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: c.name, Labels: map[string]string{rewrite.LabelCluster: c.name}, Annotations: map[string]string{marks.AnnotationSleep: "12h"}},
		Spec: appsv1.StatefulSetSpec{Replicas: ptr.To(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			// This program is its kubelet: no node of the host takes it.
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{NodeSelector: map[string]string{"example.com/none": "here"}, Containers: []corev1.Container{{Name: "porticod", Image: "porticod"}}},
		}},
	}, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("create the workload: %w", err)
	}
	if err := c.await(ctx, "its kubeconfig", func(context.Context) (bool, error) { return c.connect() == nil, c.fault() }); err != nil {
		return nil, err
	}
	return c, c.deploy(ctx)
}

func (c *cluster) key() types.NamespacedName {
	return types.NamespacedName{Namespace: c.namespace, Name: c.name}
}

func (c *cluster) config() string { return filepath.Join(c.dir, "portico.yaml") }

func freePort(ctx context.Context) (netip.AddrPort, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer l.Close() //nolint:errcheck // It was never used.
	return netip.ParseAddrPort(l.Addr().String())
}

// connect makes the client of the tenant's administrator, through the gateway.
func (c *cluster) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.dir, "kubeconfig.yaml"))
	if err != nil {
		return err
	}
	c.client, err = kubernetes.NewForConfig(c.through(config))
	return err
}

func (c *cluster) through(config *rest.Config) *rest.Config {
	config.Host, config.ServerName = "https://"+c.fleet.address, c.name+"."+c.namespace+".svc"
	config.QPS = -1
	return config
}

// fresh is a client without open connections, as a new command has.
func (c *cluster) fresh() (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.dir, "kubeconfig.yaml"))
	if err != nil {
		return nil, err
	}
	// A transport of its own: others with the same settings share theirs.
	config.Dial = (&net.Dialer{}).DialContext
	return kubernetes.NewForConfig(c.through(config))
}

// list is the first command of a user, tried until it succeeds: client-go gives a
// handshake ten seconds.
func list(ctx context.Context, client kubernetes.Interface) error {
	var last error
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		_, last = client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		return last == nil, nil
	}); err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// deploy makes a Deployment and waits for its pods.
func (c *cluster) deploy(ctx context.Context) error {
	labels := map[string]string{"app": "web"}
	if err := c.await(ctx, "its Deployment", func(ctx context.Context) (bool, error) {
		_, err := c.client.AppsV1().Deployments(metav1.NamespaceDefault).Create(ctx, &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: "web"},
			Spec: appsv1.DeploymentSpec{Replicas: ptr.To(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{AutomountServiceAccountToken: ptr.To(false), Containers: []corev1.Container{{Name: "web", Image: "web"}}},
			}},
		}, metav1.CreateOptions{})
		return err == nil, c.fault()
	}); err != nil {
		return err
	}
	return c.await(ctx, "its pods", func(ctx context.Context) (bool, error) { return c.ready(ctx) == nil, c.fault() })
}

// ready returns why the Deployment is not as it should be.
func (c *cluster) ready(ctx context.Context) error {
	d, err := c.client.AppsV1().Deployments(metav1.NamespaceDefault).Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if d.Status.ReadyReplicas != 2 || d.Status.ObservedGeneration < d.Generation {
		return fmt.Errorf("%d of 2 pods are ready", d.Status.ReadyReplicas)
	}
	return nil
}

func (c *cluster) await(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	if err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 5*time.Minute, true, done); err != nil {
		return fmt.Errorf("wait for %s of %s: %w", what, c.name, errors.Join(err, c.fault()))
	}
	return nil
}

// sleep asks the cluster to sleep, and waits until its process has ended.
func (c *cluster) sleep(ctx context.Context) error {
	body := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, marks.AnnotationSleepRequested, time.Now().UTC().Format(time.RFC3339))
	if _, err := c.fleet.client.AppsV1().StatefulSets(c.namespace).Patch(ctx, c.name, types.MergePatchType, []byte(body), metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("ask for a sleep: %w", err)
	}
	return c.await(ctx, "the sleep", func(context.Context) (bool, error) { return c.pid() == 0, c.fault() })
}

// pid is that of its porticod, and 0 without one.
func (c *cluster) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return 0
	}
	return c.process.PID()
}

func (c *cluster) fault() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// want has a process, or none, one after another.
func (c *cluster) want(ctx context.Context, wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = wanted
	if c.busy {
		return
	}
	c.busy = true
	c.fleet.loops.Go(func() { c.work(ctx) })
}

func (c *cluster) work(ctx context.Context) {
	for {
		c.mu.Lock()
		process, wanted := c.process, c.wanted
		if ctx.Err() != nil || (process != nil) == wanted {
			c.busy = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		var err error
		if wanted {
			process, err = child.Start(child.Spec{
				Name: "virtual cluster " + c.name, Executable: c.fleet.porticod, Args: []string{"serve", "--config", c.config()},
				Log: filepath.Join(c.fleet.dir, c.name+".log"),
			})
			if err == nil {
				c.fleet.loops.Go(func() { c.watch(ctx, process) })
			}
		} else {
			err, process = process.Stop(grace), nil
		}
		c.mu.Lock()
		if !wanted && c.killed == c.process {
			err = nil
		}
		c.process, c.failed = process, errors.Join(c.failed, err)
		c.mu.Unlock()
	}
}

// watch starts a process again that was killed, as a kubelet does.
func (c *cluster) watch(ctx context.Context, process *child.Process) {
	select {
	case <-process.Ended():
	case <-ctx.Done():
		return
	}
	c.mu.Lock()
	crashed := c.process == process && c.wanted && !c.busy
	if crashed {
		c.process = nil
	}
	c.mu.Unlock()
	if crashed {
		c.want(ctx, true)
	}
}

// kill ends its porticod without a chance to clean up.
func (c *cluster) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return
	}
	if p, err := os.FindProcess(c.process.PID()); err == nil {
		c.killed = c.process
		_ = p.Kill()
	}
}

func (c *cluster) end() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return nil
	}
	if err := c.process.Stop(grace); c.killed != c.process {
		return err
	}
	return nil
}
