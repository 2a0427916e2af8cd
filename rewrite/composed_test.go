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
