// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"portico.dev/portico/cmd/porticod/app"
	"portico.dev/portico/test/embedded"
)

// porticod runs a command that ends by itself, in this process.
func porticod(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = app.Main(t.Context(), app.Streams{In: strings.NewReader(""), Out: &out, Err: &errOut}, args)
	return out.String(), errOut.String(), code
}

// A cluster is saved while tenants write to it, lost, and restored elsewhere:
// writes acknowledged before are there, later ones are not, and users who could
// get in before still can.
func TestSnapshotOfAClusterInUse(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	create := func(ctx context.Context, name string) error {
		_, err := c.Virtual.CoreV1().ConfigMaps("a").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		return err
	}
	for i := range 20 {
		if err := create(t.Context(), fmt.Sprintf("before-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	token, err := c.Virtual.CoreV1().ServiceAccounts("a").CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	storm, calm := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	t.Cleanup(writers.Wait)
	t.Cleanup(calm)
	for w := range 4 {
		writers.Go(func() {
			for i := 0; storm.Err() == nil; i++ {
				if err := create(storm, fmt.Sprintf("during-%d-%d", w, i)); err != nil && storm.Err() == nil {
					t.Errorf("write while a snapshot is made: %v", err)
					return
				}
			}
		})
	}
	file := filepath.Join(t.TempDir(), "snapshot")
	out, errOut, code := porticod(t, "snapshot", "save", c.Dir, file)
	if code != 0 {
		t.Fatalf("save: %s", errOut)
	}
	var saved struct{ Revision int64 }
	if err := json.Unmarshal([]byte(out), &saved); err != nil || saved.Revision == 0 {
		t.Errorf("no revision was printed: %v\n%s", err, out)
	}
	calm()
	writers.Wait()
	if err := create(t.Context(), "after"); err != nil {
		t.Fatal(err)
	}
	if out, errOut, code := porticod(t, "check", file); code != 0 {
		t.Errorf("check: %s%s", out, errOut)
	}
	if _, errOut, code := porticod(t, "snapshot", "restore", file, c.Dir); code == 0 || !strings.Contains(errOut, "is not empty") || !strings.Contains(errOut, "hint: ") {
		t.Errorf("restore over a cluster in use: %d, %s", code, errOut)
	}

	list, err := c.Virtual.CoreV1().ConfigMaps("a").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.Kill()
	restoreInto(t, c, file)
	for i := range 20 {
		if _, err := c.Virtual.CoreV1().ConfigMaps("a").Get(t.Context(), fmt.Sprintf("before-%d", i), metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Virtual.CoreV1().ConfigMaps("a").Get(t.Context(), "after", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what was written after the snapshot: %v, want not found", err)
	}
	if _, err := c.Virtual.CoreV1().ConfigMaps("a").Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion}); !expired(err) {
		if err != nil {
			t.Errorf("watch from the lost cluster's version: %v", err)
		} else {
			watchExpires(t, c, list.ResourceVersion)
		}
	}
	bearer := rest.AnonymousClientConfig(c.Config)
	bearer.BearerToken = token.Status.Token
	asTenant, err := kubernetes.NewForConfig(bearer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := asTenant.CoreV1().ConfigMaps("a").Get(t.Context(), "before-0", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("with a token of the saved cluster: %v, want to be known and forbidden", err)
	}
	c.CreatePod("a", embedded.Pod("p", nil))
	c.Settled("a", "p")
}

func expired(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
}

// watchExpires checks that a watch ends with the news that its version is gone.
func watchExpires(t *testing.T, c *cluster, version string) {
	t.Helper()
	w, err := c.Virtual.CoreV1().ConfigMaps("a").Watch(t.Context(), metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	e := <-w.ResultChan()
	if err := apierrors.FromObject(e.Object); !expired(err) {
		t.Errorf("watch from the lost cluster's version: %v %v, want that it is gone", e.Type, err)
	}
}

// restoreInto makes the cluster go on from a snapshot in another directory.
func restoreInto(t *testing.T, c *cluster, file string) {
	t.Helper()
	dir := t.TempDir()
	if _, errOut, code := porticod(t, "snapshot", "restore", file, dir); code != 0 {
		t.Fatalf("restore: %s", errOut)
	}
	config, err := os.ReadFile(c.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	before := c.Dir
	c.Dir = dir
	if err := os.WriteFile(c.ConfigPath(), bytes.ReplaceAll(config, []byte(before), []byte(dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Start()
}

// Each refusal has a hint.
func TestSnapshotRefusals(t *testing.T) {
	empty := t.TempDir()
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a snapshot\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	half := t.TempDir()
	if err := os.Mkdir(filepath.Join(half, ".restoring"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"no SQLite store":  {[]string{"snapshot", "save", empty, filepath.Join(empty, "x")}, []string{"no SQLite store", "etcdctl snapshot save", "pg_dump", "mariadb-dump"}},
		"not a snapshot":   {[]string{"snapshot", "restore", text, filepath.Join(empty, "new")}, []string{"not an SQLite file", "hint: "}},
		"half restored":    {[]string{"host", "--data-dir", half}, []string{"not restored to the end", "hint: "}},
		"restored in half": {[]string{"snapshot", "restore", text, half}, []string{"is not empty", "hint: "}},
	} {
		t.Run(name, func(t *testing.T) {
			_, errOut, code := porticod(t, c.args...)
			if code == 0 {
				t.Error("it was done")
			}
			for _, want := range c.want {
				if !strings.Contains(errOut, want) {
					t.Errorf("output does not mention %q:\n%s", want, errOut)
				}
			}
		})
	}
}
