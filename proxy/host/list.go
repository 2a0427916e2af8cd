// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

// item is one object of a list.
type item struct {
	path     string // its virtual key
	hostName string
	now      bool // not a former name
	obj      runtime.Object
}

// GetList implements storage.Interface by asking the host.
//
// The host orders by host names, the tenant's continue tokens by virtual ones,
// so a page is cut here out of the whole scope. Pages reach this only while
// the cache above is not ready or has forgotten their revision.
func (s *Storage) GetList(ctx context.Context, path string, opts storage.ListOptions, listObj runtime.Object) error {
	if !opts.Recursive {
		return s.listOne(ctx, path, opts, listObj)
	}
	path = "/" + strings.Trim(path, "/") + "/"
	withRev, continueKey, err := storage.ValidateListOptions(path, s.versioner, opts)
	if err != nil {
		return err
	}
	namespace, err := s.scope(path)
	if err != nil {
		return err
	}
	selector, err := s.selector(namespace)
	if err != nil {
		return err
	}
	options := metav1.ListOptions{
		LabelSelector:        selector,
		ResourceVersion:      opts.ResourceVersion,
		ResourceVersionMatch: opts.ResourceVersionMatch,
	}
	if withRev > 0 {
		options.ResourceVersion = formatRV(uint64(withRev))
		options.ResourceVersionMatch = metav1.ResourceVersionMatchExact
	} else if opts.Predicate.Continue != "" {
		options.ResourceVersion, options.ResourceVersionMatch = "", ""
	}
	h, err := s.host.list(ctx, options)
	if err != nil {
		return s.interpret(ctx, err, key{path: path, namespace: namespace})
	}
	rv, err := listRV(s.versioner, h)
	if err != nil {
		return err
	}
	items, err := s.showList(ctx, h)
	if err != nil {
		return err
	}
	if namespace == "" && isFilling(ctx) {
		s.shown.retain(rv, items)
		// The watch that follows starts here, so a cache asked for anything
		// older would be asked for its past.
		s.revisions.see(rv)
	}
	return s.fillList(listObj, items, path, continueKey, rv, opts)
}

// showList returns the objects of a host list that can be shown, in the order
// of virtual keys. One that cannot be shown must not hide the others.
func (s *Storage) showList(ctx context.Context, h runtime.Object) ([]item, error) {
	defer s.translatingBack(ctx)()
	items := make([]item, 0, meta.LenList(h))
	err := meta.EachListItem(h, func(o runtime.Object) error {
		v := s.newFunc()
		if err := s.restore(ctx, o, v); err != nil {
			s.skip(ctx, o, err)
			return nil
		}
		k, err := s.keyOf(v)
		if err != nil {
			return err
		}
		m, err := meta.Accessor(o)
		if err != nil {
			return err
		}
		items = append(items, item{path: k.path, hostName: m.GetName(), now: m.GetName() == s.hostNames(k)[0], obj: v})
		return nil
	})
	// If two host objects are one virtual object, the one with the name of
	// today comes first.
	slices.SortFunc(items, func(a, b item) int {
		if a.path == b.path && a.now {
			return -1
		}
		return strings.Compare(a.path, b.path)
	})
	items = slices.CompactFunc(items, func(a, b item) bool { return a.path == b.path })
	return items, err
}

// skip counts and logs a host object in this cluster's scope that cannot be
// shown, unless it was never meant to be.
func (s *Storage) skip(ctx context.Context, o runtime.Object, err error) {
	var ref klog.ObjectRef
	if m, merr := meta.Accessor(o); merr == nil {
		if _, composed := m.GetLabels()[rewrite.LabelComposed]; composed {
			return // made by Portico itself, and on the host only
		}
		ref = klog.KRef(m.GetNamespace(), m.GetName())
	}
	unreadableObjects.WithLabelValues(s.kind.resource).Inc()
	klog.FromContext(ctx).Info("Host object skipped, it cannot be shown", "resource", s.kind.resource, "hostObject", ref, "err", err)
}

// fillList puts the items that the options ask for into listObj.
func (s *Storage) fillList(listObj runtime.Object, items []item, path, continueKey string, rv uint64, opts storage.ListOptions) error {
	if continueKey != "" {
		from, _ := slices.BinarySearchFunc(items, continueKey, func(i item, k string) int {
			return strings.Compare(i.path, k)
		})
		items = items[from:]
	}
	slice, err := itemsOf(listObj)
	if err != nil {
		return err
	}
	chosen := reflect.MakeSlice(slice.Type(), 0, 0)
	last, more := "", false
	for i, it := range items {
		ok := opts.Predicate.Empty()
		if !ok {
			if ok, err = opts.Predicate.Matches(it.obj); err != nil {
				return err
			}
		}
		if ok {
			chosen = reflect.Append(chosen, reflect.ValueOf(it.obj).Elem())
			last = it.path
		}
		if opts.Predicate.Limit > 0 && int64(chosen.Len()) >= opts.Predicate.Limit {
			more = i < len(items)-1
			break
		}
	}
	slice.Set(chosen)
	token, remaining, err := storage.PrepareContinueToken(last, path, int64(rv), int64(len(items)), more, opts)
	if err != nil {
		return err
	}
	return s.versioner.UpdateList(listObj, rv, token, remaining)
}

// listOne lists the one object that a field selector named.
func (s *Storage) listOne(ctx context.Context, path string, opts storage.ListOptions, listObj runtime.Object) error {
	v := s.newFunc()
	err := s.Get(ctx, path, storage.GetOptions{ResourceVersion: opts.ResourceVersion}, v)
	var items []item
	rv := s.revisions.current()
	switch {
	case storage.IsNotFound(err):
	case err != nil:
		return err
	default:
		items = []item{{path: path, obj: v}}
		if n, err := s.versioner.ObjectResourceVersion(v); err == nil {
			rv = max(rv, n)
		}
	}
	return s.fillList(listObj, items, path, "", rv, opts)
}

// selector selects the host objects of a virtual namespace, or of the whole
// cluster. A namespace that is no label value would end as a selector of the
// tenant's making.
func (s *Storage) selector(namespace string) (string, error) {
	if namespace == "" {
		return s.cfg.Translator.ScopeSelector().String(), nil
	}
	selector, err := labels.ValidatedSelectorFromSet(s.cfg.Translator.NamespaceSelector(namespace))
	if err != nil {
		return "", apierrors.NewBadRequest(fmt.Sprintf("invalid namespace %q", namespace))
	}
	return selector.String(), nil
}

func itemsOf(listObj runtime.Object) (reflect.Value, error) {
	ptr, err := meta.GetItemsPtr(listObj)
	if err != nil {
		return reflect.Value{}, err
	}
	v := reflect.ValueOf(ptr)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Slice {
		return reflect.Value{}, fmt.Errorf("items of %T are no slice", listObj)
	}
	return v.Elem(), nil
}

func listRV(v storage.Versioner, list runtime.Object) (uint64, error) {
	m, err := meta.ListAccessor(list)
	if err != nil {
		return 0, err
	}
	return v.ParseResourceVersion(m.GetResourceVersion())
}
