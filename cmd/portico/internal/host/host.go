// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"cmp"
	"fmt"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"portico.dev/portico/cmd/portico/internal/kubeconfig"
	"portico.dev/portico/cmd/portico/internal/output"
)

// Options say which host a command goes to.
type Options struct {
	Kubeconfig string // explicit file; empty for kubectl's rules
	Context    string // explicit context; empty for the current one
}

// Host is a cluster that virtual clusters live in.
type Host struct {
	Client   kubernetes.Interface
	Metadata metadata.Interface
	REST     *rest.Config
	// Context is the name of the context that leads to the host; empty within a
	// pod of it.
	Context    string
	Kubeconfig kubeconfig.File
	// Inside is set when the host is a virtual cluster of ours itself.
	Inside *kubeconfig.Origin

	// Getter makes Helm's clients for a namespace.
	Getter func(namespace string) genericclioptions.RESTClientGetter
}

// Open connects to the host of the virtual cluster with the name, which is empty
// for commands about none or all.
func Open(o Options, name string) (*Host, error) {
	h := &Host{Kubeconfig: kubeconfig.Locate(o.Kubeconfig)}
	if err := h.choose(o.Context, name); err != nil {
		return nil, err
	}
	h.Getter = func(namespace string) genericclioptions.RESTClientGetter {
		flags := genericclioptions.NewConfigFlags(true).WithWrapConfigFn(func(c *rest.Config) *rest.Config {
			c.QPS, c.Burst = 50, 100
			return c
		})
		flags.KubeConfig, flags.Context, flags.Namespace = &o.Kubeconfig, &h.Context, &namespace
		return flags
	}
	var err error
	if h.REST, err = h.Getter("").ToRESTConfig(); err != nil {
		return nil, output.WithHint(fmt.Errorf("open the host cluster: %w", err), "kubectl config get-contexts lists where to; --context chooses")
	}
	if h.Client, err = kubernetes.NewForConfig(h.REST); err != nil {
		return nil, fmt.Errorf("open the host cluster: %w", err)
	}
	if h.Metadata, err = metadata.NewForConfig(h.REST); err != nil {
		return nil, fmt.Errorf("open the host cluster: %w", err)
	}
	return h, nil
}

// choose finds the context that leads to the host.
func (h *Host) choose(explicit, name string) error {
	c, err := h.Kubeconfig.Merged()
	if err != nil {
		return err
	}
	h.Context = cmp.Or(explicit, c.CurrentContext)
	if explicit == "" {
		// Not more than there are contexts, so that a circle ends.
		for range c.Contexts {
			origin, ours := kubeconfig.OriginOf(c, h.Context)
			if !ours || origin.Name != name {
				break
			}
			h.Context = origin.HostContext
		}
	}
	if h.Context != "" && c.Contexts[h.Context] == nil {
		return output.WithHint(fmt.Errorf("the kubeconfig has no context %q", h.Context),
			"kubectl config get-contexts lists them; --context chooses")
	}
	if origin, ours := kubeconfig.OriginOf(c, h.Context); ours {
		h.Inside = &origin
	}
	return nil
}
