// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	admissionv1 "k8s.io/api/admission/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apiserver/pkg/endpoints/request"

	"portico.dev/portico/proxy/hooks"
)

// shownToHooks returns the host object h, which is about to be written, with the
// changes of the operator's hooks. old is the host object that an update changes.
func (s *Storage) shownToHooks(ctx context.Context, k key, operation admissionv1.Operation, old, h runtime.Object) (runtime.Object, error) {
	o := s.objectOf(ctx, types.NamespacedName{Namespace: k.namespace, Name: k.name})
	o.Operation, o.Old = operation, old
	changed, err := s.cfg.Hooks.ToHost(ctx, o, h)
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		k = k.about(h)
		return nil, &apierrors.StatusError{ErrStatus: s.cfg.Translator.StatusAbout(status.Status(), h, s.known(k))}
	}
	return changed, err
}

// look returns a virtual object as hooks have it shown to the tenant.
func (s *Storage) look(ctx context.Context, v runtime.Object) runtime.Object {
	m, err := meta.Accessor(v)
	if err != nil {
		return v
	}
	return s.cfg.Hooks.ToVirtual(ctx, s.objectOf(ctx, types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()}), v)
}

func (s *Storage) objectOf(ctx context.Context, virtual types.NamespacedName) hooks.Object {
	gv := schema.GroupVersion{Group: s.kind.group, Version: "v1"}
	o := hooks.Object{Kind: gv.WithKind(s.kind.name), Resource: gv.WithResource(s.kind.resource), Virtual: virtual, DryRun: IsDryRun(ctx)}
	if u, ok := request.UserFrom(ctx); ok {
		o.User = u.GetName()
	}
	return o
}

// withoutLooks returns an updated object as if its tenant had changed it without
// the changes of hooks on its way back: these are no wish of the tenant's, and
// must not reach the host.
func (s *Storage) withoutLooks(ctx context.Context, orig *state, updated runtime.Object) (runtime.Object, error) {
	if !s.cfg.Hooks.Shows(s.kind.resource) {
		return updated, nil
	}
	shown, err := s.toVersioned(orig.virtual)
	if err != nil {
		return nil, err
	}
	plain, _, err := s.plain(ctx, orig.host)
	if err != nil {
		return nil, err
	}
	if apiequality.Semantic.DeepEqual(plain, shown) {
		return updated, nil
	}
	var forms [3][]byte
	for i, obj := range []runtime.Object{shown, updated, plain} {
		if forms[i], err = json.Marshal(obj); err != nil {
			return nil, err
		}
	}
	changes, err := strategicpatch.CreateTwoWayMergePatch(forms[0], forms[1], s.kind.shape)
	if err != nil {
		return nil, fmt.Errorf("compute the tenant's changes: %w", err)
	}
	content, err := strategicpatch.StrategicMergePatch(forms[2], changes, s.kind.shape)
	if err != nil {
		return nil, fmt.Errorf("apply the tenant's changes: %w", err)
	}
	out, ok := reflect.New(reflect.TypeOf(updated).Elem()).Interface().(runtime.Object)
	if !ok {
		return nil, fmt.Errorf("%T is no object of the API", updated)
	}
	if err := json.Unmarshal(content, out); err != nil {
		return nil, fmt.Errorf("read the object with the tenant's changes: %w", err)
	}
	return out, nil
}
