// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// does runs a command that must work, and returns its output.
func (r *reader) does(t *testing.T, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	out, err := r.run(ctx, command)
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(out)
}

// says runs a command until its output has a text.
func (r *reader) says(t *testing.T, command, text string) {
	t.Helper()
	eventually(t, command, func() (bool, string) {
		out, err := r.run(t.Context(), command)
		return err == nil && strings.Contains(out, text), fmt.Sprintf("%v\n%s", err, out)
	})
}

// finally runs a command when the test has ended.
func (r *reader) finally(t *testing.T, command string) {
	t.Cleanup(func() {
		// Not bound to the test's context, which has ended by now.
		if out, err := r.run(context.Background(), command); err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	})
}

// newSeedReader is a reader with a values file of a vcluster.
func newSeedReader(t *testing.T, files ...string) *reader {
	t.Helper()
	loadImage(t)
	r := newReader(t)
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join("..", "..", "cmd", "portico", "convert", "testdata", "seed", name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(r.home, name), content)
	}
	return r
}

const (
	nettool = "--image=docker.io/library/nginx:1.27"
	welcome = "Welcome to nginx!"
)

// Pods of a virtual cluster and of its host reach each other by address, and by
// name with the values files that people have for vcluster.
func TestSeedNetwork(t *testing.T) {
	t.Parallel()
	r := newSeedReader(t, "host-to-vcluster.yaml", "vcluster-to-host.yaml")
	const inside = "portico connect net-vcluster -- "
	r.finally(t, "portico delete net-vcluster --ignore-not-found")
	r.does(t, "portico create net-vcluster --connect=false")
	r.does(t, inside+"kubectl create deployment nettool-virtual "+nettool)
	r.finally(t, "kubectl delete deployment,service nettool-host --ignore-not-found")
	r.does(t, "kubectl create deployment nettool-host "+nettool)
	r.does(t, inside+"kubectl rollout status deployment/nettool-virtual")
	r.does(t, "kubectl rollout status deployment/nettool-host")

	const address = " get pods -l app=%s -o 'jsonpath={.items[0].status.podIP}'"
	virtual := r.does(t, inside+"kubectl"+fmt.Sprintf(address, "nettool-virtual"))
	host := r.does(t, "kubectl"+fmt.Sprintf(address, "nettool-host"))
	// The last line is curl's; the command line says other things before.
	r.says(t, inside+"kubectl exec deployment/nettool-virtual -- curl -s "+lastLine(host), welcome)
	r.says(t, "kubectl exec deployment/nettool-host -- curl -s "+lastLine(virtual), welcome)

	r.does(t, "kubectl expose deployment nettool-host --port=80 --target-port=80")
	r.does(t, inside+"kubectl expose deployment nettool-virtual --port=80 --target-port=80")
	r.does(t, "portico create net-vcluster --upgrade --connect=false -f host-to-vcluster.yaml")
	r.says(t, inside+"kubectl exec deployment/nettool-virtual -- curl -s nettool-host", welcome)
	r.does(t, "portico create net-vcluster --upgrade --connect=false -f vcluster-to-host.yaml")
	r.says(t, "kubectl exec deployment/nettool-host -- curl -s nettool-virtual.portico-net-vcluster", welcome)
	// A value that was not named again is still there.
	r.says(t, inside+"kubectl exec deployment/nettool-virtual -- curl -s nettool-host", welcome)
}

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }

// throughService connects to a cluster by the address of its Service on the host,
// which does not end with the pod that answers.
func (r *reader) throughService(t *testing.T, host kubectl, name string) kubectl {
	t.Helper()
	k := kubectl{t: t, kubeconfig: filepath.Join(r.home, name+".kubeconfig"), namespace: "default"}
	r.does(t, "portico connect "+name+" --print --server https://"+host.field("service/"+name, "{.spec.clusterIP}")+" >"+k.kubeconfig)
	eventually(t, "answer through the Service", func() (bool, string) {
		got := k.try("", "get", "serviceaccount", "default")
		return got.err == nil, got.String()
	})
	return k
}

// Three porticods on three etcds, of the values file that people have for
// vcluster. A porticod and an etcd are killed and everything is replaced by an
// upgrade, while a client writes and another watches: nothing is lost, and no
// pod of the tenant is made again.
func TestSeedHighAvailability(t *testing.T) {
	t.Parallel()
	r := newSeedReader(t, "ha.yaml")
	r.finally(t, "portico delete ha-vcluster --ignore-not-found")
	r.does(t, "portico create ha-vcluster --connect=false --distro k8s -f ha.yaml")
	const namespace = "portico-ha-vcluster"
	host := admin(t, namespace)
	t.Cleanup(func() {
		if t.Failed() {
			out, err := r.run(context.Background(), "kubectl get pods,events -o wide -n "+namespace)
			t.Logf("host namespace: %v\n%s", err, out)
		}
	})
	host.rolledOut("statefulset/ha-vcluster-etcd")
	host.rolledOut("deployment/ha-vcluster")
	if got := host.field("deployment/ha-vcluster", "{.status.readyReplicas}") + host.field("statefulset/ha-vcluster-etcd", "{.status.readyReplicas}"); got != "33" {
		t.Errorf("porticods and etcds that are ready: %s, want three of each", got)
	}

	k := r.throughService(t, host, "ha-vcluster")
	k.run("create", "deployment", "web", "--image=docker.io/library/nginx:1.27", "--replicas=2")
	k.rolledOut("deployment/web")
	const uids = "{.items[*].metadata.uid}"
	before := k.field("pods", uids)

	c := newCorrespondence(t, k.kubeconfig)
	c.write(t, "before", 3)
	host.run("delete", "pod", "ha-vcluster-etcd-1", "--grace-period=0", "--force")
	porticods := host.names("pods", "-l", "portico.dev/door=ha-vcluster")
	host.run("delete", "pod", porticods[0], "--grace-period=0", "--force")
	c.write(t, "killed", 20)
	host.rolledOut("statefulset/ha-vcluster-etcd")
	host.rolledOut("deployment/ha-vcluster")

	upgraded := make(chan error, 1)
	go func() {
		out, err := r.run(t.Context(), "portico create ha-vcluster --upgrade --connect=false --set logLevel=1 --set controlPlane.etcd.resources.limits.memory=900Mi")
		if err != nil {
			err = fmt.Errorf("upgrade: %w\n%s", err, out)
		}
		upgraded <- err
	}()
	for round := 0; ; round++ {
		c.write(t, fmt.Sprintf("upgrade-%d", round), 5)
		select {
		case err := <-upgraded:
			if err != nil {
				t.Fatal(err)
			}
		default:
			continue
		}
		break
	}
	host.rolledOut("statefulset/ha-vcluster-etcd")
	host.rolledOut("deployment/ha-vcluster")
	c.write(t, "after", 3)
	c.seen(t)
	if after := k.field("pods", uids); after != before {
		t.Errorf("the pods are others: %s, before %s", after, before)
	}
	if restarts := k.field("pods", "{.items[*].status.containerStatuses[*].restartCount}"); restarts != "0 0" {
		t.Errorf("containers were restarted: %s", restarts)
	}
}

// correspondence is one client that writes ConfigMaps, and one that watches them
// all the time.
type correspondence struct {
	client  kubernetes.Interface
	written []string

	mu  sync.Mutex
	got map[string]bool
}

func newCorrespondence(t *testing.T, kubeconfig string) *correspondence {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.Timeout = patience / 10 // A connection to a door that was killed does not end by itself.
	writer, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	config.Timeout = 0
	watcher, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &correspondence{client: writer, got: map[string]bool{}}
	shared := informers.NewSharedInformerFactoryWithOptions(watcher, 0, informers.WithNamespace("default"))
	i := shared.Core().V1().ConfigMaps().Informer()
	if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(obj any) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got[obj.(*corev1.ConfigMap).Name] = true
	}}); err != nil {
		t.Fatal(err)
	}
	shared.Start(t.Context().Done())
	shared.WaitForCacheSync(t.Context().Done())
	return c
}

// write writes a number of ConfigMaps. A client that meets a dead door tries
// again, as all clients of replicas do.
func (c *correspondence) write(t *testing.T, prefix string, n int) {
	t.Helper()
	for i := range n {
		name := fmt.Sprintf("%s-%d", prefix, i)
		eventually(t, "write "+name, func() (bool, string) {
			cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
			_, err := c.client.CoreV1().ConfigMaps("default").Create(t.Context(), cm, metav1.CreateOptions{})
			if err != nil {
				_, err = c.client.CoreV1().ConfigMaps("default").Get(t.Context(), name, metav1.GetOptions{})
			}
			return err == nil, fmt.Sprint(err)
		})
		c.written = append(c.written, name)
	}
}

// seen waits until everything that was written was seen by the watch and is there.
func (c *correspondence) seen(t *testing.T) {
	t.Helper()
	eventually(t, "the watch has everything", func() (bool, string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		missing := slices.DeleteFunc(slices.Clone(c.written), func(name string) bool { return c.got[name] })
		return len(missing) == 0, fmt.Sprint(missing)
	})
	list, err := c.client.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, cm := range list.Items {
		there[cm.Name] = true
	}
	for _, name := range c.written {
		if !there[name] {
			t.Errorf("%s was written and is lost; there are %v", name, slices.Sorted(maps.Keys(there)))
		}
	}
}
