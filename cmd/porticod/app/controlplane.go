// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	componenttracing "k8s.io/component-base/tracing"
	"k8s.io/klog/v2"

	"portico.dev/portico/certs"
	"portico.dev/portico/cmd/porticod/pki"
	"portico.dev/portico/proxy/apiserver"
	"portico.dev/portico/proxy/egress"
	"portico.dev/portico/store"
	"portico.dev/portico/sync/controllers"
	"portico.dev/portico/sync/leader"
)

// controlPlaneOptions are the differences between the two clusters that
// porticod can be.
type controlPlaneOptions struct {
	name          string
	dataDir       string
	backend       store.Backend
	storePrefix   string // of keys in a shared store
	clusterDomain string
	serviceCIDR   string

	// advertise is where others reach the API server. Zero values stand for
	// those of the listener.
	advertiseIP   net.IP
	advertisePort int
	names         []string // of the door, DNS names and IPs
	// moreNames, if set, returns those that the door has now besides.
	moreNames     func() []string
	doors         func() []netip.AddrPort
	entrance      func() error // the fault on the way to the doors, if any
	shutdownDelay time.Duration

	// host describes the host cluster of a virtual cluster.
	host func(loopback *rest.Config, shared informers.SharedInformerFactory) (apiserver.Host, error)

	// podSecurity, if set, holds for every pod of a virtual cluster.
	podSecurity *apiserver.PodSecurity

	// egress has the rules of connections that a virtual cluster's API server
	// makes for its tenant.
	egress egress.Config

	// shareRoots, if set, returns the keys that all replicas have in common,
	// which may be those that offer returns.
	shareRoots func(ctx context.Context, offer func() (certs.Roots, error)) (certs.Roots, error)

	// shareCredentials, if set, makes the authorities of clients those that all
	// replicas have in common, which may be those that offer returns. The result
	// returns those of now.
	shareCredentials func(ctx context.Context, offer func() (certs.Credentials, error)) (func() certs.Credentials, error)

	// tracing makes the spans of requests. Nil means none.
	tracing componenttracing.TracerProvider

	// audit logs requests.
	audit apiserver.Audit

	kubeconfigPath string
	controllers    controllers.Config
}

// drainTimeout bounds how long requests may go on after the end was asked for.
// Upstream waits for every one of them; without a store that is a minute each,
// in which a supervisor could have started the process again.
const drainTimeout = 15 * time.Second

// storeDir holds the SQLite store, below the data directory.
const storeDir = "store"

// controlPlane is an embedded API server on its store, ready to run.
type controlPlane struct {
	options controlPlaneOptions
	bundle  *certs.Bundle // of the start: its paths and the door's authority stay
	pki     *pki.Keeper
	backend store.Backend
	server  *apiserver.Server

	// endQuiet lets the garbage collector work as usual.
	endQuiet func()
}

// newControlPlane issues the certificates and composes the API server. The
// listener and the store must be closed by the caller if this fails.
func newControlPlane(ctx context.Context, o controlPlaneOptions, listener net.Listener) (*controlPlane, error) {
	endQuiet := quietly()
	port, err := listenerPort(listener)
	if err != nil {
		return nil, err
	}
	if o.advertisePort == 0 {
		o.advertisePort = port
	}
	c := &controlPlane{options: o, backend: o.backend, endQuiet: endQuiet}
	if err := c.compose(ctx, listener); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *controlPlane) compose(ctx context.Context, listener net.Listener) error {
	o := c.options
	dir := filepath.Join(o.dataDir, pkiDir)
	if err := c.installRoots(ctx, dir); err != nil {
		return err
	}
	keep := pki.Config{Dir: dir, Names: o.sans, Publish: c.publishKubeconfig}
	var err error
	if o.shareCredentials != nil {
		keep.Credentials, err = o.shareCredentials(ctx, func() (certs.Credentials, error) { return certs.OfferCredentials(dir, time.Now) })
		if err != nil {
			return err
		}
	}
	if c.pki, err = pki.New(keep); err != nil {
		return err
	}
	c.bundle, _ = c.pki.Current()
	c.server, err = apiserver.New(ctx, apiserver.Config{
		Name:             o.name,
		Backend:          c.backend,
		StorePrefix:      o.storePrefix,
		Host:             o.host,
		Listener:         listener,
		AdvertiseAddress: o.advertiseIP,
		Doors:            o.doors,
		Entrance:         o.entrance,
		ShutdownDelay:    o.shutdownDelay,
		ServiceCIDR:      o.serviceCIDR,
		Issuer:           "https://kubernetes.default.svc." + o.clusterDomain,
		Files:            files(c.bundle),
		PodSecurity:      o.podSecurity,
		Egress:           o.egress,
		Tracing:          o.tracing,
		Audit:            o.audit,
	})
	return err
}

// installRoots makes the keys in dir those that all replicas have. The first
// replica brings its own: those of a time when it was alone, or new ones.
func (c *controlPlane) installRoots(ctx context.Context, dir string) error {
	if c.options.shareRoots == nil {
		return nil
	}
	roots, err := c.options.shareRoots(ctx, func() (certs.Roots, error) {
		own, err := certs.LoadRoots(dir, time.Now)
		if own != nil || err != nil {
			return own, err
		}
		return certs.NewRoots(time.Now)
	})
	if err != nil {
		return err
	}
	if err := roots.Install(dir); err != nil {
		if errors.Is(err, certs.ErrOtherRoots) {
			return withHint(err, "if this is the right cluster, start with an empty --data-dir: the keys come from its host namespace")
		}
		return fmt.Errorf("certificates: %w", err)
	}
	return nil
}

func (c *controlPlane) url() string {
	return "https://" + net.JoinHostPort(c.options.advertiseIP.String(), strconv.Itoa(c.options.advertisePort))
}

// part is a loop that runs next to the API server.
type part struct {
	// name is for errors and logs.
	name string
	// always runs in every replica, leading in the replica that leads, which
	// also runs the controllers. Each begins once the API answers and is called
	// once. Either may be nil.
	always, leading func(ctx context.Context) error
}

// work is everything that a control plane does besides serving.
type work struct {
	parts []part
	// elector chooses the leader. Nil means that there is one replica only.
	elector *leader.Elector
}

// named wraps the error of a part in its name.
func (p part) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", p.name, err)
}

// run serves until ctx ends or a part of the work fails. All of it ends before
// the API server does.
func (c *controlPlane) run(ctx context.Context, w work) (err error) {
	defer func() { err = errors.Join(err, c.backend.Close()) }()

	// The API server outlives the parts: their last writes must still find it.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	served := make(chan error, 1)
	go func() { served <- c.server.Run(serving) }()

	working, ctx := errgroup.WithContext(ctx)
	working.Go(func() error {
		select {
		case err := <-served:
			served <- err
			if err == nil {
				err = errors.New("ended by itself")
			}
			return fmt.Errorf("API server: %w", err)
		case <-ctx.Done():
			return nil
		}
	})
	for _, p := range w.parts {
		if p.always == nil {
			continue
		}
		working.Go(func() error {
			if err := c.waitServing(ctx); err != nil {
				return ignoreEnd(ctx, err)
			}
			return ignoreEnd(ctx, p.named(p.always(ctx)))
		})
	}
	working.Go(func() error { return ignoreEnd(ctx, c.lead(ctx, w)) })
	ready := make(chan struct{})
	working.Go(func() error { return c.pki.Run(ctx, ready) })
	working.Go(func() error {
		if err := c.waitReady(ctx); err != nil {
			return ignoreEnd(ctx, err)
		}
		// The presence of the kubeconfig means "ready" to programs that wait
		// for it.
		close(ready)
		c.endQuiet()
		return giveMemoryBack(ctx)
	})

	err = working.Wait()
	stopServing()
	select {
	case ended := <-served:
		return errors.Join(err, ended)
	case <-time.After(drainTimeout):
		klog.FromContext(ctx).Info("API server did not end in time, the last requests are cut off", "timeout", drainTimeout)
		return err
	}
}

// lead does the work of a leader, when this replica is one, until ctx ends.
func (c *controlPlane) lead(ctx context.Context, w work) error {
	if err := c.waitServing(ctx); err != nil {
		return err
	}
	if w.elector == nil {
		return c.leadWith(ctx, c.server.Loopback(), w.parts)
	}
	loopback := fenced(c.server.Loopback(), w.elector)
	err := w.elector.Run(ctx, func(ctx context.Context) error { return c.leadWith(ctx, loopback, w.parts) })
	if errors.Is(err, leader.ErrLost) {
		// As upstream's controllers do: their memory, and their requests in
		// flight, are of a term that is over.
		return withHint(err, "the process is to be started again; another replica leads meanwhile")
	}
	return err
}

func (c *controlPlane) leadWith(ctx context.Context, loopback *rest.Config, parts []part) error {
	cc := c.options.controllers
	cc.Kubeconfig = loopback
	cc.Informers = c.server.Informers()
	cc.RootCAFile = c.bundle.CAFile
	cc.ServiceAccountKeyFile = c.bundle.ServiceAccountKeyFile
	cc.SigningCertFile, cc.SigningKeyFile = c.bundle.SignerCAFile, c.bundle.SignerCAKeyFile
	working, ctx := errgroup.WithContext(ctx)
	working.Go(func() error { return controllers.Run(ctx, cc) })
	for _, p := range parts {
		if p.leading != nil {
			working.Go(func() error { return ignoreEnd(ctx, p.named(p.leading(ctx))) })
		}
	}
	return working.Wait()
}

// ignoreEnd drops errors that only say that the process is to stop.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// waitServing returns when the API server answers.
func (c *controlPlane) waitServing(ctx context.Context) error {
	return c.waitHealthy(ctx, "/livez/ping")
}

// waitReady returns when the API server says that it is ready.
func (c *controlPlane) waitReady(ctx context.Context) error {
	return c.waitHealthy(ctx, "/readyz")
}

func (c *controlPlane) waitHealthy(ctx context.Context, path string) error {
	client, err := kubernetes.NewForConfig(c.server.Loopback())
	if err != nil {
		return err
	}
	return wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		return client.RESTClient().Get().AbsPath(path).Do(ctx).Error() == nil, nil
	})
}

// publishKubeconfig writes the administrator's kubeconfig.
func (c *controlPlane) publishKubeconfig(ctx context.Context, now *certs.Bundle) error {
	b, err := certs.Kubeconfig(c.options.name, c.url(), now.CAPEM, now.Admin)
	if err != nil {
		return err
	}
	if err := certs.WriteKubeconfig(c.options.kubeconfigPath, b); err != nil {
		return err
	}
	said := "The administrator has a new certificate"
	if now == c.bundle {
		said = "Cluster became ready"
	}
	klog.FromContext(ctx).Info(said, "cluster", c.options.name, "server", c.url(), "kubeconfig", c.options.kubeconfigPath)
	return nil
}

func listenerPort(l net.Listener) (int, error) {
	_, p, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, fmt.Errorf("address of the listener: %w", err)
	}
	return strconv.Atoi(p)
}

// sans sorts the names of the door into DNS names and addresses.
func (o controlPlaneOptions) sans() certs.BundleOptions {
	names := slices.Clone(o.names)
	if o.moreNames != nil {
		names = append(names, o.moreNames()...)
	}
	b := certs.BundleOptions{ClusterDomain: o.clusterDomain}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			b.IPs = append(b.IPs, ip)
		} else if name != "" {
			b.DNSNames = append(b.DNSNames, name)
		}
	}
	return b
}

func files(b *certs.Bundle) apiserver.Files {
	return apiserver.Files{
		ClientCA:                b.ClientCAFile,
		ServingCert:             b.ServingCertFile,
		ServingKey:              b.ServingKeyFile,
		FrontProxyCA:            b.FrontProxyCAFile,
		FrontProxyClientCert:    b.FrontProxyClientCertFile,
		FrontProxyClientKey:     b.FrontProxyKeyFile,
		ServiceAccountKey:       b.ServiceAccountKeyFile,
		ServiceAccountPublicKey: b.ServiceAccountPubFile,
	}
}
