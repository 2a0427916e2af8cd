// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd/api"
)

// extension is the name under which a context says that it is ours.
const extension = "portico.dev/virtual-cluster"

// Origin is kept in a context that leads to a virtual cluster.
type Origin struct {
	Name      string `json:"name"`      // of the virtual cluster
	Namespace string `json:"namespace"` // of the host
	// HostContext leads to the host cluster; it may itself be one of ours.
	HostContext string `json:"hostContext"`
	// Previous was the current context before this one was.
	Previous string `json:"previousContext,omitempty"`
	// Forwarded says that the server is the local end of a port forward, with
	// which the context becomes useless.
	Forwarded bool `json:"forwarded,omitempty"`
}

// ContextName is the name of a context, of its cluster and of its user. It is
// for people: programs read its parts from the Origin.
func (o Origin) ContextName() string {
	return "portico_" + o.Name + "_" + o.Namespace + "_" + o.HostContext
}

// Same reports whether two origins are of one virtual cluster.
func (o Origin) Same(other Origin) bool {
	return o.Name == other.Name && o.Namespace == other.Namespace && o.HostContext == other.HostContext
}

// OriginOf returns the origin of a context, if the context is ours.
func OriginOf(c *api.Config, context string) (Origin, bool) {
	ctx := c.Contexts[context]
	if ctx == nil {
		return Origin{}, false
	}
	raw, ok := ctx.Extensions[extension].(*runtime.Unknown)
	if !ok {
		return Origin{}, false
	}
	var o Origin
	if json.Unmarshal(raw.Raw, &o) != nil || o.Name == "" {
		return Origin{}, false
	}
	return o, true
}

func (o Origin) extension() runtime.Object {
	raw, _ := json.Marshal(o) // A struct of strings cannot fail.
	return &runtime.Unknown{Raw: raw, ContentType: runtime.ContentTypeJSON}
}
