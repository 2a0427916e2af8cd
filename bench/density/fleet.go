// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"portico.dev/portico/cmd/porticod/child"
	"portico.dev/portico/proxy/gateway"
)

// grace is how long a process has to end.
const grace = 40 * time.Second

// fleet is a host with virtual clusters.
type fleet struct {
	porticod, dir string
	say           func(string, ...any)

	host       *child.Process
	hostConfig *rest.Config
	kubeconfig string
	client     kubernetes.Interface

	cancel context.CancelFunc
	loops  sync.WaitGroup

	mu       sync.Mutex
	clusters map[types.NamespacedName]*cluster

	running context.Context // of the loops, for those that begin later
	gateway *gateway.Gateway
	waker   gateway.Waker
	address string
}

// newFleet starts the host, the gateway and the kubelet.
func newFleet(ctx context.Context, porticod, dir string, say func(string, ...any)) (*fleet, error) {
	f := &fleet{porticod: porticod, dir: dir, say: say, clusters: map[types.NamespacedName]*cluster{}}
	say("starting the host")
	hostDir := filepath.Join(dir, "host")
	var err error
	if f.host, err = child.Start(child.Spec{
		Name: "host cluster", Executable: porticod, Log: filepath.Join(dir, "host.log"),
		Args: []string{"host", "--data-dir", hostDir, "--listen", "127.0.0.1:0", "--nodes", "2"},
	}); err != nil {
		return nil, err
	}
	f.kubeconfig = filepath.Join(hostDir, "kubeconfig.yaml")
	if f.hostConfig, err = f.host.AwaitCluster(ctx, f.kubeconfig); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	f.hostConfig.QPS, f.hostConfig.UserAgent = -1, "density"
	if f.client, err = kubernetes.NewForConfig(f.hostConfig); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	loops, cancel := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), klog.Background()))
	f.cancel, f.running = cancel, loops
	if err := f.kubelet(loops); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	if err := f.lead(loops); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return f, nil
}

// kubelet starts and ends porticods by the replicas of their workloads.
func (f *fleet) kubelet(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(f.client, 0)
	informer := factory.Apps().V1().StatefulSets().Informer()
	see := func(obj any) {
		s, ok := obj.(*appsv1.StatefulSet)
		if !ok {
			return
		}
		f.mu.Lock()
		c := f.clusters[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}]
		f.mu.Unlock()
		if c != nil {
			c.want(ctx, ptr.Deref(s.Spec.Replicas, 1) > 0)
		}
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, obj any) { see(obj) }}); err != nil {
		return err
	}
	factory.StartWithContext(ctx)
	f.loops.Go(func() { <-ctx.Done(); factory.Shutdown() })
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return errors.New("the host's StatefulSets are not seen")
	}
	return nil
}

// Door implements gateway.Doors: doors are processes of this machine.
func (f *fleet) Door(name types.NamespacedName) (netip.AddrPort, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.clusters[name]; c != nil {
		return c.door, nil
	}
	return netip.AddrPort{}, gateway.ErrNoDoor
}

// lead runs the gateway, which wakes clusters.
func (f *fleet) lead(ctx context.Context) error {
	workloads := gateway.NewWorkloads(f.client, nil, gateway.DefaultTimeouts.Wake)
	f.loops.Go(func() { workloads.Run(ctx) })
	if !cache.WaitForCacheSync(ctx.Done(), workloads.Synced) {
		return errors.New("the gateway does not see workloads")
	}
	f.waker, f.address = workloads, "127.0.0.1:0"
	return f.openGateway(ctx)
}

// openGateway listens where clients have connected before.
func (f *fleet) openGateway(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.address)
	if err != nil {
		return fmt.Errorf("listen for the gateway: %w", err)
	}
	g := gateway.New(gateway.Options{Doors: f, Waker: f.waker, Limits: gateway.Limits{Connections: 4096, PerClient: 4096, PerCluster: 1024}})
	f.gateway, f.address = g, l.Addr().String()
	f.loops.Go(func() { _ = g.Serve(ctx, l) })
	return nil
}

// cutGateway ends the gateway with all connections, as a kill does, and opens the
// next one.
func (f *fleet) cutGateway(ctx context.Context) error {
	now, cancel := context.WithCancel(ctx)
	cancel()
	_ = f.gateway.Shutdown(now) // The error is about the connections that were cut.
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return f.openGateway(f.running) == nil, nil // The old listener may be open for a moment.
	})
}

// grow makes clusters until there are n, and has each sleep once it has served.
func (f *fleet) grow(ctx context.Context, n, together int) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(together)
	for i := range n {
		work.Go(func() error {
			c, err := f.add(ctx, fmt.Sprintf("c%03d", i))
			if err == nil {
				err = c.sleep(ctx)
			}
			if err != nil {
				return fmt.Errorf("virtual cluster %d: %w", i, err)
			}
			if (i+1)%10 == 0 {
				f.say("made %d virtual clusters", i+1)
			}
			return nil
		})
	}
	return work.Wait()
}

func (f *fleet) named(i int) *cluster {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := fmt.Sprintf("c%03d", i)
	return f.clusters[types.NamespacedName{Namespace: "vc-" + name, Name: name}]
}

// stop ends everything; it has ended in any case.
func (f *fleet) stop() error {
	if f.cancel != nil {
		f.cancel()
		f.loops.Wait()
	}
	f.mu.Lock()
	all := f.clusters
	f.mu.Unlock()
	var errs []error
	for _, c := range all {
		errs = append(errs, c.end())
	}
	return errors.Join(append(errs, f.host.Stop(grace))...)
}
