// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite"
)

var (
	// hashed ends a name that cannot be searched for: 26 characters of 5 bits.
	hashed = regexp.MustCompile(`[-.][a-z2-7]{26}$`)
	// former ends a name of before.
	former = regexp.MustCompile(`[-.][a-z2-7]{10}$`)
)

// TestAttackHostNameIsSearchedFor: a tenant who finds a virtual name with the
// host name of another object mounts that object. Every hash in a name that can
// be referred to has at least 128 bits.
func TestAttackHostNameIsSearchedFor(t *testing.T) {
	tr := mustNew(t, testCluster())
	long := strings.Repeat("n", 60)
	for what, name := range map[string]string{
		"long":        tr.Name("demo", long),
		"two ways":    tr.Name("demo", "a-x-b"),
		"class":       tr.ClusterName(long),
		"token":       tr.TokenSecretName("demo", "p"),
		"certificate": tr.CertificateSecretName("demo", "p"),
		"anchors":     tr.TrustBundleName(rewrite.TrustBundle{Name: "b"}),
	} {
		if !hashed.MatchString(name) || len(name) > 63 {
			t.Errorf("%s: %q (%d characters)", what, name, len(name))
		}
	}
}

// TestFormerNamesAreApart: no name of today is the former name of another
// object, or the name of an object that no tenant may reach.
func TestFormerNamesAreApart(t *testing.T) {
	taken := map[string]string{}
	claim := func(host, what string) {
		if other, ok := taken[host]; ok {
			t.Fatalf("%s and %s are both %q", what, other, host)
		}
		taken[host] = what
	}
	for _, cluster := range []string{"a", "x", "a-x", "x-x"} {
		tr := mustNew(t, rewrite.Cluster{Name: cluster, HostNamespace: "h"})
		claim(tr.AnchorName(), "anchor of "+cluster)
		claim(tr.RootsSecretName(), "keys of "+cluster)
		claim(tr.CredentialsSecretName(), "credentials of "+cluster)
		claim(tr.AccessSecretName(), "kubeconfig of "+cluster)
		for _, ns := range labelsOver("ax-", 3) {
			for _, name := range labelsOver("ax-", 4) {
				what := fmt.Sprintf("%s/%s in %s", ns, name, cluster)
				claim(tr.Name(ns, name), what)
				if f, ok := tr.FormerName(ns, name); ok {
					claim(f, "the former "+what)
					checkHostName(t, name, f)
				}
				claim(tr.TokenSecretName(ns, name), "tokens of "+what)
				claim(tr.FormerTokenSecretName(ns, name), "former tokens of "+what)
				claim(tr.FormerCertificateSecretName(ns, name), "former certificates of "+what)
			}
		}
	}
}

// formerly returns h under its former name.
func formerly(t *testing.T, tr *rewrite.Translator, h runtime.Object) runtime.Object {
	t.Helper()
	h = h.DeepCopyObject()
	m := h.(metav1.Object)
	name, ok := tr.FormerName(m.GetAnnotations()[rewrite.AnnotationNamespace], m.GetAnnotations()[rewrite.AnnotationName])
	if !ok {
		t.Fatalf("%s has no former name", m.GetName())
	}
	m.SetName(name)
	return h
}

const longName = "a-name-that-needs-the-hash-rule-on-the-host-because-it-is-so-long"

// formerPod is a host pod of before, which mounts things by their former names.
func formerPod(t *testing.T, tr *rewrite.Translator) (virtual, host *corev1.Pod) {
	t.Helper()
	path := "token"
	virtual = wire(t, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: longName},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "c", Image: "i", EnvFrom: []corev1.EnvFromSource{
				{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: longName}}},
			}}},
			Volumes: []corev1.Volume{
				{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: longName}}},
				{Name: "api", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: path}},
					{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Name: new("bundle"), Path: "ca"}},
				}}}},
			},
		},
	})
	h := toHost(t, tr, virtual, rewrite.Inputs{}).(*corev1.Pod)
	name, _ := tr.FormerName("demo", longName)
	h.Name = name
	h.Spec.Containers[0].EnvFrom = h.Spec.Containers[0].EnvFrom[1:]
	h.Spec.Containers[0].EnvFrom[0].SecretRef.Name = name
	h.Spec.Volumes[0].PersistentVolumeClaim.ClaimName = name
	h.Spec.Volumes[1].Projected.Sources[0].Secret.Name = tr.FormerTokenSecretName("demo", longName)
	h.Spec.Volumes[1].Projected.Sources[1].ConfigMap.Name = tr.FormerTrustBundleName(rewrite.TrustBundle{Name: "bundle"})
	return virtual, h
}

// TestFormerPodGoesOn: a host pod of before is shown as the pod that it is, and
// an update touches none of its names.
func TestFormerPodGoesOn(t *testing.T) {
	tr := mustNew(t, testCluster())
	virtual, host := formerPod(t, tr)
	seen := toVirtual(t, tr, host).(*corev1.Pod)
	if d := diff(virtual.Spec, seen.Spec); d != "" || seen.Name != longName {
		t.Fatalf("shown as %s (-want +got):\n%s", seen.Name, d)
	}
	seen.Labels = map[string]string{"changed": "yes"}
	after := toHost(t, tr, seen, rewrite.Inputs{Host: host}).(*corev1.Pod)
	if d := diff(host.Spec, after.Spec); d != "" || after.Name != host.Name {
		t.Errorf("an update gives it the name %s, and its spec becomes (-want +got):\n%s", after.Name, d)
	}
	want := []string{host.Spec.Containers[0].EnvFrom[0].SecretRef.Name, tr.FormerTokenSecretName("demo", longName), tr.FormerTrustBundleName(rewrite.TrustBundle{Name: "bundle"})}
	slices.Sort(want)
	if got := tr.FormerMounts(host); !slices.Equal(got, want) {
		t.Errorf("mounts by former names %q, want %q", got, want)
	}
	if got := tr.FormerMounts(toHost(t, tr, virtual, rewrite.Inputs{}).(*corev1.Pod)); len(got) > 0 {
		t.Errorf("a new pod mounts %q", got)
	}
	text := `Error: secret "` + host.Spec.Containers[0].EnvFrom[0].SecretRef.Name + `" not found by ` + host.Name
	if got := tr.TextToVirtual(text, tr.Known("Pod", host)); former.MatchString(strings.Trim(got, `"`)) || strings.Contains(got, "-x-") {
		t.Errorf("the tenant reads %q", got)
	}
}

// TestFormerReferences: a new object refers to an older one by its former name,
// if and only if Inputs.Former lists it.
func TestFormerReferences(t *testing.T) {
	tr := mustNew(t, testCluster())
	name, _ := tr.FormerName("demo", longName)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "p"}, Spec: corev1.PodSpec{
		ResourceClaims: []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimName: new(longName)}},
		Volumes: []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: longName}}},
			{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: longName}}},
		},
	}}
	in := rewrite.Inputs{Former: []rewrite.Named{{Kind: "PersistentVolumeClaim", Name: longName}, {Kind: "ResourceClaim", Name: longName}}}
	h := toHost(t, tr, pod, in).(*corev1.Pod)
	if got := h.Spec.Volumes[0].PersistentVolumeClaim.ClaimName; got != name {
		t.Errorf("volume claim %q, want %q", got, name)
	}
	if got := *h.Spec.ResourceClaims[0].ResourceClaimName; got != name {
		t.Errorf("resource claim %q, want %q", got, name)
	}
	if got := h.Spec.Volumes[1].Secret.SecretName; got != tr.Name("demo", longName) {
		t.Errorf("Secret %q, want the name of today", got)
	}
	if d := diff(pod.Spec, toVirtual(t, tr, h).(*corev1.Pod).Spec); d != "" {
		t.Errorf("the pod is shown as (-want +got):\n%s", d)
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "s", Labels: map[string]string{discoveryv1.LabelServiceName: longName}},
		Endpoints:  []discoveryv1.Endpoint{{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: longName}}},
	}
	hs, err := tr.EndpointSliceToHost(slice, rewrite.Inputs{Former: []rewrite.Named{{Kind: "Service", Name: longName}, {Kind: "Pod", Name: longName}}})
	if err != nil {
		t.Fatal(err)
	}
	if hs.Labels[discoveryv1.LabelServiceName] != name || hs.Endpoints[0].TargetRef.Name != name {
		t.Errorf("the slice is of %q and %q, want %q", hs.Labels[discoveryv1.LabelServiceName], hs.Endpoints[0].TargetRef.Name, name)
	}
}

// TestAttackFormerNameOfAnotherObject: a tenant has found two names with one
// hash of 50 bits. The annotations of a host object say which of them it is,
// and nothing new is written under such a name.
func TestAttackFormerNameOfAnotherObject(t *testing.T) {
	tr := mustNew(t, testCluster())
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: longName}}
	h := toHost(t, tr, claim, rewrite.Inputs{Former: []rewrite.Named{{Kind: "PersistentVolumeClaim", Name: longName}}})
	if name := h.(metav1.Object).GetName(); !hashed.MatchString(name) {
		t.Errorf("a new object is %q on the host", name)
	}
	h = formerly(t, tr, h)
	if ns, name, err := tr.Identify("PersistentVolumeClaim", h.(metav1.Object)); err != nil || ns != "demo" || name != longName {
		t.Errorf("identified as %s/%s (%v)", ns, name, err)
	}
	forged := h.(metav1.Object)
	forged.SetAnnotations(with(forged.GetAnnotations(), rewrite.AnnotationName, longName+"-2"))
	if ns, name, err := tr.Identify("PersistentVolumeClaim", forged); err == nil {
		t.Errorf("believed to be %s/%s", ns, name)
	}
}

// TestFind: a virtual object is looked for under the name of today and then under
// the former one, and only an object that is identified as it is found.
func TestFind(t *testing.T) {
	tr := mustNew(t, testCluster())
	claim := func(name string) *corev1.PersistentVolumeClaim {
		v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name}}
		return toHost(t, tr, v, rewrite.Inputs{}).(*corev1.PersistentVolumeClaim)
	}
	named := func(c *corev1.PersistentVolumeClaim, name string) *corev1.PersistentVolumeClaim {
		c = c.DeepCopy()
		c.Name = name
		return c
	}
	now := claim(longName)
	former, _ := tr.FormerName("demo", longName)
	operators := func(name string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: now.Namespace, Name: name}}
	}
	notFound := apierrors.NewNotFound(corev1.Resource("persistentvolumeclaims"), now.Name)
	for reason, c := range map[string]struct {
		host  []*corev1.PersistentVolumeClaim
		want  string
		asked int
		err   error
	}{
		"of today":                          {host: []*corev1.PersistentVolumeClaim{now}, want: now.Name, asked: 1},
		"of before":                         {host: []*corev1.PersistentVolumeClaim{named(now, former)}, want: former, asked: 2},
		"of both, that of today":            {host: []*corev1.PersistentVolumeClaim{now, named(now, former)}, want: now.Name, asked: 1},
		"of none":                           {asked: 2, err: notFound},
		"the operator has the name":         {host: []*corev1.PersistentVolumeClaim{operators(now.Name)}, asked: 2, err: rewrite.ErrForeign},
		"the operator has it, and one was":  {host: []*corev1.PersistentVolumeClaim{operators(now.Name), named(now, former)}, want: former, asked: 2},
		"the operator has the former name":  {host: []*corev1.PersistentVolumeClaim{operators(former)}, asked: 2, err: notFound},
		"another of ours has the former":    {host: []*corev1.PersistentVolumeClaim{named(claim("another"), former)}, asked: 2, err: notFound},
		"another of ours has that of today": {host: []*corev1.PersistentVolumeClaim{named(claim("another"), now.Name)}, asked: 2, err: rewrite.ErrForeign},
	} {
		t.Run(reason, func(t *testing.T) {
			asked := 0
			got, err := rewrite.Find(tr, "PersistentVolumeClaim", "demo", longName, func(name string) (*corev1.PersistentVolumeClaim, error) {
				asked++
				for _, h := range c.host {
					if h.Name == name {
						return h, nil
					}
				}
				return nil, apierrors.NewNotFound(corev1.Resource("persistentvolumeclaims"), name)
			})
			if c.err == nil {
				if err != nil || got.Name != c.want {
					t.Errorf("found %v (%v), want %s", got, err, c.want)
				}
			} else if got != nil || !errors.Is(err, c.err) && err.Error() != c.err.Error() {
				t.Errorf("found %v (%v), want %v", got, err, c.err)
			}
			if asked != c.asked {
				t.Errorf("the host was asked %d times, want %d", asked, c.asked)
			}
		})
	}
	if _, err := rewrite.Find(tr, "Pod", "demo", longName, func(string) (*corev1.Pod, error) { return nil, errors.New("away") }); err == nil || err.Error() != "away" {
		t.Errorf("a host that is away gives %v", err)
	}
	asked := 0
	_, err := rewrite.Find(tr, "Pod", "demo", "short", func(string) (*corev1.Pod, error) { asked++; return nil, notFound })
	if asked != 1 || !apierrors.IsNotFound(err) {
		t.Errorf("for a name without a hash, the host was asked %d times (%v)", asked, err)
	}
}

// TestFindsOwnService: the one object that its host name alone identifies.
func TestFindsOwnService(t *testing.T) {
	tr := mustNew(t, rewrite.Cluster{Name: strings.Repeat("c", 60), HostNamespace: "team-a"})
	got, err := rewrite.Find(tr, "Service", "default", "kubernetes", func(name string) (*corev1.Service, error) {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name}}, nil
	})
	if err != nil || got.Name != tr.ServiceName("default", "kubernetes") {
		t.Errorf("found %v (%v)", got, err)
	}
}

// TestHostReferences: the claims that an object names, and the kind that
// Inputs.Former knows each of them by.
func TestHostReferences(t *testing.T) {
	withClaims, without := mustNew(t, testCluster()), testCluster()
	without.ResourceClaims = false
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "p"}, Spec: corev1.PodSpec{
		ResourceClaims: []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimName: new("gpu")}, {Name: "made", ResourceClaimTemplateName: new("template")}},
		Volumes: []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
			{Name: "again", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
			{Name: "tmp", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
			{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}},
		},
	}}
	source := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "c"}, Spec: corev1.PersistentVolumeClaimSpec{
		DataSource:    &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "from"},
		DataSourceRef: &corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: "from"},
	}}
	snapshot := &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{
		DataSource: &corev1.TypedLocalObjectReference{APIGroup: new("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: "from"},
	}}
	claim := func(name, field string) rewrite.HostReference {
		return rewrite.HostReference{Named: rewrite.Named{Kind: "PersistentVolumeClaim", Name: name}, Field: field}
	}
	gpu := rewrite.HostReference{Named: rewrite.Named{Kind: "ResourceClaim", Name: "gpu"}, Field: "ResourceClaim"}
	volumes := []rewrite.HostReference{claim("data", "PersistentVolumeClaim"), claim("p-tmp", "PersistentVolumeClaim")}
	for reason, c := range map[string]struct {
		tr   *rewrite.Translator
		v    runtime.Object
		want []rewrite.HostReference
	}{
		"a pod":                               {withClaims, pod, append(slices.Clone(volumes), gpu)},
		"a pod of a cluster without devices":  {mustNew(t, without), pod, volumes},
		"a claim of another's content":        {withClaims, source, []rewrite.HostReference{claim("from", "DataSource")}},
		"a claim of a snapshot's content":     {withClaims, snapshot, nil},
		"a Service, which refers to no claim": {withClaims, &corev1.Service{}, nil},
	} {
		t.Run(reason, func(t *testing.T) {
			if d := diff(c.want, c.tr.HostReferences(c.v)); d != "" {
				t.Errorf("references (-want +got):\n%s", d)
			}
		})
	}
	name, _ := withClaims.FormerName("demo", longName)
	source.Spec.DataSource.Name, source.Spec.DataSourceRef.Name = longName, longName
	h := toHost(t, withClaims, source, rewrite.Inputs{Former: []rewrite.Named{{Kind: "DataSource", Name: longName}}}).(*corev1.PersistentVolumeClaim)
	if h.Spec.DataSource.Name != name || h.Spec.DataSourceRef.Name != name {
		t.Errorf("the content is that of %q and %q, want %q", h.Spec.DataSource.Name, h.Spec.DataSourceRef.Name, name)
	}
}

// TestOwnerChanges: objects that the cluster's Service owned get the anchor as
// owner, and no object has two controllers.
func TestOwnerChanges(t *testing.T) {
	tr := mustNew(t, testCluster())
	anchor := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "my-vcluster.anchor", UID: "owner-uid", Controller: new(true)}
	plain := anchor
	plain.Controller = nil
	service := metav1.OwnerReference{APIVersion: "v1", Kind: "Service", Name: "my-vcluster", UID: "any"}
	pod := metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "p", Controller: new(true)}
	backup := metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Backup", Name: "b", UID: "b"}
	for name, c := range map[string]struct {
		host, want []metav1.OwnerReference
		same       bool
	}{
		"of the Service":    {host: []metav1.OwnerReference{service}, want: []metav1.OwnerReference{anchor}},
		"of nobody":         {want: []metav1.OwnerReference{anchor}},
		"as it should be":   {host: []metav1.OwnerReference{anchor}, want: []metav1.OwnerReference{anchor}, same: true},
		"without control":   {host: []metav1.OwnerReference{plain}, want: []metav1.OwnerReference{anchor}},
		"of a pod":          {host: []metav1.OwnerReference{service, pod}, want: []metav1.OwnerReference{pod, plain}},
		"of a pod alone":    {host: []metav1.OwnerReference{pod}, want: []metav1.OwnerReference{pod}, same: true},
		"of a tool as well": {host: []metav1.OwnerReference{backup, service}, want: []metav1.OwnerReference{backup, anchor}},
	} {
		t.Run(name, func(t *testing.T) {
			got, changed := tr.OwnerChanges(c.host)
			if d := diff(c.want, got); d != "" || changed == c.same {
				t.Errorf("changed %v (-want +got):\n%s", changed, d)
			}
		})
	}
}

// TestClaimOfAPodHasOneController: the pod, for the host's scheduler; an object
// with two is refused.
func TestClaimOfAPodHasOneController(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "c", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "p", Controller: new(true)},
	}}}
	owners := toHost(t, tr, v, rewrite.Inputs{ControllerPod: true}).(*resourcev1.ResourceClaim).OwnerReferences
	if len(owners) != 2 || owners[0].Kind != "Pod" || !*owners[0].Controller || owners[1].Kind != "ConfigMap" || owners[1].Controller != nil {
		t.Errorf("owners %+v, want the pod in control, and the anchor", owners)
	}
}
