// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// Resolver finds where a Service leads, for upstream's aggregator and webhooks
// (both have an interface ServiceResolver). It leads to endpoints, as upstream's
// NewEndpointServiceResolver does, and to external names, as upstream's
// NewClusterIPServiceResolver does.
type Resolver struct {
	dialer *Dialer
	// proxy is how a request would leave this process, nil if always directly.
	proxy func(*http.Request) (*url.URL, error)
}

// Resolver returns the Resolver whose results d dials.
func (d *Dialer) Resolver() *Resolver { return &Resolver{dialer: d} }

// UnproxiedResolver returns one for the aggregator, whose transport always
// heeds HTTPS_PROXY. It refuses connections that would go through a proxy: a
// proxy resolves names by itself and is in another network, and the address
// that it connects to would not be judged.
func (d *Dialer) UnproxiedResolver() *Resolver {
	return &Resolver{dialer: d, proxy: http.ProxyFromEnvironment}
}

// ResolveEndpoint returns the URL of a Service at one of its ports. Whether an
// external name may be dialled is found out when it is.
func (r *Resolver) ResolveEndpoint(namespace, name string, port int32) (*url.URL, error) {
	s, err := r.dialer.view.services.Services(namespace).Get(name)
	if err != nil {
		return nil, err
	}
	u := &url.URL{Scheme: "https"}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		u.Host = net.JoinHostPort(s.Spec.ExternalName, strconv.Itoa(int(port)))
	} else {
		at, err := r.dialer.endpoint(s, port)
		if err != nil {
			return nil, err
		}
		u.Host = at.String()
	}
	if r.proxy == nil {
		return u, nil
	}
	if through, err := r.proxy(&http.Request{URL: u, Header: http.Header{}}); err != nil || through != nil {
		return nil, errProxied
	}
	return u, nil
}

var errProxied = errors.New("this cluster's API server may reach the address through an HTTP proxy only, which it does not use for aggregated APIs: its operator has to add the address to NO_PROXY")
