// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/rules"
)

// refused fails unless err is a 422 about exactly these fields.
func refused(t *testing.T, err error, fields ...string) {
	t.Helper()
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		t.Fatalf("got %v, want Invalid", err)
	}
	var got []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeForbidden {
			got = append(got, cause.Field)
		}
	}
	if !slices.Equal(got, fields) {
		t.Errorf("fields %v are refused, want %v", got, fields)
	}
}

// allowingOnly is the Translator of a cluster in which the operator allows only
// the things that change sets.
func allowingOnly(t *testing.T, change func(*rewrite.Cluster)) *rewrite.Translator {
	t.Helper()
	c := testCluster()
	c.VolumeDrivers, c.AllowedTolerations, c.Schedulers = nil, nil, nil
	change(&c)
	return mustNew(t, c)
}

func podWith(volumes ...corev1.VolumeSource) *corev1.Pod {
	v := pod("demo", "p", nil)
	for i, source := range volumes {
		v.Spec.Volumes = append(v.Spec.Volumes, corev1.Volume{Name: string(rune('a' + i)), VolumeSource: source})
	}
	return v
}

// TestLaw4EveryVolumeSourceIsInATable: a source that a new Kubernetes version
// brings is refused until its place in a table is decided.
func TestLaw4EveryVolumeSourceIsInATable(t *testing.T) {
	known := map[string]bool{}
	typ := reflect.TypeFor[corev1.VolumeSource]()
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		_, driver := rules.VolumeDrivers[name]
		reason, plain := rules.PlainVolumes[name]
		if driver == plain || plain && reason == "" {
			t.Errorf("%s is in the table of drivers: %v, in the other: %v", name, driver, plain)
		}
		known[name] = true
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(rules.VolumeDrivers)), slices.Collect(maps.Keys(rules.PlainVolumes))) {
		if !known[name] {
			t.Errorf("%s is in a table, and no source of a volume", name)
		}
	}
}

// A pod describes a volume for a driver on the host that acts with the
// operator's credentials: another tenant's disk, share or image. It is refused
// unless the operator allowed the driver.
func TestAttackInlineVolumeActsWithTheDriversCredentials(t *testing.T) {
	tr := allowingOnly(t, func(c *rewrite.Cluster) { c.VolumeDrivers = []string{"secrets-store.csi.k8s.io", "disk.csi.azure.com"} })
	csi := func(driver string) corev1.VolumeSource {
		return corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: driver, VolumeAttributes: map[string]string{"share": "//files/other-tenant"}}}
	}
	_, err := tr.PodToHost(podWith(csi("secrets-store.csi.k8s.io"), csi("smb.csi.k8s.io")), rewrite.Inputs{})
	refused(t, err, "spec.volumes[1].csi.driver")
	if !strings.Contains(err.Error(), `"smb.csi.k8s.io"`) {
		t.Errorf("%v does not name the driver", err)
	}
	_, err = tr.PodToHost(podWith(corev1.VolumeSource{FlexVolume: &corev1.FlexVolumeSource{Driver: "example/nfs"}}), rewrite.Inputs{})
	refused(t, err, "spec.volumes[0].flexVolume.driver")
	_, err = tr.PodToHost(podWith(
		corev1.VolumeSource{AzureDisk: &corev1.AzureDiskVolumeSource{DiskName: "d", DataDiskURI: "/subscriptions/other"}},
		corev1.VolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "vol-of-another-tenant"}},
		corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "192.0.2.1", Path: "/exports"}},
		corev1.VolumeSource{RBD: &corev1.RBDVolumeSource{RBDImage: "other", RadosUser: "admin"}},
		corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
	), rewrite.Inputs{})
	refused(t, err, "spec.volumes[1].awsElasticBlockStore", "spec.volumes[2].nfs", "spec.volumes[3].rbd")

	// No driver but one without a name is meant by an empty entry.
	_, err = allowingOnly(t, func(c *rewrite.Cluster) { c.VolumeDrivers = []string{""} }).PodToHost(podWith(csi("")), rewrite.Inputs{})
	refused(t, err, "spec.volumes[0].csi.driver")
}

// A pod that has such a volume, from another time or from the host, can still be
// changed and deleted.
func TestVolumesOfAPodThatExistsStay(t *testing.T) {
	v := podWith(corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "192.0.2.1", Path: "/exports"}})
	h := podToHost(t, v, rewrite.Inputs{})
	h.Spec.Volumes = append(h.Spec.Volumes, corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "csi.spiffe.io"}}})
	tr := allowingOnly(t, func(*rewrite.Cluster) {})
	seen := toVirtual(t, tr, h).(*corev1.Pod)
	seen.Labels = map[string]string{"a": "b"}
	if _, err := tr.PodToHost(seen, rewrite.Inputs{Host: h}); err != nil {
		t.Errorf("update: %v", err)
	}
	seen.Spec.Volumes[0].NFS.Path = "/"
	_, err := tr.PodToHost(seen, rewrite.Inputs{Host: h})
	refused(t, err, "spec.volumes[0].nfs")
}

// A claim names an available volume of the host, selects some by labels, or asks
// for one without a class. Only volumes of the tenant's cluster are left for it.
func TestAttackClaimTakesAVolumeOfTheHost(t *testing.T) {
	tr := mustNew(t, testCluster())
	scope := tr.ClusterScope()
	claim := func(change func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
		v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "data"}}
		change(v)
		return v
	}
	for name, v := range map[string]*corev1.PersistentVolumeClaim{
		"by name": claim(func(v *corev1.PersistentVolumeClaim) { v.Spec.VolumeName = "pv-of-another-tenant" }),
		"by label": claim(func(v *corev1.PersistentVolumeClaim) {
			v.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"disk": "fast"}}
		}),
		"all of them": claim(func(v *corev1.PersistentVolumeClaim) { v.Spec.Selector = &metav1.LabelSelector{} }),
		"by expression": claim(func(v *corev1.PersistentVolumeClaim) {
			v.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "disk", Operator: metav1.LabelSelectorOpExists}}}
		}),
		"without a class": claim(func(v *corev1.PersistentVolumeClaim) { v.Spec.StorageClassName = new("") }),
		"without a class, by the old annotation": claim(func(v *corev1.PersistentVolumeClaim) {
			v.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: ""}
			v.Spec.StorageClassName = new("ignored")
		}),
	} {
		t.Run(name, func(t *testing.T) {
			h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.PersistentVolumeClaim)
			if h.Spec.VolumeName != "" && h.Spec.VolumeName != tr.ClusterName("pv-of-another-tenant") {
				t.Errorf("the host claim names the volume %s", h.Spec.VolumeName)
			}
			if h.Spec.VolumeName == "" {
				s, err := metav1.LabelSelectorAsSelector(h.Spec.Selector)
				if err != nil {
					t.Fatal(err)
				}
				theirs, ours := labels.Set{"disk": "fast"}, labels.Merge(scope, labels.Set{"disk": "fast"})
				if s.Matches(theirs) || !s.Matches(ours) {
					t.Errorf("the host claim selects %s", s)
				}
			}
			if d := diff(wireObject(t, v), toVirtual(t, tr, h)); d != "" {
				t.Errorf("turned back (-want +got):\n%s", d)
			}
		})
	}
}

// A claim that asks for nothing special is as it was, and the volume that the
// host binds it to is shown.
func TestClaimShowsTheVolumeOfTheHost(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "data"},
		Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: new("fast")},
	}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.PersistentVolumeClaim)
	if h.Spec.Selector != nil || *h.Spec.StorageClassName != "fast" {
		t.Errorf("host claim: %+v", h.Spec)
	}
	h.Spec.VolumeName = "pvc-1"
	seen := toVirtual(t, tr, h).(*corev1.PersistentVolumeClaim)
	if seen.Spec.VolumeName != "pvc-1" {
		t.Fatalf("the tenant sees the volume %q", seen.Spec.VolumeName)
	}
	seen.Labels = map[string]string{"a": "b"}
	if again := toHost(t, tr, seen, rewrite.Inputs{Host: h}).(*corev1.PersistentVolumeClaim); again.Spec.VolumeName != "pvc-1" {
		t.Errorf("after an update the host claim has the volume %q", again.Spec.VolumeName)
	}
}

// A tenant sets the name of a host volume in a claim that exists, which the API
// allows once. On the host it is the name of a volume of the tenant's cluster.
func TestAttackClaimTakesAVolumeOfTheHostByAnUpdate(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "data"}}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.PersistentVolumeClaim)
	seen := toVirtual(t, tr, h).(*corev1.PersistentVolumeClaim)
	seen.Spec.VolumeName = "pv-of-another-tenant"
	again := toHost(t, tr, seen, rewrite.Inputs{Host: h}).(*corev1.PersistentVolumeClaim)
	if again.Spec.VolumeName != tr.ClusterName("pv-of-another-tenant") {
		t.Errorf("the host claim names the volume %s", again.Spec.VolumeName)
	}
	if got := toVirtual(t, tr, again).(*corev1.PersistentVolumeClaim).Spec.VolumeName; got != "pv-of-another-tenant" {
		t.Errorf("the tenant sees %s", got)
	}
}

// A claim selects volumes by Portico's own labels, to get a volume of another
// cluster. On the host it asks for volumes of its own cluster, and for the
// tenant's labels under keys that no volume has.
func TestAttackClaimSelectsByReservedLabels(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{Selector: &metav1.LabelSelector{
		MatchLabels:      map[string]string{rewrite.LabelCluster: "other", rewrite.LabelHostNamespace: "team-b"},
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: rewrite.LabelCluster, Operator: metav1.LabelSelectorOpIn, Values: []string{"other"}}},
	}}}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.PersistentVolumeClaim)
	got, err := metav1.LabelSelectorAsSelector(h.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	want := tr.ClusterScope()
	for k, value := range want {
		if h.Spec.Selector.MatchLabels[k] != value {
			t.Errorf("the host claim does not ask for %s=%s: %v", k, value, h.Spec.Selector)
		}
	}
	for name, volume := range map[string]labels.Set{
		"another cluster's": {rewrite.LabelCluster: "other", rewrite.LabelHostNamespace: "team-b"},
		"the operator's":    want,
		"nobody's":          {},
	} {
		if got.Matches(volume) {
			t.Errorf("the claim selects %s volume", name)
		}
	}
	if d := diff(v, toVirtual(t, tr, h)); d != "" {
		t.Errorf("the tenant sees another claim (-want +got):\n%s", d)
	}
}

// A pod names a scheduler that the operator runs for others. On the host it has
// a name that no scheduler has, and waits.
func TestAttackPodChoosesASchedulerOfTheHost(t *testing.T) {
	tr := allowingOnly(t, func(c *rewrite.Cluster) { c.Schedulers = []string{"batch"} })
	for name, want := range map[string]string{
		"": "", "default-scheduler": "default-scheduler", "batch": "batch",
		"operators-own": rewrite.NoScheduler, "*": rewrite.NoScheduler, "Batch": rewrite.NoScheduler, rewrite.NoScheduler: rewrite.NoScheduler,
	} {
		v := pod("demo", "p", nil)
		v.Spec.SchedulerName = name
		h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
		if h.Spec.SchedulerName != want {
			t.Errorf("the scheduler %q is %q on the host, want %q", name, h.Spec.SchedulerName, want)
		}
		if got := toVirtual(t, tr, h).(*corev1.Pod).Spec.SchedulerName; got != name {
			t.Errorf("the scheduler %q is shown as %q", name, got)
		}
	}
}

// A pod tolerates the taints of control-plane nodes and of nodes for others, by
// name or all at once, when it is made or later. On the host it tolerates only
// taints that the operator allowed.
func TestAttackPodToleratesTaintsOfTheOperator(t *testing.T) {
	const controlPlane, notReady, gpu = "node-role.kubernetes.io/control-plane", "node.kubernetes.io/not-ready", "example.com/gpu"
	exists := func(key string) corev1.Toleration {
		return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists}
	}
	tr := allowingOnly(t, func(c *rewrite.Cluster) { c.AllowedTolerations = []string{gpu} })
	keys := func(list []corev1.Toleration) (out []string) {
		for _, t := range list {
			out = append(out, t.Key)
		}
		return out
	}
	system := slices.Sorted(slices.Values(rules.SystemTaints))
	for name, c := range map[string]struct{ virtual, host []string }{
		"by key":                {[]string{controlPlane, notReady, "dedicated", gpu}, []string{notReady, gpu, "tenants"}},
		"everything":            {[]string{""}, append(append([]string{"tenants"}, system...), gpu)},
		"everything and one":    {[]string{"x", gpu, ""}, append([]string{gpu, "tenants"}, system...)},
		"nothing but the other": {[]string{controlPlane}, []string{"tenants"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := pod("demo", "p", nil)
			for _, key := range c.virtual {
				v.Spec.Tolerations = append(v.Spec.Tolerations, exists(key))
			}
			h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
			if got := keys(h.Spec.Tolerations); !slices.Equal(got, c.host) {
				t.Errorf("the host pod tolerates %v, want %v", got, c.host)
			}
			h.Spec.Tolerations = append(h.Spec.Tolerations, exists("by-the-host"))
			v.Spec.Tolerations = append(v.Spec.Tolerations, exists("by-the-host"))
			seen := toVirtual(t, tr, h).(*corev1.Pod)
			if d := diff(v.Spec, seen.Spec); d != "" {
				t.Errorf("turned back (-want +got):\n%s", d)
			}

			// The API lets tolerations be added.
			seen.Spec.Tolerations = append(seen.Spec.Tolerations, exists("dedicated-too"), exists(""))
			again := toHost(t, tr, seen, rewrite.Inputs{Host: h}).(*corev1.Pod)
			for _, toleration := range again.Spec.Tolerations {
				if toleration.Key == "" || toleration.Key == controlPlane || toleration.Key == "dedicated-too" {
					t.Errorf("after an update the host pod tolerates %q", toleration.Key)
				}
			}
			for i := range h.Spec.Tolerations { // the host refuses a pod that lost one
				if !slices.Contains(keys(again.Spec.Tolerations), h.Spec.Tolerations[i].Key) {
					t.Errorf("after an update the host pod no longer tolerates %q", h.Spec.Tolerations[i].Key)
				}
			}
			if d := diff(seen.Spec, toVirtual(t, tr, again).(*corev1.Pod).Spec); d != "" {
				t.Errorf("after an update, turned back (-want +got):\n%s", d)
			}
		})
	}
}

// The host's admission may add the same as the tenant's has added, which the
// translation has kept off: the tolerations of a runtime class. They are shown
// once.
func TestTolerationThatTheHostAddsIsShownOnce(t *testing.T) {
	tr := allowingOnly(t, func(*rewrite.Cluster) {})
	v := pod("demo", "p", nil)
	v.Spec.Tolerations = []corev1.Toleration{{Key: "sandbox", Operator: corev1.TolerationOpExists}}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
	h.Spec.Tolerations = append(h.Spec.Tolerations, v.Spec.Tolerations...)
	if d := diff(v.Spec, toVirtual(t, tr, h).(*corev1.Pod).Spec); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// The host names a toleration by its place in the host's list. In the tenant's
// list there are others before it.
func TestPathOfATolerationAmongDroppedOnes(t *testing.T) {
	tr := allowingOnly(t, func(c *rewrite.Cluster) { c.AllowedTolerations = []string{"a", "b"} })
	v := pod("demo", "p", nil)
	v.Spec.Tolerations = []corev1.Toleration{{Key: "x"}, {Key: "a"}, {Key: "y"}, {Key: "tenants", Operator: corev1.TolerationOpExists}, {Key: "b"}}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
	for host, want := range map[string]string{"spec.tolerations[0].key": "spec.tolerations[1].key", "spec.tolerations[1].key": "spec.tolerations[4].key", "spec.tolerations[2].key": "spec"} {
		if got, _ := about(tr, h, host); got != want {
			t.Errorf("%s is %s, want %s", host, got, want)
		}
	}
}

// A Service takes external IPs, to which every node of the host would send its
// traffic (CVE-2020-8554). It is refused in the translation too.
func TestAttackServiceWithExternalIPs(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "s"}, Spec: corev1.ServiceSpec{ExternalIPs: []string{"192.0.2.53", "192.0.2.54"}}}
	_, err := tr.ServiceToHost(v, rewrite.Inputs{})
	refused(t, err, "spec.externalIPs[0]", "spec.externalIPs[1]")

	v.Spec.ExternalIPs = nil
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Service)
	h.Spec.ExternalIPs = []string{"192.0.2.1"} // the operator's
	seen := toVirtual(t, tr, h).(*corev1.Service)
	if _, err := tr.ServiceToHost(seen, rewrite.Inputs{Host: h}); err != nil {
		t.Errorf("an update next to the operator's external IP: %v", err)
	}
	seen.Spec.ExternalIPs = append(seen.Spec.ExternalIPs, "192.0.2.53")
	_, err = tr.ServiceToHost(seen, rewrite.Inputs{Host: h})
	refused(t, err, "spec.externalIPs[1]")
}

// A tenant writes a slice for kube-system/kube-dns, to answer the questions of
// all pods. It has no translation.
func TestAttackEndpointsOfTheClustersDNS(t *testing.T) {
	c := testCluster()
	c.DNS = &rewrite.DNS{TargetPort: 1053}
	tr := mustNew(t, c)
	slice := func(namespace string) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "mine", Labels: map[string]string{discoveryv1.LabelServiceName: rewrite.DNSName},
		}}
	}
	if _, err := tr.EndpointSliceToHost(slice(rewrite.DNSNamespace), rewrite.Inputs{}); !errors.Is(err, rewrite.ErrOwnEndpoints) {
		t.Errorf("got %v, want %v", err, rewrite.ErrOwnEndpoints)
	}
	if _, err := tr.EndpointSliceToHost(slice("demo"), rewrite.Inputs{}); err != nil {
		t.Errorf("a Service of the same name elsewhere: %v", err)
	}
}

// An ephemeral container mounts a volume that a webhook of the host added, reads
// a file of it, or shares the processes of an added sidecar. It is refused.
func TestAttackEphemeralContainerReachesForWhatTheHostAdded(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := podWith(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	v.Spec.Containers = []corev1.Container{{Name: "app", Image: "i"}}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
	for _, change := range []string{"an injected sidecar", "an init container before all others"} {
		hostChanges[change](h)
	}
	debug := corev1.EphemeralContainer{TargetContainerName: "app", EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debug", Image: "i", VolumeMounts: []corev1.VolumeMount{{Name: "a", MountPath: "/a"}},
	}}
	attach := func(h *corev1.Pod, change func(*corev1.EphemeralContainer)) (*corev1.Pod, error) {
		seen := toVirtual(t, tr, h).(*corev1.Pod)
		e := *debug.DeepCopy()
		change(&e)
		seen.Spec.EphemeralContainers = append(seen.Spec.EphemeralContainers, e)
		return tr.PodToHost(seen, rewrite.Inputs{Host: h})
	}
	for field, change := range map[string]func(*corev1.EphemeralContainer){
		"volumeMounts[0].name":                   func(e *corev1.EphemeralContainer) { e.VolumeMounts[0].Name = "host-volume" },
		"volumeDevices[0].name":                  func(e *corev1.EphemeralContainer) { e.VolumeDevices = []corev1.VolumeDevice{{Name: "host-volume"}} },
		"env[0].valueFrom.fileKeyRef.volumeName": fromFile("host-volume"),
		"targetContainerName":                    func(e *corev1.EphemeralContainer) { e.TargetContainerName = "host-sidecar" },
	} {
		_, err := attach(h, change)
		refused(t, err, "spec.ephemeralContainers[0]."+field)
	}
	_, err := attach(h, func(e *corev1.EphemeralContainer) { e.TargetContainerName = "host-init" })
	refused(t, err, "spec.ephemeralContainers[0].targetContainerName")

	with, err := attach(h, func(*corev1.EphemeralContainer) {})
	if err != nil {
		t.Fatalf("a container with the pod's own volume: %v", err)
	}
	// One that is there already is looked at no more; nor does its update open a way.
	if _, err := attach(with, func(e *corev1.EphemeralContainer) { e.Name = "second" }); err != nil {
		t.Errorf("a second container: %v", err)
	}
	_, err = attach(with, func(e *corev1.EphemeralContainer) { e.Name, e.VolumeMounts[0].Name = "second", "host-volume" })
	refused(t, err, "spec.ephemeralContainers[1].volumeMounts[0].name")

	// A new image makes no container of the host's the tenant's.
	seen := toVirtual(t, tr, h).(*corev1.Pod)
	seen.Spec.Containers[0].Image = "i:2"
	updated := toHost(t, tr, seen, rewrite.Inputs{Host: h}).(*corev1.Pod)
	_, err = attach(updated, func(e *corev1.EphemeralContainer) { e.TargetContainerName = "host-sidecar" })
	refused(t, err, "spec.ephemeralContainers[0].targetContainerName")

	// Without the record of the owners, everything may be the host's.
	lost := h.DeepCopy()
	delete(lost.Annotations, rewrite.AnnotationOverlay)
	seen, err = tr.PodToVirtual(lost)
	var corrupt *rewrite.CorruptOverlayError
	if !errors.As(err, &corrupt) {
		t.Fatal(err)
	}
	seen.Spec.EphemeralContainers = []corev1.EphemeralContainer{debug}
	_, err = tr.PodToHost(seen, rewrite.Inputs{Host: lost})
	refused(t, err, "spec.ephemeralContainers[0].volumeMounts[0].name", "spec.ephemeralContainers[0].targetContainerName")
}

func fromFile(volume string) func(*corev1.EphemeralContainer) {
	return func(e *corev1.EphemeralContainer) {
		e.Env = []corev1.EnvVar{{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: volume, Path: "token", Key: "k"}}}}
	}
}

// A tenant makes the door sign tokens, make keys and write ConfigMaps without end,
// all for one pod.
func TestAttackPodProjectsThousandsOfTokens(t *testing.T) {
	tr := allowingOnly(t, func(*rewrite.Cluster) {})
	with := func(n int, source func(i int) corev1.VolumeProjection) *corev1.Pod {
		sources := make([]corev1.VolumeProjection, n)
		for i := range sources {
			sources[i] = source(i)
		}
		half := n / 2
		return podWith(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources[:half]}},
			corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources[half:]}})
	}
	credential := func(i int) corev1.VolumeProjection {
		if i%2 == 0 {
			return corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}
		}
		return corev1.VolumeProjection{PodCertificate: &corev1.PodCertificateProjection{SignerName: "example.com/s", KeyType: "ED25519"}}
	}
	bundle := func(int) corev1.VolumeProjection {
		return corev1.VolumeProjection{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Path: "ca"}}
	}
	for _, tt := range []struct {
		limit  int
		source func(int) corev1.VolumeProjection
		text   string
	}{{100, credential, "must not project more than 100"}, {500, bundle, "must not project more than 500"}} {
		if _, err := tr.ToHost(with(tt.limit, tt.source), rewrite.Inputs{}); err != nil {
			t.Errorf("%d: %v", tt.limit, err)
		}
		_, err := tr.ToHost(with(tt.limit+1, tt.source), rewrite.Inputs{})
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%d: %v, want Invalid", tt.limit+1, err)
		}
	}
}
