// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/rewrite"
)

// projecting is a pod with a volume of every kind of source that is composed.
func projecting() *corev1.Pod {
	v := pod("demo", "web", nil)
	v.Spec.Volumes = []corev1.Volume{{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "other", Audience: "other"}},
			{PodCertificate: &corev1.PodCertificateProjection{SignerName: "example.com/signer", CredentialBundlePath: "bundle.pem"}},
			{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Name: ptr("corp"), Path: "ca.pem"}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}}},
		},
	}}}}
	return v
}

func TestTroubleWithComposedObjectsReadsAsInAnOrdinaryCluster(t *testing.T) {
	tr := mustNew(t, testCluster())
	const begin = `MountVolume.SetUp failed for volume "all" : `
	var (
		token, certificate = tr.TokenSecretName("demo", "web"), tr.CertificateSecretName("demo", "web")
		bundle             = tr.TrustBundleName(rewrite.TrustBundle{Name: "corp"})
		root               = tr.Name("demo", "kube-root-ca.crt")
		notFound           = func(kind, name string) string { return kind + ` "` + name + `" not found` }
	)
	const (
		noToken       = "failed to fetch token: it is not issued yet"
		noCertificate = "credential bundle is not issued yet"
	)
	for name, c := range map[string]struct{ reason, text, news, lasting string }{
		"token":                {"the Secret comes right after the pod", notFound("secret", token), "", noToken},
		"earlier pod's tokens": {"its Secret is still there", "references non-existent secret key: all.0", "", noToken},
		"tokens, by key":       {"one trouble, told once", "[references non-existent secret key: all.0, references non-existent secret key: all.1]", "", noToken},
		"unregistered":         {"the pod is going", `[object "team-a"/"` + token + `" not registered, object "team-a"/"` + certificate + `" not registered]`, "", "[" + noToken + ", " + noCertificate + "]"},
		"certificate":          {"a signer takes its time, in every cluster", notFound("secret", certificate), noCertificate, noCertificate},
		"certificate, by key":  {"", "references non-existent secret key: all.2.bundle", noCertificate, noCertificate},
		"trust anchors":        {"the ConfigMap comes right after the pod", notFound("configmap", bundle), "", "ClusterTrustBundle informer has not yet synced"},
		"no trust anchors": {
			"nobody has made the bundle", "configmap references non-existent config key: anchors",
			`while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "corp" not found`,
			`while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "corp" not found`,
		},
		"among others": {
			"what is the tenant's stays", "[" + notFound("secret", token) + ", " + notFound("configmap", root) + "]",
			`configmap "kube-root-ca.crt" not found`, "[" + noToken + `, configmap "kube-root-ca.crt" not found]`,
		},
		"the tenant's alone": {"no word is changed but names", "[" + notFound("configmap", root) + ", a, b]", `[configmap "kube-root-ca.crt" not found, a, b]`, `[configmap "kube-root-ca.crt" not found, a, b]`},
		"a namesake":         {"the tenant's own Secret", `secret "web-token" not found`, `secret "web-token" not found`, `secret "web-token" not found`},
		"another pod's":      {"it says nothing of this pod", notFound("secret", tr.TokenSecretName("demo", "web-2")), notFound("secret", tr.TokenSecretName("demo", "web-2")), notFound("secret", tr.TokenSecretName("demo", "web-2"))},
	} {
		t.Run(name, func(t *testing.T) {
			v := projecting()
			known := tr.ComposedNames("demo", "web", v)
			known[root] = rewrite.VirtualRef{Namespace: "demo", Name: "kube-root-ca.crt"}
			for lasting, want := range map[bool]string{false: c.news, true: c.lasting} {
				got, ok := tr.ComposedToVirtual(begin+c.text, "demo", "web", v, lasting)
				if ok != (want != "") {
					t.Fatalf("%s: lasting %v: told: %v", c.reason, lasting, ok)
				}
				if got = tr.TextToVirtual(got, known); ok && got != begin+want {
					t.Errorf("%s: lasting %v:\n got %s\nwant %s", c.reason, lasting, got, begin+want)
				}
			}
		})
	}
	for _, text := range []string{"", "Started container c", `secret "` + token + `" not found`} {
		if got, ok := tr.ComposedToVirtual(text, "demo", "web", nil, false); !ok || got != text {
			t.Errorf("%q is told as %q, %v", text, got, ok)
		}
	}
	if _, ok := tr.ComposedToVirtual(begin+`object "team-a"/"`+token+`" not registered`, "demo", "web", nil, false); ok {
		t.Error("a pod that has gone looks for its tokens")
	}
}

// TestModeOfComposedFiles: files that a kubelet would compose are as closed as a
// kubelet would make them, where a host's kubelet lets the pod read them so.
func TestModeOfComposedFiles(t *testing.T) {
	user := func(id int64) *corev1.SecurityContext { return &corev1.SecurityContext{RunAsUser: &id} }
	for reason, c := range map[string]struct {
		pod    *corev1.PodSecurityContext
		first  *corev1.SecurityContext
		second *corev1.SecurityContext
		want   *int32
	}{
		"nothing is said":                           {},
		"a group that owns volumes":                 {pod: &corev1.PodSecurityContext{FSGroup: ptr(int64(2000))}, want: ptr(int32(0o600))},
		"a group, and one user":                     {pod: &corev1.PodSecurityContext{FSGroup: ptr(int64(2000)), RunAsUser: ptr(int64(1000))}, want: ptr(int32(0o600))},
		"all are root":                              {pod: &corev1.PodSecurityContext{RunAsUser: ptr(int64(0))}, want: ptr(int32(0o600))},
		"each is root":                              {first: user(0), second: user(0), want: ptr(int32(0o600))},
		"one may be anybody":                        {first: user(0)},
		"one is another user":                       {pod: &corev1.PodSecurityContext{RunAsUser: ptr(int64(0))}, second: user(1000)},
		"one user, whom a Secret can't be given to": {pod: &corev1.PodSecurityContext{RunAsUser: ptr(int64(1000))}},
	} {
		t.Run(reason, func(t *testing.T) {
			tr, v := mustNew(t, testCluster()), projecting()
			v.Spec.SecurityContext = c.pod
			v.Spec.Containers = []corev1.Container{
				{Name: "first", Image: "nginx", SecurityContext: c.first}, {Name: "second", Image: "nginx", SecurityContext: c.second},
			}
			h := toHost(t, tr, v, testInputs()).(*corev1.Pod)
			for i, s := range h.Spec.Volumes[0].Projected.Sources[:4] {
				var files []corev1.KeyToPath
				if s.Secret != nil {
					files = s.Secret.Items
				} else {
					files = s.ConfigMap.Items
				}
				for _, f := range files {
					if d := diff(c.want, f.Mode); d != "" {
						t.Errorf("mode of file %s of source %d:\n%s", f.Path, i, d)
					}
				}
			}
			if own := h.Spec.Volumes[0].Projected.Sources[4].ConfigMap; len(own.Items) != 0 {
				t.Errorf("the tenant's own source: %+v", own)
			}
			if d := diff(v.Spec.Volumes, toVirtual(t, tr, h).(*corev1.Pod).Spec.Volumes); d != "" {
				t.Errorf("shown:\n%s", d)
			}
		})
	}
}

// A pod of a version without modes keeps its volumes, which cannot change in
// the API.
func TestComposedFilesOfAFormerPodStayAsTheyAre(t *testing.T) {
	tr, v := mustNew(t, testCluster()), projecting()
	v.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: ptr(int64(2000))}
	before := toHost(t, tr, v, testInputs()).(*corev1.Pod)
	for _, s := range before.Spec.Volumes[0].Projected.Sources {
		if s.Secret != nil {
			for i := range s.Secret.Items {
				s.Secret.Items[i].Mode = nil
			}
		}
	}
	shown := toVirtual(t, tr, before).(*corev1.Pod)
	if d := diff(v.Spec.Volumes, shown.Spec.Volumes); d != "" {
		t.Errorf("shown:\n%s", d)
	}
	shown.Labels = map[string]string{"now": "changed"}
	in := testInputs()
	in.Host = before
	after := toHost(t, tr, shown, in).(*corev1.Pod)
	if d := diff(before.Spec.Volumes, after.Spec.Volumes); d != "" {
		t.Errorf("volumes on the host:\n%s", d)
	}
}
