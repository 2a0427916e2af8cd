// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fleetOf is a Source without a host. Do waits until the gate is closed.
type fleetOf struct {
	mu    sync.Mutex
	known map[ID]*Cluster
	did   []string
	gate  chan struct{}
	fails bool
}

func (f *fleetOf) Clusters(context.Context) (Fleet, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fleet := Fleet{Host: "kind-host", Missing: []string{"The pods of tenants are not counted: pods is forbidden."}}
	for _, c := range f.known {
		fleet.Clusters = append(fleet.Clusters, *c)
	}
	slices.SortFunc(fleet.Clusters, func(a, b Cluster) int { return strings.Compare(a.Name, b.Name) })
	return fleet, nil
}

func (f *fleetOf) Cluster(_ context.Context, id ID) (*Cluster, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.known[id]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("look: %w", ErrUnknown)
}

func (f *fleetOf) Do(ctx context.Context, action Action, id ID, progress io.Writer) error {
	f.mu.Lock()
	f.did = append(f.did, string(action)+" "+id.Name)
	gate, fails := f.gate, f.fails
	f.mu.Unlock()
	fmt.Fprintf(progress, "working on %s\n", id.Name)
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fails {
		fmt.Fprintln(progress, "error: the host says no")
		return errors.New("exit status 1")
	}
	if action == Delete {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.known, id)
	}
	return nil
}

func (f *fleetOf) done() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.did)
}

func fleet() *fleetOf {
	milli, bytes, limit, pods := int64(7), int64(94<<20), int64(1<<30), 12
	used := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	return &fleetOf{known: map[ID]*Cluster{
		{"portico-alpha", "alpha"}: {
			ID: ID{"portico-alpha", "alpha"}, State: "Running", Version: "v1.37.2", Replicas: 1, Ready: 1, Created: used, Pods: &pods,
			CPU: &milli, Memory: &bytes, Store: &bytes, StoreLimit: &limit, LastUser: "jane", LastActivity: &used, SleepsAfter: "30m",
			ControlPlane: []Pod{{Name: "alpha-0", Node: "worker", Image: "porticod:dev", Ready: true}}, Data: []string{"data-alpha-0"},
			Warnings: []Warning{{Object: "Pod/alpha-0", Reason: "Unhealthy", Message: "<script>alert(1)</script>", Seen: used}},
		},
		{"portico-beta", "beta"}:   {ID: ID{"portico-beta", "beta"}, State: "Broken", Reason: "pod beta-0: image cannot be pulled"},
		{"portico-gamma", "gamma"}: {ID: ID{"portico-gamma", "gamma"}, State: "Paused", SleepsAfter: "1h", SleepsBy: "from 0 20 * * *, UTC"},
		{"portico-delta", "delta"}: {ID: ID{"portico-delta", "delta"}, State: "Sleeping", SleepingSince: &used, SleepsBy: "from 0 22 * * *, UTC"},
	}}
}

// browser is a client of a server that keeps cookies.
type browser struct {
	t      *testing.T
	client *http.Client
	base   string
	place  string
}

func serve(t *testing.T, source Source) (*Server, *browser) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Listen(ctx, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, newBrowser(t, s)
}

func newBrowser(t *testing.T, s *Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar}, "http://" + s.listener.Addr().String(), s.guard.place}
}

// ask sends a request and checks the status. Edit may be nil.
func (b *browser) ask(want int, method, path, form string, edit func(*http.Request)) string {
	b.t.Helper()
	if path == "/" || strings.HasPrefix(path, "/clusters/") || path == "/other" {
		path = b.place + path
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, strings.NewReader(form))
	if err != nil {
		b.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.base)
	}
	if edit != nil {
		edit(r)
	}
	a, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if a.StatusCode != want {
		b.t.Errorf("%s %s: %d, want %d\n%s", method, path, a.StatusCode, want, body)
	}
	if a.Header.Get("Content-Security-Policy") != policy || a.Header.Get("Cache-Control") != "no-store" {
		b.t.Errorf("%s %s: headers %v", method, path, a.Header)
	}
	return string(body)
}

func (b *browser) enter(s *Server) { b.ask(200, "GET", strings.TrimPrefix(s.Link(), b.base), "", nil) }

func TestPagesShowWhatThereIs(t *testing.T) {
	s, b := serve(t, fleet())
	s.now = func() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) }
	b.enter(s)
	for path, wants := range map[string][]string{
		"/": {
			"kind-host", "4 virtual clusters", `/clusters/portico-alpha/alpha"`, "v1.37.2", "<td>12</td>", "0.007", "94 MiB", "94 MiB of 1.0 GiB",
			"2 hours ago", "by jane", "after 30m without users", "<td>never</td>", "<td>after 1h without users, and from 0 20 * * *, UTC</td>", "image cannot be pulled", "The pods of tenants are not counted",
		},
		"/clusters/portico-alpha/alpha": {"alpha-0", "data-alpha-0", "porticod:dev", "&lt;script&gt;", "Sleep alpha", "Pause alpha", "Delete alpha"},
		"/clusters/portico-beta/beta":   {"Broken", "image cannot be pulled", "Pause beta"},
		"/clusters/portico-gamma/gamma": {"Resume gamma"},
		"/clusters/portico-delta/delta": {"Wake delta", "Sleeping since", "<dd>from 0 22 * * *, UTC</dd>"},
	} {
		got := b.ask(200, "GET", path, "", nil)
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s lacks %q:\n%s", path, want, got)
			}
		}
		if strings.Contains(got, "<script") {
			t.Errorf("%s has a script", path)
		}
	}
	if got := b.ask(200, "GET", "/style.css", "", nil); !strings.Contains(got, ":focus-visible") {
		t.Errorf("style:\n%s", got)
	}
	b.ask(404, "GET", "/clusters/portico-alpha/other", "", nil)
	b.ask(404, "GET", "/other", "", nil)
}

// A cluster that sleeps by a calendar only can be put to sleep, too.
func TestSleepIsForClustersThatSleep(t *testing.T) {
	for reason, c := range map[string]struct {
		cluster Cluster
		want    bool
	}{
		"by time":     {Cluster{State: "Running", SleepsAfter: "30m"}, true},
		"by calendar": {Cluster{State: "Running", SleepsBy: "from 0 20 * * *, UTC"}, true},
		"never":       {Cluster{State: "Running"}, false},
		"starting":    {Cluster{State: "Starting", SleepsAfter: "30m"}, false},
	} {
		if got := slices.Contains(c.cluster.Actions(), Sleep); got != c.want {
			t.Errorf("%s: %v, want %v", reason, got, c.want)
		}
	}
}

var formToken = regexp.MustCompile(`name="form" value="([^"]+)"`)

func (b *browser) form(path string) string {
	b.t.Helper()
	found := formToken.FindStringSubmatch(b.ask(200, "GET", path, "", nil))
	if found == nil {
		b.t.Fatalf("%s has no form", path)
	}
	return url.QueryEscape(found[1])
}

func TestButtonsDoWhatTheySay(t *testing.T) {
	f := fleet()
	s, b := serve(t, f)
	b.enter(s)
	const at = "/clusters/portico-alpha/alpha"
	form := "form=" + b.form(at)
	if got := b.ask(200, "POST", at+"/pause", form, nil); !strings.Contains(got, "Pausing alpha has ended well") || !strings.Contains(got, "working on alpha") {
		t.Errorf("after a pause:\n%s", got)
	}
	if got := b.ask(422, "POST", at+"/delete", form+"&name=alpha2", nil); !strings.Contains(got, "Nothing was deleted") {
		t.Errorf("after a wrong name:\n%s", got)
	}
	if got := b.ask(200, "POST", at+"/delete", form+"&name=alpha", nil); !strings.Contains(got, "alpha is deleted") {
		t.Errorf("after a deletion:\n%s", got)
	}
	b.ask(404, "POST", at+"/delete", form+"&name=alpha", nil)
	b.ask(404, "POST", "/clusters/portico-beta/beta/upgrade", form, nil)
	if got := strings.Join(f.done(), ", "); got != "pause alpha, delete alpha" {
		t.Errorf("done: %s", got)
	}
}

func TestFailuresAndWorkThatTakesLongAreShown(t *testing.T) {
	f := fleet()
	f.gate, f.fails = make(chan struct{}), true
	s, b := serve(t, f)
	b.enter(s)
	const at = "/clusters/portico-gamma/gamma"
	form := "form=" + b.form(at)
	if got := b.ask(200, "POST", at+"/resume", form, nil); !strings.Contains(got, "It has not ended") || !strings.Contains(got, `http-equiv="refresh"`) || strings.Contains(got, "Delete gamma") {
		t.Errorf("while it runs:\n%s", got)
	}
	if got := b.ask(200, "GET", at+"?still", "", nil); strings.Contains(got, `http-equiv="refresh"`) {
		t.Errorf("it reloads all the same:\n%s", got)
	}
	b.ask(409, "POST", at+"/delete", form+"&name=gamma", nil)
	close(f.gate)
	s.works.running.Wait()
	if got := b.ask(200, "GET", at, "", nil); !strings.Contains(got, "has failed") || !strings.Contains(got, "error: the host says no") {
		t.Errorf("after a failure:\n%s", got)
	}
}

func TestWorkIsStopped(t *testing.T) {
	f := fleet()
	f.gate = make(chan struct{}) // It never opens.
	s, b := serve(t, f)
	b.enter(s)
	const at = "/clusters/portico-gamma/gamma"
	form := "form=" + b.form(at)
	b.ask(200, "POST", at+"/stop", form, nil) // There is none yet.
	b.ask(200, "POST", at+"/resume", form, nil)
	b.ask(403, "POST", at+"/stop", "", nil)
	if !s.works.of(ID{"portico-gamma", "gamma"}).Running {
		t.Error("it was stopped without the form's token")
	}
	b.ask(200, "POST", at+"/stop", form, nil)
	s.works.running.Wait()
	if got := b.ask(200, "GET", at, "", nil); !strings.Contains(got, "has failed") || !strings.Contains(got, "Delete gamma") {
		t.Errorf("after the stop:\n%s", got)
	}
}

// TestWorkEndsWithTheServer, and does not go on unseen.
func TestWorkEndsWithTheServer(t *testing.T) {
	f := fleet()
	f.gate = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Listen(ctx, f, 0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	if _, started := s.works.start(ctx, f, Resume, ID{"portico-gamma", "gamma"}); !started {
		t.Fatal("it did not start")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if w := s.works.of(ID{"portico-gamma", "gamma"}); w.Running || !w.Failed {
		t.Errorf("work %+v", w)
	}
}

// TestAttackTheLinkIsUsedTwice: somebody who reads the link in a terminal, or a browser that
// looks ahead, opens it too. It lets one browser in, once.
func TestAttackTheLinkIsUsedTwice(t *testing.T) {
	s, b := serve(t, fleet())
	link := strings.TrimPrefix(s.Link(), b.base)
	b.ask(401, "GET", "/enter/"+strings.Repeat("A", 26), "", nil)
	b.ask(401, "HEAD", link, "", nil)
	b.ask(401, "GET", link, "", func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch;prerender") })
	b.enter(s)
	second := newBrowser(t, s)
	second.ask(401, "GET", link, "", nil)
	for _, path := range []string{"/", "/clusters/portico-alpha/alpha", "/other"} {
		if got := second.ask(401, "GET", path, "", nil); strings.Contains(got, "alpha-0") || strings.Contains(got, "kind-host") {
			t.Errorf("%s shows:\n%s", path, got)
		}
	}
	second.ask(401, "GET", "/", "", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: s.guard.cookie(), Value: "guess"}) })
	b.ask(200, "GET", "/", "", nil)
}

// TestAttackAStrangersNameLeadsHere: a page of another site has its own name lead to this
// machine (DNS rebinding). Requests under a name that is not ours are refused.
func TestAttackAStrangersNameLeadsHere(t *testing.T) {
	f := fleet()
	s, b := serve(t, f)
	b.enter(s)
	for _, host := range []string{"evil.example", "evil.example:" + s.guard.port, "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:" + s.guard.port, "[::1]:" + s.guard.port, "0.0.0.0:" + s.guard.port} {
		for _, path := range []string{"/", "/style.css", strings.TrimPrefix(s.Link(), b.base)} {
			if got := b.ask(421, "GET", path, "", func(r *http.Request) { r.Host = host }); strings.Contains(got, "alpha") {
				t.Errorf("%s of %s shows:\n%s", path, host, got)
			}
		}
	}
	// It has this name as well, and a session of its own there.
	b.ask(401, "GET", "/", "", func(r *http.Request) { r.Host = "localhost:" + s.guard.port })
}

// TestAttackAnotherSiteSendsAForm: a page of another site sends a form in the name of the
// person. Nothing is done.
func TestAttackAnotherSiteSendsAForm(t *testing.T) {
	f := fleet()
	s, b := serve(t, f)
	b.enter(s)
	const at = "/clusters/portico-alpha/alpha"
	right := "name=alpha&form=" + b.form(at)
	for reason, c := range map[string]struct {
		form string
		edit func(*http.Request)
	}{
		"the origin is another":           {right, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }},
		"the origin is another port":      {right, func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:1") }},
		"a sandbox has no origin":         {right, func(r *http.Request) { r.Header.Set("Origin", "null") }},
		"the browser says cross-site":     {right, func(r *http.Request) { r.Header.Del("Origin"); r.Header.Set("Sec-Fetch-Site", "cross-site") }},
		"another port is same-site":       {right, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }},
		"the form has no token":           {"name=alpha", nil},
		"the form has another's token":    {"name=alpha&form=" + strings.Repeat("A", 26), nil},
		"the token is in the address":     {"name=alpha", func(r *http.Request) { r.URL.RawQuery = right }},
		"an old browser sends no headers": {"name=alpha", func(r *http.Request) { r.Header.Del("Origin") }},
	} {
		t.Run(reason, func(t *testing.T) {
			b.ask(403, "POST", at+"/delete", c.form, c.edit)
		})
	}
	b.ask(404, "GET", at+"/delete?"+right, "", nil)
	b.ask(404, "PUT", at, "", nil)
	if did := f.done(); len(did) > 0 {
		t.Errorf("done: %v", did)
	}
}

// TestAttackAnotherPortIsSentTheCookie: the same browser visits another program of
// this machine, which then asks with all that it was sent.
func TestAttackAnotherPortIsSentTheCookie(t *testing.T) {
	s, b := serve(t, fleet())
	b.enter(s)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if len(r.Cookies()) > 0 || r.Header.Get("Referer") != "" {
			t.Errorf("another program at %s was sent %v", r.URL, r.Header)
		}
	}))
	t.Cleanup(other.Close)
	for _, path := range []string{"/", "/clusters/portico-alpha/alpha", "/enter/guess", "/style.css"} {
		a, err := b.client.Get(other.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
	}
	// The session without the place is nothing.
	second := newBrowser(t, s)
	second.place = "/" + strings.Repeat("A", 26)
	second.ask(404, "GET", "/", "", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: s.guard.cookie(), Value: s.guard.session}) })
}

// TestAttackACookieIsReadByAScript: a script in a page looks for the session. The cookie is
// out of its reach, and no page may run a script.
func TestAttackACookieIsReadByAScript(t *testing.T) {
	s, _ := serve(t, fleet())
	a, err := http.Get(s.Link())
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	c := a.Header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=" + s.guard.place + "/;"} {
		if !strings.Contains(c, want) {
			t.Errorf("cookie %q lacks %s", c, want)
		}
	}
	if strings.Contains(c, s.guard.code) || strings.Contains(c, s.guard.form) {
		t.Errorf("cookie %q has another secret", c)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "less than a minute ago", time.Minute: "1 minute ago", 90 * time.Minute: "1 hour ago", 72 * time.Hour: "3 days ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{512: "0 KiB", 4096: "4 KiB", 300 << 20: "300 MiB", 3 << 29: "1.5 GiB"} {
		if got := size(&n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
