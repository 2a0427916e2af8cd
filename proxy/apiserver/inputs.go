// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
)

// newInputs returns what a translation needs to know of the virtual cluster
// besides the object itself, read from the server's own informers. The lag of
// an informer is harmless here: a namespace's labels are refreshed on its pods
// when they change, and the kubelet of an ordinary cluster also gives a new
// container the Services it happened to know of.
func newInputs(shared informers.SharedInformerFactory) host.InputsFunc {
	namespaces := shared.Core().V1().Namespaces().Lister()
	services := shared.Core().V1().Services().Lister()
	return func(_ context.Context, namespace string) rewrite.Inputs {
		var in rewrite.Inputs
		if list, err := namespaces.List(labels.Everything()); err == nil {
			in.Namespaces = make(map[string]map[string]string, len(list))
			for _, ns := range list {
				in.Namespaces[ns.Name] = ns.Labels
			}
		}
		in.NamespaceLabels = in.Namespaces[namespace]
		if list, err := services.Services(namespace).List(labels.Everything()); err == nil {
			in.Services = list
		}
		return in
	}
}
