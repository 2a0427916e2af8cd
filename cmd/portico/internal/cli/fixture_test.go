// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	kubefake "helm.sh/helm/v4/pkg/kube/fake"
	helmrelease "helm.sh/helm/v4/pkg/release"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/charts"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/kubeconfig"
	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/cmd/portico/internal/release"
)

var errKilled = errors.New("killed")

// power is cut before a write: from then on nothing is written any more, as
// after kill -9.
type power struct{ writes, cutBefore int }

func (p *power) use() error {
	if p.cutBefore > 0 && p.writes+1 >= p.cutBefore {
		return errKilled
	}
	p.writes++
	return nil
}

// records are Helm's, on the same power.
type records struct {
	*driver.Memory
	power *power
}

func (r records) Create(key string, rls helmrelease.Releaser) error {
	if err := r.power.use(); err != nil {
		return err
	}
	return r.Memory.Create(key, rls)
}

func (r records) Update(key string, rls helmrelease.Releaser) error {
	if err := r.power.use(); err != nil {
		return err
	}
	return r.Memory.Update(key, rls)
}

func (r records) Delete(key string) (helmrelease.Releaser, error) {
	if err := r.power.use(); err != nil {
		return nil, err
	}
	return r.Memory.Delete(key)
}

// bench is a host without a machine: a workload is there once Helm's record says
// that it was deployed.
type bench struct {
	*app
	t        *testing.T
	client   *fake.Clientset
	metadata *metadatafake.FakeMetadataClient
	releases *release.Client
	power    *power
	out, err bytes.Buffer
	file     kubeconfig.File
	dir      string
}

func newBench(t *testing.T, objects ...runtime.Object) *bench {
	t.Helper()
	b := &bench{t: t, power: &power{}, dir: t.TempDir(), client: fake.NewClientset(objects...)}
	b.file = kubeconfig.Locate(filepath.Join(b.dir, "config"))
	write(t, b.file.Path, "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: \"https://host\"}}]\ncontexts: [{name: host, context: {cluster: c}}]\ncurrent-context: host\n")
	b.reset()
	b.client.PrependReactor("*", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetVerb() != "get" && a.GetVerb() != "list" && a.GetVerb() != "watch" {
			if err := b.power.use(); err != nil {
				return true, nil, err
			}
		}
		return false, nil, nil
	})
	b.client.PrependReactor("list", "statefulsets", b.workload)
	b.client.PrependReactor("get", "secrets", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if b.deployed() == nil {
			return false, nil, nil
		}
		return true, &corev1.Secret{Data: map[string][]byte{"certificate-authority": []byte("ca"), "client-certificate": []byte("cert"), "client-key": []byte("key")}}, nil
	})
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	b.metadata = metadatafake.NewSimpleMetadataClient(scheme)
	c, err := charts.Read(os.DirFS("../release/testdata/chart"))
	if err != nil {
		t.Fatal(err)
	}
	memory := driver.NewMemory()
	memory.SetNamespace("portico-vc")
	config := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	config.Capabilities, config.KubeClient = common.DefaultCapabilities, &kubefake.PrintingKubeClient{Out: io.Discard}
	config.Releases = storage.Init(records{memory, b.power})
	b.releases = &release.Client{Config: config, Chart: c, Namespace: "portico-vc", Say: t.Logf}
	b.app.open = func(o host.Options, name string) (*host.Host, error) {
		return &host.Host{Client: b.client, Metadata: b.metadata, REST: &rest.Config{Host: "https://host"}, Context: "host", Kubeconfig: b.file}, nil
	}
	return b
}

// reset gives the next run an app of its own, as a process has.
func (b *bench) reset() {
	previous := b.app
	b.out.Reset()
	b.err.Reset()
	b.app = newApp(output.Streams{In: strings.NewReader(""), Out: &b.out, Err: &b.err}, "portico")
	b.app.releases = func(*host.Host, string) (*release.Client, error) { return b.releases, nil }
	b.app.chart = func() (*chart.Chart, error) { return b.releases.Chart, nil }
	b.app.background = func() (string, error) { return filepath.Join(b.dir, "forwards"), nil }
	b.app.now = func() time.Time { return time.Unix(1000, 0) }
	if previous != nil {
		b.app.open, b.app.feed = previous.open, previous.feed
	}
}

// run runs a command and checks its exit code.
func (b *bench) run(want int, args ...string) string {
	b.t.Helper()
	b.reset()
	if got := b.app.run(b.t.Context(), append([]string{"--kubeconfig", b.file.Path}, args...)); got != want {
		b.t.Errorf("portico %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, want, b.err.String())
	}
	return b.out.String()
}

// says checks the output of the last command.
func (b *bench) says(wants ...string) {
	b.t.Helper()
	for _, want := range wants {
		if !strings.Contains(b.err.String(), want) {
			b.t.Errorf("it does not say %q:\n%s", want, b.err.String())
		}
	}
}

func (b *bench) deployed() *release.Release {
	history, err := b.releases.History("vc")
	if err != nil {
		b.t.Error(err)
	}
	return release.Deployed(history)
}

// workload is the StatefulSet that the host makes of a release: it is there
// while Helm's record says so, and has as many ready pods as it wants.
func (b *bench) workload(clienttesting.Action) (bool, runtime.Object, error) {
	kind := appsv1.SchemeGroupVersion.WithResource("statefulsets")
	tracked, err := b.client.Tracker().Get(kind, "portico-vc", "vc")
	switch there := err == nil; {
	case there && b.deployed() == nil:
		return false, nil, b.client.Tracker().Delete(kind, "portico-vc", "vc")
	case there:
		set := tracked.(*appsv1.StatefulSet).DeepCopy()
		set.Status = appsv1.StatefulSetStatus{ReadyReplicas: *set.Spec.Replicas, UpdatedReplicas: *set.Spec.Replicas}
		return false, nil, b.client.Tracker().Update(kind, set, "portico-vc")
	case b.deployed() == nil:
		return false, nil, nil
	}
	replicas := int32(1)
	return false, nil, b.client.Tracker().Create(kind, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: "vc", Namespace: "portico-vc", CreationTimestamp: metav1.Unix(400, 0),
			Labels: map[string]string{"app.kubernetes.io/name": "portico", "portico.dev/cluster": "vc", "app.kubernetes.io/version": "dev"},
		},
		Spec:   appsv1.StatefulSetSpec{Replicas: &replicas},
		Status: appsv1.StatefulSetStatus{ReadyReplicas: 1, UpdatedReplicas: 1},
	}, "portico-vc")
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serveAPI stands for the API of a virtual cluster, and puts credentials for it
// into the Secret on the host. It returns its address.
func (b *bench) serveAPI() string {
	b.t.Helper()
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any
		switch r.Method + " " + r.URL.Path {
		case "GET /api/v1/namespaces/default/serviceaccounts/default":
			answer = &corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}}
		case "POST /api/v1/namespaces/kube-system/serviceaccounts":
			answer = &corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}}
		case "POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings":
			answer = map[string]string{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
		case "POST /api/v1/namespaces/kube-system/serviceaccounts/ci/token":
			answer = &authenticationv1.TokenRequest{
				TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"},
				Status:   authenticationv1.TokenRequestStatus{Token: "the-token"},
			}
		default:
			b.t.Errorf("unexpected request %s %s", r.Method, r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer) // The client sees it.
	}))
	b.t.Cleanup(api.Close)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	key := keyPEM(b.t, api)
	b.client.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &corev1.Secret{Data: map[string][]byte{"certificate-authority": cert, "client-certificate": cert, "client-key": key}}, nil
	})
	return fmt.Sprintf("https://%s", api.Listener.Addr())
}

func keyPEM(t *testing.T, api *httptest.Server) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(api.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
