// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const hostConfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://host"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: my_host, context: {cluster: c, user: u}}, {name: other, context: {cluster: c, user: u}}]
current-context: my_host
`

func newFile(t *testing.T, content string) File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dir", "config")
	if content != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return Locate(path)
}

func entry(name string) Entry {
	return Entry{Origin: Origin{Name: name, Namespace: "ns", HostContext: "my_host"}, Server: "https://127.0.0.1:1", CA: []byte("ca"), Cert: []byte("cert"), Key: []byte("key")}
}

func put(t *testing.T, f File, e Entry) string {
	t.Helper()
	name, err := Put(f, e)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func leave(t *testing.T, f File, context string, remove bool) string {
	t.Helper()
	next, err := Leave(f, context, remove)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func merged(t *testing.T, f File) *api.Config {
	t.Helper()
	c, err := f.Merged()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPutAndLeaveChangeNothingElse(t *testing.T) {
	f := newFile(t, hostConfig)
	before := merged(t, f)
	name := put(t, f, entry("vc"))
	if want := "portico_vc_ns_my_host"; name != want {
		t.Errorf("context %q, want %q", name, want)
	}
	c := merged(t, f)
	if c.CurrentContext != name {
		t.Errorf("current context %q, want %q", c.CurrentContext, name)
	}
	want := Origin{Name: "vc", Namespace: "ns", HostContext: "my_host", Previous: "my_host"}
	if got, ours := OriginOf(c, name); !ours || got != want {
		t.Errorf("origin %+v, want %+v", got, want)
	}
	if _, ours := OriginOf(c, "my_host"); ours {
		t.Error("a context of another is taken for ours")
	}
	if next := leave(t, f, name, true); next != "my_host" {
		t.Errorf("next context %q, want my_host", next)
	}
	if diff := cmp.Diff(before, merged(t, f)); diff != "" {
		t.Errorf("kubeconfig afterwards (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(f.Path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode of the file has changed: %v, %v", info.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(f.Path), "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("files left behind: %v, %v", left, err)
	}
}

func TestPutMakesAFileThatIsNotThere(t *testing.T) {
	f := newFile(t, "")
	name := put(t, f, entry("vc"))
	if info, err := os.Stat(f.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is readable by others: %v, %v", info, err)
	}
	if next := leave(t, f, name, true); next != "" {
		t.Errorf("next context %q, want none", next)
	}
}

func TestThePreviousContextIsThatBeforeTheFirstConnect(t *testing.T) {
	f := newFile(t, hostConfig)
	err := f.Edit(func(c *api.Config) error { c.CurrentContext = "other"; return nil })
	if err != nil {
		t.Fatal(err)
	}
	put(t, f, entry("vc"))
	name := put(t, f, entry("vc")) // again, from within
	if next := leave(t, f, name, false); next != "other" {
		t.Errorf("next context %q, want other", next)
	}
	if merged(t, f).Contexts[name] == nil {
		t.Error("a context with an address of its own has gone")
	}
}

func TestLeaveGoesWhereThereIsStillAContext(t *testing.T) {
	for name, tc := range map[string]struct {
		gone []string
		want string
	}{
		"the previous":                   {nil, "other"},
		"the host, without the previous": {[]string{"other"}, "my_host"},
		"none, without both":             {[]string{"other", "my_host"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFile(t, strings.Replace(hostConfig, "current-context: my_host", "current-context: other", 1))
			e := entry("vc")
			e.Origin.Forwarded = true
			context := put(t, f, e)
			err := f.Edit(func(c *api.Config) error {
				for _, gone := range tc.gone {
					delete(c.Contexts, gone)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if next := leave(t, f, context, false); next != tc.want {
				t.Errorf("next context %q, want %q", next, tc.want)
			}
			c := merged(t, f)
			if c.CurrentContext != tc.want {
				t.Errorf("current context %q, want %q", c.CurrentContext, tc.want)
			}
			if c.Contexts[context] != nil || c.Clusters[context] != nil || c.AuthInfos[context] != nil {
				t.Error("a context that leads through an ended forward is still there")
			}
		})
	}
}

func TestLeaveFromElsewhereKeepsTheCurrentContext(t *testing.T) {
	f := newFile(t, hostConfig)
	name := put(t, f, entry("vc"))
	second := put(t, f, entry("second"))
	if next := leave(t, f, name, true); next != second {
		t.Errorf("next context %q, want %q", next, second)
	}
	if next := leave(t, f, second, true); next != "my_host" {
		t.Errorf("next context %q, want my_host: the one before is gone", next)
	}
}

func TestPutRefusesAContextOfAnother(t *testing.T) {
	f := newFile(t, hostConfig)
	e := entry("vc")
	e.Context = "other"
	if _, err := Put(f, e); err == nil {
		t.Error("a context that is not ours was replaced")
	}
	if _, err := Leave(f, "other", true); err == nil {
		t.Error("a context that is not ours was removed")
	}
}

func TestSeveralFilesAreReadAndTheFirstIsWritten(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	for path, content := range map[string]string{first: "apiVersion: v1\nkind: Config\n", second: hostConfig} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(clientcmd.RecommendedConfigPathEnvVar, first+string(filepath.ListSeparator)+second)
	f := Locate("")
	name := put(t, f, entry("vc"))
	if got := merged(t, f).CurrentContext; got != name {
		t.Errorf("current context %q, want %q", got, name)
	}
	if content, err := os.ReadFile(second); err != nil || string(content) != hostConfig {
		t.Errorf("the second file was written: %v\n%s", err, content)
	}
	if next := leave(t, f, name, true); next != "my_host" {
		t.Errorf("next context %q, want my_host", next)
	}
	if got := merged(t, f).CurrentContext; got != "my_host" {
		t.Errorf("current context %q, want my_host", got)
	}
}

func TestALinkStaysALink(t *testing.T) {
	f := newFile(t, hostConfig)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(f.Path, link); err != nil {
		t.Fatal(err)
	}
	put(t, Locate(link), entry("vc"))
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info, err)
	}
	if _, ours := OriginOf(merged(t, f), "portico_vc_ns_my_host"); !ours {
		t.Error("the file behind the link was not written")
	}
}

func TestAFailedEditLeavesTheFileAndNoLock(t *testing.T) {
	f := newFile(t, hostConfig)
	broken := errors.New("broken")
	if err := f.Edit(func(c *api.Config) error { c.CurrentContext = ""; return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if content, err := os.ReadFile(f.Path); err != nil || string(content) != hostConfig {
		t.Errorf("the file was written: %v\n%s", err, content)
	}
	put(t, f, entry("vc"))
}

func TestALockThatAKilledProgramLeftIsTaken(t *testing.T) {
	f := newFile(t, hostConfig)
	lock := f.Path + ".lock"
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * staleLock)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	put(t, f, entry("vc"))
	if _, err := os.Stat(lock); err == nil {
		t.Error("the lock is still there")
	}
}

func TestRenewChangesTheAdministratorsCredentialsOnly(t *testing.T) {
	f := newFile(t, hostConfig)
	name := put(t, f, entry("vc"))
	token := entry("vc")
	token.Context, token.Token, token.Cert, token.Key = "token", "t", nil, nil
	put(t, f, token)
	other := put(t, f, entry("other"))
	n, err := Renew(f, entry("vc").Origin, []byte("ca2"), []byte("cert2"), []byte("key2"))
	if err != nil || n != 1 {
		t.Errorf("%d contexts renewed, want 1: %v", n, err)
	}
	c := merged(t, f)
	if u := c.AuthInfos[name]; string(u.ClientCertificateData) != "cert2" || string(u.ClientKeyData) != "key2" || string(c.Clusters[name].CertificateAuthorityData) != "ca2" {
		t.Error("the credentials are still those of before")
	}
	if u := c.AuthInfos["token"]; u.Token != "t" || len(u.ClientCertificateData) != 0 {
		t.Error("a context with a token was changed")
	}
	if u := c.AuthInfos[other]; string(u.ClientCertificateData) != "cert" {
		t.Error("another cluster's context was changed")
	}
}

// TestInsecureEntryStillNamesTheCluster: a gateway knows it by nothing else.
func TestInsecureEntryStillNamesTheCluster(t *testing.T) {
	e := entry("a")
	e.Insecure, e.ServerName = true, "a.ns.svc"
	c := e.Alone()
	cluster := c.Clusters[c.CurrentContext]
	if !cluster.InsecureSkipTLSVerify || cluster.TLSServerName != "a.ns.svc" || len(cluster.CertificateAuthorityData) != 0 {
		t.Errorf("%+v", cluster)
	}
	if _, err := clientcmd.NewDefaultClientConfig(*c, nil).ClientConfig(); err != nil {
		t.Error(err)
	}
}
