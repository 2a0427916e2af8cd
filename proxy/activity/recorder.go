// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package activity

import (
	"net/http"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/utils/clock"
)

// Recorder knows the last activity of this process.
type Recorder struct {
	judge Judge
	clock clock.PassiveClock

	mu   sync.Mutex
	user string
	at   time.Time
	open int // streams
}

// NewRecorder returns a recorder that has seen nothing. A nil clock is the real
// one.
func NewRecorder(judge Judge, c clock.PassiveClock) *Recorder {
	if c == nil {
		c = clock.RealClock{}
	}
	return &Recorder{judge: judge, clock: c}
}

// Last returns the last user and the time of their activity, which is now while a
// stream is open. The zero time means that there was none.
func (r *Recorder) Last() (user string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open > 0 {
		r.at = r.clock.Now()
	}
	return r.user, r.at
}

// Wrap returns next with its requests noted. They must have been authenticated
// and permitted before.
func (r *Recorder) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		who, _ := request.UserFrom(q.Context())
		info, _ := request.RequestInfoFrom(q.Context())
		if !r.judge.Counts(who, info, q.UserAgent()) {
			next.ServeHTTP(w, q)
			return
		}
		stream := 0
		if isStream(info) {
			stream = 1
		}
		r.note(who.GetName(), stream)
		if stream > 0 {
			// Also after a panic, by which handlers end a response.
			defer r.note(who.GetName(), -stream)
		}
		next.ServeHTTP(w, q)
	})
}

func (r *Recorder) note(user string, streams int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.user, r.at = user, r.clock.Now()
	r.open += streams
}
