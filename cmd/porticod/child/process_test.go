// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package child_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"portico.dev/portico/cmd/porticod/child"
)

// roleVariable makes the test binary play a child.
const roleVariable = "PORTICO_TEST_CHILD"

func TestMain(m *testing.M) {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	switch os.Getenv(roleVariable) {
	case "":
		signal.Stop(terminated)
		os.Exit(m.Run())
	case "obedient":
		fmt.Println("up")
		<-terminated
	case "stubborn":
		fmt.Println("up")
		for range terminated {
		}
	case "broken":
		fmt.Println(strings.Repeat("x", 8<<10))
		fmt.Println("cannot do it")
		os.Exit(3)
	}
}

func start(t *testing.T, role string) *child.Process {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := child.Start(child.Spec{
		Name:       role + " child",
		Executable: executable,
		Env:        []string{roleVariable + "=" + role},
		Log:        filepath.Join(t.TempDir(), "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestStopEndsAChildThatListens(t *testing.T) {
	p := start(t, "obedient")
	awaitUp(t, p)
	if err := p.Stop(time.Minute); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if err := p.Stop(time.Minute); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

func TestStopKillsAChildThatDoesNot(t *testing.T) {
	p := start(t, "stubborn")
	awaitUp(t, p)
	err := p.Stop(50 * time.Millisecond)
	var failed *child.Error
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("Stop returned %v", err)
	}
}

// awaitUp waits for the child's first line, so that its signal handler stands.
func awaitUp(t *testing.T, p *child.Process) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		_, err := p.AwaitCluster(ctx, "never written")
		cancel()
		var failed *child.Error
		if errors.As(err, &failed) && strings.Contains(failed.Tail, "up") {
			return
		}
	}
	t.Fatal("child did not come up")
}

func TestAChildThatFailsIsReportedWithTheEndOfItsLog(t *testing.T) {
	p := start(t, "broken")
	_, err := p.AwaitCluster(t.Context(), filepath.Join(t.TempDir(), "kubeconfig"))
	var failed *child.Error
	if !errors.As(err, &failed) || !errors.Is(err, child.ErrEnded) {
		t.Fatalf("AwaitCluster returned %v", err)
	}
	if failed.Tail != "cannot do it\n" {
		t.Errorf("tail is %q, want the last whole line", failed.Tail)
	}
	var printed strings.Builder
	child.PrintLog(&printed, fmt.Errorf("start clusters: %w", err))
	if want := "--- end of " + failed.Log + "\ncannot do it\n---\n"; printed.String() != want {
		t.Errorf("printed is %q, want %q", printed.String(), want)
	}
	printed.Reset()
	child.PrintLog(&printed, errors.New("another"))
	child.PrintLog(&printed, &child.Error{Name: "silent"})
	if printed.Len() > 0 {
		t.Errorf("printed is %q for a child that said nothing", printed.String())
	}
}

func TestAwaitClusterWaitsUntilItSaysReady(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path != "/readyz" || asked < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: server.URL}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c"}},
		CurrentContext: "c",
	}, kubeconfig); err != nil {
		t.Fatal(err)
	}
	p := start(t, "obedient")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cfg, err := p.AwaitCluster(ctx, kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Host != server.URL || asked < 3 {
		t.Errorf("got host %q after %d questions", cfg.Host, asked)
	}
}

func TestStartReportsAProgramThatIsNotThere(t *testing.T) {
	_, err := child.Start(child.Spec{Name: "ghost", Executable: "/nonexistent", Log: filepath.Join(t.TempDir(), "log")})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Start returned %v", err)
	}
}
