// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shell returns kubectl in a namespace with the pod of shell.yaml.
func shell(t *testing.T) kubectl {
	t.Helper()
	k, _ := shared(t)
	k.apply("shell.yaml")
	k.waitFor("condition=Ready", "pod/shell")
	return k
}

func TestLogsFollow(t *testing.T) {
	t.Parallel()
	k := shell(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	follow := k.command(ctx, "logs", "-f", "shell")
	out, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	// Far enough that the last lines were written after logs -f began.
	lines := bufio.NewScanner(out)
	for i := range 20 {
		if !lines.Scan() {
			t.Fatalf("log ended at line %d: %v", i, lines.Err())
		}
		if want := fmt.Sprintf("line %d", i+1); lines.Text() != want {
			t.Fatalf("line %d is %q", i+1, lines.Text())
		}
	}
	cancel()
	_ = follow.Wait() // It was killed.
	if got := k.run("logs", "shell", "--tail=2"); len(strings.Split(got, "\n")) != 2 {
		t.Errorf("--tail=2 has %q", got)
	}
	if out := k.refused("logs", "shell", "-c", "nosuch"); strings.Contains(out, "-x-") {
		t.Errorf("a host name leaks: %s", out)
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	k := shell(t)
	if got := k.run("exec", "shell", "--", "sh", "-c", "echo $POD $NAMESPACE $GREETING"); got != "shell "+k.namespace+" hello from the tenant" {
		t.Errorf("environment: %q", got)
	}
	if got := k.run("exec", "shell", "--", "hostname"); got != "shell" {
		t.Errorf("hostname: %q", got)
	}
	if r := k.try("through stdin", "exec", "-i", "shell", "--", "cat"); r.err != nil || r.stdout != "through stdin" {
		t.Errorf("stdin: %v", r)
	}
	r := k.try("", "exec", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
	var exit *exec.ExitError
	if !errors.As(r.err, &exit) || exit.ExitCode() != 7 || r.stdout != "out" || !strings.HasPrefix(r.stderr, "err") {
		t.Errorf("exit code 7, out and err: %v", r)
	}
	if out := k.refused("exec", "shell", "-c", "nosuch", "--", "true"); strings.Contains(out, "-x-") {
		t.Errorf("a host name leaks: %s", out)
	}
}

func TestCopyToAndFrom(t *testing.T) {
	t.Parallel()
	k := shell(t)
	dir := t.TempDir()
	there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
	content := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB: more than one frame
	if err := os.WriteFile(there, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	k.run("cp", there, "shell:/tmp/file")
	k.run("cp", "shell:/tmp/file", back)
	got, err := os.ReadFile(back)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != content {
		t.Errorf("%d bytes came back of %d, or other ones", len(got), len(content))
	}
}

func TestPortForward(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	k.apply("web.yaml")
	k.rolledOut("deployment/web")
	for _, target := range []string{"pod/" + k.names("pods")[0], "service/web"} {
		t.Run(strings.Split(target, "/")[0], func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			forward := k.command(ctx, "port-forward", target, ":80")
			out, err := forward.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := forward.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				cancel()
				_ = forward.Wait() // It was killed.
			}()
			port := forwardedPort(t, out)
			for range 3 {
				if page := get(t, "http://127.0.0.1:"+port+"/"); !strings.Contains(page, "Welcome to nginx!") {
					t.Errorf("page: %q", page)
				}
			}
		})
	}
}

// forwardedPort reads the port that port-forward has chosen.
func forwardedPort(t *testing.T, out io.Reader) string {
	t.Helper()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("port-forward: %v", err)
	}
	m := regexp.MustCompile(`127\.0\.0\.1:(\d+)`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("port-forward said %q", line)
	}
	return m[1]
}

func get(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestProxyToPodAndService(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	k.apply("web.yaml")
	k.rolledOut("deployment/web")
	for _, path := range []string{"pods/" + k.names("pods")[0] + ":80", "services/web:http"} {
		if page := k.run("get", "--raw", "/api/v1/namespaces/"+k.namespace+"/"+path+"/proxy/"); !strings.Contains(page, "Welcome to nginx!") {
			t.Errorf("%s: %q", path, page)
		}
	}
}
