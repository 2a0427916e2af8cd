// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
)

// workers bounds the host calls that run at the same time outside of requests.
const workers = 8

// Config says where the objects are read, and where their copies are written.
type Config struct {
	Translator *rewrite.Translator
	// Virtual reads the objects as they are now, where an informer may be behind.
	Virtual kubernetes.Interface
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host writes the copies, in the cluster's host namespace.
	Host kubernetes.Interface
	// Leader does so for Run; nil means Host. With several replicas it refuses to
	// work for one that does not lead.
	Leader kubernetes.Interface

	// Ingresses reports whether an Ingress is on the host, which then needs the
	// Secrets that it names. Nil: none is.
	Ingresses func(*networkingv1.Ingress) bool

	// Uses reports whether something else that is on the host names a Secret or a
	// ConfigMap. Nil: nothing does. A change of its answer is told with Touch.
	Uses func(kind, namespace, name string) bool

	// PinTime is how long a copy outlives Ensure without a pod that names it; 0
	// means two minutes. It must be longer than a host POST may take.
	PinTime time.Duration
	// Linger is how long a copy outlives its last pod; 0 means half a minute.
	Linger time.Duration
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// reference is a virtual Secret or ConfigMap.
type reference struct {
	kind, namespace, name string
}

// Controller keeps the host copies of the objects that pods name.
type Controller struct {
	cfg   Config
	view  informers.SharedInformerFactory
	named []cache.Indexer // of objects that name others, by byReference
	kinds map[string]kind // as Ensure writes them
	kept  map[string]kind // as Run does
	loop  *queue.Loop[reference]
	locks locks[reference]

	mu sync.Mutex
	// pinned has the references that count as used without a pod; idle since when
	// none uses one. Both are in memory only: after a restart every wait begins
	// again.
	pinned map[reference]*pin
	ending []pinEnd // accepted pins by their end
	idle   map[reference]time.Time
}

// New returns a Controller. It registers with the informers, so it must be
// called before they are relied on.
func New(cfg Config) (*Controller, error) {
	if cfg.PinTime == 0 {
		cfg.PinTime = 2 * time.Minute
	}
	if cfg.Linger == 0 {
		cfg.Linger = 30 * time.Second
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	if cfg.Leader == nil {
		cfg.Leader = cfg.Host
	}
	selector, err := hostview.Pushed(cfg.Translator)
	if err != nil {
		return nil, err
	}
	c := &Controller{
		cfg: cfg, view: hostview.NewFactory(cfg.Host, cfg.Translator.Cluster().HostNamespace, selector),
		pinned: map[reference]*pin{}, idle: map[reference]time.Time{}, kept: map[string]kind{},
	}
	c.kinds = kindsOf(cfg, c.view)
	for name, kind := range c.kinds {
		c.kept[name] = kind.as(cfg.Leader)
	}
	c.loop = queue.NewLoop("push", cfg.Clock, c.reconcile)
	return c, c.listen()
}

// Observe looks at the copies that are on the host until ctx ends, in every
// replica. Run needs it; Ensure works without, but then asks the host for each
// copy.
func (c *Controller) Observe(ctx context.Context) error { return hostview.Observe(ctx, c.view) }

// Run keeps the copies in step until ctx ends. With several replicas, only the
// leader runs it.
func (c *Controller) Run(ctx context.Context) error { return c.loop.Run(ctx, workers, c.cfg.Informers) }

// Touch looks at objects again that a virtual object of the namespace began or
// ceased to name.
func (c *Controller) Touch(namespace string, refs []rewrite.Reference) {
	for _, r := range refs {
		if c.kinds[r.Kind] != nil {
			c.loop.Add(reference{kind: r.Kind, namespace: namespace, name: r.Name})
		}
	}
}

// Ensure brings the objects that a pod of the virtual namespace names onto the
// host, ahead of the pod. References of kinds that are not pushed are ignored.
// Errors of the host come back as a Status with virtual names.
//
// Without an error, settle must be called once, with whether the host refused the
// pod. Copies that are there for refused pods only are then removed before settle
// returns: a tenant who posts such pods fills the host with nothing.
func (c *Controller) Ensure(ctx context.Context, namespace string, refs []rewrite.Reference) (settle func(refused bool), err error) {
	pushed := make([]reference, 0, len(refs))
	for _, ref := range refs {
		if c.kinds[ref.Kind] != nil {
			pushed = append(pushed, reference{kind: ref.Kind, namespace: namespace, name: ref.Name})
		}
	}
	for _, r := range pushed {
		c.hold(r)
	}
	settle = func(refused bool) { c.release(ctx, pushed, refused) }
	// One Status: several cannot be joined into one answer.
	if err := each(pushed, func(r reference) error { return c.ensure(ctx, r) }); err != nil {
		settle(true) // there will be no pod
		return nil, err
	}
	return settle, nil
}

// each calls f for every reference, a few at a time: a pod can name thousands.
// It returns one of the errors.
func each(refs []reference, f func(reference) error) error {
	var running errgroup.Group
	running.SetLimit(workers)
	for _, r := range refs {
		running.Go(func() error { return f(r) })
	}
	return running.Wait()
}

func (c *Controller) ensure(ctx context.Context, r reference) error {
	unlock, err := c.locks.lock(ctx, r)
	if err != nil {
		return err
	}
	defer unlock()
	// The pod must get the tenant's write of a moment ago, and the informer may
	// not have it yet. The CA bundle is in every pod and as good as constant:
	// there the informer will do.
	live := r.name != rootCA
	made, err := c.kinds[r.kind].push(ctx, r, live)
	switch {
	case made:
		c.noteMade(r)
	case err == nil:
		err = c.kinds[r.kind].vacant(ctx, r)
	}
	return c.forTenant(r, err)
}

// rootCA is the ConfigMap with the virtual cluster's CA, which every namespace
// has and every pod mounts.
const rootCA = "kube-root-ca.crt"

// forTenant turns the names in a Status of the host back.
func (c *Controller) forTenant(r reference, err error) error {
	var status apierrors.APIStatus
	if err == nil || !errors.As(err, &status) {
		return err
	}
	return &apierrors.StatusError{ErrStatus: c.cfg.Translator.StatusToVirtual(status.Status(), r.namespace, r.name)}
}

// reconcile brings one copy in step with its virtual object and with the pods
// that name it.
func (c *Controller) reconcile(ctx context.Context, r reference) (time.Duration, error) {
	unlock, err := c.locks.lock(ctx, r)
	if err != nil {
		return 0, err
	}
	defer unlock()

	users, err := c.users(r)
	if err != nil {
		return 0, err
	}
	kind := c.kept[r.kind]
	switch again, want := c.wanted(r, users, kind.known(r)); want {
	case wantCopy:
		made, err := kind.push(ctx, r, false)
		if made && !users {
			c.noteMade(r) // the object came, or was changed, while its pod was on its way
		}
		return again, errors.Join(err, kind.followFormer(ctx, r))
	case wantInStep:
		return again, errors.Join(kind.follow(ctx, r), kind.followFormer(ctx, r))
	}
	return 0, kind.remove(ctx, r)
}

// want is how a copy is to be treated.
type want int

const (
	wantNone   want = iota // there is to be none
	wantInStep             // one that exists lingers, and is kept in step
	wantCopy               // there is to be one
)

// wanted says whether there is to be a copy, and when that must be looked at
// again. A copy without users is kept in step while it lingers, but never made.
func (c *Controller) wanted(r reference, used, exists bool) (again time.Duration, want want) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Clock.Now()
	pinned := c.pinnedFor(r, now)
	switch {
	case used:
		delete(c.idle, r)
		return 0, wantCopy
	case pinned > 0:
		return pinned, wantCopy
	case !exists:
		delete(c.idle, r)
		return 0, wantNone
	}
	since, ok := c.idle[r]
	if !ok {
		c.idle[r], since = now, now
	}
	if wait := since.Add(c.cfg.Linger).Sub(now); wait > 0 {
		return wait, wantInStep
	}
	delete(c.idle, r)
	return 0, wantNone
}

// key identifies the reference in an index.
func (r reference) key() string { return r.kind + "/" + r.namespace + "/" + r.name }
