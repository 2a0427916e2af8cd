// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"portico.dev/portico/certs"
)

func newRoots(t *testing.T) certs.Roots {
	t.Helper()
	r, err := certs.NewRoots(at(epoch))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTwoReplicasWithTheSameRootsTrustEachOther(t *testing.T) {
	roots := newRoots(t)
	var bundles []*certs.Bundle
	for range 2 {
		dir := t.TempDir()
		for range 2 { // a second start finds them there
			if err := roots.Install(dir); err != nil {
				t.Fatal(err)
			}
		}
		bundles = append(bundles, ensure(t, dir, certs.BundleOptions{}, epoch))
	}
	a, b := bundles[0], bundles[1]
	if read(t, a.CAFile) != read(t, b.CAFile) || read(t, a.ServiceAccountKeyFile) != read(t, b.ServiceAccountKeyFile) ||
		read(t, a.FrontProxyCAFile) != read(t, b.FrontProxyCAFile) {
		t.Error("roots differ")
	}
	if read(t, a.ServingKeyFile) == read(t, b.ServingKeyFile) {
		t.Error("both serve with the same key")
	}
}

func TestRootsOfAnExistingDirectoryAreOffered(t *testing.T) {
	dir := t.TempDir()
	if r, err := certs.LoadRoots(dir, at(epoch)); err != nil || r != nil {
		t.Fatalf("an empty directory has roots %v, %v", r, err)
	}
	b := ensure(t, dir, certs.BundleOptions{}, epoch)
	r, err := certs.LoadRoots(dir, at(epoch))
	if err != nil {
		t.Fatal(err)
	}
	if string(r["ca.crt"]) != read(t, b.CAFile) || string(r["sa.key"]) != read(t, b.ServiceAccountKeyFile) {
		t.Error("the roots are not those of the directory")
	}
}

func TestRootsAreNeverReplacedByOthers(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, certs.BundleOptions{}, epoch)
	before := read(t, filepath.Join(dir, "ca.key"))
	if err := newRoots(t).Install(dir); !errors.Is(err, certs.ErrOtherRoots) {
		t.Errorf("got %v, want ErrOtherRoots", err)
	}
	if read(t, filepath.Join(dir, "ca.key")) != before {
		t.Error("the key was replaced")
	}
}

// A crash between two files leaves some: the next start writes the others.
func TestInstallGoesOnAfterACrash(t *testing.T) {
	roots, dir := newRoots(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.key"), roots["ca.key"], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := roots.Install(dir); err != nil {
		t.Fatal(err)
	}
	ensure(t, dir, certs.BundleOptions{}, epoch)
}

func TestBrokenRootsAreRefused(t *testing.T) {
	other := newRoots(t)
	for name, spoil := range map[string]func(certs.Roots){
		"key of another authority": func(r certs.Roots) { r["ca.key"] = other["ca.key"] },
		"no signing key":           func(r certs.Roots) { delete(r, "sa.key") },
		"not PEM":                  func(r certs.Roots) { r["front-proxy-ca.crt"] = []byte("x") },
	} {
		t.Run(name, func(t *testing.T) {
			r, dir := maps.Clone(newRoots(t)), t.TempDir()
			spoil(r)
			if err := r.Install(dir); err == nil {
				t.Error("installed")
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
