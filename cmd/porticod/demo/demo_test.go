// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/cmd/porticod/child"
)

// roleVariable makes the test binary play a porticod that can't start.
const roleVariable = "PORTICO_TEST_BROKEN_PORTICOD"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" {
		fmt.Println("porticod", strings.Join(os.Args[1:], " "))
		fmt.Println("the disk is on fire")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestRunShowsTheLogOfAChildThatFails(t *testing.T) {
	t.Setenv(roleVariable, "1")
	var out, errOut bytes.Buffer
	dir := t.TempDir()
	err := Run(t.Context(), Streams{Out: &out, Err: &errOut}, Options{Once: true, Dir: dir})
	var demoErr *Error
	if !errors.As(err, &demoErr) || !errors.Is(err, child.ErrEnded) {
		t.Fatalf("Run returned %v", err)
	}
	if want := filepath.Join(dir, "host.log"); !strings.Contains(demoErr.Hint(), want) {
		t.Errorf("hint is %q, want it to name %s", demoErr.Hint(), want)
	}
	if !strings.Contains(errOut.String(), "the disk is on fire") {
		t.Errorf("the child's log is not shown:\n%s", errOut.String())
	}
	if !strings.Contains(out.String(), "host cluster") || !strings.Contains(out.String(), "failed") {
		t.Errorf("the failed step is not shown:\n%s", out.String())
	}
}

func TestInterruptedDemoIsNoFailureUnlessItHadAnEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	interrupted := fmt.Errorf("wait: %w", context.Canceled)
	if err := conclude(ctx, Streams{}, interrupted, false, ""); err != nil {
		t.Errorf("interrupted demo failed: %v", err)
	}
	if err := conclude(ctx, Streams{}, interrupted, true, ""); err == nil {
		t.Error("a demo that did not get to its end passed")
	}
}

func TestWriteSideBySide(t *testing.T) {
	var out strings.Builder
	err := writeSideBySide(&out, "LEFT", "RIGHT", []pair{
		{
			table{"things", []string{"NAME", "N"}, [][]string{{"a", "1"}, {"bcdef", "22"}}},
			table{"things", []string{"NAME"}, nil},
		},
		{
			table{"others", []string{"NAME"}, [][]string{{"x"}}},
			table{"others", []string{"NAME"}, [][]string{{"y"}, {"z…"}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"LEFT         |  RIGHT",
		"             |",
		"things       |  things",
		"  NAME   N   |    (none)",
		"  a      1   |",
		"  bcdef  22  |",
		"             |",
		"others       |  others",
		"  NAME       |    NAME",
		"  x          |    y",
		"             |    z…",
		"",
	}, "\n")
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// goodViews are the views of both sides when all is well.
func goodViews() (tenant, host view) {
	namespace := func(name string) corev1.Namespace {
		return corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	pod := func(namespace, name, uid string) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning},
		}
	}
	tenant = view{
		namespaces:  []corev1.Namespace{namespace("default"), namespace(walkNamespace)},
		deployments: []appsv1.Deployment{{ObjectMeta: metav1.ObjectMeta{Namespace: walkNamespace, Name: walkDeployment}}},
		pods:        []corev1.Pod{pod(walkNamespace, "a", "1"), pod(walkNamespace, "b", "2")},
	}
	host = view{
		namespaces: []corev1.Namespace{namespace("default"), namespace("portico-c")},
		pods:       []corev1.Pod{pod("portico-c", "a-x-demo-nginx-x-c", "1"), pod("portico-c", "b-x-demo-nginx-x-c", "2")},
	}
	return tenant, host
}

func TestVerify(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(tenant, host *view)
		want  string // in the error; none if empty
	}{
		"as it should be":             {func(_, _ *view) {}, ""},
		"namespace reached the host":  {func(_, h *view) { h.namespaces[0].Name = walkNamespace }, "the host has the tenant's namespace"},
		"host namespace is visible":   {func(v, _ *view) { v.namespaces[0].Name = "portico-c" }, "the tenant sees the host's namespace"},
		"deployment reached the host": {func(v, h *view) { h.deployments = v.deployments }, "the host has Deployment"},
		"pod is a copy":               {func(_, h *view) { h.pods[0].UID = "3" }, "has uid 1, its host pod 3"},
		"pod has another name":        {func(_, h *view) { h.pods[0].Name = "a" }, "the host has no pod a-x-demo-nginx-x-c"},
		"pod does not run":            {func(v, _ *view) { v.pods[0].Status.Phase = corev1.PodPending }, "is Pending"},
		"pod too many":                {func(_, h *view) { h.pods = append(h.pods, h.pods[0]) }, "the host 3"},
	} {
		t.Run(name, func(t *testing.T) {
			tenant, host := goodViews()
			test.spoil(&tenant, &host)
			err := verify(tenant, host, "c", "portico-c")
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
