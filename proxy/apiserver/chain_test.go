// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestClientsAreDismissedBeforeTheEnd: a connection is kept until the end has been
// asked for, and closed with the next answer, which is as good as any.
func TestClientsAreDismissedBeforeTheEnd(t *testing.T) {
	ending := make(chan struct{})
	handler := dismissing(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }), ending)
	for _, c := range []struct {
		what, want string
		before     func()
	}{
		{"while the server runs", "", func() {}},
		{"once it is to end", "close", func() { close(ending) }},
	} {
		c.before()
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
		if got := answer.Header().Get("Connection"); got != c.want || answer.Code != http.StatusAccepted {
			t.Errorf("%s: Connection %q, want %q; status %d", c.what, got, c.want, answer.Code)
		}
	}
}
