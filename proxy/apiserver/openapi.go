// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"fmt"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/cached"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// installOpenAPI publishes the schemas of the native resources, each at the
// first request for it. Upstream builds all of them at start, which takes a
// quarter of its processor time; v2 alone takes a sixth of the memory of an
// idle process, and current clients never ask. The aggregator above merges its
// parts of either lazily by itself.
//
// It must be called after all APIs were installed.
func installOpenAPI(server *genericapiserver.GenericAPIServer, v2 *common.Config, v3 *common.OpenAPIV3Config) error {
	container, mux := server.Handler.GoRestfulContainer, server.Handler.NonGoRestfulMux
	schemas, err := newSchemas(container.RegisteredWebServices(), v3)
	if err != nil {
		return fmt.Errorf("list the OpenAPI v3 documents: %w", err)
	}
	schemas.install(mux)

	lazy := cached.Once(cached.Func(func() (*spec.Swagger, string, error) {
		swagger, err := builder.BuildOpenAPISpecFromRoutes(restfuladapter.AdaptWebServices(container.RegisteredWebServices()), v2)
		if err != nil {
			return nil, "", fmt.Errorf("build OpenAPI v2: %w", err)
		}
		swagger.Definitions = handler.PruneDefaults(swagger.Definitions)
		return swagger, "native", nil // It never changes while the process lives.
	}))
	server.OpenAPIVersionedService = handler.NewOpenAPIServiceLazy(lazy)
	server.OpenAPIVersionedService.RegisterOpenAPIVersionedService("/openapi/v2", mux)
	return nil
}
