// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/apimachinery/pkg/api/apitesting"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/example"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value"

	"portico.dev/portico/store"
)

// Open returns an empty store that lives as long as the test. Quiet watches get
// a progress notification about every progress interval.
type Open func(t testing.TB, progress time.Duration) store.Backend

// valuePrefix is put before each value by the transformer, so that a value that
// went around it is noticed.
const valuePrefix = "test!"

// fixture is upstream's etcd3 storage on a Backend.
type fixture struct {
	storage.Interface
	backend     store.Backend
	client      *etcdk8s.Client
	kv          *storagetesting.KVRecorder
	lists       *storagetesting.KubernetesRecorder
	reads       *countedReads
	codec       runtime.Codec
	transformer *swappable
}

// option changes a fixture before the storage is made.
type option func(*fixture)

func withCodec(c runtime.Codec) option { return func(f *fixture) { f.codec = c } }

func withTransformer(t value.Transformer) option {
	return func(f *fixture) { f.transformer.set(t) }
}

// setup follows testSetup of etcd3/store_test.go, with a Backend in the place of
// an embedded etcd.
func setup(t testing.TB, open Open, progress time.Duration, options ...option) *fixture {
	t.Helper()
	scheme := newScheme(t)
	f := &fixture{
		backend:     open(t, progress),
		codec:       apitesting.TestCodec(serializer.NewCodecFactory(scheme), examplev1.SchemeGroupVersion),
		transformer: &swappable{},
	}
	f.transformer.set(storagetesting.NewPrefixTransformer([]byte(valuePrefix), false))
	for _, o := range options {
		o(f)
	}
	f.client = f.record(t, f.backend.Client())
	leases := etcd3.NewDefaultLeaseManagerConfig()
	leases.ReuseDurationSeconds = 1 // tests wait for the end of leases
	versioner := storage.APIObjectVersioner{}
	s, err := etcd3.New(f.client, f.backend, f.codec, newPod, newPodList, "", "/pods/",
		schema.GroupResource{Resource: "pods"}, f.transformer, leases, etcd3.NewDefaultDecoder(f.codec, versioner), versioner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	f.Interface = s
	return f
}

// record puts upstream's recorders between the storage and the Backend's client,
// as upstream's testserver does.
func (f *fixture) record(t testing.TB, inner *etcdk8s.Client) *etcdk8s.Client {
	f.reads = &countedReads{Interface: inner.Kubernetes}
	f.lists = storagetesting.NewKubernetesRecorder(f.reads)
	f.kv = storagetesting.NewKVRecorder(inner.KV, f.lists)
	c := clientv3.NewCtxClient(t.Context())
	c.KV, c.Watcher, c.Lease, c.Maintenance = f.kv, inner.Watcher, inner.Lease, inner.Maintenance
	return &etcdk8s.Client{Client: c, Kubernetes: f.lists}
}

func newScheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	for _, add := range []func(*runtime.Scheme) error{example.AddToScheme, examplev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

func newPod() runtime.Object     { return &example.Pod{} }
func newPodList() runtime.Object { return &example.PodList{} }

// compact is the storagetesting.Compaction of the fixture.
func (f *fixture) compact(ctx context.Context, t *testing.T, resourceVersion string) {
	t.Helper()
	rev, err := strconv.ParseInt(resourceVersion, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	// Upstream's compactor writes a key each time, and a test relies on the
	// revision that this takes.
	f.increaseRevision(ctx, t)
	if _, err := f.client.Compact(ctx, rev); err != nil {
		t.Fatal(err)
	}
	if got := f.CompactRevision(); got != rev {
		t.Fatalf("compacted to %d but the compact revision is %d", rev, got)
	}
}

// increaseRevision is the storagetesting.IncreaseRVFunc of the fixture.
func (f *fixture) increaseRevision(ctx context.Context, t *testing.T) int64 {
	t.Helper()
	resp, err := f.client.KV.Put(ctx, "increaseRV", "ok")
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// validateKey is the storagetesting.KeyValidation of the fixture.
func (f *fixture) validateKey(ctx context.Context, t *testing.T, key string) {
	t.Helper()
	resp, err := f.client.KV.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		t.Fatalf("nothing is stored at %q", key)
	}
	obj, err := runtime.Decode(f.codec, resp.Kvs[0].Value[len(valuePrefix):])
	if err != nil {
		t.Fatalf("decode the object at %q: %v", key, err)
	}
	if pod := obj.(*example.Pod); pod.ResourceVersion != "" || pod.SelfLink != "" {
		t.Errorf("stored object has resource version %q and self link %q", pod.ResourceVersion, pod.SelfLink)
	}
}

// UpdatePrefixTransformer implements storagetesting.InterfaceWithPrefixTransformer.
func (f *fixture) UpdatePrefixTransformer(modify storagetesting.PrefixTransformerModifier) func() {
	return f.UpdateTransformer(func(t value.Transformer) value.Transformer {
		changed := *t.(*storagetesting.PrefixTransformer)
		return modify(&changed)
	})
}

// UpdateTransformer implements storagetesting.InterfaceWithTransformerOverride.
func (f *fixture) UpdateTransformer(modify storagetesting.TransformerModifier) func() {
	before := f.transformer.get()
	f.transformer.set(modify(before))
	return func() { f.transformer.set(before) }
}

// swappable is a transformer that can be replaced while the storage uses it.
type swappable struct {
	current atomic.Pointer[value.Transformer]
}

func (s *swappable) get() value.Transformer  { return *s.current.Load() }
func (s *swappable) set(t value.Transformer) { s.current.Store(&t) }

func (s *swappable) TransformFromStorage(ctx context.Context, data []byte, dataCtx value.Context) ([]byte, bool, error) {
	return s.get().TransformFromStorage(ctx, data, dataCtx)
}

func (s *swappable) TransformToStorage(ctx context.Context, data []byte, dataCtx value.Context) ([]byte, error) {
	return s.get().TransformToStorage(ctx, data, dataCtx)
}

// countedReads counts reads where upstream's own client would have sent them to
// its recorded KV.
type countedReads struct {
	etcdk8s.Interface
	n atomic.Uint64
}

func (c *countedReads) Get(ctx context.Context, key string, o etcdk8s.GetOptions) (etcdk8s.GetResponse, error) {
	c.n.Add(1)
	return c.Interface.Get(ctx, key, o)
}

func (c *countedReads) List(ctx context.Context, prefix string, o etcdk8s.ListOptions) (etcdk8s.ListResponse, error) {
	c.n.Add(1)
	return c.Interface.List(ctx, prefix, o)
}
