// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"strings"
	"testing"

	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store"
	"portico.dev/portico/store/sqlite"
)

func TestDowngradeIsRefused(t *testing.T) {
	const key = "/registry" + newestKey
	for reason, c := range map[string]struct {
		stored, own, then string
		err               error
	}{
		"a new store":                              {"", "1.37", "1.37", nil},
		"the same version":                         {"1.37", "1.37", "1.37", nil},
		"an upgrade":                               {"1.36", "1.37", "1.37", nil},
		"an upgrade over several versions":         {"1.9", "1.37", "1.37", nil},
		"an upgrade is taken back":                 {"1.38", "1.37", "1.38", nil},
		"two versions back":                        {"1.39", "1.37", "1.39", store.ErrNewerSchema},
		"the next Kubernetes of all":               {"2.0", "1.37", "2.0", store.ErrNewerSchema},
		"a value that nobody wrote is not guessed": {"x", "1.37", "x", store.ErrCorrupt},
	} {
		t.Run(reason, func(t *testing.T) {
			backend, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer backend.Close()
			kv := backend.Client().Kubernetes
			if c.stored != "" {
				if _, err := kv.OptimisticPut(t.Context(), key, []byte(c.stored), 0, etcdk8s.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			err = refuseDowngrade(t.Context(), kv, key, c.own)
			if !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
			var hinted interface{ Hint() string }
			if errors.Is(err, store.ErrNewerSchema) && (!errors.As(err, &hinted) || !strings.Contains(err.Error(), c.stored)) {
				t.Errorf("no hint, or no version: %v", err)
			}
			found, err := kv.Get(t.Context(), key, etcdk8s.GetOptions{})
			if err != nil || found.KV == nil || string(found.KV.Value) != c.then {
				t.Errorf("the store has %v, %v, want %s", found.KV, err, c.then)
			}
		})
	}
}

// faster is a store to which another replica writes between a look and a write.
type faster struct {
	etcdk8s.Interface
	write func()
}

func (f *faster) OptimisticPut(ctx context.Context, key string, value []byte, revision int64, o etcdk8s.PutOptions) (etcdk8s.PutResponse, error) {
	if write := f.write; write != nil {
		f.write = nil // It comes here as well.
		write()
	}
	return f.Interface.OptimisticPut(ctx, key, value, revision, o)
}

func TestDowngradeIsRefusedBehindAnotherReplica(t *testing.T) {
	const key = "/registry" + newestKey
	backend, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	kv := &faster{Interface: backend.Client().Kubernetes}
	kv.write = func() {
		if err := refuseDowngrade(t.Context(), kv, key, "1.40"); err != nil {
			t.Error(err)
		}
	}
	if err := refuseDowngrade(t.Context(), kv, key, "1.37"); !errors.Is(err, store.ErrNewerSchema) {
		t.Errorf("%v, want %v", err, store.ErrNewerSchema)
	}
}
