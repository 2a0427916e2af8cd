// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"errors"
	"fmt"
	neturl "net/url"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/marks"
)

// ErrNoProxy is returned on a host whose gateway takes no CONNECT requests, or
// that has none.
var ErrNoProxy = errors.New("the host has no gateway for CONNECT requests that is announced with the authority of its certificate")

// Proxy is how a token for the gateway is to be.
type Proxy struct {
	// NoWake asks for one that wakes no cluster.
	NoWake bool
	Life   time.Duration
}

// announced returns the gateway of a host, and the zero Gateway without one.
func announced(ctx context.Context, client kubernetes.Interface) marks.Gateway {
	found, err := client.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(ctx, marks.GatewayName, metav1.GetOptions{})
	if err != nil {
		return marks.Gateway{}
	}
	return marks.GatewayOf(found.Data)
}

// ThroughProxy returns the way through the gateway by CONNECT, with a token of the
// cluster's account on the host, which is made if it is not there.
func ThroughProxy(ctx context.Context, client kubernetes.Interface, namespace, name string, p Proxy) (Address, error) {
	g := announced(ctx, client)
	if g.Address == "" || !g.Connect || g.CA == "" {
		return Address{}, ErrNoProxy
	}
	token, err := gatewayToken(ctx, client, namespace, name, p)
	if err != nil {
		return Address{}, err
	}
	server := name + "." + namespace + ".svc"
	proxy := neturl.URL{Scheme: "https", Host: g.Address, User: neturl.UserPassword("portico", token)}
	return Address{URL: "https://" + server, Proxy: proxy.String(), ProxyCA: []byte(g.CA)}, nil
}

// gatewayToken makes a token that leads to a cluster. Its account goes with the
// anchor of the cluster.
func gatewayToken(ctx context.Context, client kubernetes.Interface, namespace, name string, p Proxy) (string, error) {
	anchor, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, rewrite.AnchorName(name), metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("get the anchor of virtual cluster %s, which owns its account: %w", name, err)
	}
	accounts, account := client.CoreV1().ServiceAccounts(namespace), marks.GatewayAccount(name)
	automount := false
	_, err = accounts.Create(ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Name: account, Labels: map[string]string{rewrite.LabelCluster: name},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: anchor.Name, UID: anchor.UID}},
		},
		AutomountServiceAccountToken: &automount,
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("create the host service account %s/%s: %w", namespace, account, err)
	}
	audience, seconds := marks.GatewayAudience, int64(p.Life.Seconds())
	if p.NoWake {
		audience = marks.GatewayAudienceNoWake
	}
	answer, err := accounts.CreateToken(ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("make a token of the host service account %s/%s: %w", namespace, account, err)
	}
	return answer.Status.Token, nil
}

// ForgetGateway deletes the account of a cluster, and with it all of its tokens.
// It goes with the anchor unless somebody has made it by hand.
func ForgetGateway(ctx context.Context, client kubernetes.Interface, namespace, name string) error {
	err := client.CoreV1().ServiceAccounts(namespace).Delete(ctx, marks.GatewayAccount(name), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return fmt.Errorf("delete the host service account %s/%s: %w", namespace, marks.GatewayAccount(name), err)
	}
	return nil
}
