// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/test/embedded"
)

var oneHTTPPort = []corev1.ServicePort{{Name: "http", Port: 80}}

// endpoint is a slice with one address behind a Service.
func endpoint(name, service, address string) *discoveryv1.EndpointSlice {
	port, number, ready := "http", int32(80), true
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &port, Port: &number}},
	}
}

// addressesBehind are those of a Service's slices, as nodes of the host read
// them.
func addressesBehind(ctx context.Context, c *embedded.Cluster, namespace, service string) ([]string, error) {
	list, err := c.Host.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	if err != nil {
		return nil, err
	}
	var all []string
	for _, s := range list.Items {
		for _, e := range s.Endpoints {
			all = append(all, e.Addresses...)
		}
	}
	slices.Sort(all)
	return all, nil
}

// hostTeam makes a namespace of another team on the host, with two Services.
func hostTeam(t *testing.T, h *embedded.Host, services map[string]string) string {
	t.Helper()
	ns, err := h.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "team-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Client.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	for name, address := range services {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Ports: oneHTTPPort}}
		if _, err := h.Client.CoreV1().Services(ns.Name).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Client.DiscoveryV1().EndpointSlices(ns.Name).Create(t.Context(), endpoint(name, name, address), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return ns.Name
}

// One Service of another team's namespace is mapped into the cluster. Its tenant
// changes the mapped Service and its slices, and makes Services and slices that
// look mapped, to get a second Service of that team. All that was mapped is put
// right, what looks mapped behind it is removed, and the second Service's
// address and the team's name are in nothing that the tenant can read.
func TestAttackTenantWidensAMapping(t *testing.T) {
	h := embedded.SharedHost(t)
	team := hostTeam(t, h, map[string]string{"web": "10.9.1.1", "vault": "10.9.1.66"})
	c := embedded.NewClusterWith(t, h, fmt.Sprintf("mapServices:\n  fromHost:\n  - {from: %s/web, to: shop/web}\n", team))
	hostName := c.HostName("shop", "web")
	leads := func(why string) {
		t.Helper()
		embedded.Eventually(t, why, func(ctx context.Context) (bool, string) {
			got, err := addressesBehind(ctx, c, c.Namespace, hostName)
			return err == nil && slices.Equal(got, []string{"10.9.1.1"}), fmt.Sprint(got, err)
		})
	}
	leads("the mapped Service")
	services, endpoints := c.Virtual.CoreV1().Services("shop"), c.Virtual.DiscoveryV1().EndpointSlices("shop")

	change := fmt.Sprintf(`{"metadata":{"labels":{"mapservices.portico.dev/service":"vault"},"annotations":{"mapservices.portico.dev/from":"%s/vault"}},
		"spec":{"selector":{"app":"vault"},"ports":[{"name":"http","port":443}]}}`, team)
	if _, err := services.Patch(t.Context(), "web", types.MergePatchType, []byte(change), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "the Service is put right", func(ctx context.Context) (bool, string) {
		s, err := services.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return len(s.Spec.Selector) == 0 && s.Spec.Ports[0].Port == 80, fmt.Sprintf("%+v", s.Spec)
	})
	// The selector may have got a slice of its own from the controller inside.
	list, err := endpoints.List(t.Context(), metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=web," + discoveryv1.LabelManagedBy + "=mapservices.portico.dev",
	})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%d slices, %v", len(list.Items), err)
	}
	mapped := list.Items[0]
	mapped.Endpoints[0].Addresses = []string{"10.9.1.2"}
	if _, err := endpoints.Update(t.Context(), &mapped, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	forged := endpoint("forged", "web", "10.9.1.3")
	forged.Labels[discoveryv1.LabelManagedBy] = mapped.Labels[discoveryv1.LabelManagedBy]
	if _, err := endpoints.Create(t.Context(), forged, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	vault := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "vault", Labels: map[string]string{"mapservices.portico.dev/from-host": "true"}},
		Spec:       corev1.ServiceSpec{Ports: oneHTTPPort},
	}
	if _, err := services.Create(t.Context(), vault, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	leads("the mapped Service after the attack")
	if got, err := addressesBehind(t.Context(), c, c.Namespace, c.HostName("shop", "vault")); err != nil || len(got) > 0 {
		t.Errorf("the tenant's Service leads to %v (%v)", got, err)
	}
	if _, err := services.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"annotations":{"mapservices.portico.dev/from":null}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for what, text := range readable(t, c) {
		for _, secret := range []string{team, "10.9.1.66"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in %s", secret, what)
			}
		}
	}
}

// A virtual Service is mapped to a name of the host namespace, which pods of the
// host trust. Its tenant makes it lead elsewhere: to an address by slices, and
// to a host Service by an external name. While that is so, the name is not
// there, and it never has such an address.
func TestAttackTenantLeadsAMappedNameElsewhere(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "mapServices:\n  fromVirtual:\n  - {from: shop/api, to: api}\n")
	c.CreateNamespace("shop")
	services, hosts := c.Virtual.CoreV1().Services("shop"), c.Host.CoreV1().Services(c.Namespace)
	selecting := corev1.ServiceSpec{Selector: map[string]string{"app": "api"}, Ports: oneHTTPPort}
	there := func() {
		t.Helper()
		embedded.Eventually(t, "host Service api", func(ctx context.Context) (bool, string) {
			s, err := hosts.Get(ctx, "api", metav1.GetOptions{})
			return err == nil && len(s.Spec.Selector) == 3 && s.Spec.Type == corev1.ServiceTypeClusterIP, fmt.Sprint(err, s.Spec)
		})
	}
	for name, spec := range map[string]corev1.ServiceSpec{
		"slices":           {Ports: oneHTTPPort},
		"an external name": {Type: corev1.ServiceTypeExternalName, ExternalName: "vault.other-team.svc.cluster.local", Selector: selecting.Selector},
	} {
		t.Run(name, func(t *testing.T) {
			api := c.CreateService("shop", "api", selecting)
			there()
			api.Spec.Selector = spec.Selector
			if spec.Type != "" {
				api.Spec.Type, api.Spec.ExternalName, api.Spec.ClusterIP, api.Spec.ClusterIPs = spec.Type, spec.ExternalName, "", nil
			}
			if _, err := services.Update(t.Context(), api, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			for _, slice := range []*discoveryv1.EndpointSlice{endpoint("mine", "api", "10.9.1.66"), endpoint("api", "api", "10.9.1.67")} {
				if _, err := c.Virtual.DiscoveryV1().EndpointSlices("shop").Create(t.Context(), slice, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
					t.Fatal(err)
				}
			}
			embedded.Eventually(t, "host Service api is gone", func(ctx context.Context) (bool, string) {
				_, err := hosts.Get(ctx, "api", metav1.GetOptions{})
				return apierrors.IsNotFound(err), fmt.Sprint(err)
			})
			if got, err := addressesBehind(t.Context(), c, c.Namespace, "api"); err != nil || slices.Contains(got, "10.9.1.66") || slices.Contains(got, "10.9.1.67") {
				t.Errorf("the name leads to %v (%v)", got, err)
			}
			if err := services.Delete(t.Context(), "api", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		})
	}
	c.CreateService("shop", "api", selecting)
	there()
}

// A tenant knows the name on the host to which a Service of theirs is mapped, and
// makes other Services, before that one and after its deletion, to have the name
// lead to pods of their choice: with this name, in all namespaces, and with names
// that end where the host's form begins. The name has no other Service than the
// mapped one, and each that the tenant makes is on the host under another name.
func TestAttackTenantTakesTheNameOfAMapping(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "mapServices:\n  fromVirtual:\n  - {from: shop/api, to: api}\n")
	hosts := c.Host.CoreV1().Services(c.Namespace)
	attempt := func() {
		t.Helper()
		for _, at := range []types.NamespacedName{{Namespace: "mallory", Name: "api"}, {Namespace: "default", Name: "api"}, {Namespace: "mallory", Name: "api-x"}, {Namespace: "mallory", Name: "api-x-"}} {
			s := &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: at.Name},
				Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "mine"}, Ports: oneHTTPPort},
			}
			_, err := c.Virtual.CoreV1().Services(at.Namespace).Create(t.Context(), s, metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsInvalid(err) {
				t.Errorf("%s: %v", at, err)
			}
		}
	}
	c.CreateNamespace("mallory")
	c.CreateNamespace("shop")
	attempt()
	if s, err := hosts.Get(t.Context(), "api", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the name has a Service that selects %v (%v)", s.Spec.Selector, err)
	}
	c.CreateService("shop", "api", corev1.ServiceSpec{Selector: map[string]string{"app": "api"}, Ports: oneHTTPPort})
	embedded.Eventually(t, "the mapped Service", func(ctx context.Context) (bool, string) {
		s, err := hosts.Get(ctx, "api", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return s.Spec.Selector["portico.dev/namespace"] == "shop" && s.Spec.Selector["app"] == "api", fmt.Sprint(s.Spec.Selector)
	})
	if err := c.Virtual.CoreV1().Services("shop").Delete(t.Context(), "api", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	attempt()
	embedded.Eventually(t, "the mapped Service is gone", func(ctx context.Context) (bool, string) {
		_, err := hosts.Get(ctx, "api", metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}
