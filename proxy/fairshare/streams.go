// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package fairshare

import (
	"fmt"
	"io"
	"net/http"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/util/flowcontrol"
)

// Streams bounds the streams to the host that are open at a time.
type Streams struct {
	most    int
	limiter flowcontrol.RateLimiter

	mu     sync.Mutex
	open   int
	byUser map[string]int
}

// NewStreams returns a bound of so many streams, of which one user can have half,
// rounded up. The opening of each waits for the limiter, unless that is nil.
func NewStreams(most int, limiter flowcontrol.RateLimiter) *Streams {
	registerMetrics()
	return &Streams{most: most, limiter: limiter, byUser: map[string]int{}}
}

// Bound returns a transport whose responses count as open until their body is
// closed. Its errors for streams above the limit are a Status (429).
func (s *Streams) Bound(inner http.RoundTripper) http.RoundTripper { return &bounded{inner, s} }

type bounded struct {
	inner   http.RoundTripper
	streams *Streams
}

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	name := ""
	if user, ok := request.UserFrom(req.Context()); ok {
		name = user.GetName()
	}
	if err := b.streams.enter(name); err != nil {
		return nil, err
	}
	leave := sync.OnceFunc(func() { b.streams.leave(name) })
	if b.streams.limiter != nil {
		if err := b.streams.limiter.Wait(req.Context()); err != nil {
			leave()
			return nil, err
		}
	}
	resp, err := b.inner.RoundTrip(req)
	if err != nil {
		leave()
		return nil, err
	}
	resp.Body = counted(resp.Body, leave)
	return resp, nil
}

func (s *Streams) enter(user string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.most {
		refused.WithLabelValues(refusedStream).Inc()
		return apierrors.NewTooManyRequests(fmt.Sprintf("%d streams to the host of this virtual cluster are open, which is the most that there can be", s.open), retryAfterSeconds)
	}
	if own := s.byUser[user]; own >= (s.most+1)/2 {
		refused.WithLabelValues(refusedStream).Inc()
		return apierrors.NewTooManyRequests(fmt.Sprintf("%d streams of this user are open, which is the most that one user can have", own), retryAfterSeconds)
	}
	s.open++
	s.byUser[user]++
	return nil
}

func (s *Streams) leave(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.byUser[user]--; s.byUser[user] == 0 {
		delete(s.byUser, user)
	}
}

// counted returns body with a function that runs when it is closed. The body of a
// connection that changed protocols is one to write to, and stays so.
func counted(body io.ReadCloser, closed func()) io.ReadCloser {
	c := countedBody{body, closed}
	if both, ok := body.(io.ReadWriteCloser); ok {
		return countedConnection{c, both}
	}
	return c
}

type countedBody struct {
	io.ReadCloser
	closed func()
}

// Close implements io.Closer.
func (c countedBody) Close() error {
	defer c.closed()
	return c.ReadCloser.Close()
}

type countedConnection struct {
	countedBody
	io.Writer
}
