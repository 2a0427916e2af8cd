// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"net/http"
	"net/url"

	"k8s.io/apiserver/pkg/endpoints/request"
)

// longestCaller bounds the name of a user in a header, which a tenant chooses.
const longestCaller = 256

// namesCaller names the tenant's user in the user agent of a request to the host
// that is made for one, so that the host's audit log shows who caused it. The
// host does not go by it: porticod needs no right to impersonate.
func namesCaller(next http.RoundTripper) http.RoundTripper { return &callerNamer{next} }

type callerNamer struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (c *callerNamer) RoundTrip(r *http.Request) (*http.Response, error) {
	user, known := request.UserFrom(r.Context())
	if !known || user.GetName() == "" {
		return c.next.RoundTrip(r)
	}
	// Of letters, digits and a few signs: a name can have any character.
	name := url.QueryEscape(user.GetName())
	if len(name) > longestCaller {
		name = name[:longestCaller] + "..."
	}
	named := r.Clone(r.Context())
	named.Header.Set("User-Agent", r.UserAgent()+" user/"+name)
	return c.next.RoundTrip(named)
}

// WrappedRoundTripper lets client-go find the transport under this one.
func (c *callerNamer) WrappedRoundTripper() http.RoundTripper { return c.next }
