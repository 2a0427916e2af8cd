// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
)

func TestPodReferences(t *testing.T) {
	yes := true
	v := pod("demo", "web-0", nil)
	v.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "registry"}}
	v.Spec.Volumes = []corev1.Volume{
		{Name: "a", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "tls", Optional: &yes}}},
		{Name: "b", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
		{Name: "c", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
		{Name: "d", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Optional: &yes}},
		}}}},
	}
	v.Spec.Containers = []corev1.Container{{
		Name: "c",
		EnvFrom: []corev1.EnvFromSource{
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "tls"}, Optional: &yes}},
		},
	}}
	want := map[rewrite.Reference]bool{
		{Kind: "Secret", Name: "registry", Optional: true}: true,
		{Kind: "Secret", Name: "tls", Optional: true}:      true,
		{Kind: "ConfigMap", Name: "settings"}:              true, // optional in one place only
		{Kind: "PersistentVolumeClaim", Name: "data"}:      true,
		{Kind: "PersistentVolumeClaim", Name: "web-0-c"}:   true,
	}
	got := map[rewrite.Reference]bool{}
	for _, r := range mustNew(t, testCluster()).PodReferences(v) {
		if got[r] {
			t.Errorf("%v is listed twice", r)
		}
		got[r] = true
	}
	if d := diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestTokens: the host pod mounts exactly the keys that the token Secret must
// hold.
func TestTokens(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "web-0", nil)
	life, user := int64(600), int64(1000)
	v.Spec.Volumes = []corev1.Volume{{Name: "tokens", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}}},
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "vault", Audience: "vault", ExpirationSeconds: &life, User: &user}},
	}}}}}
	want := []rewrite.TokenProjection{
		{Volume: "tokens", Key: "tokens.0", Path: "token", ExpirationSeconds: 3600},
		{Volume: "tokens", Key: "tokens.2", Path: "vault", Audience: "vault", ExpirationSeconds: 600},
	}
	tokens := rewrite.TokenProjections(v)
	if d := diff(want, tokens); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	sources := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod).Spec.Volumes[0].Projected.Sources
	for i, token := range map[int]rewrite.TokenProjection{0: tokens[0], 2: tokens[1]} {
		s := sources[i].Secret
		if s == nil || s.Name != tr.TokenSecretName("demo", "web-0") || s.Items[0].Key != token.Key || s.Items[0].Path != token.Path {
			t.Errorf("source %d is %v", i, sources[i])
		}
	}
	if got := sources[2].Secret.Items[0].User; got == nil || *got != user {
		t.Errorf("the file's owner is %v, want %d", got, user)
	}
}

func TestDNS(t *testing.T) {
	two := "2"
	var longSearches []string // 10 of 200 characters: 2009 with spaces
	for i := range 10 {
		longSearches = append(longSearches, fmt.Sprintf("%s%d.example", strings.Repeat(strings.Repeat("a", 60)+".", 3), i)[:190]+fmt.Sprintf("-%09d", i))
	}
	tr := mustNew(t, testCluster())
	for name, c := range map[string]struct {
		reason string
		policy corev1.DNSPolicy
		host   bool
		config *corev1.PodDNSConfig
		want   *corev1.PodDNSConfig // nil: left alone
	}{
		"cluster": {reason: "the virtual DNS", policy: corev1.DNSClusterFirst, want: &corev1.PodDNSConfig{
			Nameservers: []string{"10.96.7.10"}, Searches: []string{"demo.svc.cluster.local", "svc.cluster.local", "cluster.local"},
			Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: ptr("5")}},
		}},
		"own settings": {
			reason: "kept, and the option wins", policy: corev1.DNSClusterFirstWithHostNet, host: true,
			config: &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, Searches: []string{"svc.cluster.local", "x"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &two}, {Name: "edns0"}}},
			want: &corev1.PodDNSConfig{
				Nameservers: []string{"10.96.7.10", "192.0.2.1", "192.0.2.2"}, Searches: []string{"demo.svc.cluster.local", "svc.cluster.local", "cluster.local", "x"},
				Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &two}, {Name: "edns0"}},
			},
		},
		"long search path": {
			reason: "cut as the kubelet cuts it: the host takes 2048 characters", policy: corev1.DNSClusterFirst,
			config: &corev1.PodDNSConfig{Searches: longSearches},
			want: &corev1.PodDNSConfig{
				Nameservers: []string{"10.96.7.10"},
				Searches:    append([]string{"demo.svc.cluster.local", "svc.cluster.local", "cluster.local"}, longSearches[:9]...),
				Options:     []corev1.PodDNSConfigOption{{Name: "ndots", Value: ptr("5")}},
			},
		},
		"host network": {reason: "the kubelet takes it for Default", policy: corev1.DNSClusterFirst, host: true},
		"default":      {reason: "the node's", policy: corev1.DNSDefault},
		"none":         {reason: "the tenant's alone", policy: corev1.DNSNone},
	} {
		t.Run(name, func(t *testing.T) {
			v := pod("demo", "p", nil)
			v.Spec.DNSPolicy, v.Spec.HostNetwork, v.Spec.DNSConfig = c.policy, c.host, c.config
			h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
			if c.want == nil {
				if h.Spec.DNSPolicy != c.policy || h.Spec.DNSConfig != nil {
					t.Errorf("%s: got %s, %v", c.reason, h.Spec.DNSPolicy, h.Spec.DNSConfig)
				}
				return
			}
			if d := diff(c.want, h.Spec.DNSConfig); d != "" || h.Spec.DNSPolicy != corev1.DNSNone {
				t.Errorf("%s: policy %s (-want +got):\n%s", c.reason, h.Spec.DNSPolicy, d)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestHostname(t *testing.T) {
	yes := true
	long := strings.Repeat("a", 62) + "-b"
	for name, c := range map[string]struct {
		reason   string
		pod      string
		spec     corev1.PodSpec
		hostname string
		override *string
		asFQDN   *bool
	}{
		"from the name":   {reason: "not the host pod's", pod: "web-0", hostname: "web-0"},
		"dots":            {reason: "as a kubelet takes it, and a label for old hosts", pod: "my.pod", hostname: "my-pod", override: ptr("my.pod")},
		"dots, long":      {reason: "cut as a kubelet does", pod: strings.Repeat("a", 60) + ".bcdef", hostname: strings.Repeat("a", 60) + "-bc", override: ptr(strings.Repeat("a", 60) + ".bc")},
		"dots, cut off":   {reason: "is a label", pod: strings.Repeat("a", 62) + ".b", hostname: strings.Repeat("a", 62)},
		"dots, own":       {reason: "the tenant's", pod: "my.pod", spec: corev1.PodSpec{Hostname: "h"}, hostname: "h"},
		"dots, FQDN":      {reason: "the virtual one", pod: "my.pod", spec: corev1.PodSpec{Subdomain: "s", SetHostnameAsFQDN: &yes}, hostname: "my-pod", override: ptr("my.pod.s.demo.svc.cluster.local")},
		"dots, no domain": {reason: "no override next to asFQDN", pod: "my.pod", spec: corev1.PodSpec{SetHostnameAsFQDN: &yes}, hostname: "my-pod", override: ptr("my.pod")},
		"long":            {reason: "cut, and no hyphen at the end", pod: long, hostname: strings.Repeat("a", 62)},
		"own":             {reason: "the tenant's", pod: "p", spec: corev1.PodSpec{Hostname: "h"}, hostname: "h"},
		"host network":    {reason: "the node's", pod: "p", spec: corev1.PodSpec{HostNetwork: true}},
		"subdomain":       {reason: "would show the host namespace", pod: "p", spec: corev1.PodSpec{Subdomain: "s"}, hostname: "p"},
		"override":        {reason: "says all", pod: "p", spec: corev1.PodSpec{HostnameOverride: ptr("o")}, override: ptr("o")},
		"FQDN":            {reason: "the virtual one", pod: "p", spec: corev1.PodSpec{Subdomain: "s", SetHostnameAsFQDN: &yes}, hostname: "p", override: ptr("p.s.demo.svc.cluster.local")},
		"FQDN, no domain": {reason: "is the hostname", pod: "p", spec: corev1.PodSpec{SetHostnameAsFQDN: &yes}, hostname: "p", asFQDN: &yes},
	} {
		t.Run(name, func(t *testing.T) {
			v := pod("demo", c.pod, nil)
			v.Spec = c.spec
			h := podToHost(t, v, rewrite.Inputs{})
			if h.Spec.Hostname != c.hostname || h.Spec.Subdomain != "" || diff(c.override, h.Spec.HostnameOverride) != "" || diff(c.asFQDN, h.Spec.SetHostnameAsFQDN) != "" {
				t.Errorf("%s: got hostname %q, subdomain %q, override %v, asFQDN %v", c.reason, h.Spec.Hostname, h.Spec.Subdomain, h.Spec.HostnameOverride, h.Spec.SetHostnameAsFQDN)
			}
		})
	}
}

// TestClusterServiceIsShownAsKubernetes: the cluster's own host Service, with
// its address and ports, without its selector.
func TestClusterServiceIsShownAsKubernetes(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "team-a", Name: "my-vcluster", UID: "u", ResourceVersion: "7",
			Labels: map[string]string{"app": "portico", rewrite.LabelCluster: "my-vcluster"}, Annotations: map[string]string{"meta.helm.sh/release-name": "x"},
			Finalizers: []string{"host.example/x"},
		},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.7.7", Selector: map[string]string{"portico.dev/door": "true"}, Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
	}
	want := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "kubernetes", UID: "u", ResourceVersion: "7",
			Labels: map[string]string{"component": "apiserver", "provider": "kubernetes"},
		},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.7.7", Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
	}
	if d := diff(want, toVirtual(t, tr, h)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := tr.ServiceName("default", "kubernetes"); got != "my-vcluster" {
		t.Errorf("got the host name %s", got)
	}
}

func TestNewRefusesAnUnusableCluster(t *testing.T) {
	_, err := rewrite.New(rewrite.Cluster{Name: "My Cluster", NodeSelector: map[string]string{"a b": "c d"}, Owner: metav1.OwnerReference{Name: "x"}})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"name:", "hostNamespace:", "nodeSelector[a b]:", "owner:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not speak of %s %v", want, err)
		}
	}
}
