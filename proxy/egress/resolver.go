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
	// proxy is how a request would leave this process.
	proxy func(*http.Request) (*url.URL, error)
}

// Resolver returns the Resolver whose results d dials.
func (d *Dialer) Resolver() *Resolver {
	return &Resolver{dialer: d, proxy: http.ProxyFromEnvironment}
}

// ResolveEndpoint returns the URL of a Service at one of its ports. Whether an
// external name may be dialled is found out when it is.
func (r *Resolver) ResolveEndpoint(namespace, name string, port int32) (*url.URL, error) {
	s, err := r.dialer.view.services.Services(namespace).Get(name)
	if err != nil {
		return nil, err
	}
	if s.Spec.Type != corev1.ServiceTypeExternalName {
		at, err := r.dialer.endpoint(s, port)
		if err != nil {
			return nil, err
		}
		return &url.URL{Scheme: "https", Host: at.String()}, nil
	}
	u := &url.URL{Scheme: "https", Host: net.JoinHostPort(s.Spec.ExternalName, strconv.Itoa(int(port)))}
	// The aggregator's transport heeds HTTPS_PROXY. A proxy resolves names by
	// itself, and nobody would judge the address that it connects to.
	if through, err := r.proxy(&http.Request{URL: u, Header: http.Header{}}); err != nil || through != nil {
		return nil, errExternalNameByProxy
	}
	return u, nil
}

var errExternalNameByProxy = errors.New("an external name cannot be reached: porticod leaves through an HTTP proxy, which resolves names by itself")
