// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entries reads a tar: contents and modes by name.
func entries(t *testing.T, content []byte) (map[string][]byte, map[string]int64) {
	t.Helper()
	contents, modes := map[string][]byte{}, map[string]int64{}
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return contents, modes
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s is of %d:%d, of %s", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		if contents[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		modes[h.Name] = h.Mode
	}
}

// TestArchiveLeadsFromItsNameToItsFiles, by digests that are true, for engines
// that read the OCI layout and for those that do not.
func TestArchiveLeadsFromItsNameToItsFiles(t *testing.T) {
	archive, digest, err := pack("example.com/a/b:v1", "amd64", []file{
		{path: "/run", content: []byte("program"), program: true}, {path: "/etc/ssl/roots", content: []byte("roots")},
	})
	if err != nil {
		t.Fatal(err)
	}
	all, _ := entries(t, archive)
	for name, content := range all {
		if rest, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && digestOf(content) != "sha256:"+rest {
			t.Errorf("%s has the digest %s", name, digestOf(content))
		}
	}
	get := func(name string, into any) {
		t.Helper()
		if err := json.Unmarshal(all[name], into); err != nil {
			t.Fatalf("%s: %v in %q", name, err, all[name])
		}
	}
	at := func(d string) string { return "blobs/" + strings.Replace(d, ":", "/", 1) }
	var index struct{ Manifests []descriptor }
	get("index.json", &index)
	if index.Manifests[0].Digest != digest || index.Manifests[0].Annotations["io.containerd.image.name"] != "example.com/a/b:v1" {
		t.Errorf("index: %+v, want %s", index, digest)
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	get(at(digest), &manifest)
	var config struct {
		Config struct {
			User            string
			Entrypoint, Cmd []string
		}
	}
	get(at(manifest.Config.Digest), &config)
	if d := cmp.Diff([]string{"/run"}, config.Config.Entrypoint); d != "" || config.Config.User != user {
		t.Errorf("user %q, entry point (-want +got):\n%s", config.Config.User, d)
	}
	var docker []struct {
		Config           string
		RepoTags, Layers []string
	}
	get("manifest.json", &docker)
	if docker[0].Config != at(manifest.Config.Digest) || docker[0].Layers[0] != at(manifest.Layers[0].Digest) || docker[0].RepoTags[0] != "example.com/a/b:v1" {
		t.Errorf("manifest.json: %+v", docker)
	}
	files, modes := entries(t, all[at(manifest.Layers[0].Digest)])
	if string(files["run"]) != "program" || string(files["etc/ssl/roots"]) != "roots" {
		t.Errorf("files %q", files)
	}
	want := map[string]int64{"run": 0o755, "etc/": 0o755, "etc/ssl/": 0o755, "etc/ssl/roots": 0o644, "tmp/": 0o1777}
	if d := cmp.Diff(want, modes); d != "" {
		t.Errorf("modes (-want +got):\n%s", d)
	}
}

// TestSameFilesAreTheSameImage, in any order.
func TestSameFilesAreTheSameImage(t *testing.T) {
	a, b, c := file{path: "/a", content: []byte("a"), program: true}, file{path: "/x/b", content: []byte("b")}, file{path: "/c", content: []byte("c")}
	first, digest, err := pack("r:t", "arm64", []file{a, b, c})
	if err != nil {
		t.Fatal(err)
	}
	second, again, err := pack("r:t", "arm64", []file{a, c, b})
	if err != nil || digest != again || !bytes.Equal(first, second) {
		t.Errorf("%s and %s (%v)", digest, again, err)
	}
}

// TestModulesOfAProgram, as they are in it and not as they were asked for.
func TestModulesOfAProgram(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Deps: []*debug.Module{
		{Path: "example.com/a", Version: "v1.2.3"},
		{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.0.1+more"}},
	}}
	var got []string
	for _, c := range modulesOf(info) {
		got = append(got, c.PURL)
	}
	want := []string{"pkg:golang/std@1.26.8", "pkg:golang/example.com/a@v1.2.3", "pkg:golang/example.com/fork@v1.0.1%2Bmore"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("modules (-want +got):\n%s", d)
	}
}

// TestBillNamesFilesAndPrograms: this test is a program.
func TestBillNamesFilesAndPrograms(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, bill := filepath.Join(t.TempDir(), "image.tar"), filepath.Join(t.TempDir(), "bill.json")
	if err := run([]string{"-out", out, "-sbom", bill, "-ref", "r:t", "/self=" + self, "/text=" + text}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(bill)
	if err != nil {
		t.Fatal(err)
	}
	var b struct {
		Components   []component
		Dependencies []dependency
	}
	if err := json.Unmarshal(content, &b); err != nil {
		t.Fatal(err)
	}
	names := map[string]component{}
	for _, c := range b.Components {
		names[c.Name] = c
	}
	if names["std"].Version == "" || len(names["/text"].Hashes) != 1 || len(b.Dependencies) != 2 {
		t.Errorf("bill of materials:\n%s", content)
	}
	if err := run([]string{"-out", out, "-ref", "r:t", "self=" + self}); err == nil {
		t.Error("took a relative path")
	}
}
