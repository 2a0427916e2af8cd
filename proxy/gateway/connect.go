// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/elazarl/goproxy"
	"k8s.io/klog/v2"
)

// headerLimit is more than a CONNECT request with a token needs.
const headerLimit = 8 << 10

// asleepRetry are the seconds after which one who does not wake a cluster may try
// again. Others may have woken it.
const asleepRetry = 60

// silent swallows the words of libraries: they have addresses of the host.
type silent struct{}

func (silent) Write(p []byte) (int, error) { return len(p), nil }
func (silent) Printf(string, ...any)       {}

// newServer returns the server of CONNECT requests.
func (g *Gateway) newServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: g.handler(),
		// A client that waits between two requests is a client that is not there.
		ReadHeaderTimeout: g.options.Timeouts.Hello, IdleTimeout: g.options.Timeouts.Hello,
		MaxHeaderBytes: headerLimit, Protocols: protocols, ErrorLog: stdlog.New(silent{}, "", 0),
		// Otherwise "OPTIONS *" is answered before it comes to the handler.
		DisableGeneralOptionsHandler: true,
	}
}

// attempt is a CONNECT request on its way through goproxy.
type attempt struct {
	door *far        // once it is connected
	up   atomic.Bool // the client knows, and nothing may be written to it
}

type attemptKey struct{}

// handler lets CONNECT requests to goproxy, which answers them and moves the
// bytes, and nothing else. All decisions are made before, or in decide.
func (g *Gateway) handler() http.Handler {
	p := goproxy.NewProxyHttpServer()
	p.Logger = silent{}
	// Left alone, goproxy asks the environment for further proxies.
	p.Tr = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errForward }}
	p.ConnectDial = nil
	p.ConnectDialWithReq = func(r *http.Request, _, _ string) (net.Conn, error) {
		a, ok := r.Context().Value(attemptKey{}).(*attempt)
		if !ok || a.door == nil {
			return nil, errForward
		}
		a.up.Store(true)
		return a.door, nil
	}
	p.ConnectionErrHandler = func(w io.Writer, ctx *goproxy.ProxyCtx, _ error) {
		// goproxy calls it for an error in the middle of the tunnel as well.
		if a, ok := ctx.Req.Context().Value(attemptKey{}).(*attempt); !ok || !a.up.Load() {
			_, _ = io.WriteString(w, "HTTP/1.1 502 no connection\r\nContent-Length: 0\r\n\r\n")
		}
	}
	// The first result counts, and there always is one: without, goproxy would
	// go wherever the client says.
	p.OnRequest().HandleConnectFunc(func(host string, ctx *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		refusal := g.decide(ctx.Req)
		if refusal == nil {
			return &goproxy.ConnectAction{Action: goproxy.ConnectAccept}, host
		}
		ctx.Resp = refusal.response() //nolint:bodyclose // goproxy writes it and closes it.
		return &goproxy.ConnectAction{Action: goproxy.ConnectReject}, host
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			count(wayConnect, resultMalformed)
			w.Header().Set("Allow", http.MethodConnect)
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		a := &attempt{}
		p.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), attemptKey{}, a)))
		if a.door != nil && !a.up.Load() {
			_ = a.door.Close() // The client went before the answer.
		}
	})
}

// errForward is returned for a request to forward, which is never done.
var errForward = errors.New("a gateway forwards no request")

// refusal is an answer other than 200. Its reason is in the status line, the
// only text that kubectl shows.
type refusal struct {
	code   int
	reason string
	result string // for the metrics
	retry  int    // seconds after which another try is worth it; 0: some
}

func (r *refusal) response() *http.Response {
	count(wayConnect, r.result)
	header := http.Header{"Connection": {"close"}}
	if r.code == http.StatusProxyAuthRequired {
		header.Set("Proxy-Authenticate", `Basic realm="portico"`)
	}
	if r.code == http.StatusServiceUnavailable {
		header.Set("Retry-After", strconv.Itoa(cmp.Or(r.retry, 5)))
	}
	return &http.Response{
		StatusCode: r.code, Status: strconv.Itoa(r.code) + " " + r.reason,
		ProtoMajor: 1, ProtoMinor: 1, Header: header, ContentLength: 0, Body: http.NoBody,
	}
}

// decide authenticates a request, and then looks for its target and connects to
// it. It returns nil when there is a connection.
func (g *Gateway) decide(r *http.Request) *refusal {
	a, ok := r.Context().Value(attemptKey{}).(*attempt)
	if !ok {
		return &refusal{http.StatusInternalServerError, "no attempt", resultMalformed, 0}
	}
	// A target in two places, or a body, means different things to different
	// programs.
	if r.RequestURI != r.Host || r.ContentLength != 0 || len(r.TransferEncoding) > 0 || len(r.Header["Proxy-Authorization"]) > 1 {
		return &refusal{http.StatusBadRequest, "a CONNECT request has one target and no body", resultMalformed, 0}
	}
	// net/http reads this header under the other name only.
	_, token, ok := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
	if !ok || token == "" {
		return &refusal{http.StatusProxyAuthRequired, "a token of the gateway is needed", resultUnauthorized, 0}
	}
	pass, err := g.options.Reviewer.Review(r.Context(), token)
	permitted := pass.Cluster
	logger := klog.FromContext(r.Context()).WithValues("client", r.RemoteAddr, "cluster", permitted)
	switch {
	case errors.Is(err, ErrBadToken):
		return &refusal{http.StatusProxyAuthRequired, "the gateway does not accept the token; a new one may help", resultUnauthorized, 0}
	case err != nil:
		logger.Error(err, "A token could not be reviewed")
		return &refusal{http.StatusServiceUnavailable, "the gateway cannot review the token now", resultSilent, 0}
	}
	host, port, err := net.SplitHostPort(r.Host)
	cluster, known := g.suffixes.cluster(host)
	if err != nil || !known || port != strconv.Itoa(doorPort) || cluster != permitted {
		logger.V(4).Info("Refused a target", "target", r.Host)
		return &refusal{http.StatusForbidden, fmt.Sprintf("the token is for %s.%s.%s:%d only", permitted.Name, permitted.Namespace, ServiceSuffix, doorPort), resultForbidden, 0}
	}
	if a.door, err = g.dial(r.Context(), cluster, addressOfClient(r), pass.Wakes); err != nil {
		refused := refusalOf(err)
		if refused.result == resultSilent {
			logger.V(4).Info("A door did not answer", "reason", err)
		}
		return refused
	}
	count(wayConnect, resultLed)
	return nil
}

// refusalOf is the answer to a client whose cluster could not be connected to.
func refusalOf(err error) *refusal {
	switch {
	case errors.Is(err, ErrNoDoor):
		return &refusal{http.StatusForbidden, "no such virtual cluster", resultUnknown, 0}
	case errors.Is(err, errTooMany):
		return &refusal{http.StatusServiceUnavailable, "too many connections to the virtual cluster", resultTooMany, 0}
	case errors.Is(err, ErrPaused):
		return &refusal{http.StatusServiceUnavailable, "the virtual cluster is paused; portico resume brings it back", resultAsleep, asleepRetry}
	case errors.Is(err, ErrAsleep):
		return &refusal{http.StatusServiceUnavailable, "the virtual cluster sleeps, and this token does not wake it", resultAsleep, asleepRetry}
	case errors.Is(err, ErrTooManyWakes):
		return &refusal{http.StatusServiceUnavailable, "the virtual cluster sleeps, and the gateway wakes too many others now", resultAsleep, 0}
	case errors.Is(err, errStarting):
		return &refusal{http.StatusServiceUnavailable, "the virtual cluster has been woken and is still starting", resultAsleep, 0}
	}
	return &refusal{http.StatusServiceUnavailable, "the virtual cluster does not answer", resultSilent, 0}
}
