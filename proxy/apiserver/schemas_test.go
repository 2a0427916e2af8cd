// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/emicklei/go-restful/v3"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/validation/spec"
	generated "k8s.io/kubernetes/pkg/generated/openapi"
)

// servicesOf are two group versions with a route each.
func servicesOf() []*restful.WebService {
	var out []*restful.WebService
	for _, root := range []string{"/apis/example.com/v1", "/apis/example.com/v2"} {
		s := new(restful.WebService)
		s.Path(root)
		s.Route(s.GET("/things").To(func(*restful.Request, *restful.Response) {}).Operation("list").Doc("lists things").
			Produces("application/json").Writes(metav1.APIResourceList{}).Returns(http.StatusOK, "OK", metav1.APIResourceList{}))
		out = append(out, s)
	}
	return out
}

func schemasConfig() *common.OpenAPIV3Config {
	config := genericapiserver.DefaultOpenAPIV3Config(generated.GetOpenAPIDefinitions, openapi.NewDefinitionNamer(runtime.NewScheme()))
	config.Info = &spec.Info{InfoProps: spec.InfoProps{Title: "Kubernetes", Version: "v1"}}
	return config
}

func get(t *testing.T, h http.Handler, path, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestSchemasAreUpstreams: each document is upstream's to the byte, in all forms;
// the list has the same names; and no document is built before it is asked for.
func TestSchemasAreUpstreams(t *testing.T) {
	config := schemasConfig()
	upstream := mux.NewPathRecorderMux("upstream")
	all := restful.NewContainer()
	for _, s := range servicesOf() {
		all.Add(s)
	}
	routes.OpenAPI{V3Config: config}.InstallV3(all, upstream)

	built := 0
	counted := *config
	counted.GetOperationIDAndTagsFromRoute = func(r common.Route) (string, []string, error) {
		built++
		return config.GetOperationIDAndTagsFromRoute(r)
	}
	s, err := newSchemas(servicesOf(), &counted)
	if err != nil {
		t.Fatal(err)
	}
	ours := mux.NewPathRecorderMux("ours")
	s.install(ours)

	var want, got handler3.OpenAPIV3Discovery
	for h, into := range map[http.Handler]*handler3.OpenAPIV3Discovery{upstream: &want, ours: &got} {
		if err := json.Unmarshal(get(t, h, "/openapi/v3", "*/*").Body.Bytes(), into); err != nil {
			t.Fatal(err)
		}
	}
	if built != 0 {
		t.Errorf("%d routes are built into a document that nobody has asked for", built)
	}
	if len(got.Paths) != len(want.Paths) || len(want.Paths) != 2 {
		t.Fatalf("listed are %v, and upstream has %v", got.Paths, want.Paths)
	}
	seen := map[string]bool{}
	for name := range want.Paths {
		at := got.Paths[name].ServerRelativeURL
		if seen[at] || !strings.HasPrefix(at, "/openapi/v3/"+name+"?hash=") {
			t.Errorf("%s is listed at %q", name, at)
		}
		seen[at] = true
		for _, accept := range []string{"application/json", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf", "*/*"} {
			theirs, mine := get(t, upstream, want.Paths[name].ServerRelativeURL, accept), get(t, ours, at, accept)
			if mine.Code != http.StatusOK || mine.Body.Len() == 0 || mine.Body.String() != theirs.Body.String() {
				t.Errorf("%s as %s: %d with %d bytes, and upstream %d with %d", name, accept, mine.Code, mine.Body.Len(), theirs.Code, theirs.Body.Len())
			}
			for _, header := range []string{"Content-Type", "Cache-Control", "Etag", "Vary"} {
				if d := cmp.Diff(theirs.Header()[header], mine.Header()[header]); d != "" {
					t.Errorf("%s as %s, %s (-upstream +ours):\n%s", name, accept, header, d)
				}
			}
			if mine.Header().Get("Expires") == "" {
				t.Errorf("%s as %s does not say when it expires", name, accept)
			}
		}
	}
	if built != 2 {
		t.Errorf("%d routes are built, want each of the 2 once", built)
	}
}

func TestSchemasByHash(t *testing.T) {
	config := schemasConfig()
	of := func(services []*restful.WebService) (*schemas, http.Handler) {
		s, err := newSchemas(services, config)
		if err != nil {
			t.Fatal(err)
		}
		m := mux.NewPathRecorderMux("ours")
		s.install(m)
		return s, m
	}
	s, h := of(servicesOf())
	const name = "apis/example.com/v1"
	if w := get(t, h, "/openapi/v3/"+name, "application/json"); w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "" {
		t.Errorf("without a hash: %d, %v", w.Code, w.Header())
	}
	if w := get(t, h, "/openapi/v3/"+name+"?hash=OLD", "application/json"); w.Code != http.StatusMovedPermanently || w.Header().Get("Location") != s.groups[name].url {
		t.Errorf("with an old hash: %d, %v", w.Code, w.Header())
	}
	if w := get(t, h, "/openapi/v3/apis/example.com/v3", "application/json"); w.Code != http.StatusNotFound {
		t.Errorf("a group version that is not there: %d", w.Code)
	}
	if w := get(t, h, "/openapi/v3/"+name, "text/html"); w.Code != http.StatusNotAcceptable {
		t.Errorf("a form that there is none in: %d", w.Code)
	}

	again, _ := of(servicesOf())
	if again.groups[name].hash != s.groups[name].hash {
		t.Error("two replicas have two hashes for one document")
	}
	more := servicesOf()
	more[0].Route(more[0].GET("/others").To(func(*restful.Request, *restful.Response) {}).Operation("listOthers").Writes(metav1.APIResourceList{}))
	changed, _ := of(more)
	if changed.groups[name].hash == s.groups[name].hash {
		t.Error("a new route leaves the hash as it is")
	}
	if other := "apis/example.com/v2"; changed.groups[other].hash != s.groups[other].hash {
		t.Error("a new route changes the hash of another group version")
	}
}
