// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
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

// Pusher keeps the host copies of the objects that pods name.
type Pusher struct {
	cfg   Config
	view  informers.SharedInformerFactory
	pods  cache.Indexer
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

// New returns a pusher. It registers with the informers, so it must be called
// before they are relied on.
func New(cfg Config) (*Pusher, error) {
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
	p := &Pusher{
		cfg: cfg, view: hostview.NewFactory(cfg.Host, cfg.Translator.Cluster().HostNamespace, selector),
		pods:   cfg.Informers.Core().V1().Pods().Informer().GetIndexer(),
		pinned: map[reference]*pin{}, idle: map[reference]time.Time{}, kept: map[string]kind{},
	}
	p.kinds = kindsOf(cfg, p.view)
	for name, kind := range p.kinds {
		p.kept[name] = kind.as(cfg.Leader)
	}
	p.loop = queue.NewLoop("push", cfg.Clock, p.reconcile)
	return p, p.listen()
}

// Observe looks at the copies that are on the host until ctx ends, in every
// replica. Run needs it; Ensure works without, but then asks the host for each
// copy.
func (p *Pusher) Observe(ctx context.Context) error { return hostview.Observe(ctx, p.view) }

// Run keeps the copies in step until ctx ends. With several replicas, only the
// leader runs it.
func (p *Pusher) Run(ctx context.Context) error { return p.loop.Run(ctx, workers, p.cfg.Informers) }

// Ensure brings the objects that a pod of the virtual namespace names onto the
// host, ahead of the pod. References of kinds that are not pushed are ignored.
// Errors of the host come back as a Status with virtual names.
//
// Without an error, settle must be called once, with whether the host refused the
// pod. Copies that are there for refused pods only are then removed before settle
// returns: a tenant who posts such pods fills the host with nothing.
func (p *Pusher) Ensure(ctx context.Context, namespace string, refs []rewrite.Reference) (settle func(refused bool), err error) {
	pushed := make([]reference, 0, len(refs))
	for _, ref := range refs {
		if p.kinds[ref.Kind] != nil {
			pushed = append(pushed, reference{kind: ref.Kind, namespace: namespace, name: ref.Name})
		}
	}
	for _, r := range pushed {
		p.hold(r)
	}
	settle = func(refused bool) { p.release(ctx, pushed, refused) }
	// One Status: several cannot be joined into one answer.
	if err := each(pushed, func(r reference) error { return p.ensure(ctx, r) }); err != nil {
		settle(true) // there will be no pod
		return nil, err
	}
	return settle, nil
}

// each calls f for every reference, a few at a time: a pod can name thousands. It returns one of the errors.
func each(refs []reference, f func(reference) error) error {
	var running errgroup.Group
	running.SetLimit(workers)
	for _, r := range refs {
		running.Go(func() error { return f(r) })
	}
	return running.Wait()
}

func (p *Pusher) ensure(ctx context.Context, r reference) error {
	unlock, err := p.locks.lock(ctx, r)
	if err != nil {
		return err
	}
	defer unlock()
	// The pod must get what the tenant wrote a moment ago, and the informer may not
	// have that yet. The CA bundle is in every pod and as good as constant: there
	// the informer will do.
	live := r.name != rootCA
	made, err := p.kinds[r.kind].push(ctx, r, live)
	switch {
	case made:
		p.noteMade(r)
	case err == nil:
		err = p.kinds[r.kind].vacant(ctx, r)
	}
	return p.forTenant(r, err)
}

// rootCA is the ConfigMap with the virtual cluster's CA, which every namespace has and every pod mounts.
const rootCA = "kube-root-ca.crt"

// forTenant turns the names in a Status of the host back.
func (p *Pusher) forTenant(r reference, err error) error {
	var status apierrors.APIStatus
	if err == nil || !errors.As(err, &status) {
		return err
	}
	return &apierrors.StatusError{ErrStatus: p.cfg.Translator.StatusToVirtual(status.Status(), r.namespace, r.name)}
}

// reconcile brings one copy in step with its virtual object and with the pods that name it.
func (p *Pusher) reconcile(ctx context.Context, r reference) (time.Duration, error) {
	unlock, err := p.locks.lock(ctx, r)
	if err != nil {
		return 0, err
	}
	defer unlock()

	users, err := p.pods.IndexKeys(byReference, r.key())
	if err != nil {
		return 0, err
	}
	kind := p.kept[r.kind]
	switch again, want := p.wanted(r, len(users) > 0, kind.known(r)); want {
	case wantCopy:
		made, err := kind.push(ctx, r, false)
		if made && len(users) == 0 {
			p.noteMade(r) // the object came, or was changed, while its pod was on its way
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
// again. A copy that nobody uses any more is kept in step while it lingers, but
// never made.
func (p *Pusher) wanted(r reference, used, exists bool) (again time.Duration, want want) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Clock.Now()
	pinned := p.pinnedFor(r, now)
	switch {
	case used:
		delete(p.idle, r)
		return 0, wantCopy
	case pinned > 0:
		return pinned, wantCopy
	case !exists:
		delete(p.idle, r)
		return 0, wantNone
	}
	since, ok := p.idle[r]
	if !ok {
		p.idle[r], since = now, now
	}
	if wait := since.Add(p.cfg.Linger).Sub(now); wait > 0 {
		return wait, wantInStep
	}
	delete(p.idle, r)
	return 0, wantNone
}

// key identifies the reference in an index.
func (r reference) key() string { return r.kind + "/" + r.namespace + "/" + r.name }
