// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"mime"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
)

const (
	// maxErrorBody is how much of an error the tenant is shown, as upstream
	// does (maxReadLength in pkg/registry/generic/rest/response_checker.go).
	maxErrorBody = 50_000
	// maxRewrittenPage is how much of an HTML page has its links put right.
	maxRewrittenPage = 8 << 20
)

// proxy returns a handler that hands a request to the host at location and the
// answer back. The standard library's proxy is used rather than apimachinery's
// UpgradeAwareHandler, which it equals for upgrades: that one writes a host's
// refusal to upgrade to the raw connection, host names and all.
func (s *Streams) proxy(t target, location *url.URL, responder rest.Responder) http.Handler {
	return &httputil.ReverseProxy{
		Transport:     s.upgrade,
		FlushInterval: -1, // nothing waits in a buffer of ours
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			to := *location
			to.RawQuery = r.Out.URL.RawQuery
			r.Out.URL, r.Out.Host = &to, ""
			scrub(r.Out.Header)
			if t.subresource == "proxy" {
				// Pages are looked into, see putLinksRight.
				r.Out.Header.Del("Accept-Encoding")
			} else {
				// These subresources produce any type: asked for JSON, the host
				// answers 406 and does not upgrade. Errors come as JSON anyway.
				r.Out.Header.Set("Accept", "*/*")
			}
		},
		ModifyResponse: func(resp *http.Response) error { return s.toVirtual(t, resp) },
		ErrorHandler: func(_ http.ResponseWriter, req *http.Request, err error) {
			var status *apierrors.StatusError
			if errors.As(err, &status) { // of ours: there is too much
				responder.Error(status)
				return
			}
			klog.FromContext(req.Context()).Info("Host stream failed", "resource", t.resource, "subresource", t.subresource,
				"virtualObject", klog.KRef(t.namespace, t.name), "err", err)
			responder.Error(unavailable("the host of this cluster cannot be reached for %s/%s", t.resource, t.subresource))
		},
	}
}

// toVirtual puts the host's answers into virtual names: errors of its API,
// warnings, and, behind a proxy, the targets of links and redirects. The rest
// is between the tenant and their own container.
func (s *Streams) toVirtual(t target, resp *http.Response) error {
	known := t.known()
	for i, warning := range resp.Header["Warning"] {
		resp.Header["Warning"][i] = s.cfg.Translator.TextToVirtual(warning, known)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return s.errorToVirtual(t, resp)
	}
	if t.subresource == "proxy" {
		return s.putLinksRight(t, resp)
	}
	return nil
}

// errorToVirtual translates the body of an error. Behind a proxy only a Status
// is the host's word; anything else comes from the backend.
func (s *Streams) errorToVirtual(t target, resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return err
	}
	rest := resp.Body
	if st, ok := statusIn(body); ok {
		if body, err = json.Marshal(s.status(st, t)); err != nil {
			return err
		}
		resp.Header.Set("Content-Type", "application/json")
	} else if t.subresource != "proxy" {
		body = []byte(s.cfg.Translator.TextToVirtual(string(body), t.known()))
	} else {
		resp.Body = replaced{io.MultiReader(bytes.NewReader(body), rest), rest}
		return nil
	}
	setBody(resp, body, rest)
	return nil
}

// status is a Status of the host as the tenant may see it. Errors between the
// door and its host are not shown to the tenant.
func (s *Streams) status(st metav1.Status, t target) *metav1.Status {
	if st.Code == http.StatusUnauthorized || isDoorForbidden(st) {
		st = unavailable("the host of this cluster does not let it serve %s/%s", t.resource, t.subresource).Status()
		return &st
	}
	if t.subresource != "proxy" && failedWebhook.MatchString(st.Message) {
		st = internal(st.Message).Status()
	}
	st = s.cfg.Translator.StatusWith(st, t.known())
	st.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	return &st
}

// statusIn reads a Status in any encoding that a host may have chosen.
func statusIn(body []byte) (metav1.Status, bool) {
	obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return metav1.Status{}, false
	}
	st, ok := obj.(*metav1.Status)
	if !ok || st.Status != metav1.StatusFailure {
		return metav1.Status{}, false
	}
	return *st, true
}

// putLinksRight leads redirects and the links of HTML pages back through the
// door. The host's proxy has made them lead through the host's API.
func (s *Streams) putLinksRight(t target, resp *http.Response) error {
	location, err := s.hostURL(t)
	if err != nil {
		return err
	}
	hostPath := location.Path
	if to := resp.Header.Get("Location"); to != "" {
		resp.Header.Set("Location", relocate(to, hostPath, t.virtualPath()))
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "text/html" ||
		resp.Header.Get("Content-Encoding") != "" || resp.Request.Method == http.MethodHead {
		return nil
	}
	page, err := io.ReadAll(io.LimitReader(resp.Body, maxRewrittenPage))
	if err != nil {
		return err
	}
	page = bytes.ReplaceAll(page, []byte(hostPath), []byte(t.virtualPath()))
	rest := resp.Body
	resp.Body = replaced{io.MultiReader(bytes.NewReader(page), rest), rest}
	resp.ContentLength = -1
	resp.Header.Del("Content-Length")
	return nil
}

// relocate replaces the path of a redirect, and with it the host's address.
func relocate(to, hostPath, virtualPath string) string {
	u, err := url.Parse(to)
	if err != nil {
		return to
	}
	rest, ok := strings.CutPrefix(u.Path, hostPath)
	if !ok {
		return to
	}
	u.Scheme, u.Host, u.User = "", "", nil
	u.Path, u.RawPath = virtualPath+rest, ""
	return u.String()
}

// replaced is a body with other contents, which still closes the connection's.
type replaced struct {
	io.Reader
	io.Closer
}

func setBody(resp *http.Response, body []byte, from io.Closer) {
	resp.Body = replaced{bytes.NewReader(body), from}
	resp.ContentLength = int64(len(body))
	resp.TransferEncoding = nil
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
}
