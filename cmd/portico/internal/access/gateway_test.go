// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	neturl "net/url"
	"slices"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/marks"
)

func anchor() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: rewrite.AnchorName("vc"), UID: "anchor"}}
}

// announces is the ConfigMap of a gateway that takes CONNECT requests.
func announces(change func(map[string]string)) *corev1.ConfigMap {
	g := gateway("gw.example.com:8443")
	g.Data["connect"], g.Data["ca.crt"] = "true", "AUTHORITY"
	if change != nil {
		change(g.Data)
	}
	return g
}

// The account is made once, belongs to the cluster's anchor, and its tokens are for
// the gateway alone.
func TestThroughProxy(t *testing.T) {
	client := fake.NewClientset(anchor(), announces(nil))
	var asked []authenticationv1.TokenRequestSpec
	client.PrependReactor("create", "serviceaccounts", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "token" {
			return false, nil, nil
		}
		r := a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenRequest).DeepCopy()
		asked = append(asked, r.Spec)
		r.Status.Token = "a.b.c"
		return true, r, nil
	})
	for _, noWake := range []bool{false, true} {
		got, err := ThroughProxy(t.Context(), client, "ns", "vc", Proxy{NoWake: noWake, Life: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		u, err := neturl.Parse(got.Proxy)
		if err != nil || got.URL != "https://vc.ns.svc" || u.Host != "gw.example.com:8443" || u.User.String() != "portico:a.b.c" || string(got.ProxyCA) != "AUTHORITY" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	want := []string{marks.GatewayAudience, marks.GatewayAudienceNoWake}
	for i, spec := range asked {
		if !slices.Equal(spec.Audiences, want[i:i+1]) || *spec.ExpirationSeconds != 3600 {
			t.Errorf("asked for %+v", spec)
		}
	}
	account, err := client.CoreV1().ServiceAccounts("ns").Get(t.Context(), "vc.gateway", metav1.GetOptions{})
	if err != nil || len(account.OwnerReferences) != 1 || account.OwnerReferences[0].UID != "anchor" || *account.AutomountServiceAccountToken {
		t.Errorf("%+v, %v", account, err)
	}
	for range 2 {
		if err := ForgetGateway(t.Context(), client, "ns", "vc"); err != nil {
			t.Error(err)
		}
	}
	if _, err := client.CoreV1().ServiceAccounts("ns").Get(t.Context(), "vc.gateway", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the account of a cluster that is gone: %v", err)
	}
}

func TestThroughNoProxy(t *testing.T) {
	for name, g := range map[string]*corev1.ConfigMap{
		"no CONNECT":   announces(func(d map[string]string) { delete(d, "connect") }),
		"no authority": announces(func(d map[string]string) { delete(d, "ca.crt") }),
		"no address":   announces(func(d map[string]string) { d["address"] = "" }),
	} {
		client := fake.NewClientset(anchor(), g)
		if _, err := ThroughProxy(t.Context(), client, "ns", "vc", Proxy{Life: time.Hour}); !errors.Is(err, ErrNoProxy) {
			t.Errorf("%s: %v", name, err)
		}
		for _, a := range client.Actions() {
			if a.GetVerb() == "create" {
				t.Errorf("%s: %v", name, a)
			}
		}
	}
}
