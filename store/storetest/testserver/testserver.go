// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package testserver

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/apiserver/pkg/storage"
	etcdfeature "k8s.io/apiserver/pkg/storage/feature"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"

	"portico.dev/portico/store/sqlite"
)

// Config has the fields of etcd's embed.Config that upstream's tests set.
type Config struct {
	// WatchProgressNotifyInterval is how often quiet watches hear of progress.
	WatchProgressNotifyInterval time.Duration
	// QuotaBackendBytes has no meaning: the engine has no quota.
	QuotaBackendBytes int64
}

// NewTestConfig returns a Config with nothing set.
func NewTestConfig(testing.TB) *Config { return &Config{} }

// RunEtcd opens an empty store that lives as long as the test, and returns its
// client, with upstream's recorders in it. History is kept until a test gives it
// up.
func RunEtcd(t testing.TB, cfg *Config) *etcdk8s.Client {
	t.Helper()
	installFeatures()
	if cfg == nil {
		cfg = NewTestConfig(t)
	}
	e, err := sqlite.Open(context.WithoutCancel(t.Context()), sqlite.Options{
		Dir:              t.TempDir(),
		Durability:       sqlite.Normal, // as upstream's, which does not sync at all
		Retention:        -1,
		ProgressInterval: cfg.WatchProgressNotifyInterval,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	return record(e.Client())
}

// record puts upstream's recorders where upstream's RunEtcd does.
//
// Its tests count the requests of clientv3.KV, through which the etcd client
// sends those of kubernetes.Interface, so the same is done here. With
// adapterVariable set the engine's own, shorter way is taken instead.
func record(inner *etcdk8s.Client) *etcdk8s.Client {
	c := clientv3.NewCtxClient(inner.Ctx())
	out := &etcdk8s.Client{Client: c}
	out.Kubernetes = out
	if os.Getenv(adapterVariable) != "" {
		out.Kubernetes = inner.Kubernetes
	}
	lists := storagetesting.NewKubernetesRecorder(out.Kubernetes)
	c.KV = storagetesting.NewKVRecorder(inner.KV, lists)
	c.Watcher, c.Lease, c.Maintenance = inner.Watcher, inner.Lease, inner.Maintenance
	out.Kubernetes = lists
	return out
}

// adapterVariable selects the engine's own kubernetes.Interface.
const adapterVariable = "PORTICO_UPSTREAM_ADAPTER"

// features says, as porticod does, that a store without endpoints has the
// features that upstream would ask its endpoints for.
type features struct {
	etcdfeature.FeatureSupportChecker
}

func (f features) Supports(feature storage.Feature) bool {
	return feature == storage.RequestWatchProgress || f.FeatureSupportChecker.Supports(feature)
}

var installFeatures = sync.OnceFunc(func() {
	etcdfeature.DefaultFeatureSupportChecker = features{etcdfeature.DefaultFeatureSupportChecker}
})
