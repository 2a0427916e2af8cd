// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// kubeletReads returns the value that the kubelet of the host puts into a
// container for a path of the downward API (k8s.io/kubernetes/pkg/fieldpath,
// written again so that this package does not build Kubernetes).
func kubeletReads(t *testing.T, h *corev1.Pod, path string) string {
	t.Helper()
	format := func(m map[string]string) string {
		var lines []string
		for _, k := range slices.Sorted(maps.Keys(m)) {
			lines = append(lines, fmt.Sprintf("%s=%q", k, m[k]))
		}
		return strings.Join(lines, "\n")
	}
	key := func(prefix string) (string, bool) {
		k, ok := strings.CutPrefix(path, prefix+"['")
		return strings.TrimSuffix(k, "']"), ok
	}
	if k, ok := key("metadata.labels"); ok {
		return h.Labels[k]
	}
	if k, ok := key("metadata.annotations"); ok {
		return h.Annotations[k]
	}
	switch path {
	case "metadata.name":
		return h.Name
	case "metadata.namespace":
		return h.Namespace
	case "metadata.uid":
		return string(h.UID)
	case "metadata.labels":
		return format(h.Labels)
	case "metadata.annotations":
		return format(h.Annotations)
	case "spec.serviceAccountName":
		return h.Spec.ServiceAccountName
	case "spec.nodeName":
		return h.Spec.NodeName
	case "status.podIP":
		return h.Status.PodIP
	}
	t.Fatalf("the kubelet knows no %s", path)
	return ""
}

// TestDownwardAPIReadsTheVirtualPod compares the values that a container reads
// on the host with those of an ordinary cluster.
func TestDownwardAPIReadsTheVirtualPod(t *testing.T) {
	v := pod("demo", "p", map[string]string{"app": "web", "argocd.argoproj.io/instance": "mine", "quoted": `a"b`})
	v.Annotations = map[string]string{"a": "1", "kubectl.kubernetes.io/last-applied-configuration": "{\n}"}
	v.UID = "u"
	v.Spec.ServiceAccountName = "builder"
	v.Spec.NodeName = "node-1"
	for _, path := range []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations", "spec.serviceAccountName", "spec.nodeName",
		"metadata.labels['app']", "metadata.labels['argocd.argoproj.io/instance']", "metadata.labels['missing']",
		"metadata.annotations['a']", "metadata.annotations['kubectl.kubernetes.io/last-applied-configuration']",
	} {
		p := v.DeepCopy()
		item := corev1.DownwardAPIVolumeFile{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
		p.Spec.Volumes = []corev1.Volume{
			{Name: "a", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{item}}}},
			{Name: "b", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{item}}}}}}},
		}
		h := podToHost(t, p, testInputs())
		want := kubeletReads(t, v, path)
		for _, hostPath := range []string{
			h.Spec.Volumes[0].DownwardAPI.Items[0].FieldRef.FieldPath,
			h.Spec.Volumes[1].Projected.Sources[0].DownwardAPI.Items[0].FieldRef.FieldPath,
		} {
			if got := kubeletReads(t, h, hostPath); got != want {
				t.Errorf("%s reads %q, want %q", path, got, want)
			}
		}
	}
}

// TestDownwardAPIFollowsUpdates: the annotations that containers read change
// with the pod.
func TestDownwardAPIFollowsUpdates(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "p", map[string]string{"app": "web"})
	v.Spec.Volumes = []corev1.Volume{{Name: "a", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
		Items: []corev1.DownwardAPIVolumeFile{{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}},
	}}}}
	in := testInputs()
	in.Host = toHost(t, tr, v, in)
	v.Labels["app"] = "api"
	h := toHost(t, tr, v, in).(*corev1.Pod)
	if got, want := kubeletReads(t, h, h.Spec.Volumes[0].DownwardAPI.Items[0].FieldRef.FieldPath), `app="api"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
