// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"portico.dev/portico/test/embedded"
	"portico.dev/portico/test/servers"
)

// sharedStore is a database that a virtual cluster can be put on.
type sharedStore struct {
	server *servers.Server
	config string // the cluster's store section
	secret string // must be in no log
}

// sharedStores are all kinds of databases, each with TLS.
var sharedStores = map[string]func(t *testing.T) sharedStore{
	"etcd": func(t *testing.T) sharedStore {
		files := servers.NewTLS(t, t.TempDir(), "portico")
		s := servers.Etcd(t, servers.EtcdOptions{TLS: &files})
		return sharedStore{server: s, config: fmt.Sprintf("store:\n  endpoint: etcd://%s\n  tls: {caFile: %s, certFile: %s, keyFile: %s}\n",
			s.Address, files.CA, files.ClientCert, files.ClientKey)}
	},
	"PostgreSQL": func(t *testing.T) sharedStore {
		return database(t, servers.PostgreSQL, "postgres://%s/portico")
	},
	"MariaDB": func(t *testing.T) sharedStore {
		return database(t, servers.MariaDB, "mysql://tcp(%s)/portico")
	},
}

func database(t *testing.T, start func(testing.TB, servers.SQLOptions) *servers.Server, endpoint string) sharedStore {
	t.Helper()
	dir := t.TempDir()
	files := servers.NewTLS(t, dir, "portico")
	s := start(t, servers.SQLOptions{TLS: &files})
	for name, content := range map[string]string{"username": servers.SQLUser, "password": servers.SQLPassword + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return sharedStore{server: s, secret: servers.SQLPassword, config: fmt.Sprintf("store:\n  endpoint: %s\n  tls: {caFile: %s}\n  usernameFile: %s/username\n  passwordFile: %s/password\n",
		fmt.Sprintf(endpoint, s.Address), files.CA, dir, dir)}
}

// A virtual cluster works the same on every store.
func TestClusterOnASharedStore(t *testing.T) {
	for name, open := range sharedStores {
		t.Run(name, func(t *testing.T) {
			st := open(t)
			c := newClusterWith(t, embedded.SharedHost(t), st.config)
			useAll(t, c)

			if err := c.Process.End(syscall.SIGTERM); err != nil {
				t.Fatalf("end: %v\n%s", err, c.Process.Tail())
			}
			c.Start()
			seesAll(t, c)

			storeAwayAndBack(t, c, st.server)
			seesAll(t, c)
			if _, err := os.Stat(filepath.Join(c.Dir, "store")); !os.IsNotExist(err) {
				t.Errorf("there is a store in the data directory: %v", err)
			}
			if log, err := os.ReadFile(c.Process.Log); err != nil || (st.secret != "" && strings.Contains(string(log), st.secret)) {
				t.Errorf("the log tells the password, or cannot be read: %v", err)
			}
		})
	}
}

var widgets = schema.GroupVersionResource{Group: "shop.example", Version: "v1", Resource: "widgets"}

// useAll uses everything that a store must support: objects, watches, custom
// resources, leases (events), and controllers on top.
func useAll(t *testing.T, c *cluster) {
	t.Helper()
	ctx := t.Context()
	c.CreateNamespace("a")
	before, err := c.Virtual.CoreV1().ConfigMaps("a").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Virtual.CoreV1().ConfigMaps("a").Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=watched", ResourceVersion: before.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if _, err := c.Virtual.CoreV1().ConfigMaps("a").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "watched"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if e := <-w.ResultChan(); e.Type != watch.Added {
		t.Errorf("watch began with %v", e)
	}
	labels := map[string]string{"app": "web"}
	replicas := int32(2)
	if _, err := c.Virtual.AppsV1().Deployments("a").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: embedded.Pod("web", nil).Spec},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	crds, err := apiextensions.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	preserve := true
	if _, err := crds.ApiextensionsV1().CustomResourceDefinitions().Create(ctx, &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets.shop.example"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: widgets.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Singular: "widget", Kind: "Widget", ListKind: "WidgetList"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: widgets.Version, Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
				OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &preserve},
			}}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	custom, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "custom resource created", func(ctx context.Context) (bool, string) {
		_, err := custom.Resource(widgets).Namespace("a").Create(ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "shop.example/v1", "kind": "Widget", "metadata": map[string]any{"name": "w"}, "size": int64(3),
		}}, metav1.CreateOptions{})
		return err == nil, fmt.Sprint(err)
	})
	if _, err := c.Virtual.CoreV1().Events("a").Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, InvolvedObject: corev1.ObjectReference{Namespace: "a", Name: "watched", Kind: "ConfigMap"},
	}, metav1.CreateOptions{}); err != nil {
		t.Errorf("event: %v", err)
	}
	seesAll(t, c)
}

// seesAll checks that the objects of useAll are there.
func seesAll(t *testing.T, c *cluster) {
	t.Helper()
	embedded.Eventually(t, "deployment available", func(ctx context.Context) (bool, string) {
		d, err := c.Virtual.AppsV1().Deployments("a").Get(ctx, "web", metav1.GetOptions{})
		return err == nil && d.Status.AvailableReplicas == 2 && d.Status.ObservedGeneration == d.Generation, fmt.Sprintf("%v %+v", err, d.Status)
	})
	custom, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "custom resource there", func(ctx context.Context) (bool, string) {
		w, err := custom.Resource(widgets).Namespace("a").Get(ctx, "w", metav1.GetOptions{})
		return err == nil && w.Object["size"] == int64(3), fmt.Sprint(w, err)
	})
	// Native kinds, those of the aggregator, and custom ones are published by
	// three servers.
	for group, kind := range map[string]string{
		"api/v1": "io.k8s.api.core.v1.Pod", "apis/apps/v1": "io.k8s.api.apps.v1.Deployment", "apis/shop.example/v1": "example.shop.v1.Widget",
		"apis/apiregistration.k8s.io/v1": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
	} {
		embedded.Eventually(t, "schema of "+kind+" published", func(context.Context) (bool, string) {
			paths, err := c.Virtual.Discovery().OpenAPIV3().Paths()
			if err != nil || paths[group] == nil {
				return false, fmt.Sprintf("%v, %d paths", err, len(paths))
			}
			document, err := paths[group].Schema("application/json")
			return err == nil && strings.Contains(string(document), `"`+kind+`":{`), fmt.Sprint(err, len(document))
		})
	}
	for _, get := range []func(ctx context.Context) error{
		func(ctx context.Context) error {
			_, err := c.Virtual.CoreV1().ConfigMaps("a").Get(ctx, "watched", metav1.GetOptions{})
			return err
		},
		func(ctx context.Context) error {
			_, err := c.Virtual.CoreV1().Events("a").Get(ctx, "e", metav1.GetOptions{})
			return err
		},
	} {
		if err := get(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// storeAwayAndBack checks that a cluster without its store says so, and goes on
// by itself when the store is back.
func storeAwayAndBack(t *testing.T, c *cluster, s *servers.Server) {
	t.Helper()
	// The one check that is about the store: others fail, too, while a cluster starts.
	ready := func(ctx context.Context) error {
		return c.Virtual.CoreV1().RESTClient().Get().MaxRetries(0).AbsPath("/readyz/store").Do(ctx).Error()
	}
	if err := ready(t.Context()); err != nil {
		t.Errorf("not ready with the store: %v", err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("end of porticod's log:\n%s", c.Process.Tail())
		}
	}()
	s.Stop()
	embedded.Eventually(t, "not ready without the store", func(ctx context.Context) (bool, string) {
		err := ready(ctx)
		return err != nil, fmt.Sprint(err)
	})
	// The check is a part of the whole, which load balancers ask for.
	answer, err := c.Virtual.CoreV1().RESTClient().Get().MaxRetries(0).AbsPath("/readyz").DoRaw(t.Context())
	if err == nil || !strings.Contains(string(answer), "[-]store failed") {
		t.Errorf("/readyz without the store: %v, %s", err, answer)
	}
	s.Start()
	embedded.Eventually(t, "ready with the store", func(ctx context.Context) (bool, string) {
		err := ready(ctx)
		return err == nil, fmt.Sprint(err)
	})
	if _, err := c.Virtual.CoreV1().ConfigMaps("a").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "after"}}, metav1.CreateOptions{}); err != nil {
		t.Errorf("write after the outage: %v", err)
	}
}

// Each mistake with a store has its own words, and none is quick to be repeated
// with the password in it.
func TestSharedStoreMistakesAreClear(t *testing.T) {
	h := embedded.SharedHost(t)
	files, other := servers.NewTLS(t, t.TempDir(), "portico"), servers.NewTLS(t, t.TempDir(), "portico")
	s := servers.Etcd(t, servers.EtcdOptions{TLS: &files})
	for name, c := range map[string]struct{ store, want string }{
		"wrong authority": {fmt.Sprintf("endpoint: etcd://%s\n  tls: {caFile: %s}", s.Address, other.CA), "unknown authority"},
		"missing file":    {fmt.Sprintf("endpoint: etcd://%s\n  tls: {caFile: /nowhere}", s.Address), "store.tls: open /nowhere"},
		"nobody there":    {"endpoint: etcd://127.0.0.1:1\n  insecure: true", "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			config := fmt.Sprintf("name: c1\nhost:\n  kubeconfig: %s\n  namespace: default\ndataDir: %s\nlisten: 127.0.0.1:0\nstore:\n  %s\n", h.KubeconfigPath(), dir, c.store)
			path := filepath.Join(dir, "portico.yaml")
			if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := embedded.Start(dir, "serve", nil, "serve", "--config", path)
			if err != nil {
				t.Fatal(err)
			}
			<-p.Done
			for _, want := range []string{"error: open store: ", c.want, "hint: "} {
				if !strings.Contains(p.Tail(), want) {
					t.Errorf("output does not mention %q:\n%s", want, p.Tail())
				}
			}
		})
	}
}
