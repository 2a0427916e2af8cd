// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"portico.dev/portico/test/embedded"
)

// nested returns three clusters, the outermost first, each in the one before it.
// They have one name, so that nothing can rely on the names.
func nested(t *testing.T, more string) []*cluster {
	t.Helper()
	outer := newClusterWith(t, embedded.SharedHost(t), more)
	middle := newClusterWith(t, outer.AsHost(), more)
	return []*cluster{outer, middle, newClusterWith(t, middle.AsHost(), more)}
}

// below are the names of an object of the innermost cluster on its host, on that
// one's host, and so on.
func below(t *testing.T, levels []*cluster, list func(ctx context.Context, c *cluster) (map[string]string, error), virtual string) []string {
	t.Helper()
	var names []string
	for _, c := range slices.Backward(levels) {
		embedded.Eventually(t, "the host object of "+virtual, func(ctx context.Context) (bool, string) {
			found, err := list(ctx, c)
			if err != nil {
				return false, err.Error()
			}
			name, ok := found[virtual]
			if ok {
				names, virtual = append(names, name), name
			}
			return ok, fmt.Sprint(slices.Sorted(maps.Keys(found)))
		})
	}
	return names
}

// hostPods are the names of a cluster's pods on its host, by their names inside.
func hostPods(ctx context.Context, c *cluster) (map[string]string, error) {
	l, err := c.Host.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "portico.dev/cluster=" + c.Name})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, p := range l.Items {
		out[p.Annotations["portico.dev/name"]] = p.Name
	}
	return out, nil
}

// TestThreeClustersDeep: the innermost of three clusters, each of which is the host
// of the next, is a cluster like any other.
func TestThreeClustersDeep(t *testing.T) {
	// With an image for /etc/hosts, whose container the two outer ones refuse.
	levels := nested(t, "pods:\n  hostsImage: registry.example/porticod:1\n")
	outer, deep := levels[0], levels[2]
	deep.CreateNamespace("shop")
	labels := map[string]string{"app": "db"}
	ports := []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}}
	service := deep.CreateService("shop", "db", corev1.ServiceSpec{Selector: labels, Ports: ports})
	deep.CreateService("shop", "peers", corev1.ServiceSpec{ClusterIP: "None", Selector: labels, Ports: ports})
	if _, err := deep.Virtual.CoreV1().Secrets("shop").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "password"}, StringData: map[string]string{"k": "v"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	replicas := int32(1)
	spec := embedded.Pod("", nil).Spec
	spec.Volumes = []corev1.Volume{{Name: "password", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "password"}}}}
	_, err := deep.Virtual.AppsV1().StatefulSets("shop").Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: "peers", Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	deep.Settled("shop", "db-0")

	// The pod runs on the host of them all, as a pod of the outermost cluster.
	names := below(t, levels, hostPods, "db-0")
	host, err := outer.Host.CoreV1().Pods(outer.Namespace).Get(t.Context(), names[2], metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	inside, err := deep.Virtual.CoreV1().Pods("shop").Get(t.Context(), "db-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if host.Status.Phase != corev1.PodRunning || host.Status.PodIP != inside.Status.PodIP || host.UID != inside.UID {
		t.Errorf("the host pod is %s at %s, %s; inside %s at %s, %s", host.Status.Phase, host.Status.PodIP, host.UID, inside.Status.Phase, inside.Status.PodIP, inside.UID)
	}
	if host.Labels["app"] != "db" || host.Labels["portico.dev/namespace"] != levels[1].Namespace {
		t.Errorf("the host pod has the labels %v", host.Labels)
	}
	for k := range inside.Labels {
		if strings.HasPrefix(k, "portico.dev/") {
			t.Errorf("the innermost pod shows the label %s", k)
		}
	}

	t.Run("the host's Service leads to the pod", func(t *testing.T) {
		embedded.Eventually(t, "endpoints on the host", func(ctx context.Context) (bool, string) {
			slices, err := outer.Host.DiscoveryV1().EndpointSlices(outer.Namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return false, err.Error()
			}
			for _, s := range slices.Items {
				if !strings.HasPrefix(s.Labels["kubernetes.io/service-name"], "db-x-shop") {
					continue
				}
				for _, e := range s.Endpoints {
					if e.TargetRef != nil && e.TargetRef.Name == host.Name && e.Addresses[0] == inside.Status.PodIP {
						return true, ""
					}
				}
			}
			return false, fmt.Sprintf("%d slices", len(slices.Items))
		})
	})
	t.Run("names resolve", func(t *testing.T) {
		c := deep
		c.resolves("db.shop.svc.cluster.local.", mdns.TypeA, "NOERROR", service.Spec.ClusterIP)
		c.resolves("db-0.peers.shop.svc.cluster.local.", mdns.TypeA, "NOERROR", inside.Status.PodIP)
		c.resolves("kubernetes.default.svc.cluster.local.", mdns.TypeA, "NOERROR", c.kubernetesIP())
	})
	t.Run("selectors and labels", func(t *testing.T) {
		for _, selector := range []string{"app=db", "portico.dev/cluster"} {
			l, err := deep.Virtual.CoreV1().Pods("shop").List(t.Context(), metav1.ListOptions{LabelSelector: selector})
			if want := map[string]int{"app=db": 1}[selector]; err != nil || len(l.Items) != want {
				t.Errorf("%d pods with %s inside, %v; want %d", len(l.Items), selector, err, want)
			}
		}
	})
	t.Run("deletion", func(t *testing.T) {
		if err := deep.Virtual.CoreV1().Namespaces().Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		for i, c := range levels {
			embedded.Eventually(t, fmt.Sprintf("nothing of shop on the host of level %d", i), func(ctx context.Context) (bool, string) {
				pods, err := hostPods(ctx, c)
				if err != nil {
					return false, err.Error()
				}
				_, left := pods[append([]string{"db-0"}, names...)[2-i]]
				services, err := c.Host.CoreV1().Services(c.Namespace).List(ctx, metav1.ListOptions{})
				if err != nil {
					return false, err.Error()
				}
				for _, s := range services.Items {
					left = left || strings.Contains(s.Name, "x-shop")
				}
				return !left, fmt.Sprint(pods, len(services.Items))
			})
		}
		embedded.Eventually(t, "the end of the namespace", func(ctx context.Context) (bool, string) {
			_, err := deep.Virtual.CoreV1().Namespaces().Get(ctx, "shop", metav1.GetOptions{})
			return apierrors.IsNotFound(err), fmt.Sprint(err)
		})
	})
}
