// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
)

func TestLaw6TextShowsVirtualNames(t *testing.T) {
	tr := mustNew(t, testCluster())
	web, web0, db := tr.Name("demo", "web"), tr.Name("demo", "web-0"), tr.Name("demo", strings.Repeat("db-", 20)+"0")
	known := map[string]rewrite.VirtualRef{
		web:  {Namespace: "demo", Name: "web"},
		web0: {Namespace: "demo", Name: "web-0"},
		db:   {Namespace: "demo", Name: strings.Repeat("db-", 20) + "0"},
	}
	for name, c := range map[string]struct{ reason, in, want string }{
		"quota":       {"the name in quotes", `pods "` + web + `" is forbidden: exceeded quota: q`, `pods "web" is forbidden: exceeded quota: q`},
		"prefix":      {"web is no part of web-0", web0 + " and " + web + ".", "web-0 and web."},
		"longer name": {"an unknown name that begins alike", web + "-2 " + web, web + "-2 web"},
		"in a name":   {"an unknown name that ends alike", "my" + web + " my." + web, "my" + web + " my." + web},
		"hashed":      {"a shortened name", db + ": not found", strings.Repeat("db-", 20) + "0: not found"},
		"namespaced":  {"the namespace beside a name", `secret "team-a"/"` + web + `" not found, team-a/` + web, `secret "demo"/"web" not found, demo/web`},
		"word":        {"the namespace after the word", `in the namespace "team-a", namespace: team-a`, `in the namespace "demo", namespace: demo`},
		"word after":  {"the namespace before the word", `in the team-a namespace, in the "team-a" namespace`, `in the demo namespace, in the "demo" namespace`},
		"other use":   {"a word that happens to be the namespace", "ask team-a about it", "ask team-a about it"},
		"DNS":         {"a name of a Service", "lookup " + web + ".team-a.svc.cluster.local: no such host", "lookup web.demo.svc.cluster.local: no such host"},
		"log path":    {"as the kubelet names directories", "/var/log/pods/team-a_" + web0 + "_uid/c", "/var/log/pods/demo_web-0_uid/c"},
		"back-off":    {"as the kubelet names pods", "restarting failed container=c pod=" + web0 + "_team-a(uid)", "restarting failed container=c pod=web-0_demo(uid)"},
		"attach":      {"at the end of a text", "container c not found in pod " + web + "_team-a", "container c not found in pod web_demo"},
		"other pod":   {"a namespace that is not the host's, and a name that is not known", web + "_team-ab, x" + web + "_team-a", "web_team-ab, x" + web + "_team-a"},
		"user": {
			"a user of the host", `User "system:serviceaccount:team-a:door" cannot create pods in the namespace "team-a"`,
			`User "system:serviceaccount:demo:portico" cannot create pods in the namespace "demo"`,
		},
		"nothing": {"no name at all", "Back-off 10s restarting", "Back-off 10s restarting"},
		"empty":   {"no text", "", ""},
		"unicode": {"letters beyond ASCII", "„" + web + "“ läuft", "„web“ läuft"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tr.TextToVirtual(c.in, known); got != c.want {
				t.Errorf("%s:\n got %s\nwant %s", c.reason, got, c.want)
			}
		})
	}
}

func TestLaw6StatusShowsVirtualNames(t *testing.T) {
	tr := mustNew(t, testCluster())
	host := tr.Name("demo", "web-0")
	got := tr.StatusToVirtual(metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden,
		Message: `pods "` + host + `" is forbidden: violates PodSecurity`,
		Details: &metav1.StatusDetails{Name: host, Kind: "pods", Causes: []metav1.StatusCause{{Message: host + " is privileged", Field: "spec"}}},
	}, "demo", "web-0")
	want := metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden,
		Message: `pods "web-0" is forbidden: violates PodSecurity`,
		Details: &metav1.StatusDetails{Name: "web-0", Kind: "pods", Causes: []metav1.StatusCause{{Message: "web-0 is privileged", Field: "spec"}}},
	}
	if d := diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestLaw6PodStatusShowsVirtualNames puts the pod's own host name and those of
// its references into every text of its status.
func TestLaw6PodStatusShowsVirtualNames(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "web-0", nil)
	v.Spec.Containers = []corev1.Container{{Name: "c", Image: "nginx:1", EnvFrom: []corev1.EnvFromSource{{
		ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}},
	}}}}
	h := toHost(t, tr, v, testInputs()).(*corev1.Pod)
	text := h.Name + ` cannot find configmap "` + tr.Name("demo", "settings") + `" or ` + tr.TokenSecretName("demo", "web-0") + ` in namespace team-a`
	state := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Message: text}, Terminated: &corev1.ContainerStateTerminated{Message: text}}
	h.Status = corev1.PodStatus{
		Message: text, Conditions: []corev1.PodCondition{{Message: text}},
		InitContainerStatuses: []corev1.ContainerStatus{{Name: "i", State: state, LastTerminationState: state}},
		ContainerStatuses:     []corev1.ContainerStatus{{Name: "c", Image: "mirror.example/nginx:1", State: state}},
	}
	got := toVirtual(t, tr, h).(*corev1.Pod)
	want := `web-0 cannot find configmap "settings" or web-0-token in namespace demo`
	for _, s := range []string{
		got.Status.Message, got.Status.Conditions[0].Message,
		got.Status.InitContainerStatuses[0].State.Waiting.Message, got.Status.InitContainerStatuses[0].LastTerminationState.Terminated.Message,
		got.Status.ContainerStatuses[0].State.Waiting.Message,
	} {
		if s != want {
			t.Errorf("got %q, want %q", s, want)
		}
	}
	if got := got.Status.ContainerStatuses[0].Image; got != "nginx:1" {
		t.Errorf("the status shows image %s", got)
	}
}

// FuzzText: no known name survives as a word, and text without one is as it was.
func FuzzText(f *testing.F) {
	f.Add(`pods "`, `" is forbidden`)
	f.Add("team-a/", ".team-a.svc")
	f.Add("", "-2")
	tr, err := rewrite.New(testCluster())
	if err != nil {
		f.Fatal(err)
	}
	host := tr.Name("demo", "web-0")
	known := map[string]rewrite.VirtualRef{host: {Namespace: "demo", Name: "web-0"}}
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.Contains(before+after, "team-a") || strings.Contains(before+after, host) {
			return
		}
		if got := tr.TextToVirtual(before+" "+after, known); got != before+" "+after {
			t.Errorf("%q became %q", before+" "+after, got)
		}
		if got := tr.TextToVirtual(before+" "+host+" "+after, known); got != before+" web-0 "+after {
			t.Errorf("%q became %q", before+" "+host+" "+after, got)
		}
	})
}

// A kubelet that waits for an object that the door composes says so in an
// Event.
func TestTextNamesNothingThatIsComposedForAPod(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "web", nil)
	v.Spec.Volumes = []corev1.Volume{{Name: "ca", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Name: ptr("corp"), Path: "ca.pem"}}},
	}}}}
	known := tr.ComposedNames("demo", "web", v)
	for host, want := range map[string]string{
		tr.TokenSecretName("demo", "web"):                       `secret "web-token" not found`,
		tr.CertificateSecretName("demo", "web"):                 `secret "web-certificate" not found`,
		tr.TrustBundleName(rewrite.TrustBundle{Name: "corp"}):   `secret "trust bundle corp" not found`,
		tr.TrustBundleName(rewrite.TrustBundle{Name: "nobody"}): `secret "` + tr.TrustBundleName(rewrite.TrustBundle{Name: "nobody"}) + `" not found`,
	} {
		if got := tr.TextToVirtual(`secret "`+host+`" not found`, known); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestTextsAboutAPodHaveTheTenantsImagesAndClaims(t *testing.T) {
	cluster := testCluster()
	cluster.Images = map[string]string{"nginx:1": "mirror.example/nginx:1", "web:1": "mirror.example/nginx:1"}
	tr := mustNew(t, cluster)
	v := pod("demo", "web", nil)
	v.Spec.Containers = []corev1.Container{{Name: "a", Image: "nginx:1"}, {Name: "b", Image: "web:1"}}
	v.Spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}}}
	known := map[string]rewrite.VirtualRef{
		tr.Name("demo", "web-scratch"): {Namespace: "demo", Name: "web-scratch"},
		tr.Name("demo", "data"):        {Namespace: "demo", Name: "data"},
	}
	for in, want := range map[string][2]string{
		`Back-off pulling image "mirror.example/nginx:1": ErrImagePull: not found`: {
			`Back-off pulling image "nginx:1": ErrImagePull: not found`, `Back-off pulling image "web:1": ErrImagePull: not found`,
		},
		`Pulling image "mirror.example/nginx:12"`: {`Pulling image "mirror.example/nginx:12"`, `Pulling image "mirror.example/nginx:12"`},
		`0/2 nodes are available: persistentvolumeclaim "` + tr.Name("demo", "web-scratch") + `" not found. preemption: none`: {
			`0/2 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "web-scratch". preemption: none`,
			`0/2 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "web-scratch". preemption: none`,
		},
		`persistentvolumeclaim "` + tr.Name("demo", "data") + `" not found`: {`persistentvolumeclaim "data" not found`, `persistentvolumeclaim "data" not found`},
	} {
		for i, container := range []string{"a", "b"} {
			if got := tr.PodTextToVirtual(in, v, container, known); got != want[i] {
				t.Errorf("of container %s: got %s\nwant %s", container, got, want[i])
			}
		}
	}

	h := toHost(t, tr, v, testInputs()).(*corev1.Pod)
	h.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Message: `0/2 nodes are available: persistentvolumeclaim "` + tr.Name("demo", "web-scratch") + `" not found.`}}
	h.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "b", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Message: `Back-off pulling image "mirror.example/nginx:1"`}}}}
	got := toVirtual(t, tr, h).(*corev1.Pod).Status
	if want := `0/2 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "web-scratch".`; got.Conditions[0].Message != want {
		t.Errorf("the condition says %s", got.Conditions[0].Message)
	}
	if want := `Back-off pulling image "web:1"`; got.ContainerStatuses[0].State.Waiting.Message != want {
		t.Errorf("the container says %s", got.ContainerStatuses[0].State.Waiting.Message)
	}
}
