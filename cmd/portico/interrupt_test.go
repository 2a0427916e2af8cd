// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"portico.dev/portico/test/embedded"
)

// asCLI makes the test binary behave as portico.
const asCLI = "PORTICO_TEST_AS_CLI"

func TestMain(m *testing.M) {
	if os.Getenv(asCLI) != "" {
		main()
	}
	embedded.Main(m)
}

// door is a way to the embedded host that counts writes, and kills the program
// that sends them after one of them was done, before it hears of it.
type door struct {
	home string

	mu        sync.Mutex
	program   *exec.Cmd
	writes    int
	killAfter int
}

func newDoor(t *testing.T, host *embedded.Host) *door {
	t.Helper()
	target, err := url.Parse(host.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(host.Config)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{home: t.TempDir()}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:      transport,
		ModifyResponse: d.answered,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) {},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	content := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\ncontexts: [{name: host, context: {cluster: c}}]\ncurrent-context: host\n", server.URL)
	if err := os.WriteFile(filepath.Join(d.home, "config"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// answered sees the host's answer before the program does.
func (d *door) answered(r *http.Response) error {
	if r.Request.Method == http.MethodGet || r.StatusCode >= http.StatusBadRequest || r.Request.URL.Query().Has("dryRun") {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.writes++; d.writes == d.killAfter {
		d.program.Process.Kill() // The test sees whether it has ended.
	}
	return nil
}

// run runs portico, and kills it after so many writes; never with 0. It returns
// its output, the number of writes, and whether it ended well.
func (d *door) run(t *testing.T, killAfter int, args ...string) (said string, writes int, err error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), asCLI+"=1", "KUBECONFIG="+filepath.Join(d.home, "config"), "HOME="+d.home, "XDG_CACHE_HOME="+d.home)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	d.mu.Lock()
	d.program, d.writes, d.killAfter = c, 0, killAfter
	err = c.Start()
	d.mu.Unlock()
	if err == nil {
		err = c.Wait()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return out.String(), d.writes, err
}

// must runs portico to its end.
func (d *door) must(t *testing.T, args ...string) (said string, writes int) {
	t.Helper()
	said, writes, err := d.run(t, 0, args...)
	if err != nil {
		t.Fatalf("portico %s: %v\n%s", strings.Join(args, " "), err, said)
	}
	return said, writes
}

// TestCreateAndDeleteFinishAfterKill9AtEachWrite kills portico after each of its
// writes to a real API, and runs the same command again.
func TestCreateAndDeleteFinishAfterKill9AtEachWrite(t *testing.T) {
	d := newDoor(t, embedded.SharedHost(t))
	create := func(name string) []string {
		return []string{"create", name, "--connect=false", "--wait=false", "--set", "controlPlane.persistence.enabled=false"}
	}
	remove := func(name string) []string { return []string{"delete", name} }
	_, creating := d.must(t, create("whole")...)
	_, deleting := d.must(t, remove("whole")...)
	if creating < 8 || deleting < 8 {
		t.Fatalf("a creation has %d writes and a deletion %d: that is too few to be a chart", creating, deleting)
	}
	for n := 1; n <= max(creating, deleting); n++ {
		t.Run(fmt.Sprintf("after write %d", n), func(t *testing.T) {
			name := fmt.Sprintf("cut-%d", n)
			if n <= creating {
				said, _, err := d.run(t, n, create(name)...)
				if err == nil {
					t.Errorf("the creation was not killed:\n%s", said)
				}
			}
			d.must(t, create(name)...)
			installed(t, name)
			if said, _ := d.must(t, create(name)...); !strings.Contains(said, "unchanged") {
				t.Errorf("the cluster is not as it was to be:\n%s", said)
			}
			if n <= deleting {
				said, _, err := d.run(t, n, remove(name)...)
				if err == nil {
					t.Errorf("the deletion was not killed:\n%s", said)
				}
			}
			// Nothing is left to do after the last write.
			d.must(t, append(remove(name), "--ignore-not-found")...)
			gone(t, name)
		})
	}
}

// TestCreateInsideAVirtualCluster: a virtual cluster is a host like any other.
func TestCreateInsideAVirtualCluster(t *testing.T) {
	outer := embedded.NewCluster(t)
	d := newDoor(t, outer.AsHost())
	args := []string{"create", "inner", "--connect=false", "--wait=false", "--set", "controlPlane.persistence.enabled=false"}
	d.must(t, args...)
	if said, _ := d.must(t, args...); !strings.Contains(said, "unchanged") {
		t.Errorf("the cluster is not as it was to be:\n%s", said)
	}
	// Its porticod is a pod of the outer cluster, and so of the host.
	embedded.Eventually(t, "the pod of the control plane on the host", func(ctx context.Context) (bool, string) {
		l, err := outer.Host.CoreV1().Pods(outer.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "portico.dev/namespace=portico-inner"})
		return err == nil && len(l.Items) == 1, fmt.Sprint(len(l.Items), err)
	})
	service, err := outer.Virtual.CoreV1().Services("portico-inner").Get(t.Context(), "inner", metav1.GetOptions{})
	if err != nil || service.Labels["portico.dev/cluster"] != "inner" || service.Spec.Selector["portico.dev/door"] != "inner" {
		t.Errorf("the inner cluster's Service has the labels %v and selects by %v, %v", service.Labels, service.Spec.Selector, err)
	}
	d.must(t, "delete", "inner")
	embedded.Eventually(t, "nothing of it on the host", func(ctx context.Context) (bool, string) {
		l, err := outer.Host.CoreV1().Pods(outer.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "portico.dev/namespace=portico-inner"})
		return err == nil && len(l.Items) == 0, fmt.Sprint(len(l.Items), err)
	})
}

// installed checks that the objects of a chart are there.
func installed(t *testing.T, name string) {
	t.Helper()
	client, namespace := embedded.SharedHost(t).Client, "portico-"+name
	_, err := client.AppsV1().StatefulSets(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err == nil {
		_, err = client.CoreV1().Services(namespace).Get(t.Context(), name, metav1.GetOptions{})
	}
	if err == nil {
		_, err = client.RbacV1().RoleBindings(namespace).Get(t.Context(), name, metav1.GetOptions{})
	}
	if err != nil {
		t.Errorf("after the creation: %v", err)
	}
}

// gone checks that nothing is left of a cluster.
func gone(t *testing.T, name string) {
	t.Helper()
	_, err := embedded.SharedHost(t).Client.CoreV1().Namespaces().Get(t.Context(), "portico-"+name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the namespace is still there: %v", err)
	}
}
