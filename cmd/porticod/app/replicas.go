// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"portico.dev/portico/sync/custom"
	"portico.dev/portico/sync/leader"
)

// leaderClients are the clients of parts that only a leader runs. They refuse
// to work for a replica that does not lead.
type leaderClients struct {
	virtual, host kubernetes.Interface
	hostMetadata  metadata.Interface
	custom        struct{ virtual, host custom.Clients }
}

// compete sets up the election of a leader, if there are several replicas.
// virtual is a client of the loopback.
func (vc *virtualCluster) compete(loopback *rest.Config, virtual kubernetes.Interface) (lead leaderClients, err error) {
	if vc.config.Replicas == 1 {
		return newLeaderClients(loopback, vc.hostConfig)
	}
	// Unlike that of any process before. The tenant can read it, so it says
	// nothing of the machine; the log has it next to the machine's name.
	identity := rand.Text()
	klog.Background().Info("This replica has an identity", "identity", identity, "address", vc.at.String())
	vc.work.elector, err = leader.New(leader.Config{Virtual: virtual, Identity: identity})
	if err != nil {
		return lead, err
	}
	return newLeaderClients(fenced(loopback, vc.work.elector), fenced(vc.hostConfig, vc.work.elector))
}

func newLeaderClients(virtual, host *rest.Config) (c leaderClients, err error) {
	if c.virtual, err = kubernetes.NewForConfig(virtual); err != nil {
		return c, err
	}
	if c.host, err = kubernetes.NewForConfig(host); err != nil {
		return c, fmt.Errorf("host client: %w", err)
	}
	if c.hostMetadata, err = metadata.NewForConfig(host); err != nil {
		return c, fmt.Errorf("host client: %w", err)
	}
	if c.custom.virtual, err = customClients(virtual, c.virtual); err != nil {
		return c, err
	}
	if c.custom.host, err = customClients(host, c.host); err != nil {
		return c, fmt.Errorf("host client: %w", err)
	}
	return c, nil
}

// noticeTime is how long kube-proxies and load balancers have to notice that a
// replica is about to end. A single replica has no other to lead traffic to.
const noticeTime = 3 * time.Second

func (vc *virtualCluster) shutdownDelay() time.Duration {
	if vc.config.Replicas == 1 {
		return 0
	}
	return noticeTime
}

// checkDoors keeps traffic away from replicas that do not serve.
func (vc *virtualCluster) checkDoors(ctx context.Context, hostClient kubernetes.Interface) error {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(vc.bundle.CAPEM) {
		return errors.New("check doors: the cluster's authority is not PEM")
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "kubernetes.default.svc", MinVersion: tls.VersionTLS12},
		// Ask as pods do, not through HTTPS_PROXY.
		Proxy: nil,
	}
	defer transport.CloseIdleConnections()
	return vc.doors.Check(ctx, hostClient, func(ctx context.Context, at netip.AddrPort) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+at.String()+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			return err
		}
		// So that the connection can be used again.
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz: %s", response.Status)
		}
		return nil
	})
}

func fenced(c *rest.Config, e *leader.Elector) *rest.Config {
	c = rest.CopyConfig(c)
	c.Wrap(e.Fence)
	return c
}
