// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/test/embedded"
)

// foundation is an object on the host that a cluster stands on.
type foundation struct {
	resource schema.GroupVersionResource
	name     string
	uid      types.UID
}

// foundations are all objects of the cluster on the host but those that are a
// tenant's own: pods, claims, and Services other than the cluster's and its DNS's.
// A tenant's Service has slices that the host's controllers make.
func (r *replicated) foundations(client metadata.Interface) (all []foundation) {
	r.t.Helper()
	for _, resource := range []schema.GroupVersionResource{
		corev1.SchemeGroupVersion.WithResource("services"),
		corev1.SchemeGroupVersion.WithResource("serviceaccounts"),
		corev1.SchemeGroupVersion.WithResource("secrets"),
		corev1.SchemeGroupVersion.WithResource("configmaps"),
		discoveryv1.SchemeGroupVersion.WithResource("endpointslices"),
	} {
		found, err := client.Resource(resource).Namespace(r.namespace).List(r.t.Context(), metav1.ListOptions{LabelSelector: rewrite.LabelCluster + "=" + r.name})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, m := range found.Items {
			of := labels.Set(m.Labels)
			switch {
			case m.Name == rewrite.AnchorName(r.name):
				continue // It has tests of its own.
			case resource.Resource == "services" && m.Name != r.name && !strings.HasPrefix(m.Name, "kube-dns-"):
				continue
			case resource.Resource == "endpointslices" && of[discoveryv1.LabelManagedBy] != rewrite.ManagedBy:
				continue
			}
			all = append(all, foundation{resource, m.Name, m.UID})
		}
	}
	return all
}

// workload makes a Deployment whose pods name a Secret and a ConfigMap, a Service
// and a claim, and waits until it runs.
func (r *replicated) workload(client kubernetes.Interface) {
	r.t.Helper()
	ctx := r.t.Context()
	meta := metav1.ObjectMeta{Name: "named"}
	d := deploymentOf("web", "v1", 2)
	d.Spec.Template.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "named"}}},
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "named"}}},
	}
	var claim corev1.PersistentVolumeClaim
	if err := json.Unmarshal([]byte(`{"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}`), &claim); err != nil {
		r.t.Fatal(err)
	}
	core := client.CoreV1()
	for _, err := range []error{
		second(core.Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: meta}, metav1.CreateOptions{})),
		second(core.ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: meta}, metav1.CreateOptions{})),
		second(core.Services("default").Create(ctx, &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}},
		}}, metav1.CreateOptions{})),
		second(core.PersistentVolumeClaims("default").Create(ctx, &claim, metav1.CreateOptions{})),
		second(client.AppsV1().Deployments("default").Create(ctx, d, metav1.CreateOptions{})),
	} {
		if err != nil {
			r.t.Fatal(err)
		}
	}
	r.rolledOut(client, "default", "web")
}

func hostMetadata(t *testing.T) metadata.Interface {
	t.Helper()
	client, err := metadata.NewForConfig(embedded.SharedHost(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Everything that a cluster stands on is deleted on the host, one thing after the
// other, and comes back while the cluster runs, with nothing else lost.
func TestFoundationsArePutBack(t *testing.T) {
	r := newReplicated(t, 2)
	client, host := r.client(), hostMetadata(t)
	r.doorsAre(client, r.replicas...)
	r.workload(client)
	before := r.standing(client)
	all := r.foundations(host)
	for _, want := range []string{
		"services/c1", "services/kube-dns-x-kube-system-x-c1", "serviceaccounts/c1-workload", "secrets/c1.pki", "secrets/pc-c1",
		"secrets/named-x-default-x-c1", "configmaps/named-x-default-x-c1", "endpointslices/c1-door", "endpointslices/c1-dns",
	} {
		if !slices.ContainsFunc(all, func(f foundation) bool { return strings.HasPrefix(f.resource.Resource+"/"+f.name, want) }) {
			t.Errorf("the cluster does not stand on %s any more: %v", want, all)
		}
	}
	for _, f := range all {
		objects := host.Resource(f.resource).Namespace(r.namespace)
		if err := objects.Delete(t.Context(), f.name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(f.uid))}); err != nil {
			t.Fatalf("delete %s %s: %v", f.resource.Resource, f.name, err)
		}
		embedded.Eventually(t, f.resource.Resource+" "+f.name+" is there again", func(ctx context.Context) (bool, string) {
			got, err := objects.Get(ctx, f.name, metav1.GetOptions{})
			return err == nil && got.UID != f.uid && len(got.OwnerReferences) > 0, fmt.Sprint(err)
		})
	}
	r.doorsAre(client, r.replicas...)
	if after := r.standing(client); !slices.Equal(after, before) {
		t.Errorf("the workload was\n%v\nand is\n%v", before, after)
	}
	r.putBackIsReported("Service "+r.namespace+"/c1 ", "ServiceAccount "+r.namespace+"/c1-workload ")
}

// putBackIsReported waits for Events about the anchor that name these objects.
func (r *replicated) putBackIsReported(objects ...string) {
	r.t.Helper()
	for _, object := range objects {
		embedded.Eventually(r.t, "an Event about "+object, func(ctx context.Context) (bool, string) {
			found, err := r.host.CoreV1().Events(r.namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=PutBack"})
			if err != nil {
				return false, err.Error()
			}
			return slices.ContainsFunc(found.Items, func(e corev1.Event) bool {
				return e.InvolvedObject.Name == rewrite.AnchorName(r.name) && strings.HasPrefix(e.Message, object)
			}), fmt.Sprint(found.Items)
		})
	}
}

// standing are the objects that must outlive everything here, with their uids.
func (r *replicated) standing(client kubernetes.Interface) (all []string) {
	r.t.Helper()
	pods, err := client.CoreV1().Pods("default").List(r.t.Context(), metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, p := range pods.Items {
		all = append(all, "pod "+p.Name+" "+string(p.UID))
	}
	claim, err := client.CoreV1().PersistentVolumeClaims("default").Get(r.t.Context(), "data", metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	svc, err := client.CoreV1().Services("default").Get(r.t.Context(), "named", metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return append(all, "claim "+string(claim.UID), "service "+string(svc.UID)+" "+svc.Spec.ClusterIP)
}

// The anchor is deleted with --cascade=orphan. Nothing goes, all that is left has
// the new anchor as its owner, and so have new objects: with the old one, the host
// would delete them at once.
func TestAnchorIsPutBackWithWhatItOwned(t *testing.T) {
	r := newReplicated(t, 2)
	client, host := r.client(), hostMetadata(t)
	r.workload(client)
	before := r.standing(client)
	uid := r.deleteAnchor(metav1.DeletePropagationOrphan)
	r.ownedBy(host, uid)
	if after := r.standing(client); !slices.Equal(after, before) {
		t.Errorf("the workload was\n%v\nand is\n%v", before, after)
	}
	for _, rep := range r.replicas {
		if _, err := rep.virtual.CoreV1().Pods("default").Create(t.Context(), embedded.Pod("by-"+strings.ReplaceAll(rep.listen, ":", "-"), nil), metav1.CreateOptions{}); err != nil {
			t.Error(err)
		}
	}
	r.ownedBy(host, uid)
	r.putBackIsReported("ConfigMap " + r.namespace + "/c1.anchor ")
}

// The anchor is deleted with all that it owns. The cluster goes on: its own objects
// are there, and its controllers make pods that stay.
func TestClusterGoesOnWithoutWhatTheAnchorOwned(t *testing.T) {
	r := newReplicated(t, 2)
	client, host := r.client(), hostMetadata(t)
	r.workload(client)
	service, err := r.host.CoreV1().Services(r.namespace).Get(t.Context(), r.name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	gone := r.standing(client)
	uid := r.deleteAnchor(metav1.DeletePropagationBackground)
	embedded.Eventually(t, "no pod of before", func(ctx context.Context) (bool, string) {
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, p := range pods.Items {
			if slices.Contains(gone, "pod "+p.Name+" "+string(p.UID)) {
				return false, p.Name
			}
		}
		return true, ""
	})
	r.rolledOut(client, "default", "web")
	r.ownedBy(host, uid)
	embedded.Eventually(t, "the cluster's Service", func(ctx context.Context) (bool, string) {
		svc, err := r.host.CoreV1().Services(r.namespace).Get(ctx, r.name, metav1.GetOptions{})
		return err == nil && svc.Spec.ClusterIP == service.Spec.ClusterIP, fmt.Sprint(err)
	})
	r.doorsAre(client, r.replicas...)
}

// deleteAnchor deletes the anchor and returns the uid of the next one.
func (r *replicated) deleteAnchor(propagation metav1.DeletionPropagation) types.UID {
	r.t.Helper()
	anchors, name := r.host.CoreV1().ConfigMaps(r.namespace), rewrite.AnchorName(r.name)
	was, err := anchors.Get(r.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := anchors.Delete(r.t.Context(), name, metav1.DeleteOptions{PropagationPolicy: &propagation}); err != nil {
		r.t.Fatal(err)
	}
	var uid types.UID
	embedded.Eventually(r.t, "another anchor with the addresses", func(ctx context.Context) (bool, string) {
		now, err := anchors.Get(ctx, name, metav1.GetOptions{})
		if err != nil || now.UID == was.UID {
			return false, fmt.Sprint(err)
		}
		uid = now.UID
		for key, value := range was.Annotations {
			if now.Annotations[key] != value {
				return false, fmt.Sprint(now.Annotations)
			}
		}
		return true, ""
	})
	return uid
}

// ownedBy waits until every object of the cluster on the host has an owner that is
// there: the anchor with this uid, or a pod of the cluster.
func (r *replicated) ownedBy(host metadata.Interface, uid types.UID) {
	r.t.Helper()
	embedded.Eventually(r.t, "objects have the new owner", func(ctx context.Context) (bool, string) {
		owners, others := []types.UID{uid}, ""
		for _, resource := range []string{"pods", "services", "persistentvolumeclaims", "secrets", "configmaps", "endpointslices"} {
			gvr := corev1.SchemeGroupVersion.WithResource(resource)
			if resource == "endpointslices" {
				gvr = discoveryv1.SchemeGroupVersion.WithResource(resource)
			}
			found, err := host.Resource(gvr).Namespace(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: rewrite.LabelCluster + "=" + r.name})
			if err != nil {
				return false, err.Error()
			}
			for _, m := range found.Items {
				if resource == "pods" || resource == "services" {
					owners = append(owners, m.UID)
				}
				if m.Name != rewrite.AnchorName(r.name) && !slices.ContainsFunc(m.OwnerReferences, func(o metav1.OwnerReference) bool { return slices.Contains(owners, o.UID) }) {
					others += fmt.Sprintf("%s %s: %v\n", resource, m.Name, m.OwnerReferences)
				}
			}
		}
		return others == "", others
	})
}
