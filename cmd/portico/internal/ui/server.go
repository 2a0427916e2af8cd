// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// glance bounds the look at the host for a page.
	glance = 30 * time.Second
	// quick is how long an answer waits for its work to end, so that a page after
	// it is up to date.
	quick = 2 * time.Second
	// largest is the most bytes of a form.
	largest = 16 << 10
)

// Server serves the pages.
type Server struct {
	source   Source
	listener net.Listener
	guard    *guard
	works    works
	routes   *http.ServeMux
	now      func() time.Time

	life context.Context //nolint:containedctx // Work outlives the request that began it, and ends with Serve.
}

// Listen opens a server at a port of the loopback interface; 0 lets the kernel
// choose.
func Listen(ctx context.Context, source Source, port int) (*Server, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, fmt.Errorf("listen for a browser: %w", err)
	}
	g, err := newGuard(l.Addr())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for a browser: %w", err), l.Close())
	}
	s := &Server{source: source, listener: l, guard: g, routes: http.NewServeMux(), now: time.Now, works: works{last: map[ID]*Work{}}}
	s.life = ctx
	s.routes.HandleFunc("GET /style.css", s.style)
	s.routes.HandleFunc("GET /enter/{code}", s.enter)
	s.routes.HandleFunc("GET "+g.place+"/{$}", s.within(s.fleet))
	s.routes.HandleFunc("GET "+g.place+"/clusters/{namespace}/{name}", s.within(s.cluster))
	s.routes.HandleFunc("POST "+g.place+"/clusters/{namespace}/{name}/{action}", s.within(s.act))
	s.routes.HandleFunc("/", s.within(func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, http.StatusNotFound, "There is no such page.")
	}))
	return s, nil
}

// Link is the address for the person's browser. It works once.
func (s *Server) Link() string {
	return "http://" + s.listener.Addr().String() + "/enter/" + s.guard.code
}

// Serve serves until the context that was given to Listen ends, and ends the
// work that runs then.
func (s *Server) Serve() error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
	}
	stop := context.AfterFunc(s.life, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(s.listener)
	s.works.running.Wait()
	if s.life.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve a browser: %w", err)
}

// ServeHTTP refuses what comes from outside, before anything else looks at it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	headers(w)
	if status, reason := s.guard.outside(r); status != 0 {
		http.Error(w, reason, status)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, largest)
	s.routes.ServeHTTP(w, r)
}

// within serves those who have the session.
func (s *Server) within(page http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.guard.inside(r) {
			s.refuse(w, http.StatusUnauthorized, "This browser has not come by the link that portico ui has printed. The link works once: portico ui, started again, prints a new one.")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), glance)
		defer cancel()
		page(w, r.WithContext(ctx))
	}
}

func (s *Server) style(w http.ResponseWriter, _ *http.Request) {
	content, err := fs.ReadFile(pages, "pages/style.css")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(content) // The browser sees that it is gone.
}

// enter answers with a page that leads on, and not with a redirect: a cookie that
// is SameSite=Strict is not sent along a navigation that another site began.
func (s *Server) enter(w http.ResponseWriter, r *http.Request) {
	if !s.guard.enter(w, r) {
		s.refuse(w, http.StatusUnauthorized, "This link has been used, or was never right. portico ui, started again, prints a new one.")
		return
	}
	s.render(w, http.StatusOK, "entered", page{Title: "Welcome", Next: s.guard.place + "/"})
}

func (s *Server) fleet(w http.ResponseWriter, r *http.Request) {
	fleet, err := s.source.Clusters(r.Context())
	if err != nil {
		s.refuse(w, http.StatusBadGateway, "The virtual clusters cannot be listed: "+err.Error())
		return
	}
	s.render(w, http.StatusOK, "fleet", page{Title: "Virtual clusters", Fleet: fleet})
}

func idOf(r *http.Request) ID {
	return ID{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
}

// path is the path of a cluster's page.
func (s *Server) path(id ID) string {
	return s.guard.place + "/clusters/" + url.PathEscape(id.Namespace) + "/" + url.PathEscape(id.Name)
}

func (s *Server) cluster(w http.ResponseWriter, r *http.Request) {
	id := idOf(r)
	work := s.works.of(id)
	c, err := s.source.Cluster(r.Context(), id)
	switch {
	case errors.Is(err, ErrUnknown) && work != nil && work.Action == Delete && !work.Running && !work.Failed:
		s.render(w, http.StatusOK, "deleted", page{Title: id.Name + " is deleted", Work: work})
		return
	case errors.Is(err, ErrUnknown) && work != nil:
		c = &Cluster{ID: id, State: "Deleting"}
	case errors.Is(err, ErrUnknown):
		s.refuse(w, http.StatusNotFound, "There is no virtual cluster "+id.Name+" in the host namespace "+id.Namespace+".")
		return
	case err != nil:
		s.refuse(w, http.StatusBadGateway, "The virtual cluster "+id.Name+" cannot be looked at: "+err.Error())
		return
	}
	p := page{Title: id.Name, Cluster: c, Work: work, Form: s.guard.form}
	if work != nil && work.Running && !r.URL.Query().Has("still") {
		p.Next, p.Seconds = s.path(id), 5
	}
	s.render(w, http.StatusOK, "cluster", p)
}

func (s *Server) act(w http.ResponseWriter, r *http.Request) {
	id, action := idOf(r), Action(r.PathValue("action"))
	if !s.guard.meant(r) {
		s.refuse(w, http.StatusForbidden, "The form is not from this page, or from an earlier start of portico ui. Go back, reload, and try again.")
		return
	}
	switch action {
	case stop:
		s.works.stop(id)
		http.Redirect(w, r, s.path(id), http.StatusSeeOther)
		return
	case Pause, Resume, Sleep, Wake, Delete:
	default:
		s.refuse(w, http.StatusNotFound, "There is no such button.")
		return
	}
	if action == Delete && r.PostFormValue("name") != id.Name {
		s.refuse(w, http.StatusUnprocessableEntity, "Nothing was deleted: the typed name is not "+id.Name+".")
		return
	}
	// The action is asked for by name: only that of a cluster which is there counts.
	if _, err := s.source.Cluster(r.Context(), id); err != nil {
		s.refuse(w, http.StatusNotFound, "There is no virtual cluster "+id.Name+" in the host namespace "+id.Namespace+".")
		return
	}
	ended, started := s.works.start(s.life, s.source, action, id)
	if !started {
		s.refuse(w, http.StatusConflict, "Another piece of work for "+id.Name+" has not ended. Its page shows how far it is.")
		return
	}
	select {
	case <-ended:
	case <-time.After(quick):
	case <-r.Context().Done():
	}
	http.Redirect(w, r, s.path(id), http.StatusSeeOther)
}
