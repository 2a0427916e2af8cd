// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build hosts

package hosts

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"portico.dev/portico/certs"
	"portico.dev/portico/test/embedded"
	"portico.dev/portico/test/servers"
)

func TestMain(m *testing.M) { embedded.Main(m) }

// program is the API server to test with.
func program(t *testing.T) string {
	t.Helper()
	path := os.Getenv("HOST_APISERVER")
	if path == "" {
		t.Fatal("HOST_APISERVER is not set: use make hosts HOST_KUBE=v1.35.4")
	}
	return path
}

// start starts the API server on an etcd of its own, with further flags, and returns
// it as a host.
func start(t *testing.T, flags ...string) *embedded.Host {
	t.Helper()
	dir, address, token := t.TempDir(), embedded.FreePort(t), "administrator"
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	// The tokens of accounts are signed with a key of ours.
	roots, err := certs.NewRoots(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := roots.Install(dir); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(dir, "sa.key")
	tokens := filepath.Join(dir, "tokens.csv")
	if err := os.WriteFile(tokens, []byte(token+",administrator,1,system:masters\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "apiserver.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := exec.Command(program(t), append([]string{
		"--etcd-servers", "http://" + servers.Etcd(t, servers.EtcdOptions{}).Address,
		"--bind-address", "127.0.0.1", "--secure-port", port, "--cert-dir", filepath.Join(dir, "serving"),
		"--token-auth-file", tokens, "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.97.0.0/16",
		"--service-account-issuer", "https://host.example", "--service-account-key-file", bundle, "--service-account-signing-key-file", bundle,
	}, flags...)...)
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	config := clientcmdapi.NewConfig()
	// The server has signed its certificate itself.
	config.Clusters["host"] = &clientcmdapi.Cluster{Server: "https://" + address, CertificateAuthority: filepath.Join(dir, "serving", "apiserver.crt")}
	config.AuthInfos["administrator"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["host"] = &clientcmdapi.Context{Cluster: "host", AuthInfo: "administrator"}
	config.CurrentContext = "host"
	if err := clientcmd.WriteToFile(*config, filepath.Join(dir, "kubeconfig.yaml")); err != nil {
		t.Fatal(err)
	}
	var last error
	if err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, embedded.Patience, true, func(ctx context.Context) (bool, error) {
		h, err := embedded.ForeignHost(dir)
		if err == nil {
			err = h.Client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		}
		last = err
		return err == nil, nil
	}); err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("start the API server: %v, %v\n%s", err, last, text[max(0, len(text)-4000):])
	}
	h, err := embedded.ForeignHost(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := h.Client.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the host is Kubernetes %s", v.GitVersion)
	return h
}
