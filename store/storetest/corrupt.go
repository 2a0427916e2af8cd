// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/api/apitesting"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
)

var errSynthetic = errors.New("synthetic error")

func runCorrupt(t *testing.T, open Open) {
	t.Run("GetListWithoutErrorAggregation", func(t *testing.T) {
		allowUnsafeDeletion(t, false)
		storagetesting.RunTestGetListWithoutErrorAggregation(t.Context(), t, setup(t, open, quiet), corruptObject(t))
	})
	t.Run("GetListWithErrorAggregation", func(t *testing.T) {
		allowUnsafeDeletion(t, true)
		f := setup(t, open, quiet)
		f.Interface = etcd3.NewStoreWithUnsafeCorruptObjectDeletion(f.Interface, schema.GroupResource{Resource: "pods"})
		storagetesting.RunTestGetListWithErrorAggregation(t.Context(), t, f, corruptObject(t))
	})
	t.Run("DeleteMissingExpectedError", func(t *testing.T) {
		allowUnsafeDeletion(t, true)
		codec := newFailingCodec(t)
		storagetesting.RunTestDeleteWithConflictAndMissingExpectedTransformOrDecodeError(t.Context(), t, setup(t, open, quiet, withCodec(codec)), codec.fail.Store)
	})
	t.Run("DeleteExpectedDecodeError", func(t *testing.T) {
		allowUnsafeDeletion(t, true)
		codec := newFailingCodec(t)
		storagetesting.RunTestDeleteExpectedTransformOrDecodeError(t.Context(), t, setup(t, open, quiet, withCodec(codec)), codec.fail.Store)
	})
	t.Run("DeleteExpectedTransformError", func(t *testing.T) {
		allowUnsafeDeletion(t, true)
		transformer := &failingTransformer{Transformer: storagetesting.NewPrefixTransformer([]byte(valuePrefix), false)}
		storagetesting.RunTestDeleteExpectedTransformOrDecodeError(t.Context(), t, setup(t, open, quiet, withTransformer(transformer)), transformer.fail.Store)
	})
	t.Run("DeleteWithSuggestionMissingExpectedError", func(t *testing.T) {
		allowUnsafeDeletion(t, true)
		storagetesting.RunTestDeleteWithSuggestionAndMissingExpectedTransformOrDecodeError(t.Context(), t, setup(t, open, quiet))
	})
	t.Run("WatchWithUnsafeDelete", func(t *testing.T) {
		allowUnsafeDeletion(t, true)
		storagetesting.RunTestWatchWithUnsafeDelete(t.Context(), t, setup(t, open, quiet), corruptObject(t))
	})
}

func allowUnsafeDeletion(t *testing.T, allow bool) {
	t.Helper()
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, features.AllowUnsafeMalformedObjectDeletion, allow)
}

// corruptObject returns upstream's unexported error for an object that cannot be
// transformed.
func corruptObject(t *testing.T) error {
	t.Helper()
	failing := &failingTransformer{}
	failing.fail.Store(true)
	_, _, err := etcd3.WithCorruptObjErrorHandlingTransformer(failing).TransformFromStorage(t.Context(), nil, value.DefaultContext(nil))
	if err == nil {
		t.Fatal("a failing transformer did not fail")
	}
	return err
}

type failingTransformer struct {
	value.Transformer
	fail atomic.Bool
}

func (f *failingTransformer) TransformFromStorage(ctx context.Context, data []byte, dataCtx value.Context) ([]byte, bool, error) {
	if f.fail.Load() {
		return nil, false, errSynthetic
	}
	return f.Transformer.TransformFromStorage(ctx, data, dataCtx)
}

type failingCodec struct {
	runtime.Codec
	fail atomic.Bool
}

func newFailingCodec(t *testing.T) *failingCodec {
	return &failingCodec{Codec: apitesting.TestCodec(serializer.NewCodecFactory(newScheme(t)), examplev1.SchemeGroupVersion)}
}

func (f *failingCodec) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	if f.fail.Load() {
		return nil, nil, errSynthetic
	}
	return f.Codec.Decode(data, defaults, into)
}

var (
	_ storagetesting.InterfaceWithPrefixTransformer   = (*fixture)(nil)
	_ storagetesting.InterfaceWithTransformerOverride = (*fixture)(nil)
	_ storage.Interface                               = (*fixture)(nil)
)
