// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"
)

func TestCreateTakesTheFileOfAVcluster(t *testing.T) {
	b := newBench(t)
	file := write(t, b.dir+"/host-to-vcluster.yaml", "mapServices:\n  fromHost:\n  - from: default/nettool-host\n    to: default/nettool-host\n")
	b.run(0, "create", "vc", "--connect=false", "-f", file)
	want := map[string]any{"mapServices": map[string]any{"fromHost": []any{map[string]any{"from": "default/nettool-host", "to": "default/nettool-host"}}}}
	if diff := cmp.Diff(want, b.deployed().Config); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	wrong := write(t, b.dir+"/wrong.yaml", "controlPlan:\n  replicas: 3\n")
	b.run(2, "create", "vc", "--connect=false", "-f", wrong)
	b.says(wrong, "controlPlan")
}

func TestConvertPrintsValuesAndTellsAboutKeys(t *testing.T) {
	b := newBench(t)
	file := write(t, b.dir+"/vcluster.yaml", "controlPlane:\n  backingStore:\n    etcd:\n      deploy:\n        enabled: true\ntelemetry:\n  enabled: false\n")
	var values map[string]any
	if err := yaml.Unmarshal([]byte(b.run(0, "convert", file)), &values); err != nil {
		t.Fatal(err)
	}
	if len(values) == 0 {
		t.Error("nothing was converted")
	}
	b.says("has the form of vcluster", "controlPlane.backingStore.etcd.deploy.enabled -> ")
}

// A portico.yaml as porticod reads it has keys that the chart sets: a user who
// takes one for values gets a report of their fate.
func TestConvertTellsAboutKeysOfPorticod(t *testing.T) {
	b := newBench(t)
	file := write(t, b.dir+"/portico.yaml", "name: other\nreplicas: 2\nlisten: 0.0.0.0:8443\nlogLevel: 2\n")
	var values map[string]any
	if err := yaml.Unmarshal([]byte(b.run(0, "convert", file)), &values); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"logLevel": float64(2), "controlPlane": map[string]any{"replicas": float64(2)}}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	b.says("no values of the chart", "name is left out: The name of the release", "listen is left out: The chart sets it.", "replicas -> controlPlane.replicas")
}

func TestPauseAndResume(t *testing.T) {
	b := newBench(t)
	b.run(0, "create", "vc", "--connect=false")
	for range 2 {
		b.run(0, "pause", "vc")
		b.says("is paused")
	}
	if got := b.run(0, "list"); !strings.Contains(got, "Paused") {
		t.Errorf("list:\n%s", got)
	}
	b.run(1, "create", "vc", "--upgrade", "--connect=false")
	b.says("is paused", "hint: portico resume vc")
	b.run(1, "connect", "vc")
	b.says("is paused", "hint: --resume")
	if got := b.run(0, "status", "vc"); !strings.Contains(got, "State:       Paused\n") {
		t.Errorf("status:\n%s", got)
	}
	for range 2 {
		b.run(0, "resume", "vc")
	}
	b.run(0, "connect", "vc", "--server", b.serveAPI())
}

func TestAPersonIsAskedBeforeAPausedClusterIsResumed(t *testing.T) {
	for answer, want := range map[string]int{"y\n": 0, "\n": 1, "": 1} {
		b := newBench(t)
		b.run(0, "create", "vc", "--connect=false")
		b.run(0, "pause", "vc")
		server := b.serveAPI()
		b.reset()
		b.app.streams.Terminal, b.app.streams.In = true, strings.NewReader(answer)
		if got := b.app.run(t.Context(), []string{"connect", "vc", "--server", server}); got != want {
			t.Errorf("answer %q: exit code %d, want %d\n%s", answer, got, want, b.err.String())
		}
		b.says("Resume it? [y/N]")
	}
}

func TestUpgradeKeepsValuesAndWantsACluster(t *testing.T) {
	b := newBench(t)
	b.run(1, "upgrade", "vc")
	b.says("there is no such virtual cluster")
	b.run(0, "create", "vc", "--connect=false", "--set", "logLevel=3")
	b.run(0, "upgrade", "vc", "--set", "clusterDomain=example.org")
	if diff := cmp.Diff(map[string]any{"logLevel": int64(3), "clusterDomain": "example.org"}, b.deployed().Config); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

// porticod returns a pod of the control plane.
func porticod(ready bool) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "portico-vc", Name: "vc-0", Labels: map[string]string{"portico.dev/door": "vc"}},
		Spec:       corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{{Name: "porticod", Image: "portico.dev/portico/porticod:dev"}}},
	}
	if ready {
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	return pod
}

func TestStatusDescribeAndLogs(t *testing.T) {
	tenants := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "portico-vc", Name: "web-x-default-x-vc",
		// A tenant can have any label but ours.
		Labels: map[string]string{"portico.dev/cluster": "vc", "portico.dev/namespace": "default", "app.kubernetes.io/name": "portico"},
	}}
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "portico-vc", Name: "e"},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "vc-0"}, Type: corev1.EventTypeWarning, Reason: "Unhealthy", Message: "probe failed",
	}
	about := corev1.ObjectReference{Kind: "ConfigMap", Name: "vc.anchor"}
	minute := func(n int) metav1.Time { return metav1.NewTime(time.Date(2026, 1, 1, 0, n, 0, 0, time.UTC)) }
	condition := func(name, kind, reason, message string, at int) *corev1.Event {
		return &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Namespace: "portico-vc", Name: name},
			InvolvedObject: about, Type: kind, Reason: reason, Message: message, LastTimestamp: minute(at),
		}
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "portico-vc", Name: "vc"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}
	b := newBench(t, porticod(true), tenants, event, service,
		condition("c1", corev1.EventTypeWarning, "StoreNearlyFull", "435Mi of 512Mi", 2),
		condition("c2", corev1.EventTypeWarning, "CertificateEnds", "soon", 1),
		condition("c3", corev1.EventTypeNormal, "CertificateEnds", "This is over", 3))
	b.run(0, "create", "vc", "--connect=false", "--set", "logLevel=3")
	var got overview
	if err := json.Unmarshal([]byte(b.run(0, "status", "vc", "-o", "json")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "vc" || got.Tenants != 1 || len(got.Pods) != 1 || got.Pods[0].Image != "portico.dev/portico/porticod:dev" || !got.Credentials ||
		got.Release.Revision != 1 || got.Release.Values["logLevel"] != 3.0 || got.Events[0].Message != "probe failed" ||
		got.Problem != "the load balancer of the host has given no address to the Service portico-vc/vc" {
		t.Errorf("status: %+v", got)
	}
	if len(got.Conditions) != 1 || got.Conditions[0].Reason != "StoreNearlyFull" {
		t.Errorf("conditions: %+v, want the one that is not over", got.Conditions)
	}
	text := b.run(0, "describe", "vc")
	for _, want := range []string{"State:       Running (1 of 1 replicas ready)", "  logLevel: 3\n", "vc-0", "probe failed", "Warning:     StoreNearlyFull: 435Mi of 512Mi\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("describe lacks %q:\n%s", want, text)
		}
	}
	if got := b.run(0, "logs", "vc", "--tail", "3"); got != "fake logs" {
		t.Errorf("logs: %q", got)
	}
}

func TestDebugHasNoSecretInIt(t *testing.T) {
	b := newBench(t, porticod(true),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "portico-vc", Name: "vc.pki"}, Data: map[string][]byte{"key": []byte("hidden")}})
	b.run(0, "create", "vc", "--connect=false")
	b.client.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		secret := []byte("hidden")
		return true, &corev1.Secret{Data: map[string][]byte{"certificate-authority": secret, "client-certificate": secret, "client-key": secret}}, nil
	})
	archive := b.run(0, "debug", "vc", "--output-filename", "-")
	zipped, err := gzip.NewReader(strings.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for files := tar.NewReader(zipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		for _, form := range []string{"hidden", "aGlkZGVu"} { // also in base64
			if bytes.Contains(content, []byte(form)) {
				t.Errorf("%s has a secret in it", header.Name)
			}
		}
	}
	for _, want := range []string{"vc/overview.yaml", "vc/logs/vc-0.log", "vc/pods.yaml", "vc/config.yaml.error"} {
		if !slices.Contains(names, want) {
			t.Errorf("the archive lacks %s: %v", want, names)
		}
	}
}

func TestSnapshotRefusesWhatItCannotSave(t *testing.T) {
	b := newBench(t, porticod(false))
	b.run(0, "create", "vc", "--connect=false")
	b.run(1, "snapshot", "vc", b.dir+"/snapshot")
	b.says("does not serve")
	b = newBench(t, porticod(true))
	b.run(0, "create", "vc", "--connect=false")
	b.run(1, "snapshot", "vc", write(t, b.dir+"/there", ""))
	b.says("exists")
	b.run(2, "snapshot", "vc")
}

func TestDoctorSaysWhatIsMissing(t *testing.T) {
	b := newBench(t)
	discovery := b.client.Discovery().(*fakediscovery.FakeDiscovery)
	discovery.FakedServerVersion = &version.Info{GitVersion: "v1.37.2"}
	denied := ""
	b.client.PrependReactor("create", "selfsubjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		review.Status.Allowed = review.Spec.ResourceAttributes.Resource != denied
		return true, review, nil
	})
	verdicts := func(want int) map[string]string {
		t.Helper()
		var findings []finding
		if err := json.Unmarshal([]byte(b.run(want, "doctor", "-o", "json")), &findings); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, f := range findings {
			if f.Verdict != fine {
				got[f.Check] = f.Verdict
				if f.Advice == "" {
					t.Errorf("%s: no advice", f.Check)
				}
			}
		}
		return got
	}
	want := map[string]string{"default StorageClass": warning, "DNS of the host": warning}
	if diff := cmp.Diff(want, verdicts(0)); diff != "" {
		t.Errorf("a bare host (-want +got):\n%s", diff)
	}
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "std", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}}}
	dns := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns", Labels: map[string]string{"k8s-app": "kube-dns"}}}
	for _, o := range []runtime.Object{class, dns} {
		if err := b.client.Tracker().Add(o); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]string{}, verdicts(0)); diff != "" {
		t.Errorf("a good host (-want +got):\n%s", diff)
	}
	denied = "statefulsets"
	if diff := cmp.Diff(map[string]string{"right to create statefulsets": fault}, verdicts(1)); diff != "" {
		t.Errorf("a host without rights (-want +got):\n%s", diff)
	}
	b.releases.Chart.Metadata.KubeVersion = ">=1.38.0-0"
	if diff := cmp.Diff(map[string]string{"version of the host": fault}, verdicts(1)); diff != "" {
		t.Errorf("an old host (-want +got):\n%s", diff)
	}
}

// TestRotateRenewsOwnContexts is in package kubeconfig and on the lab: the
// command itself runs in a pod.
func TestRotateWantsAServingCluster(t *testing.T) {
	b := newBench(t)
	b.run(0, "create", "vc", "--connect=false")
	b.run(1, "rotate", "vc")
	b.says("does not serve", "hint: ")
}

// TestCommandsOfThePage: docs/from-vcluster.md names every command, and no other.
func TestCommandsOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/from-vcluster.md")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	commands := map[string]bool{"help": true}
	for _, c := range b.app.root().Commands() {
		commands[c.Name()] = true
		if !c.Hidden && !strings.Contains(string(page), "`portico "+c.Name()) {
			t.Errorf("the page does not name portico %s", c.Name())
		}
	}
	for _, m := range regexp.MustCompile("`portico ([a-z]+)").FindAllStringSubmatch(string(page), -1) {
		if !commands[m[1]] && m[1] != "completion" { // which cobra adds when it runs
			t.Errorf("the page names portico %s, which is no command", m[1])
		}
	}
}

// A cluster that sleeps is shown as such, woken by hand and by connect without a
// question, and neither paused by a wake nor woken from a pause.
func TestSleepAndWake(t *testing.T) {
	b := newBench(t)
	b.run(0, "create", "vc", "--connect=false")
	b.run(1, "sleep", "vc")
	b.says("sleep.afterInactivity and sleep.schedule are not set", "hint: portico upgrade vc")
	b.run(0, "wake", "vc")
	b.says("serves")

	asleep := func() {
		t.Helper()
		patch := `{"metadata":{"annotations":{"portico.dev/sleep":"30m","portico.dev/sleeping":"2030-01-01T00:00:00Z","portico.dev/wake-at":"2030-01-01T00:40:00Z","portico.dev/replicas":"1","portico.dev/last-activity":"ann at 2029-12-31T23:30:00Z"}},"spec":{"replicas":0}}`
		if _, err := b.client.AppsV1().StatefulSets("portico-vc").Patch(t.Context(), "vc", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	asleep()
	b.run(0, "sleep", "vc")
	b.says("vc sleeps")
	if got := b.run(0, "list", "-o", "wide"); !strings.Contains(got, "Sleeping") || !strings.Contains(got, "2029-12-31T23:30:00Z") {
		t.Errorf("list:\n%s", got)
	}
	if got := b.run(0, "describe", "vc"); !strings.Contains(got, "State:       Sleeping since ") || !strings.Contains(got, "Last used:   by ann, ") {
		t.Errorf("describe:\n%s", got)
	}
	if got := b.run(0, "list", "-o", "json"); !strings.Contains(got, `"sleepingSince": "2030-01-01T00:00:00Z"`) || !strings.Contains(got, `"lastUser": "ann"`) {
		t.Errorf("list -o json:\n%s", got)
	}
	b.run(0, "wake", "vc")
	b.says("vc serves")
	asleep()
	b.run(0, "connect", "vc", "--server", b.serveAPI())
	if got := b.run(0, "list"); strings.Contains(got, "Sleeping") {
		t.Errorf("list after connect:\n%s", got)
	}
	asleep()
	b.run(0, "pause", "vc")
	b.run(1, "wake", "vc")
	b.says("is paused", "hint: portico resume vc")
	b.run(1, "sleep", "vc")
	b.says("cannot go to sleep while it is Paused")
	b.run(0, "resume", "vc")
	asleep()
	b.run(0, "resume", "vc")
	if got := b.run(0, "list"); !strings.Contains(got, "Running") {
		t.Errorf("list after resume:\n%s", got)
	}
	asleep()
	b.run(0, "create", "vc", "--upgrade", "--connect=false", "--set", "logLevel=1")
}
