// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"portico.dev/portico/store"
	"portico.dev/portico/store/etcd"
	"portico.dev/portico/test/servers"
)

// patience bounds every wait; a test that gets here has failed.
const patience = time.Minute

func open(t *testing.T, o etcd.Options) *etcd.Backend {
	t.Helper()
	if o.Prefix == "" {
		o.Prefix = "/portico/test"
	}
	b, err := etcd.Open(t.Context(), o)
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

// refused opens an etcd that must not open.
func refused(t *testing.T, o etcd.Options) error {
	t.Helper()
	o.Prefix, o.StartTimeout = "/portico/test", 3*time.Second
	b, err := etcd.Open(t.Context(), o)
	if err == nil {
		t.Fatal(errors.Join(errors.New("it opened"), b.Close()))
	}
	return err
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

func TestServerAwayAndBack(t *testing.T) {
	s := servers.Etcd(t, servers.EtcdOptions{})
	b := open(t, etcd.Options{Endpoints: []string{s.Address}})
	if err := b.Ready(); err != nil {
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
	if _, err := b.Client().KV.Put(t.Context(), "/portico/test/a", "1"); err != nil {
		t.Errorf("write after the outage: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	err := refused(t, etcd.Options{Endpoints: []string{"127.0.0.1:1"}})
	if !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %q does not say where and why", err)
	}
}

// A database that is full takes no writes until it is cleaned up.
func TestSpaceQuota(t *testing.T) {
	s := servers.Etcd(t, servers.EtcdOptions{Quota: 1 << 20})
	b := open(t, etcd.Options{Endpoints: []string{s.Address}})
	kv := b.Client().KV
	value := strings.Repeat("x", 100<<10)
	// etcd knows how large its file is only when it has written a batch, some
	// time after it has accepted the requests in it.
	eventually(t, "quota used up", func() error {
		if _, err := kv.Put(t.Context(), "/portico/test/big", value); !errors.Is(err, rpctypes.ErrNoSpace) {
			return errors.Join(errors.New("not refused for want of space"), err)
		}
		return nil
	})
	eventually(t, "not ready", func() error {
		if err := b.Ready(); err == nil || !strings.Contains(err.Error(), "quota") {
			return errors.Join(errors.New("does not complain of the quota"), err)
		}
		return nil
	})
	if _, err := kv.Get(t.Context(), "/portico/test/big"); err != nil {
		t.Errorf("read: %v", err)
	}

	client := b.Client()
	resp, err := kv.Get(t.Context(), "/portico/test/big")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Compact(t.Context(), resp.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Defragment(t.Context(), "http://"+s.Address); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready again", b.Ready)
	if _, err := kv.Put(t.Context(), "/portico/test/small", "x"); err != nil {
		t.Errorf("write: %v", err)
	}
}

func TestTLS(t *testing.T) {
	files, other := servers.NewTLS(t, t.TempDir(), "portico"), servers.NewTLS(t, t.TempDir(), "portico")
	s := servers.Etcd(t, servers.EtcdOptions{TLS: &files})
	endpoints := []string{s.Address}
	config := func(ca string, pairs ...[2]string) *tls.Config {
		pem, err := os.ReadFile(ca)
		if err != nil {
			t.Fatal(err)
		}
		c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		c.RootCAs.AppendCertsFromPEM(pem)
		for _, p := range pairs {
			pair, err := tls.LoadX509KeyPair(p[0], p[1])
			if err != nil {
				t.Fatal(err)
			}
			c.Certificates = append(c.Certificates, pair)
		}
		return c
	}
	ours, theirs := [2]string{files.ClientCert, files.ClientKey}, [2]string{other.ClientCert, other.ClientKey}

	b := open(t, etcd.Options{Endpoints: endpoints, TLS: config(files.CA, ours)})
	if _, err := b.Client().KV.Put(t.Context(), "/portico/test/a", "1"); err != nil {
		t.Error(err)
	}
	rightName := config(files.CA, ours)
	rightName.ServerName = "localhost"
	open(t, etcd.Options{Endpoints: endpoints, TLS: rightName})
	wrongName := config(files.CA, ours)
	wrongName.ServerName = "elsewhere.example"
	for name, c := range map[string]struct {
		tls  *tls.Config
		want string
	}{
		"server of another authority": {config(other.CA, ours), "unknown authority"},
		"server of another name":      {wrongName, "elsewhere.example"},
		// The server hangs up, at a moment that decides how this is called.
		"client of another authority": {config(files.CA, theirs), "no healthy answer"},
		"client without certificate":  {config(files.CA), "no healthy answer"},
		"client without TLS":          {nil, "no healthy answer"},
	} {
		t.Run(name, func(t *testing.T) {
			err := refused(t, etcd.Options{Endpoints: endpoints, TLS: c.tls})
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want one with %q", err, c.want)
			}
		})
	}
}

// With etcd's authentication a user may be confined to one cluster's keys; that
// is all we need.
func TestAuthentication(t *testing.T) {
	s := servers.Etcd(t, servers.EtcdOptions{})
	endpoints := []string{s.Address}
	admin := open(t, etcd.Options{Endpoints: endpoints, Prefix: "/admin"}).Client()
	ctx := t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(admin.UserAdd(ctx, "root", "r"))
	must(admin.UserGrantRole(ctx, "root", "root"))
	must(admin.RoleAdd(ctx, "one"))
	must(admin.RoleGrantPermission(ctx, "one", "/portico/test/", clientv3.GetPrefixRangeEnd("/portico/test/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	must(admin.UserAdd(ctx, "one", "secret"))
	must(admin.UserGrantRole(ctx, "one", "one"))
	must(admin.AuthEnable(ctx))

	b := open(t, etcd.Options{Endpoints: endpoints, Username: "one", Password: "secret"})
	must(b.Client().KV.Put(ctx, "/portico/test/a", "1"))
	if _, err := b.Client().KV.Put(ctx, "/portico/other/a", "1"); err == nil {
		t.Error("a key of another cluster was written")
	}
	for name, o := range map[string]etcd.Options{
		"wrong password":   {Username: "one", Password: "wrong-secret"},
		"unknown user":     {Username: "two", Password: "wrong-secret"},
		"no credentials":   {},
		"another's prefix": {Username: "one", Password: "secret", Prefix: "/portico/other"},
	} {
		t.Run(name, func(t *testing.T) {
			prefix := o.Prefix
			o.Endpoints, o.StartTimeout = endpoints, 10*time.Second
			if prefix == "" {
				o.Prefix = "/portico/test"
			}
			begin := time.Now()
			b, err := etcd.Open(t.Context(), o)
			if err == nil {
				t.Fatal(errors.Join(errors.New("it opened"), b.Close()))
			}
			if !errors.Is(err, store.ErrDenied) {
				t.Errorf("error %q is not that access is denied", err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q tells the password", err)
			}
			if time.Since(begin) >= o.StartTimeout {
				t.Error("it was tried until the end of the time, though waiting changes nothing")
			}
		})
	}
}
