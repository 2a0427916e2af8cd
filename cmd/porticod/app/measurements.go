// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"

	"portico.dev/portico/certs"
	"portico.dev/portico/proxy/door"
	"portico.dev/portico/proxy/host"
	"portico.dev/portico/proxy/metrics"
)

// measurementsPart shows the operator how this process does, in every replica.
func (c *composition) measurementsPart() (part, error) {
	listener := c.virtualCluster.metrics
	if listener == nil {
		return part{}, nil
	}
	return part{always: func(ctx context.Context) error {
		token, err := door.EnsureMetricsToken(ctx, c.hostClient, c.translator)
		if err != nil {
			return err
		}
		klog.FromContext(ctx).Info("Measurements are served", "address", listener.Addr().String())
		own := prometheus.NewRegistry()
		if err := own.Register(&state{leads: c.leads, bundle: c.bundleOfNow, lags: c.storage.Memory.Lags}); err != nil {
			return err
		}
		return metrics.Listener{
			Token: token, Certificate: c.servingCertificate,
			Gatherers: prometheus.Gatherers{legacyregistry.DefaultGatherer, own},
		}.Run(ctx, listener)
	}}, nil
}

// listenForMetrics opens the listener of the measurements if there is to be one. It
// is open from here on, and answers when the cluster does: egress must know its
// port.
func (vc *virtualCluster) listenForMetrics(ctx context.Context) (err error) {
	at := vc.config.Metrics.Listen
	if at == "" {
		return nil
	}
	if vc.metrics, err = (&net.ListenConfig{}).Listen(ctx, "tcp", at); err != nil {
		return fmt.Errorf("listen on %s: %w", at, err)
	}
	return nil
}

// closeMetrics closes the listener; a server that runs closes it itself.
func (vc *virtualCluster) closeMetrics() {
	if vc.metrics != nil {
		_ = vc.metrics.Close()
	}
}

// leads reports whether this replica does the work of all. The only one always
// does.
func (c *composition) leads() bool { return c.work.elector == nil || c.work.elector.Leads() }

func (c *composition) bundleOfNow() *certs.Bundle {
	b, _ := c.pki.Current()
	return b
}

// servingCertificate is read for each connection: it is issued again while we
// run.
func (c *composition) servingCertificate() (*tls.Certificate, error) {
	b := c.bundleOfNow()
	pair, err := tls.LoadX509KeyPair(b.ServingCertFile, b.ServingKeyFile)
	return &pair, err
}

// state are the gauges of one porticod, read when they are asked for.
type state struct {
	leads  func() bool
	bundle func() *certs.Bundle
	lags   func() []host.Lag
}

var (
	leadingDesc = prometheus.NewDesc("portico_leading",
		"1 in the replica that runs the controllers and keeps the host in step, 0 in all others.", nil, nil)
	lagRevisionsDesc = prometheus.NewDesc("portico_host_cache_lag_revisions",
		"Revisions of the host between the newest write that this process knows of and the newest state in its cache.", []string{"resource"}, nil)
	lagSecondsDesc = prometheus.NewDesc("portico_host_cache_lag_seconds",
		"How long the cache has lacked a write that this process knows of, or has been without its watch of the host; 0 if neither.", []string{"resource"}, nil)
	expiryDesc = prometheus.NewDesc("portico_certificate_expiry_timestamp_seconds",
		"The end of a certificate's life, in Unix time. porticod issues it again at three fifths of its life, but for authorities (ca, signer-ca, front-proxy-ca).", []string{"certificate"}, nil)
)

// Describe implements prometheus.Collector.
func (s *state) Describe(ch chan<- *prometheus.Desc) {
	ch <- leadingDesc
	ch <- lagRevisionsDesc
	ch <- lagSecondsDesc
	ch <- expiryDesc
}

// Collect implements prometheus.Collector.
func (s *state) Collect(ch chan<- prometheus.Metric) {
	leading := 1.0
	if !s.leads() {
		leading = 0
	}
	ch <- prometheus.MustNewConstMetric(leadingDesc, prometheus.GaugeValue, leading)
	for _, l := range s.lags() {
		ch <- prometheus.MustNewConstMetric(lagRevisionsDesc, prometheus.GaugeValue, float64(l.Revisions), l.Resource)
		ch <- prometheus.MustNewConstMetric(lagSecondsDesc, prometheus.GaugeValue, l.Behind.Seconds(), l.Resource)
	}
	for _, c := range endsOf(s.bundle()) {
		if c.err != nil {
			ch <- prometheus.NewInvalidMetric(expiryDesc, fmt.Errorf("certificate %s: %w", c.name, c.err))
			continue
		}
		ch <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(c.at.Unix()), c.name)
	}
}

// end is when a certificate ends.
type end struct {
	name string
	// authority says that porticod does not replace it.
	authority bool
	at        time.Time
	err       error
}

func endsOf(b *certs.Bundle) []end {
	ofFile := func(name, path string, authority bool) end {
		at, err := endOfFile(path)
		return end{name, authority, at, err}
	}
	ofContent := func(name string, content []byte, authority bool) end {
		at, err := endOf(content)
		return end{name, authority, at, err}
	}
	return []end{
		ofFile("serving", b.ServingCertFile, false),
		ofFile("front-proxy-client", b.FrontProxyClientCertFile, false),
		ofContent("admin", b.Admin.CertPEM, false),
		ofFile("signer-ca", b.SignerCAFile, true),
		ofFile("front-proxy-ca", b.FrontProxyCAFile, true),
		ofContent("ca", b.CAPEM, true),
	}
}

func endOfFile(path string) (time.Time, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}, err
	}
	return endOf(content)
}

// endOf is the end of the certificate that ends first.
func endOf(content []byte) (time.Time, error) {
	var first time.Time
	list, err := certutil.ParseCertsPEM(content)
	if err != nil {
		return first, err
	}
	for _, c := range list {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first, nil
}
