// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/proxy/gateway"
	"portico.dev/portico/rewrite/marks"
)

// ServeGateway serves a gateway on loopback until the test ends, in front of some
// clusters that the directory finds. There is no kube-proxy, so that the dialer
// knows where their ClusterIPs lead; a connection to any other address fails the
// test.
func ServeGateway(t *testing.T, directory *gateway.Directory, o gateway.Options, clusters ...*Cluster) (address string) {
	t.Helper()
	doors := map[string]string{}
	for _, c := range clusters {
		service, err := c.Host.CoreV1().Services(c.Namespace).Get(t.Context(), c.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		doors[net.JoinHostPort(service.Spec.ClusterIP, "443")] = strings.TrimPrefix(c.Config.Host, "https://")
	}
	o.Doors = directory
	o.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		if doors[to.String()] == "" {
			t.Errorf("dialled %v", to)
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", doors[to.String()])
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watched, served, g := make(chan struct{}), make(chan error, 1), gateway.New(o)
	go func() { defer close(watched); directory.Run(ctx) }()
	go func() { served <- g.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-watched
		if err := <-served; err != nil {
			t.Error(err)
		}
		_ = g.Shutdown(ctx) // Without a wait: clients keep connections for a while.
	})
	if !cache.WaitForCacheSync(ctx.Done(), directory.Synced) {
		t.Fatal("the directory does not fill")
	}
	return l.Addr().String()
}

// GatewayToken returns a token for an audience, of the host ServiceAccount whose
// tokens lead to the cluster.
func (c *Cluster) GatewayToken(audience string) string {
	c.T.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: marks.GatewayAccount(c.Name)}}
	accounts := c.Host.CoreV1().ServiceAccounts(c.Namespace)
	if _, err := accounts.Create(c.T.Context(), account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		c.T.Fatal(err)
	}
	r, err := accounts.CreateToken(c.T.Context(), account.Name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}, metav1.CreateOptions{})
	if err != nil {
		c.T.Fatal(err)
	}
	return r.Status.Token
}
