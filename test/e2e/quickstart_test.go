// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"portico.dev/portico/test/walk"
)

// TestQuickstart does as a reader of docs/quickstart.md does, command by
// command, and sees the output that the page shows.
func TestQuickstart(t *testing.T) {
	// Not parallel: the page lists the clusters of the whole host.
	loadImage(t)
	page, err := os.ReadFile("../../docs/quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := walk.Steps(string(page))
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	t.Cleanup(func() {
		// Not bound to the test's context, which has ended by now.
		if out, err := r.run(context.Background(), "portico delete my-vcluster --ignore-not-found"); err != nil {
			t.Errorf("delete the cluster: %v\n%s", err, out)
		}
	})
	for _, s := range steps {
		balanced := make(chan struct{})
		go func() {
			defer close(balanced)
			if strings.Contains(s.Command, "--expose") {
				balance(t, "portico-my-vcluster", "my-vcluster")
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		out, err := r.run(ctx, s.Command)
		cancel()
		<-balanced
		if (err != nil) != s.Fails() {
			t.Fatalf("line %d: %s: %v\n%s", s.Line, s.Command, err, out)
		}
		if diff := walk.Differs(s.Output, out); diff != "" {
			t.Fatalf("line %d: %s: %s", s.Line, s.Command, diff)
		}
	}
}

// reader is a person with a home, a kubeconfig of the host's administrator, and
// portico and kubectl in their path.
type reader struct {
	home string
	env  []string
}

func newReader(t *testing.T) *reader {
	t.Helper()
	portico := os.Getenv("PORTICO")
	if portico == "" {
		portico = filepath.Join(filepath.Dir(lab.porticod), "portico")
	}
	r := &reader{home: t.TempDir()}
	bin := filepath.Join(r.home, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, program := range map[string]string{"portico": portico, "kubectl": lab.kubectl} {
		program, err := filepath.Abs(program)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(program); err != nil {
			t.Fatalf("%v; make cli makes portico", err)
		}
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	kubeconfig, err := os.ReadFile(lab.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(r.home, "kubeconfig"), kubeconfig)
	// Nothing else of this machine's environment: the page names all that it needs.
	r.env = []string{
		"HOME=" + r.home, "TMPDIR=" + r.home, "KUBECONFIG=" + filepath.Join(r.home, "kubeconfig"),
		"PATH=" + bin + string(filepath.ListSeparator) + os.Getenv("PATH"),
	}
	return r
}

// run runs a command in a shell. Its output goes to a file: a process that a
// command leaves in the background must not keep the test waiting.
func (r *reader) run(ctx context.Context, command string) (string, error) {
	file, err := os.CreateTemp(r.home, "output-")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	c := exec.CommandContext(ctx, "bash", "-c", command)
	c.Dir, c.Env, c.Stdout, c.Stderr = r.home, r.env, file, file
	err = c.Run()
	out, readErr := os.ReadFile(file.Name())
	if err == nil {
		err = readErr
	}
	return string(out), err
}

// balance is a load balancer for one Service, once: its address is a node's,
// where kube-proxy takes the traffic.
func balance(t *testing.T, namespace, service string) {
	k := admin(t, namespace)
	if r := k.try("", "wait", "--for=jsonpath={.spec.type}=LoadBalancer", "service/"+service, "--timeout", patience.String()); r.err != nil {
		t.Errorf("wait for the Service %s: %v", service, r)
		return
	}
	node := k.try("", "get", "nodes", "-o", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`)
	if node.err != nil {
		t.Errorf("address of a node: %v", node)
		return
	}
	status := fmt.Sprintf(`{"status":{"loadBalancer":{"ingress":[{"ip":%q}]}}}`, node.stdout)
	if r := k.try("", "patch", "service", service, "--subresource=status", "--type=merge", "-p", status); r.err != nil {
		t.Errorf("give the Service %s an address: %v", service, r)
	}
}
