// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

// transports returns the ways to the host for streams: one like any client's,
// and one that speaks HTTP/1.1 only. Both authenticate as the door.
func transports(c *rest.Config) (plain, upgrade http.RoundTripper, err error) {
	if plain, err = rest.TransportFor(c); err != nil {
		return nil, nil, err
	}
	tc, err := c.TransportConfig()
	if err != nil {
		return nil, nil, err
	}
	tlsConfig, err := transport.TLSConfigFor(tc)
	if err != nil {
		return nil, nil, err
	}
	if tlsConfig != nil {
		tlsConfig = tlsConfig.Clone()
		tlsConfig.NextProtos = []string{"http/1.1"}
	}
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	proxy := c.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	upgrade, err = transport.HTTPWrappersForConfig(tc, &http.Transport{
		Proxy:               proxy,
		DialContext:         dial,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
		// A compressed answer of a backend is passed on compressed, or not at
		// all.
		DisableCompression: true,
	})
	return plain, upgrade, err
}

// bearerProtocol is how a browser sends a token when it opens a WebSocket, in
// a header that is otherwise needed.
const bearerProtocol = "base64url.bearer.authorization.k8s.io." //nolint:gosec // the name of a protocol, no credential

// scrub removes the headers of a request that identify the tenant, and those
// that could make the host take the door for another user. The door's own
// credentials are set later, and only where there are none: a header that
// stayed would replace them.
func scrub(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "Impersonate-") || strings.HasPrefix(name, "X-Remote-") {
			delete(h, name)
		}
	}
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie", "Audit-Id", "Forwarded", "User-Agent"} {
		h.Del(name)
	}
	if protocols := h.Values("Sec-Websocket-Protocol"); len(protocols) > 0 {
		var kept []string
		for _, list := range protocols {
			for p := range strings.SplitSeq(list, ",") {
				if p = strings.TrimSpace(p); p != "" && !strings.HasPrefix(p, bearerProtocol) {
					kept = append(kept, p)
				}
			}
		}
		h.Del("Sec-Websocket-Protocol")
		if len(kept) > 0 {
			h.Set("Sec-Websocket-Protocol", strings.Join(kept, ", "))
		}
	}
}
