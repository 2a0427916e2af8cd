// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed pages
var pages embed.FS

// page is the data of a template.
type page struct {
	Title string
	// Next is the address of the page after this one, in Seconds; "" for none.
	Next    string
	Seconds int

	Fleet   Fleet
	Cluster *Cluster
	Work    *Work
	Form    string // the token of forms
	Fault   string
}

// refuse answers with a page that says why not.
func (s *Server) refuse(w http.ResponseWriter, status int, fault string) {
	s.render(w, status, "fault", page{Title: http.StatusText(status), Fault: fault})
}

// render writes a whole page, or an error in its place.
func (s *Server) render(w http.ResponseWriter, status int, name string, p page) {
	t, err := template.New("").Funcs(s.words()).ParseFS(pages, "pages/layout.html", "pages/"+name+".html")
	var b bytes.Buffer
	if err == nil {
		err = t.ExecuteTemplate(&b, "layout", p)
	}
	if err != nil {
		http.Error(w, "the page cannot be written: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // The browser sees that it is gone.
}

// words are the functions of the templates.
func (s *Server) words() template.FuncMap {
	return template.FuncMap{
		"ago":    func(t time.Time) string { return ago(s.now().Sub(t)) },
		"stamp":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"size":   size,
		"cores":  func(milli *int64) string { return fmt.Sprintf("%.3f", float64(*milli)/1000) },
		"home":   func() string { return s.guard.place + "/" },
		"path":   func(c Cluster) string { return s.path(c.ID) },
		"lower":  strings.ToLower,
		"doing":  func(a Action) string { return doing[a] },
		"effect": func(a Action) string { return effect[a] },
		"verb":   func(a Action) string { return strings.ToUpper(string(a[:1])) + string(a[1:]) },
		"means":  func(c *Cluster) string { return means[c.State] },
	}
}

var doing = map[Action]string{Pause: "Pausing", Resume: "Resuming", Sleep: "Putting to sleep", Wake: "Waking", Delete: "Deleting"}

// effect says what a button does, before it is pressed.
var effect = map[Action]string{
	Pause:  "The control plane ends, and then the cluster's pods. Volumes, Services and addresses stay. Only Resume brings the cluster back.",
	Resume: "The control plane starts, and the cluster's pods come back.",
	Sleep:  "The control plane ends until a client comes. The cluster's pods go on running, unless sleep.scope is workloads.",
	Wake:   "The control plane starts.",
	Delete: "The cluster goes with everything in it: objects, pods, volumes and their data. Nothing brings it back.",
}

// means explains the states.
var means = map[string]string{
	"Running":    "All replicas of the control plane are ready.",
	"Starting":   "Some replicas of the control plane are not ready.",
	"Broken":     "The control plane does not come up by itself.",
	"Paused":     "A person has taken it off the host.",
	"Sleeping":   "The control plane has ended until a client comes; the cluster's pods run, unless sleep.scope is workloads.",
	"ScaledDown": "Somebody has scaled the control plane to 0.",
	"Incomplete": "It was created halfway: portico create, run again, finishes it.",
	"Deleting":   "It is being deleted, or a deletion was interrupted.",
}

// ago says how long ago something was.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute ago"
	case d < time.Hour:
		return count(int(d/time.Minute), "minute") + " ago"
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour") + " ago"
	}
	return count(int(d/(24*time.Hour)), "day") + " ago"
}

func count(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

// size is a number of bytes for a person.
func size(bytes *int64) string {
	switch n := float64(*bytes); {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", n/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", n/(1<<20))
	default:
		return fmt.Sprintf("%.0f KiB", n/(1<<10))
	}
}
