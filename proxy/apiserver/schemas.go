// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/emicklei/go-restful/v3"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/component-base/version"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/handler3"
)

// schemasPath is where clients find the list of the OpenAPI v3 documents, and
// below it the documents.
const schemasPath = "/openapi/v3"

// schemas serves OpenAPI v3, a document per group version. The list has a hash
// of each, for clients to cache by. Upstream's is a hash of the document, so the
// first look at the list, which is the aggregator's at start, builds and marshals
// all of them. Ours is of all that a document is made of: the releases of this
// program and of Kubernetes, and the routes of the group.
type schemas struct {
	list   []byte
	since  time.Time
	groups map[string]*document
}

// document is that of one group version.
type document struct {
	url, hash string
	// serve is upstream's handler for it. It builds the document.
	serve func() http.Handler
}

func newSchemas(services []*restful.WebService, config *common.OpenAPIV3Config) (*schemas, error) {
	s := &schemas{since: time.Now(), groups: map[string]*document{}}
	discovery := handler3.OpenAPIV3Discovery{Paths: map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}}
	for _, service := range services {
		name := strings.TrimPrefix(service.RootPath(), "/")
		hash := routesHash(service)
		at := url.URL{Path: schemasPath + "/" + name, RawQuery: url.Values{"hash": {hash}}.Encode()}
		s.groups[name] = &document{url: at.String(), hash: hash, serve: sync.OnceValue(func() http.Handler {
			alone, handler := restful.NewContainer(), mux.NewPathRecorderMux(name)
			routes.OpenAPI{V3Config: config}.InstallV3(alone.Add(service), handler)
			return handler
		})}
		discovery.Paths[name] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: at.String()}
	}
	var err error
	s.list, err = json.Marshal(discovery)
	return s, err
}

// routesHash stands for the document of a group version.
func routesHash(service *restful.WebService) string {
	h := sha256.New()
	if build, ok := debug.ReadBuildInfo(); ok {
		fmt.Fprintln(h, build.Main.Version)
	}
	fmt.Fprintln(h, version.Get(), service.RootPath())
	for _, r := range service.Routes() {
		fmt.Fprintln(h, r.Method, r.Path, r.Operation, r.Doc, r.Consumes, r.Produces)
		for _, p := range r.ParameterDocs {
			fmt.Fprintln(h, p.Data().Name, p.Data().Kind, p.Data().Description)
		}
		fmt.Fprintf(h, "%T %T\n", r.ReadSample, r.WriteSample)
	}
	return fmt.Sprintf("%X", h.Sum(nil))
}

func (s *schemas) install(m *mux.PathRecorderMux) {
	m.HandleFunc(schemasPath, s.serveList)
	m.HandlePrefix(schemasPath+"/", http.HandlerFunc(s.serveOne))
}

func (s *schemas) serveList(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	http.ServeContent(w, r, schemasPath, s.since, bytes.NewReader(s.list))
}

// serveOne does with our hash as upstream does with its own
// (k8s.io/kube-openapi/pkg/handler3): the right one makes an answer immutable,
// a wrong one is led to the right one.
func (s *schemas) serveOne(w http.ResponseWriter, r *http.Request) {
	one, ok := s.groups[strings.TrimPrefix(r.URL.Path, schemasPath+"/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	switch r.URL.Query().Get("hash") {
	case "":
	case one.hash:
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
		r = r.Clone(r.Context())
		r.URL.RawQuery = ""
	default:
		http.Redirect(w, r, one.url, http.StatusMovedPermanently)
		return
	}
	one.serve().ServeHTTP(w, r)
}
