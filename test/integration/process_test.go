// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/cmd/porticod/app"
	"portico.dev/portico/test/embedded"
)

func TestSecondProcessOnTheSameDataDirectoryIsRefused(t *testing.T) {
	c := newCluster(t)
	p, err := embedded.Start(t.TempDir(), "second", nil, "serve", "--config", c.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done
	if p.Err == nil || !strings.Contains(p.Tail(), "error: ") || !strings.Contains(p.Tail(), "another process") {
		t.Errorf("second process: %v\n%s", p.Err, p.Tail())
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", nil))
	var written []string
	for i := range 50 {
		name := fmt.Sprintf("cm-%d", i)
		if _, err := c.Virtual.CoreV1().ConfigMaps("a").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		written = append(written, name)
	}
	c.Kill()
	c.Start()
	for _, name := range written {
		if _, err := c.Virtual.CoreV1().ConfigMaps("a").Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			t.Errorf("after kill -9: %v", err)
		}
	}
	if _, err := c.Virtual.CoreV1().Pods("a").Get(t.Context(), "p", metav1.GetOptions{}); err != nil {
		t.Errorf("pod after kill -9: %v", err)
	}
}

func TestTerminationIsClean(t *testing.T) {
	c := newCluster(t)
	if err := c.Process.End(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, c.Process.Tail())
	}
	c.Process = nil
}

// Open watches end with a complete answer, and hold nothing up: without
// watch termination they go on until the process gives up on them and cuts them
// off.
func TestTerminationEndsWatches(t *testing.T) {
	c := newCluster(t)
	const watches = 100
	ended := make(chan error, watches)
	for i := range watches {
		resource := []string{"pods", "services", "configmaps", "endpointslices"}[i%4]
		path := "/api/v1/" + resource
		if resource == "endpointslices" {
			path = "/apis/discovery.k8s.io/v1/" + resource
		}
		body, err := c.Virtual.CoreV1().RESTClient().Get().AbsPath(path).Param("watch", "1").Stream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer body.Close()
			_, err := io.Copy(io.Discard, body)
			if err != nil {
				err = fmt.Errorf("watch of %s: %w", resource, err)
			}
			ended <- err
		}()
	}
	if err := c.Process.End(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, c.Process.Tail())
	}
	for range watches {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if c.Process.Said("did not end in time") {
		t.Errorf("requests were cut off:\n%s", c.Process.Tail())
	}
	c.Process = nil
}

// Configuration mistakes are all named at once, each with its path.
func TestConfigurationErrorsAreReportedTogether(t *testing.T) {
	dir := t.TempDir()
	p, err := embedded.Start(dir, "serve", nil, "serve", "--name", "Not_A_Name", "--listen", "nonsense", "--data-dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done
	for _, want := range []string{"error: ", "name", "listen"} {
		if !strings.Contains(p.Tail(), want) {
			t.Errorf("output does not mention %q:\n%s", want, p.Tail())
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{[]string{"--version"}, 0, "porticod version ", ""},
		{[]string{"--help"}, 0, "serve", ""},
		{[]string{"nonsense"}, 2, "", "hint: see porticod --help\n"},
		{[]string{"serve", "--nonsense"}, 2, "", "hint: see porticod serve --help\n"},
		{[]string{"serve", "--name", "a", "--host-namespace", "b", "--replicas", "2"}, 2, "", "hint: docs/configuration.md explains each key\n"},
	} {
		var out, err strings.Builder
		code := app.Main(t.Context(), app.Streams{In: strings.NewReader(""), Out: &out, Err: &err}, c.args)
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.HasSuffix(err.String(), c.err) || c.err == "" && err.Len() > 0 {
			t.Errorf("%v: code %d, output %q, %q", c.args, code, out.String(), err.String())
		}
	}
}

// A store that cannot be used is no riddle: each fault comes with a hint.
func TestStoreTroubleHasAHint(t *testing.T) {
	busy, foreign, newer := newCluster(t), t.TempDir(), restored(t, "virtual.snapshot.gz")
	db, err := sql.Open("sqlite3", filepath.Join(newer, "store", "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `UPDATE meta SET value = 99 WHERE name = 'schema_version'`); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(foreign, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(foreign, "store", "store.db"), []byte(strings.Repeat("no store\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		hint string
	}{
		"check while in use": {[]string{"check", busy.Dir}, "porticod snapshot save " + busy.Dir},
		"second process":     {[]string{"host", "--data-dir", busy.Dir}, "choose another --data-dir"},
		"a later version's":  {[]string{"host", "--data-dir", newer}, "start the version of porticod that wrote it"},
		"foreign file":       {[]string{"host", "--data-dir", foreign}, "or an empty one"},
	} {
		t.Run(name, func(t *testing.T) {
			_, errOut, code := porticod(t, c.args...)
			if code == 0 || !strings.Contains(errOut, "error: ") || !strings.Contains(errOut, "\nhint: ") || !strings.Contains(errOut, c.hint) {
				t.Errorf("code %d, want the hint %q:\n%s", code, c.hint, errOut)
			}
		})
	}
}

func TestNamespaceDeletionDeletesHostPods(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", nil))
	if err := c.Virtual.CoreV1().Namespaces().Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "namespace gone", func(ctx context.Context) (bool, string) {
		_, err := c.Virtual.CoreV1().Namespaces().Get(ctx, "a", metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
	if _, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("a", "p"), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("host pod: %v, want not found", err)
	}
}

// A start has nothing to complain of, so an operator may be alerted to lines of
// that level.
func TestStartLogsNoErrors(t *testing.T) {
	h := embedded.PrivateHost(t)
	c := newClusterOn(t, h)
	for name, p := range map[string]*embedded.Process{"porticod host": h.Process, "porticod serve": c.Process} {
		log, err := os.ReadFile(p.Log)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(log)) {
			if errorLine.MatchString(line) && !strings.Contains(line, hookRace) {
				t.Errorf("%s logged %s", name, line)
			}
		}
		if !infoLine.Match(log) {
			t.Errorf("%s: the log has no line of the known format:\n%s", name, p.Tail())
		}
	}
}

// hookRace is said of a new cluster whose first namespaces are made later than
// another of upstream's hooks wants them, which then tries again.
const hookRace = `err="namespaces \"kube-system\" not found"`

// Lines of the text format of component-base/logs.
var (
	errorLine = regexp.MustCompile(`^[EF][0-9]{4} `)
	infoLine  = regexp.MustCompile(`(?m)^I[0-9]{4} `)
)
