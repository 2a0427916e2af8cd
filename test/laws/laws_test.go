// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package laws

import (
	"encoding/json"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	"k8s.io/kubernetes/pkg/apis/core"
	corefuzzer "k8s.io/kubernetes/pkg/apis/core/fuzzer"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	"k8s.io/kubernetes/pkg/apis/resource"
	resourcefuzzer "k8s.io/kubernetes/pkg/apis/resource/fuzzer"
	_ "k8s.io/kubernetes/pkg/apis/resource/install"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/randfill"

	"portico.dev/portico/rewrite"
)

const cluster = "my-vcluster"

func newTranslator(t testing.TB) *rewrite.Translator {
	t.Helper()
	tr, err := rewrite.New(rewrite.Cluster{
		Name: cluster, HostNamespace: "team-a", WorkloadServiceAccount: "portico-workload",
		Owner:       metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: rewrite.AnchorName(cluster), UID: "owner-uid"},
		APIServerIP: "10.96.7.7", DNSIP: "10.96.7.10", EtcHostsImage: "registry.example/porticod:1", ResourceClaims: true,
		VolumeDrivers: []string{rewrite.Everything},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func filler(seed int64) *randfill.Filler {
	return fuzzer.FuzzerFor(fuzzer.MergeFuzzerFuncs(metafuzzer.Funcs, corefuzzer.Funcs, resourcefuzzer.Funcs), rand.NewSource(seed), legacyscheme.Codecs)
}

// fill makes a versioned object from upstream's fuzzer, in a form that has been
// through the API once.
func fill[T any](t testing.TB, seed int64, internal any) *T {
	t.Helper()
	filler(seed).Fill(internal)
	out := new(T)
	if err := legacyscheme.Scheme.Convert(internal, out, nil); err != nil {
		t.Fatal(err)
	}
	return wire(t, out)
}

// wire returns an object as it is after it went through the API: as JSON, in
// which an empty list and a missing one are the same.
func wire[T any](t testing.TB, in *T) *T {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out := new(T)
	if err := json.Unmarshal(raw, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// identify gives metadata an identity, as every stored object has one, and
// takes away fields that the API refuses or removes.
func identify(m *metav1.ObjectMeta) {
	m.Namespace, m.Name, m.UID = "demo", "web-0", types.UID("uid-1")
	m.SelfLink, m.Finalizers, m.ManagedFields = "", nil, nil
}

func pod(t testing.TB, seed int64) *corev1.Pod {
	v := fill[corev1.Pod](t, seed, &core.Pod{})
	identify(&v.ObjectMeta)
	v.Status = corev1.PodStatus{} // the host gives one
	// Names that have to be unique in a pod are. A fuzzer's strings nearly are.
	n := 0
	for _, c := range containers(v) {
		n++
		c.Name = strings.Repeat("c", n)
		for i := range c.Env {
			if from := c.Env[i].ValueFrom; from != nil && from.FieldRef != nil {
				from.FieldRef.FieldPath = "metadata.name"
			}
		}
	}
	for i := range v.Spec.Volumes {
		volume := &v.Spec.Volumes[i]
		volume.Name = strings.Repeat("v", i+1)
		files := []*[]corev1.DownwardAPIVolumeFile{}
		if d := volume.DownwardAPI; d != nil {
			files = append(files, &d.Items)
		}
		if p := volume.Projected; p != nil {
			p.Sources = single(p.Sources)
			for j := range p.Sources {
				if d := p.Sources[j].DownwardAPI; d != nil {
					files = append(files, &d.Items)
				}
			}
		}
		for _, items := range files {
			for j := range *items {
				if ref := (*items)[j].FieldRef; ref != nil {
					ref.FieldPath = "metadata.labels"
				}
			}
		}
	}
	return wire(t, v)
}

func resourceClaim(t testing.TB, seed int64) *resourcev1.ResourceClaim {
	v := fill[resourcev1.ResourceClaim](t, seed, &resource.ResourceClaim{})
	identify(&v.ObjectMeta)
	v.Status = resourcev1.ResourceClaimStatus{}
	for i := range v.Spec.Devices.Requests {
		if e := v.Spec.Devices.Requests[i].Exactly; e != nil {
			e.AdminAccess = nil
		}
	}
	return wire(t, v)
}

// single splits projections that have several sources, which the API refuses,
// into projections of one.
func single(in []corev1.VolumeProjection) (out []corev1.VolumeProjection) {
	for _, p := range in {
		for _, one := range []corev1.VolumeProjection{
			{Secret: p.Secret}, {ConfigMap: p.ConfigMap}, {DownwardAPI: p.DownwardAPI}, {ServiceAccountToken: p.ServiceAccountToken},
			{ClusterTrustBundle: p.ClusterTrustBundle}, {PodCertificate: p.PodCertificate},
		} {
			if one != (corev1.VolumeProjection{}) {
				out = append(out, one)
			}
		}
	}
	return out
}

func containers(p *corev1.Pod) (out []*corev1.Container) {
	podutil.VisitContainers(&p.Spec, podutil.AllContainers, func(c *corev1.Container, _ podutil.ContainerType) bool {
		out = append(out, c)
		return true
	})
	return out
}

// named returns the names that a pod refers to, by kind, as upstream finds
// them.
func named(p *corev1.Pod) map[string][]string {
	out := map[string][]string{}
	note := func(kind string) podutil.Visitor {
		return func(name string) bool {
			out[kind] = append(out[kind], name)
			return true
		}
	}
	podutil.VisitPodSecretNames(p, note("Secret"))
	podutil.VisitPodConfigmapNames(p, note("ConfigMap"))
	for _, c := range p.Spec.ResourceClaims {
		if name := ptr.Deref(c.ResourceClaimName, ""); name != "" {
			out["ResourceClaim"] = append(out["ResourceClaim"], name)
		}
		if name := ptr.Deref(c.ResourceClaimTemplateName, ""); name != "" {
			out["ResourceClaimTemplate"] = append(out["ResourceClaimTemplate"], name)
		}
	}
	for _, v := range p.Spec.Volumes {
		if c := v.PersistentVolumeClaim; c != nil && c.ClaimName != "" {
			out["PersistentVolumeClaim"] = append(out["PersistentVolumeClaim"], c.ClaimName)
		}
		if v.Ephemeral != nil { // KEP-1698
			out["PersistentVolumeClaim"] = append(out["PersistentVolumeClaim"], p.Name+"-"+v.Name)
		}
	}
	return out
}

// FuzzRestore holds law 1 for pods and resource claims of upstream's fuzzer.
func FuzzRestore(f *testing.F) {
	f.Add(int64(1))
	f.Add(int64(1 << 40))
	tr := newTranslator(f)
	f.Fuzz(func(t *testing.T, seed int64) {
		v := pod(t, seed)
		h, err := tr.PodToHost(v.DeepCopy(), rewrite.Inputs{})
		if err != nil {
			t.Fatal(err)
		}
		seen, err := tr.PodToVirtual(wire(t, h))
		if err != nil {
			t.Fatal(err)
		}
		if seen = wire(t, seen); !apiequality.Semantic.DeepEqual(v, seen) {
			t.Fatalf("(-tenant's +shown):\n%s", cmp.Diff(v, seen))
		}

		claim := resourceClaim(t, seed)
		hostClaim, err := tr.ResourceClaimToHost(claim.DeepCopy(), rewrite.Inputs{})
		if err != nil {
			t.Fatal(err)
		}
		seenClaim, err := tr.ResourceClaimToVirtual(wire(t, hostClaim))
		if err != nil {
			t.Fatal(err)
		}
		if seenClaim = wire(t, seenClaim); !apiequality.Semantic.DeepEqual(claim, seenClaim) {
			t.Fatalf("(-tenant's +shown):\n%s", cmp.Diff(claim, seenClaim))
		}
	})
}

// FuzzReferences holds laws 4 and 5: every name in a pod on the host is the
// translation of a name in the virtual pod, in its own namespace, or was made
// for it.
func FuzzReferences(f *testing.F) {
	f.Add(int64(1))
	f.Add(int64(1 << 40))
	tr := newTranslator(f)
	f.Fuzz(func(t *testing.T, seed int64) {
		v := pod(t, seed)
		h, err := tr.PodToHost(v.DeepCopy(), rewrite.Inputs{})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]string{"Secret": {tr.TokenSecretName(v.Namespace, v.Name), tr.CertificateSecretName(v.Namespace, v.Name)}}
		want["ConfigMap"] = []string{tr.ServiceVariablesName(v.Namespace), tr.ServiceVariablesName("")}
		for _, b := range rewrite.TrustBundles(v) {
			want["ConfigMap"] = append(want["ConfigMap"], tr.TrustBundleName(b))
		}
		for kind, names := range named(v) {
			for _, name := range names {
				want[kind] = append(want[kind], tr.Name(v.Namespace, name))
			}
		}
		for kind, names := range named(h) {
			for _, name := range names {
				if !slices.Contains(want[kind], name) {
					t.Errorf("the host pod names %s %q; the tenant's names %q", kind, name, named(v)[kind])
				}
			}
		}
		for kind, names := range named(v) {
			if len(named(h)[kind]) < len(names) {
				t.Errorf("the host pod names %d of %d %ss", len(named(h)[kind]), len(names), kind)
			}
		}
		for where, selector := range selectors(h) {
			if !within(selector) {
				t.Errorf("%s selects pods of other clusters: %v", where, selector)
			}
		}
	})
}

// selectors are those of a pod, by where they are.
func selectors(p *corev1.Pod) map[string]*metav1.LabelSelector {
	out := map[string]*metav1.LabelSelector{}
	note := func(where string, terms []corev1.PodAffinityTerm) {
		for _, term := range terms {
			out[where] = term.LabelSelector
		}
	}
	weighted := func(terms []corev1.WeightedPodAffinityTerm) (plain []corev1.PodAffinityTerm) {
		for _, w := range terms {
			plain = append(plain, w.PodAffinityTerm)
		}
		return plain
	}
	if a := p.Spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			note("required affinity", a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
			note("preferred affinity", weighted(a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution))
		}
		if a.PodAntiAffinity != nil {
			note("required anti-affinity", a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
			note("preferred anti-affinity", weighted(a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution))
		}
	}
	for _, c := range p.Spec.TopologySpreadConstraints {
		out["topology spread"] = c.LabelSelector
	}
	return out
}

// within reports whether a selector selects nothing, or only pods of the cluster.
func within(s *metav1.LabelSelector) bool {
	if s == nil || s.MatchLabels[rewrite.LabelCluster] == cluster {
		return true
	}
	return slices.ContainsFunc(s.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool {
		return r.Key == rewrite.LabelCluster && r.Operator == metav1.LabelSelectorOpIn && slices.Equal(r.Values, []string{cluster})
	})
}
