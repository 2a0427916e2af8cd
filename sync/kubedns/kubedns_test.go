// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kubedns_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/kubedns"
)

const address = "10.96.0.10"

// keep runs a Controller on an API in memory.
func keep(t *testing.T, d *kubedns.Deployment, objects ...runtime.Object) *fake.Clientset {
	t.Helper()
	h := harness.New(t, objects, nil, func(c *rewrite.Cluster) {
		c.DNSIP, c.DNS, c.ClusterDomain = address, &rewrite.DNS{TargetPort: 1053}, "vc.example"
	})
	c, err := kubedns.New(kubedns.Config{Translator: h.Translator, Virtual: h.Virtual, Informers: h.Informers, Deployment: d})
	if err != nil {
		t.Fatal(err)
	}
	h.Run(c.Run)
	return h.Virtual
}

func eventually(t *testing.T, what string, holds func(ctx context.Context) (bool, string)) {
	t.Helper()
	harness.Eventually(t, what, func(ctx context.Context) (bool, any) { return holds(ctx) })
}

func serviceAt(client *fake.Clientset, ip string) func(context.Context) (bool, string) {
	return func(ctx context.Context) (bool, string) {
		svc, err := client.CoreV1().Services("kube-system").Get(ctx, "kube-dns", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return svc.Spec.ClusterIP == ip, svc.Spec.ClusterIP
	}
}

func TestADeletedServiceComesBackAtItsAddress(t *testing.T) {
	client := keep(t, nil)
	eventually(t, "the Service", serviceAt(client, address))
	if err := client.CoreV1().Services("kube-system").Delete(t.Context(), "kube-dns", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Service again", serviceAt(client, address))
}

func TestAServiceAtAnotherAddressIsReplaced(t *testing.T) {
	client := keep(t, nil, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns", UID: "other"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.66"},
	})
	eventually(t, "the Service", serviceAt(client, address))
}

func TestTheDeploymentIsMadeAndPutBack(t *testing.T) {
	client := keep(t, &kubedns.Deployment{Replicas: 2, Image: "coredns:test", Upstream: []string{"192.0.2.53"}})
	deployments := client.AppsV1().Deployments("kube-system")
	with := func(replicas int32) func(context.Context) (bool, string) {
		return func(ctx context.Context) (bool, string) {
			d, err := deployments.Get(ctx, "coredns", metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			ok := d.Spec.Replicas != nil && *d.Spec.Replicas == replicas && d.Spec.Template.Spec.Containers[0].Image == "coredns:test"
			return ok, fmt.Sprintf("%+v", d.Spec)
		}
	}
	eventually(t, "the Deployment", with(2))
	for what, err := range map[string]error{
		"ServiceAccount":     getErr(client.CoreV1().ServiceAccounts("kube-system").Get(t.Context(), "coredns", metav1.GetOptions{})),
		"ClusterRole":        getErr(client.RbacV1().ClusterRoles().Get(t.Context(), "system:coredns", metav1.GetOptions{})),
		"ClusterRoleBinding": getErr(client.RbacV1().ClusterRoleBindings().Get(t.Context(), "system:coredns", metav1.GetOptions{})),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	config, err := client.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "coredns", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kubernetes vc.example in-addr.arpa", "forward . 192.0.2.53 {", "pods insecure"} {
		if !strings.Contains(config.Data["Corefile"], want) {
			t.Errorf("the Corefile lacks %q:\n%s", want, config.Data["Corefile"])
		}
	}
	_, err = deployments.Patch(t.Context(), "coredns", types.MergePatchType, []byte(`{"spec":{"replicas":9}}`), metav1.PatchOptions{FieldManager: "tenant"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Deployment as configured", with(2))
	if err := deployments.Delete(t.Context(), "coredns", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Deployment again", with(2))
}

func getErr[T any](_ T, err error) error { return err }

func TestTheCorefileIsTheTenants(t *testing.T) {
	client := keep(t, &kubedns.Deployment{Replicas: 1, Image: "coredns:test"}, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "coredns"}, Data: map[string]string{"Corefile": "mine"},
	})
	eventually(t, "the Deployment", func(ctx context.Context) (bool, string) {
		_, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	config, err := client.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "coredns", metav1.GetOptions{})
	if err != nil || config.Data["Corefile"] != "mine" {
		t.Errorf("the Corefile is %v (%v)", config.Data, err)
	}
}

// Only objects with our label are removed.
func TestADeploymentOfAnotherTimeIsRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		labels map[string]string
		gone   bool
	}{
		"ours":         {map[string]string{"app.kubernetes.io/managed-by": "portico"}, true},
		"the tenant's": {map[string]string{"k8s-app": "kube-dns"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			client := keep(t, nil, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "coredns", Labels: c.labels}})
			get := func(ctx context.Context) error {
				_, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
				return err
			}
			// The one worker has looked at the Deployment when it is done with the
			// Service for the second time.
			eventually(t, "the Service", serviceAt(client, address))
			if c.gone {
				eventually(t, "removal", func(ctx context.Context) (bool, string) {
					err := get(ctx)
					return apierrors.IsNotFound(err), fmt.Sprint(err)
				})
				return
			}
			if err := client.CoreV1().Services("kube-system").Delete(t.Context(), "kube-dns", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the Service again", serviceAt(client, address))
			if err := get(t.Context()); err != nil {
				t.Errorf("got %v, want it untouched", err)
			}
		})
	}
}
