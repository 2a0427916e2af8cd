// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store"
	"portico.dev/portico/store/kine"
	"portico.dev/portico/test/servers"
)

// patience bounds every wait; a test that gets here has failed.
const patience = time.Minute

// databases are the tested ones, each with its way to start it and its address.
var databases = map[kine.Database]struct {
	start  func(testing.TB, servers.SQLOptions) *servers.Server
	source string
}{
	kine.PostgreSQL: {servers.PostgreSQL, "%s/portico"},
	kine.MySQL:      {servers.MariaDB, "tcp(%s)/portico"},
}

func each(t *testing.T, o servers.SQLOptions, test func(t *testing.T, s *servers.Server, o kine.Options)) {
	for name, d := range databases {
		t.Run(string(name), func(t *testing.T) {
			s := d.start(t, o)
			options := kine.Options{
				Database: name, Source: fmt.Sprintf(d.source, s.Address), Prefix: "/portico/test",
				Username: servers.SQLUser, Password: servers.SQLPassword,
			}
			if o.TLS != nil {
				options.TLS, options.CAFile = true, o.TLS.CA
			}
			test(t, s, options)
		})
	}
}

func open(t *testing.T, o kine.Options) *kine.Backend {
	t.Helper()
	b, err := kine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// put creates a key, and returns the store's answer.
func put(ctx context.Context, b store.Backend, key, value string) error {
	resp, err := b.Client().Kubernetes.OptimisticPut(ctx, key, []byte(value), 0, etcdk8s.PutOptions{})
	if err == nil && !resp.Succeeded {
		err = fmt.Errorf("%q exists", key)
	}
	return err
}

func TestServerAwayAndBack(t *testing.T) {
	each(t, servers.SQLOptions{}, func(t *testing.T, s *servers.Server, o kine.Options) {
		b := open(t, o)
		if err := errors.Join(b.Ready(), put(t.Context(), b, "/portico/test/a", "1")); err != nil {
			t.Fatal(err)
		}
		s.Stop()
		eventually(t, "not ready", func() error {
			if b.Ready() == nil {
				return errors.New("still ready")
			}
			return nil
		})
		if err := b.Ready(); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("not ready because of %v, want it to say that the store is unavailable", err)
		}
		s.Start()
		eventually(t, "ready again", b.Ready)
		if err := put(t.Context(), b, "/portico/test/b", "1"); err != nil {
			t.Errorf("write after the outage: %v", err)
		}
	})
}

// A process sees the writes of another, also in its watches.
func TestTwoProcesses(t *testing.T) {
	each(t, servers.SQLOptions{}, func(t *testing.T, _ *servers.Server, o kine.Options) {
		one, two := open(t, o), open(t, o)
		watch := two.Client().Watch(t.Context(), "/portico/test/a")
		if err := put(t.Context(), one, "/portico/test/a", "1"); err != nil {
			t.Fatal(err)
		}
		got, err := two.Client().Kubernetes.Get(t.Context(), "/portico/test/a", etcdk8s.GetOptions{})
		if err != nil || got.KV == nil || string(got.KV.Value) != "1" {
			t.Errorf("read by the other: %+v, %v", got, err)
		}
		if err := put(t.Context(), two, "/portico/test/a", "2"); err == nil {
			t.Error("a key was created twice")
		}
		select {
		case e := <-watch:
			if len(e.Events) != 1 || string(e.Events[0].Kv.Value) != "1" {
				t.Errorf("watch by the other: %+v", e)
			}
		case <-time.After(patience):
			t.Error("watch by the other: nothing")
		}
	})
}

// ClusterRoles "Admin" and "admin" are two.
func TestKeysAreComparedByteByByte(t *testing.T) {
	each(t, servers.SQLOptions{}, func(t *testing.T, _ *servers.Server, o kine.Options) {
		b := open(t, o)
		for _, key := range []string{"admin", "Admin", "admin-2", "admin.3", "system:x", "adminz"} {
			if err := put(t.Context(), b, "/portico/test/"+key, key); err != nil {
				t.Error(err)
			}
		}
		for _, key := range []string{"admin", "Admin"} {
			if got, err := b.Client().Kubernetes.Get(t.Context(), "/portico/test/"+key, etcdk8s.GetOptions{}); err != nil || string(got.KV.Value) != key {
				t.Errorf("%s: %+v, %v", key, got, err)
			}
		}
		var keys []string
		list, err := b.Client().Kubernetes.List(t.Context(), "/portico/test/", etcdk8s.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range list.Kvs {
			keys = append(keys, strings.TrimPrefix(string(kv.Key), "/portico/test/"))
		}
		if got := strings.Join(keys, " "); got != "Admin admin admin-2 admin.3 adminz system:x" {
			t.Errorf("listed as %s", got)
		}
	})
}

func TestTLS(t *testing.T) {
	files, other := servers.NewTLS(t, t.TempDir(), "portico"), servers.NewTLS(t, t.TempDir(), "portico")
	each(t, servers.SQLOptions{TLS: &files}, func(t *testing.T, _ *servers.Server, o kine.Options) {
		b := open(t, o)
		if err := put(t.Context(), b, "/portico/test/a", "1"); err != nil {
			t.Error(err)
		}
		o.StartTimeout = 3 * time.Second
		wrong, plain := o, o
		wrong.CAFile = other.CA
		plain.TLS, plain.CAFile = false, ""
		for name, c := range map[string]struct {
			options kine.Options
			want    string
		}{
			"server of another authority": {wrong, "unknown authority"},
			"client without TLS":          {plain, ""},
		} {
			refused(t, name, c.options, c.want)
		}
	})
}

func TestWrongCredentials(t *testing.T) {
	each(t, servers.SQLOptions{}, func(t *testing.T, _ *servers.Server, o kine.Options) {
		password, user := o, o
		password.Password = "not-" + servers.SQLPassword
		user.Username = "somebody"
		for name, options := range map[string]kine.Options{"password": password, "user": user} {
			begin := time.Now()
			err := refused(t, name, options, "")
			if !errors.Is(err, store.ErrDenied) {
				t.Errorf("%s: %v, want that access is denied", name, err)
			}
			if time.Since(begin) > 15*time.Second {
				t.Errorf("%s: it was tried again, though waiting changes nothing", name)
			}
		}
	})
}

func refused(t *testing.T, name string, o kine.Options, want string) error {
	t.Helper()
	b, err := kine.Open(t.Context(), o)
	if err == nil {
		t.Fatal(errors.Join(fmt.Errorf("%s: it opened", name), b.Close()))
	}
	if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), servers.SQLPassword) {
		t.Errorf("%s: error %q, want one with %q and without the password", name, err, want)
	}
	return err
}

func TestMain(m *testing.M) {
	// kine reads it; a developer's must not change the test.
	_ = os.Unsetenv("KINE_SCHEMA_MIGRATION")
	os.Exit(m.Run())
}
