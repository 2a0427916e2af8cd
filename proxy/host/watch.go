// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/klog/v2"
)

const (
	// minWatchTimeout is asked of the host, up to twice as long, so that the
	// watches of many doors do not end together.
	minWatchTimeout = 5 * time.Minute

	// minWatchLife distinguishes a watch that ended in its time from one that
	// the host accepted and dropped.
	minWatchLife = time.Second

	// watchBuffer lets the host's stream be read on while the cache works.
	watchBuffer = 100
)

// Watch implements storage.Interface. The watch that it returns outlives the
// host's: when the connection is lost or the host ends it, it is resumed at
// the last revision seen, for as long as that takes. Upstream's cache would
// otherwise start over, end the watches of every tenant, and serve nothing
// while the host is away; like this, reads at resourceVersion=0 and open
// watches go on (D4 in docs/decisions.md). It ends with an error only when the host no
// longer has the history, and the cache has to be filled again.
func (s *Storage) Watch(ctx context.Context, path string, opts storage.ListOptions) (watch.Interface, error) {
	if opts.SendInitialEvents != nil && *opts.SendInitialEvents {
		return nil, apierrors.NewBadRequest("sendInitialEvents is served by the watch cache only")
	}
	options := metav1.ListOptions{ResourceVersion: opts.ResourceVersion, AllowWatchBookmarks: true}
	var namespace string
	var one key
	var err error
	if opts.Recursive {
		namespace, err = s.scope(path)
	} else {
		var k key
		k, err = s.parse(path)
		namespace = k.namespace
		one = k
		if names := s.hostNames(k); len(names) == 1 {
			options.FieldSelector = fields.OneTermEqualSelector("metadata.name", names[0]).String()
		}
	}
	if err != nil {
		return nil, err
	}
	if options.LabelSelector, err = s.selector(namespace); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &hostWatcher{s: s, options: options, pred: opts.Predicate, one: one, result: make(chan watch.Event, watchBuffer), cancel: cancel}
	go w.run(ctx)
	return w, nil
}

// hostWatcher is one watch of the cache, over as many watches of the host as
// it takes.
type hostWatcher struct {
	s       *Storage
	options metav1.ListOptions // ResourceVersion moves on with the events seen
	pred    storage.SelectionPredicate
	one     key // the only watched object, if it is not a collection
	result  chan watch.Event
	cancel  context.CancelFunc
}

// errWatchEnded is why a host watch ended of itself.
var errWatchEnded = errors.New("host ended the watch")

// ResultChan implements watch.Interface.
func (w *hostWatcher) ResultChan() <-chan watch.Event { return w.result }

// Stop implements watch.Interface.
func (w *hostWatcher) Stop() { w.cancel() }

// run keeps a host watch going until ctx ends or the history is gone.
func (w *hostWatcher) run(ctx context.Context) {
	defer close(w.result)
	defer w.cancel()
	logger := klog.FromContext(ctx).WithValues("resource", w.s.kind.resource)
	delay := newWatchBackoff()
	for ctx.Err() == nil {
		progressed, err := w.once(ctx)
		if progressed {
			delay = newWatchBackoff()
		}
		switch {
		case ctx.Err() != nil:
			return
		case isExpired(err):
			logger.V(2).Info("Host no longer has the history to resume the watch", "revision", w.options.ResourceVersion)
			w.send(ctx, watch.Event{Type: watch.Error, Object: expiredStatus(err)})
			return
		case errors.Is(err, errWatchEnded) && progressed:
			continue // as it should after a while
		}
		if w.s.health.lost() {
			logger.Info("Host watch lost", "revision", w.options.ResourceVersion, "err", err)
			watchLosses.WithLabelValues(w.s.kind.resource).Inc()
		}
		timer := w.s.cfg.Clock.NewTimer(delay.Step())
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
		timer.Stop()
	}
}

func newWatchBackoff() wait.Backoff {
	return wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 7, Cap: 3 * time.Second}
}

// once runs one host watch to its end. progressed reports whether it was one:
// it brought something, or stood for a while.
func (w *hostWatcher) once(ctx context.Context) (progressed bool, err error) {
	timeout := int64((minWatchTimeout + rand.N(minWatchTimeout)).Seconds()) //nolint:gosec // spreads load, hides nothing
	options := w.options
	options.TimeoutSeconds = &timeout
	began := w.s.cfg.Clock.Now()
	host, err := w.s.host.watch(ctx, options)
	if err != nil {
		return false, err
	}
	defer host.Stop()
	// A connection that breaks while it is opened gives no error but a watch
	// that has ended already (Request.Watch in client-go).
	select {
	case ev, ok := <-host.ResultChan():
		if !ok {
			return false, errWatchEnded
		}
		w.resumed(ctx)
		if err := w.handle(ctx, ev); err != nil {
			return false, err
		}
		progressed = true
	default:
		w.resumed(ctx)
	}
	more, err := w.pump(ctx, host)
	return progressed || more || w.s.cfg.Clock.Since(began) >= minWatchLife, err
}

// resumed notes that the host watch is there.
func (w *hostWatcher) resumed(ctx context.Context) {
	if away := w.s.health.found(); away > 0 {
		klog.FromContext(ctx).Info("Host watch resumed", "resource", w.s.kind.resource, "revision", w.options.ResourceVersion, "duration", away)
	}
}

// pump hands on the events of a host watch until it ends, and reports whether
// there were any.
func (w *hostWatcher) pump(ctx context.Context, host watch.Interface) (progressed bool, err error) {
	probe := w.s.cfg.Clock.NewTicker(w.s.pulse.tick())
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			return progressed, ctx.Err()
		case <-probe.C():
			if err := w.s.pulse.check(ctx, w.probe); err != nil {
				return progressed, err
			}
		case ev, ok := <-host.ResultChan():
			if !ok {
				return progressed, errWatchEnded
			}
			if err := w.handle(ctx, ev); err != nil {
				return progressed, err
			}
			progressed = true
		}
	}
}

// handle hands on one event, or returns the error that it is.
func (w *hostWatcher) handle(ctx context.Context, ev watch.Event) error {
	w.s.pulse.beat()
	if ev.Type == watch.Error {
		return apierrors.FromObject(ev.Object)
	}
	return w.forward(ctx, ev)
}

// nobody is a name that no object has.
const nobody = "nobody"

// probe asks the host for next to nothing: a list of a name that does not exist.
// A limit would not do, for the host's cache ignores it.
func (w *hostWatcher) probe(ctx context.Context) error {
	_, err := w.s.host.list(ctx, metav1.ListOptions{
		LabelSelector: w.options.LabelSelector, ResourceVersion: "0",
		FieldSelector: fields.OneTermEqualSelector("metadata.name", nobody).String(),
	})
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Code < http.StatusInternalServerError {
		return nil // an answer is an answer
	}
	return err
}

// forward gives one event of the host to the cache, in virtual form.
func (w *hostWatcher) forward(ctx context.Context, ev watch.Event) error {
	m, err := meta.Accessor(ev.Object)
	if err != nil {
		return err
	}
	rv, err := w.s.versioner.ParseResourceVersion(m.GetResourceVersion())
	if err != nil {
		return err
	}
	out, ok, err := w.translate(ctx, ev, m, rv)
	if err != nil {
		return err
	}
	// Before the event: a reader that has to wait for it finds its revision.
	w.s.revisions.see(rv)
	if ev.Type == watch.Deleted {
		w.s.revisions.gone(m.GetUID())
	}
	if ok && !w.send(ctx, out) {
		return ctx.Err()
	}
	w.options.ResourceVersion = m.GetResourceVersion()
	return nil
}

// translate returns the virtual event for one of the host. There is always
// one that carries the revision on, for a reader may wait for it.
func (w *hostWatcher) translate(ctx context.Context, ev watch.Event, m metav1.Object, rv uint64) (watch.Event, bool, error) {
	if ev.Type == watch.Bookmark {
		return w.bookmark(w.s.newFunc(), rv)
	}
	v, err := w.virtual(ctx, ev, m, rv)
	if err != nil {
		w.s.skip(ctx, ev.Object, err)
		return w.withdraw(m, rv)
	}
	if ev.Type == watch.Deleted {
		w.s.shown.remove(m.GetName())
	}
	if k, err := w.s.keyOf(v); err != nil || w.one.path != "" && k.name != w.one.name || w.s.superseded(m, k) {
		return w.bookmark(w.s.newFunc(), rv)
	}
	if !w.pred.Empty() {
		if match, err := w.pred.Matches(v); err != nil || !match {
			return w.bookmark(w.s.newFunc(), rv)
		}
	}
	return watch.Event{Type: ev.Type, Object: v}, true, nil
}

// virtual returns the virtual object of an event. The answer to a write of this
// door has made it already, if the event is that write's.
func (w *hostWatcher) virtual(ctx context.Context, ev watch.Event, m metav1.Object, rv uint64) (runtime.Object, error) {
	if ev.Type == watch.Deleted {
		if e, ok := w.s.shown.get(m.GetName()); ok && e.uid == m.GetUID() && w.ofCache() {
			return w.named(e.virtual, m.GetUID(), rv)
		}
		// Not remembered: show, not restore.
		v := w.s.newFunc()
		_, err := w.s.show(ctx, ev.Object, v)
		return v, err
	}
	if p := w.s.pairOf(m); p != nil {
		return p.virtual, nil
	}
	v := w.s.newFunc()
	if err := w.s.restore(ctx, ev.Object, v); err != nil {
		return nil, err
	}
	w.s.pair(m, pair{host: ev.Object, virtual: v})
	return v, nil
}

// ofCache reports whether the watch is one with which the cache feeds itself.
func (w *hostWatcher) ofCache() bool { return w.one.path == "" && w.pred.Empty() }

// named returns all that the cache needs of an object that is gone: it has the
// object itself, and shows that.
func (w *hostWatcher) named(was types.NamespacedName, uid types.UID, rv uint64) (runtime.Object, error) {
	v := w.s.newFunc()
	m, err := meta.Accessor(v)
	if err != nil {
		return nil, err
	}
	m.SetNamespace(was.Namespace)
	m.SetName(was.Name)
	m.SetUID(uid)
	return v, w.s.versioner.UpdateObject(v, rv)
}

// withdraw returns a DELETED event for an object that was shown before and can
// no longer be read.
func (w *hostWatcher) withdraw(m metav1.Object, rv uint64) (watch.Event, bool, error) {
	was, ok := w.s.shown.remove(m.GetName())
	if !ok {
		return w.bookmark(w.s.newFunc(), rv)
	}
	v, err := w.named(was, m.GetUID(), rv)
	if err != nil {
		return watch.Event{}, false, err
	}
	return watch.Event{Type: watch.Deleted, Object: v}, true, nil
}

func (w *hostWatcher) bookmark(v runtime.Object, rv uint64) (watch.Event, bool, error) {
	err := w.s.versioner.UpdateObject(v, rv)
	return watch.Event{Type: watch.Bookmark, Object: v}, err == nil, err
}

// send reports false when the watch has ended.
func (w *hostWatcher) send(ctx context.Context, ev watch.Event) bool {
	select {
	case w.result <- ev:
		return true
	case <-ctx.Done():
		return false
	}
}

func expiredStatus(err error) *metav1.Status {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		st := status.Status()
		return &st
	}
	st := apierrors.NewResourceExpired("the history of this watch is gone").Status()
	return &st
}
