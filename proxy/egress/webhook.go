// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/rest"
)

// The API server itself, as upstream's wrapper knows it
// (NewDefaultAuthenticationInfoResolverWrapper in
// k8s.io/apiserver/pkg/util/webhook).
const (
	selfName, selfNamespace, selfPort = "kubernetes", "default", 443
	selfHostPort                      = "kubernetes.default.svc:443"
)

// WebhookClients returns the resolver that upstream asks for the client
// configuration of a webhook. It never asks upstream's own resolver, which
// would look for credentials in the process's environment:
// rest.InClusterConfig, the token of porticod's pod on the host, for the name
// of the API server.
//
// A webhook gets no credentials. The only exception is the API server itself,
// behind which an aggregated API may serve a webhook. There the loopback
// client's are used, as upstream does, over connections to the loopback address
// only.
func (d *Dialer) WebhookClients(loopback *rest.Config) (webhook.AuthenticationInfoResolverWrapper, error) {
	self, err := selfConfig(loopback)
	if err != nil {
		return nil, err
	}
	clients := &webhook.AuthenticationInfoResolverDelegator{
		ClientConfigForFunc: func(hostPort string) (*rest.Config, error) {
			if hostPort == selfHostPort {
				return rest.CopyConfig(self), nil
			}
			return d.webhookConfig(), nil
		},
		ClientConfigForServiceFunc: func(name, namespace string, port int) (*rest.Config, error) {
			if name == selfName && namespace == selfNamespace && port == selfPort {
				return rest.CopyConfig(self), nil
			}
			return d.webhookConfig(), nil
		},
	}
	return func(webhook.AuthenticationInfoResolver) webhook.AuthenticationInfoResolver { return clients }, nil
}

// webhookConfig is an anonymous client, with the settings that upstream gives
// all.
func (d *Dialer) webhookConfig() *rest.Config {
	return guarded(&rest.Config{UserAgent: "kube-apiserver-admission", Timeout: 30 * time.Second, Dial: d.DialContext})
}

// selfConfig is the loopback client, which no name leads elsewhere.
func selfConfig(loopback *rest.Config) (*rest.Config, error) {
	u, err := url.Parse(loopback.Host)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("address of the loopback client: %q", loopback.Host)
	}
	c, dialer := rest.CopyConfig(loopback), &net.Dialer{Timeout: connectTimeout}
	c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, u.Host)
	}
	return guarded(c), nil
}

// guarded makes c take nothing but a review for an answer. A proxy is never
// used: it would resolve names by itself.
func guarded(c *rest.Config) *rest.Config {
	c.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	c.WarningHandler = rest.NoWarnings{} // the default writes them to porticod's log
	c.Wrap(func(next http.RoundTripper) http.RoundTripper { return guard{next} })
	return c
}

// guard keeps answers from the tenant that are no review: redirects are errors,
// not followed, and the bodies of other answers are dropped, because upstream
// puts them into its error messages.
type guard struct{ next http.RoundTripper }

// notShown is in the place of an error's body.
const notShown = "its answer is not a review, and not shown"

var (
	errRedirect  = errors.New("the webhook answered with a redirect, which is not followed")
	errNoReview  = errors.New("the webhook's answer is not a JSON object")
	errMalformed = errors.New("the webhook's answer is not HTTP")
)

// RoundTrip implements http.RoundTripper.
func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.next.RoundTrip(req)
	switch {
	case err != nil && strings.Contains(err.Error(), "malformed"):
		return nil, errMalformed // the original quotes the answer
	case err != nil:
		return nil, err
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		_ = resp.Body.Close()
		return nil, errRedirect
	case resp.StatusCode < 200 || resp.StatusCode >= 300:
		_ = resp.Body.Close()
		resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(notShown)), int64(len(notShown))
		resp.Header.Set("Content-Type", "text/plain")
		resp.Header.Del("Content-Length")
		return resp, nil
	}
	body := bufio.NewReader(resp.Body)
	if !beginsObject(body) {
		_ = resp.Body.Close()
		return nil, errNoReview
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{body, resp.Body}
	return resp, nil
}

// WrappedRoundTripper implements net.RoundTripperWrapper of apimachinery.
func (g guard) WrappedRoundTripper() http.RoundTripper { return g.next }

// beginsObject skips space and reports whether an object follows.
func beginsObject(r *bufio.Reader) bool {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return false
		}
		if !strings.ContainsRune(" \t\r\n", rune(b)) {
			return b == '{' && r.UnreadByte() == nil
		}
	}
}
