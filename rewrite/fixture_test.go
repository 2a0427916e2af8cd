// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"portico.dev/portico/rewrite"
)

// testCluster has everything switched on.
func testCluster() rewrite.Cluster {
	return rewrite.Cluster{
		Name: "my-vcluster", HostNamespace: "team-a",
		Owner:                  metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "my-vcluster.anchor", UID: "owner-uid"},
		WorkloadServiceAccount: "portico-workload",
		APIServerIP:            "10.96.7.7", DNSIP: "10.96.7.10",
		NodeSelector:  map[string]string{"pool": "tenants"},
		Tolerations:   []corev1.Toleration{{Key: "tenants", Operator: corev1.TolerationOpExists}},
		Images:        map[string]string{"nginx:1": "mirror.example/nginx:1"},
		EtcHostsImage: "registry.example/porticod:1",

		AllowedTolerations: []string{"tenants", "app", "web", "a", "more"},
		Schedulers:         []string{"app"},
		VolumeDrivers:      []string{rewrite.Everything},

		ResourceClaims: true,
	}
}

func mustNew(t testing.TB, c rewrite.Cluster) *rewrite.Translator {
	t.Helper()
	tr, err := rewrite.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func testInputs() rewrite.Inputs {
	return rewrite.Inputs{
		NamespaceLabels: map[string]string{"kubernetes.io/metadata.name": "demo", "team": "blue"},
		HostClasses:     rewrite.HostClasses{Priority: "app", Runtime: "web"},
		DeviceClasses:   []string{"app", "web"},
		ControllerPod:   true,
	}
}

// wire returns an object as it is after it went through the host's API: as
// JSON, in which an empty list and a missing one are the same.
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

func diff(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return cmp.Diff(want, got)
}

// filler fills API objects with anything that has the right type; the door
// would refuse most of it, and translation has to work for more than the rest.
func filler(seed uint64) *randfill.Filler {
	return randfill.NewWithSeed(int64(seed)).NilChance(.4).NumElements(0, 3).MaxDepth(12).Funcs(
		func(s *string, c randfill.Continue) { *s = word(c.Rand.Uint64()) },
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewQuantity(int64(c.Rand.Intn(1000)), resource.DecimalSI)
			_ = q.String()
		},
		func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(int32(c.Rand.Intn(1000))) },
		func(v *metav1.Time, c randfill.Continue) {
			*v = metav1.Unix(int64(c.Rand.Intn(1_000_000_000)), 0).Rfc3339Copy()
		},
		func(r *runtime.RawExtension, c randfill.Continue) {
			r.Raw = []byte(fmt.Sprintf(`{"a":%d}`, c.Rand.Intn(10)))
		},
		func(f *metav1.FieldsV1, _ randfill.Continue) { f.SetRawBytes([]byte(`{"f:spec":{}}`)) },
		func(e *corev1.EnvVarSource, c randfill.Continue) {
			c.FillNoCustom(e)
			if e.FieldRef != nil {
				e.FieldRef.FieldPath = fieldPaths[c.Rand.Intn(len(fieldPaths))]
			}
		},
		func(p *corev1.VolumeProjection, c randfill.Continue) {
			c.FillNoCustom(p)
			// A source is one thing.
			switch {
			case p.ServiceAccountToken != nil:
				*p = corev1.VolumeProjection{ServiceAccountToken: p.ServiceAccountToken}
			case p.PodCertificate != nil:
				*p = corev1.VolumeProjection{PodCertificate: p.PodCertificate}
			case p.ClusterTrustBundle != nil:
				*p = corev1.VolumeProjection{ClusterTrustBundle: p.ClusterTrustBundle}
			}
		},
		func(r *corev1.TypedObjectReference, c randfill.Continue) {
			c.FillNoCustom(r)
			r.Namespace = nil
		},
	)
}

var fieldPaths = []string{
	"metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid",
	"metadata.labels['app']", "metadata.labels['argocd.argoproj.io/instance']", "metadata.labels['portico.dev/cluster']",
	"metadata.annotations['a']", "metadata.annotations['portico.dev/overlay']",
	"metadata.annotations['kubectl.kubernetes.io/last-applied-configuration']",
	"spec.serviceAccountName", "spec.nodeName", "status.podIP", "status.hostIPs",
}

// word returns one of few words, so that things collide, with now and then one
// that the engine treats specially.
func word(n uint64) string {
	words := []string{
		"a", "b", "app", "web", "db", "demo", "nginx:1", "kubernetes", "default", "tenants", "pool",
		"argocd.argoproj.io/instance", "kubectl.kubernetes.io/last-applied-configuration", "pv.kubernetes.io/bind-completed",
		"a-x-demo-x-my-vcluster", "a-x-x", "x-b", "kubernetes.io/pvc-protection", "ä", strings.Repeat("long-name-", 7) + "z",
		"foregroundDeletion", "10.96.7.7", "portico.dev/cluster", "portico.dev/label-abcdefghij", "portico.dev/virtual-finalizers",
	}
	return words[n%uint64(len(words))]
}

// tidyMeta gives metadata an identity, as every stored object has one.
func tidyMeta(m *metav1.ObjectMeta, r *rand.Rand) {
	m.Namespace = []string{"demo", "default", "x-ns", strings.Repeat("n", 60)}[r.IntN(4)]
	m.Name = []string{"web-0", "a-x-b", "my.pod.name", strings.Repeat("p", 80), "x"}[r.IntN(5)]
	m.UID = types.UID(fmt.Sprint("uid-", r.Uint32()))
	m.SelfLink = ""
	m.Finalizers = unique(m.Finalizers, func(s string) string { return s })
	for i := range m.ManagedFields {
		m.ManagedFields[i].FieldsV1 = &metav1.FieldsV1{Raw: []byte(`{"f:spec":{}}`)}
	}
}

func unique[T any](list []T, key func(T) string) []T {
	seen := map[string]bool{}
	var out []T
	for _, e := range list {
		if k := key(e); !seen[k] {
			seen[k] = true
			out = append(out, e)
		}
	}
	return out
}

func randomPod(t testing.TB, seed uint64) *corev1.Pod {
	v := &corev1.Pod{}
	filler(seed).Fill(v)
	r := rand.New(rand.NewPCG(seed, 1))
	tidyMeta(&v.ObjectMeta, r)
	v.TypeMeta = metav1.TypeMeta{}
	v.Spec.DeprecatedServiceAccount = v.Spec.ServiceAccountName
	v.Spec.InitContainers = unique(v.Spec.InitContainers, func(c corev1.Container) string { return c.Name })
	v.Spec.Containers = unique(v.Spec.Containers, func(c corev1.Container) string { return c.Name })
	v.Spec.EphemeralContainers = unique(v.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) string { return c.Name })
	v.Spec.Volumes = unique(v.Spec.Volumes, func(v corev1.Volume) string { return v.Name })
	v.Spec.DNSPolicy = []corev1.DNSPolicy{corev1.DNSClusterFirst, corev1.DNSClusterFirstWithHostNet, corev1.DNSDefault, corev1.DNSNone}[r.IntN(4)]
	v.Status = corev1.PodStatus{} // no status is created
	return wire(t, v)
}

func randomService(t testing.TB, seed uint64) *corev1.Service {
	v := &corev1.Service{}
	filler(seed).Fill(v)
	v.TypeMeta = metav1.TypeMeta{}
	tidyMeta(&v.ObjectMeta, rand.New(rand.NewPCG(seed, 2)))
	v.Spec.ExternalIPs, v.Status = nil, corev1.ServiceStatus{}
	return wire(t, v)
}

func randomClaim(t testing.TB, seed uint64) *corev1.PersistentVolumeClaim {
	v := &corev1.PersistentVolumeClaim{}
	filler(seed).Fill(v)
	v.TypeMeta = metav1.TypeMeta{}
	tidyMeta(&v.ObjectMeta, rand.New(rand.NewPCG(seed, 3)))
	v.Status = corev1.PersistentVolumeClaimStatus{}
	return wire(t, v)
}

func randomResourceClaim(t testing.TB, seed uint64) *resourcev1.ResourceClaim {
	v := &resourcev1.ResourceClaim{}
	filler(seed).Fill(v)
	v.TypeMeta = metav1.TypeMeta{}
	r := rand.New(rand.NewPCG(seed, 4))
	tidyMeta(&v.ObjectMeta, r)
	v.Spec.Devices.Requests = append(v.Spec.Devices.Requests, resourcev1.DeviceRequest{Name: "last"})
	for i := range v.Spec.Devices.Requests {
		if e := v.Spec.Devices.Requests[i].Exactly; e != nil {
			e.AdminAccess = nil
		}
	}
	if r.IntN(2) == 0 {
		v.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: word(r.Uint64()), UID: "pod-uid", Controller: new(r.IntN(2) == 0)}}
	}
	v.Status = resourcev1.ResourceClaimStatus{}
	return wire(t, v)
}

// randomObjects are one object of each translated kind.
func randomObjects(t testing.TB, seed uint64) []runtime.Object {
	return []runtime.Object{randomPod(t, seed), randomService(t, seed), randomClaim(t, seed), randomResourceClaim(t, seed)}
}

// wireObject is wire for an object of any translated kind.
func wireObject(t testing.TB, o runtime.Object) runtime.Object {
	switch o := o.(type) {
	case *corev1.Pod:
		return wire(t, o)
	case *corev1.Service:
		return wire(t, o)
	case *corev1.PersistentVolumeClaim:
		return wire(t, o)
	case *resourcev1.ResourceClaim:
		return wire(t, o)
	}
	t.Fatalf("no translated kind: %T", o)
	return nil
}

func toHost(t testing.TB, tr *rewrite.Translator, v runtime.Object, in rewrite.Inputs) runtime.Object {
	t.Helper()
	h, err := tr.ToHost(v, in)
	if err != nil {
		t.Fatalf("to host: %v", err)
	}
	return wireObject(t, h)
}

func toVirtual(t testing.TB, tr *rewrite.Translator, h runtime.Object) runtime.Object {
	t.Helper()
	v, err := tr.ToVirtual(h)
	if err != nil {
		t.Fatalf("to virtual: %v", err)
	}
	return wireObject(t, v)
}
