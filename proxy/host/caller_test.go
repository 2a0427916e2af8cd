// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// roundTrip is a transport that keeps the last request.
type roundTrip struct{ last *http.Request }

func (r *roundTrip) RoundTrip(q *http.Request) (*http.Response, error) {
	r.last = q
	return &http.Response{StatusCode: http.StatusOK}, nil
}

func agentFor(t *testing.T, name string) string {
	t.Helper()
	q := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://host.example/api", nil)
	q.Header.Set("User-Agent", "porticod/vc")
	if name != "" {
		q = q.WithContext(request.WithUser(q.Context(), &user.DefaultInfo{Name: name}))
	}
	next := &roundTrip{}
	answer, err := namesCaller(next).RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Body != nil {
		defer answer.Body.Close()
	}
	if q.UserAgent() != "porticod/vc" {
		t.Errorf("the caller's own request was changed: %s", q.UserAgent())
	}
	return next.last.UserAgent()
}

func TestTheHostReadsWhoCausedARequest(t *testing.T) {
	for name, want := range map[string]string{
		"":                                     "porticod/vc",
		"alice":                                "porticod/vc user/alice",
		"system:serviceaccount:team-a:builder": "porticod/vc user/system%3Aserviceaccount%3Ateam-a%3Abuilder",
	} {
		if got := agentFor(t, name); got != want {
			t.Errorf("user %q: %q, want %q", name, got, want)
		}
	}
}

// A tenant impersonates a user whose name has line breaks and the like, to put a
// header or a false line into the host's logs, or one without end.
func TestAttackUserNameInTheHostsLog(t *testing.T) {
	got := agentFor(t, "a\r\nX-Evil: 1\x00 user/root \u202e")
	if strings.ContainsAny(got, "\r\n\x00\u202e") || strings.Count(got, " user/") != 1 {
		t.Errorf("the user agent is %q", got)
	}
	if got := agentFor(t, strings.Repeat("a", 100_000)); len(got) > 300 {
		t.Errorf("the user agent has %d bytes", len(got))
	}
}
