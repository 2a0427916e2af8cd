// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"portico.dev/portico/cmd/portico/internal/kubeconfig"
)

// TestMain is also the command that connect runs.
func TestMain(m *testing.M) {
	if os.Getenv("CLI_TEST_COMMAND") != "" {
		c, err := clientcmd.LoadFromFile(os.Getenv("KUBECONFIG"))
		if err != nil {
			os.Stderr.WriteString(err.Error()) // The exit code says it.
			os.Exit(99)
		}
		os.Stdout.WriteString(c.CurrentContext) // The test sees it.
		os.Exit(7)
	}
	os.Exit(m.Run())
}

func connected(t *testing.T) (b *bench, server string) {
	t.Helper()
	b = newBench(t)
	b.run(0, "create", "vc", "--connect=false")
	return b, b.serveAPI()
}

func currentContext(t *testing.T, b *bench) string {
	t.Helper()
	c, err := b.file.Merged()
	if err != nil {
		t.Fatal(err)
	}
	return c.CurrentContext
}

func TestConnectAndDisconnect(t *testing.T) {
	b, server := connected(t)
	for range 2 { // the second time from within
		b.run(0, "connect", "vc", "--server", server)
		if got := currentContext(t, b); got != "portico_vc_portico-vc_host" {
			t.Errorf("current context %q", got)
		}
	}
	if got := b.run(0, "list"); !strings.Contains(got, "yes") {
		t.Errorf("the list does not say that it is connected:\n%s", got)
	}
	b.run(0, "disconnect")
	b.says("the current context is host")
	if got := currentContext(t, b); got != "host" {
		t.Errorf("current context %q, want host", got)
	}
	b.run(1, "disconnect")
	b.says("leads into no virtual cluster", "hint: ")
}

func TestDeleteGoesBackAndTakesItsContexts(t *testing.T) {
	b, server := connected(t)
	b.run(0, "connect", "vc", "--server", server)
	b.run(0, "connect", "vc", "--server", server, "--kube-config-context-name", "mine")
	b.run(0, "delete", "vc")
	c, err := b.file.Merged()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Contexts) != 1 || c.CurrentContext != "host" {
		t.Errorf("contexts %v, current %q", c.Contexts, c.CurrentContext)
	}
}

func TestConnectRunsACommandAndHandsOnItsExitCode(t *testing.T) {
	b, server := connected(t)
	t.Setenv("CLI_TEST_COMMAND", "1")
	if got := b.run(7, "connect", "vc", "--server", server, "--", os.Args[0], "--flag"); got != "portico_vc_portico-vc_host" {
		t.Errorf("the command saw the context %q", got)
	}
	if b.err.Len() != 0 {
		t.Errorf("it says more than the command: %s", b.err.String())
	}
	if got := currentContext(t, b); got != "host" {
		t.Errorf("the current context has changed to %q", got)
	}
	b.run(1, "connect", "vc", "--server", server, "--", filepath.Join(b.dir, "no-such-command"))
}

func TestConnectPrintsAKubeconfigAndNothingElse(t *testing.T) {
	b, server := connected(t)
	printed := b.run(0, "connect", "vc", "--server", server, "--print", "--service-account", "ci", "--cluster-role", "view", "--token-expiration", "3600")
	c, err := clientcmd.Load([]byte(printed))
	if err != nil {
		t.Fatalf("%v:\n%s", err, printed)
	}
	user := c.AuthInfos[c.Contexts[c.CurrentContext].AuthInfo]
	if user.Token != "the-token" || len(user.ClientKeyData) != 0 {
		t.Errorf("the user is not the service account alone: %v", user)
	}
	if got := currentContext(t, b); got != "host" {
		t.Errorf("the current context has changed to %q", got)
	}
}

func TestConnectWritesAnotherFileOnlyIfItIsItsOwn(t *testing.T) {
	b, server := connected(t)
	own := filepath.Join(b.dir, "own")
	for range 2 {
		b.run(0, "connect", "vc", "--server", server, "--update-current=false", "--kube-config", own)
	}
	c, err := clientcmd.LoadFromFile(own)
	if err != nil {
		t.Fatal(err)
	}
	if _, ours := kubeconfig.OriginOf(c, c.CurrentContext); !ours {
		t.Errorf("the file has the context %q", c.CurrentContext)
	}
	foreign := write(t, filepath.Join(b.dir, "foreign"), "apiVersion: v1\nkind: Config\ncontexts: [{name: x, context: {cluster: c}}]\n")
	b.run(1, "connect", "vc", "--server", server, "--update-current=false", "--kube-config", foreign)
	b.run(2, "connect", "vc", "--server", server, "--update-current=false")
	if got := currentContext(t, b); got != "host" {
		t.Errorf("the current context has changed to %q", got)
	}
}
