// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	kubefake "helm.sh/helm/v4/pkg/kube/fake"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"

	"portico.dev/portico/charts"
	"portico.dev/portico/cmd/portico/internal/output"
)

func newClient(t *testing.T) *Client {
	t.Helper()
	c, err := charts.Read(os.DirFS("testdata/chart"))
	if err != nil {
		t.Fatal(err)
	}
	config := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	config.Capabilities = common.DefaultCapabilities
	config.KubeClient = &kubefake.PrintingKubeClient{Out: io.Discard}
	memory := driver.NewMemory()
	memory.SetNamespace("ns")
	config.Releases = storage.Init(memory)
	return &Client{Config: config, Chart: c, Namespace: "ns", Say: t.Logf}
}

func replicas(n any) map[string]any {
	return map[string]any{"controlPlane": map[string]any{"replicas": n}}
}

// apply applies values and returns the outcome.
func apply(t *testing.T, c *Client, values map[string]any, change bool) (Outcome, error) {
	t.Helper()
	return c.Apply(t.Context(), Request{Name: "vc", Values: values, Change: change, Timeout: time.Minute})
}

func mustApply(t *testing.T, c *Client, values map[string]any, change bool, want Outcome) {
	t.Helper()
	got, err := apply(t, c, values, change)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("outcome %q, want %q", got, want)
	}
}

// mark gives the newest record a status, as a process leaves it that is killed.
func mark(t *testing.T, c *Client, status rcommon.Status, holder string) {
	t.Helper()
	history, err := c.History("vc")
	if err != nil || len(history) == 0 {
		t.Fatalf("history: %v, %d records", err, len(history))
	}
	r := last(history)
	r.Info.Status = status
	if r.Labels == nil {
		r.Labels = map[string]string{}
	}
	r.Labels[LabelHolder] = holder
	if err := c.Config.Releases.Update(r); err != nil {
		t.Fatal(err)
	}
}

func config(t *testing.T, c *Client) map[string]any {
	t.Helper()
	history, err := c.History("vc")
	if err != nil {
		t.Fatal(err)
	}
	d := Deployed(history)
	if d == nil || d != last(history) {
		t.Fatalf("the newest record is not a deployed one: %v", last(history).Info.Status)
	}
	return d.Config
}

func TestValuesAreKeptUntilTheyAreNamedAgain(t *testing.T) {
	c := newClient(t)
	mustApply(t, c, map[string]any{"logLevel": 2.0, "coredns": map[string]any{"enabled": true, "queriesPerSecond": 5.0}}, false, Installed)
	mustApply(t, c, map[string]any{"coredns": map[string]any{"queriesPerSecond": 9.0}}, true, Changed)
	want := map[string]any{"logLevel": 2.0, "coredns": map[string]any{"enabled": true, "queriesPerSecond": 9.0}}
	if diff := cmp.Diff(want, config(t, c)); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	mustApply(t, c, map[string]any{"logLevel": nil}, true, Changed)
	if _, there := config(t, c)["logLevel"]; there {
		t.Error("a value that was named null is kept")
	}
}

func TestAnExistingClusterWithOtherValuesIsAnErrorWithTheDifference(t *testing.T) {
	c := newClient(t)
	mustApply(t, c, map[string]any{"controlPlane": map[string]any{"replicas": int64(1)}, "logLevel": 2.0}, false, Installed)
	_, err := apply(t, c, replicas(3.0), false)
	var text strings.Builder
	output.Report(&text, err)
	for _, want := range []string{"exists with other values", "controlPlane.replicas: 1 -> 3", "--upgrade"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the error lacks %q:\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "logLevel") {
		t.Errorf("the error names a value that was not named:\n%s", text.String())
	}
	mustApply(t, c, nil, false, Unchanged)
	mustApply(t, c, replicas(1.0), false, Unchanged)
	if history, _ := c.History("vc"); len(history) != 1 {
		t.Errorf("%d records, want 1: nothing was to change", len(history))
	}
}

func TestAnInterruptedReleaseIsFinished(t *testing.T) {
	dead := thisMachine() + "." + strconv.Itoa(endedProcess(t))
	for name, tc := range map[string]struct {
		status  rcommon.Status
		upgrade bool
		want    map[string]any
	}{
		"killed during the first installation: its values do not bind": {rcommon.StatusPendingInstall, false, replicas(3.0)},
		"the first installation failed":                                {rcommon.StatusFailed, false, replicas(3.0)},
		"killed during an upgrade":                                     {rcommon.StatusPendingUpgrade, true, map[string]any{"controlPlane": map[string]any{"replicas": 3.0}, "logLevel": 1.0}},
		"an upgrade failed":                                            {rcommon.StatusFailed, true, map[string]any{"controlPlane": map[string]any{"replicas": 3.0}, "logLevel": 1.0}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t)
			mustApply(t, c, map[string]any{"logLevel": 1.0}, false, Installed)
			if tc.upgrade {
				mustApply(t, c, replicas(3.0), true, Changed)
			}
			mark(t, c, tc.status, dead)
			mustApply(t, c, replicas(3.0), tc.upgrade, Finished)
			if diff := cmp.Diff(tc.want, config(t, c)); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnInterruptedDeletionIsFinishedByAnother(t *testing.T) {
	c := newClient(t)
	mustApply(t, c, map[string]any{"logLevel": 2.0}, false, Installed)
	mark(t, c, rcommon.StatusUninstalling, "")
	_, err := apply(t, c, nil, false)
	if err == nil || !strings.Contains(err.Error(), "deletion was begun") {
		t.Errorf("creation during a deletion: %v", err)
	}
	for range 2 { // the second time it was cut off before Forget
		values, there, err := c.Uninstall(t.Context(), "vc", time.Minute)
		if err != nil || !there || values["logLevel"] != 2.0 {
			t.Fatalf("uninstall: %v, there %v, values %v", err, there, values)
		}
		if _, err := apply(t, c, nil, false); err == nil || !strings.Contains(err.Error(), "deletion was begun") {
			t.Errorf("creation before the end of a deletion: %v", err)
		}
	}
	if err := c.Forget("vc"); err != nil {
		t.Fatal(err)
	}
	if _, there, err := c.Uninstall(t.Context(), "vc", time.Minute); err != nil || there {
		t.Errorf("uninstall again: %v, there %v", err, there)
	}
	if err := c.Forget("vc"); err != nil {
		t.Errorf("forget again: %v", err)
	}
	mustApply(t, c, nil, false, Installed)
}

func TestADeletionSettlesAnInterruptedCreation(t *testing.T) {
	c := newClient(t)
	mustApply(t, c, nil, false, Installed)
	mark(t, c, rcommon.StatusPendingInstall, thisMachine()+"."+strconv.Itoa(endedProcess(t)))
	if _, _, err := c.Uninstall(t.Context(), "vc", time.Minute); err != nil {
		t.Fatal(err)
	}
}

func TestAWriterThatMayBeAtWorkIsWaitedFor(t *testing.T) {
	t.Run("on another machine, for as long as Helm can take", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newClient(t)
			action.Timestamper = time.Now // the time of the bubble
			mustApply(t, c, nil, false, Installed)
			mark(t, c, rcommon.StatusPendingInstall, "0123456789abcdef.7")
			began := time.Now()
			mustApply(t, c, nil, false, Finished)
			if waited := time.Since(began); waited < abandoned || waited > abandoned+time.Second {
				t.Errorf("waited %s, want %s", waited, abandoned)
			}
		})
	})
	t.Run("on this machine, for as long as it lives", func(t *testing.T) {
		sleeper := exec.Command(os.Args[0], "-test.run=^$", "-test.count=1")
		sleeper.Env = append(os.Environ(), "RELEASE_TEST_STAY=1")
		stay, err := sleeper.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := sleeper.Start(); err != nil {
			t.Fatal(err)
		}
		c := newClient(t)
		mustApply(t, c, nil, false, Installed)
		mark(t, c, rcommon.StatusPendingInstall, thisMachine()+"."+strconv.Itoa(sleeper.Process.Pid))
		ctx, cancel := context.WithCancel(t.Context())
		told := make(chan string, 1)
		c.Say = func(format string, args ...any) { told <- format; cancel() }
		_, err = c.Apply(ctx, Request{Name: "vc"})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("settled a record whose writer lives: %v", err)
		}
		stay.Close()
		sleeper.Wait() // It only had to be there.
		c.Say = t.Logf
		mustApply(t, c, nil, false, Finished)
	})
}

// endedProcess returns the number of a process that has ended.
func endedProcess(t *testing.T) int {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	return c.Process.Pid
}

func TestMain(m *testing.M) {
	if os.Getenv("RELEASE_TEST_STAY") != "" {
		io.Copy(io.Discard, os.Stdin) // It only waits.
		return
	}
	os.Exit(m.Run())
}

func TestSourceMergesFilesAndFlagsInOrder(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := dir + "/" + name
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := Source{
		Files: []string{write("a", "x"), write("b", "y"), "-"},
		Set:   []string{"c.d=4"},
		Stdin: strings.NewReader("z"),
		Read: func(_ string, content []byte) (map[string]any, error) {
			return map[string]any{"last": string(content), string(content): true, "c": map[string]any{"d": 1, "e": 2}}, nil
		},
	}
	got, err := s.Values()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"last": "z", "x": true, "y": true, "z": true, "c": map[string]any{"d": int64(4), "e": 2}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	s.Set = []string{"no-value"}
	if _, err := s.Values(); output.Report(io.Discard, err) != 2 {
		t.Errorf("a mistake in --set is no misuse: %v", err)
	}
}

func TestDiffComparesNumbersAsTheyRead(t *testing.T) {
	before := map[string]any{"a": int64(3), "list": []any{1.0}, "gone": "x", "same": map[string]any{}}
	after := map[string]any{"a": 3.0, "list": []any{int64(2)}, "new": map[string]any{"k": nil}, "same": map[string]any{}}
	var got []string
	for _, c := range Diff(before, after) {
		got = append(got, c.String())
	}
	want := []string{`gone: "x" -> (default)`, "list: [1] -> [2]", "new.k: (default) -> null"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	kept := map[string]any{"m": map[string]any{"k": 1}}
	Merge(map[string]any{"m": map[string]any{"k": 2}}, kept)
	if !slices.Equal(slices.Collect(maps.Keys(kept)), []string{"m"}) || kept["m"].(map[string]any)["k"] != 1 {
		t.Error("Merge has changed what it was given")
	}
}
