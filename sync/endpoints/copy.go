// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package endpoints

import (
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/informers"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
)

// sliceCopies says how host slices are kept. Whose a host slice is, its own name
// says: Identify compares it with the name of the virtual slice.
func sliceCopies(cfg Config, view informers.SharedInformerFactory) copies.Kind[*discoveryv1.EndpointSlice] {
	namespace := cfg.Translator.Cluster().HostNamespace
	return copies.Kind[*discoveryv1.EndpointSlice]{
		Client: cfg.Host.DiscoveryV1().EndpointSlices(namespace),
		Seen:   view.Discovery().V1().EndpointSlices().Lister().EndpointSlices(namespace).Get,
		Ours: func(host *discoveryv1.EndpointSlice) bool {
			_, _, err := cfg.Translator.Identify(kind, host)
			return err == nil
		},
		Same: func(want, host *discoveryv1.EndpointSlice) bool {
			return want.AddressType == host.AddressType &&
				apiequality.Semantic.DeepEqual(want.Endpoints, host.Endpoints) && apiequality.Semantic.DeepEqual(want.Ports, host.Ports)
		},
		Metadata: rewrite.CopyChanges,
		// The API does not let it change (ValidateEndpointSliceUpdate).
		Fixed: func(want, host *discoveryv1.EndpointSlice) bool { return want.AddressType != host.AddressType },
		Patch: func(want, _ *discoveryv1.EndpointSlice) map[string]any {
			// Lists of a merge patch replace those that are there.
			return map[string]any{"endpoints": nonNil(want.Endpoints), "ports": nonNil(want.Ports)}
		},
	}
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
