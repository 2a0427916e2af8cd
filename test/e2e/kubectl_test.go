// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// kubectl speaks to one namespace of one cluster.
type kubectl struct {
	t          *testing.T
	kubeconfig string
	namespace  string
}

// result is the output of a command.
type result struct {
	stdout, stderr string
	err            error
}

func (r result) String() string {
	return fmt.Sprintf("%v\nstdout: %s\nstderr: %s", r.err, r.stdout, r.stderr)
}

// command is kubectl with args, to be started by the caller.
func (k kubectl) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, lab.kubectl, append([]string{"--kubeconfig", k.kubeconfig, "--namespace", k.namespace}, args...)...)
}

// try runs kubectl with stdin.
func (k kubectl) try(stdin string, args ...string) result {
	ctx, cancel := context.WithTimeout(k.t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	c := k.command(ctx, args...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := c.Run()
	return result{strings.TrimSpace(stdout.String()), strings.TrimSpace(stderr.String()), err}
}

// run is for commands that must work. It returns their output.
func (k kubectl) run(args ...string) string {
	k.t.Helper()
	r := k.try("", args...)
	if r.err != nil {
		k.t.Fatalf("kubectl %s: %v", strings.Join(args, " "), r)
	}
	return r.stdout
}

// refused is for commands that must not work. It returns kubectl's error
// output.
func (k kubectl) refused(args ...string) string {
	k.t.Helper()
	r := k.try("", args...)
	if r.err == nil {
		k.t.Fatalf("kubectl %s worked: %s", strings.Join(args, " "), r.stdout)
	}
	return r.stderr
}

// apply applies files of testdata.
func (k kubectl) apply(files ...string) {
	k.t.Helper()
	for _, f := range files {
		k.run("apply", "-f", filepath.Join("testdata", f))
	}
}

// applyWith applies a file of testdata with words in it replaced, given as
// pairs of an old and a new one.
func (k kubectl) applyWith(file string, words ...string) {
	k.t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		k.t.Fatal(err)
	}
	if r := k.try(strings.NewReplacer(words...).Replace(string(text)), "apply", "-f", "-"); r.err != nil {
		k.t.Fatalf("apply %s: %v", file, r)
	}
}

// field is the value of a JSONPath in an object or a list.
func (k kubectl) field(object, path string) string {
	k.t.Helper()
	return k.run("get", object, "-o", "jsonpath="+path)
}

// names lists objects by name.
func (k kubectl) names(args ...string) []string {
	k.t.Helper()
	return strings.Fields(k.run(append([]string{"get", "-o", "jsonpath={.items[*].metadata.name}"}, args...)...))
}

// rolledOut waits for a Deployment or the like.
func (k kubectl) rolledOut(workload string) {
	k.t.Helper()
	k.run("rollout", "status", workload, "--timeout", patience.String())
}

// waitFor is kubectl wait.
func (k kubectl) waitFor(condition string, objects ...string) {
	k.t.Helper()
	k.run(append([]string{"wait", "--for", condition, "--timeout", patience.String()}, objects...)...)
}

// object decodes one object into v.
func (k kubectl) object(v any, args ...string) {
	k.t.Helper()
	out := k.run(append([]string{"get", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		k.t.Fatalf("kubectl get %s: %v", strings.Join(args, " "), err)
	}
}

// eventually waits until a condition holds, and fails with its last text.
func eventually(t *testing.T, what string, holds func() (bool, string)) {
	t.Helper()
	eventuallyWithin(t, patience, what, holds)
}

// eventuallyWithin is eventually for conditions that take long by their nature.
func eventuallyWithin(t *testing.T, limit time.Duration, what string, holds func() (bool, string)) {
	t.Helper()
	var last string
	interval := min(limit/1000, time.Second)
	err := wait.PollUntilContextTimeout(t.Context(), interval, limit, true, func(context.Context) (bool, error) {
		ok, state := holds()
		last = state
		return ok, nil
	})
	if err != nil {
		t.Fatalf("%s: %v; last seen: %s", what, err, last)
	}
}

// with returns k for a subtest.
func (k kubectl) with(t *testing.T) kubectl {
	k.t = t
	return k
}
