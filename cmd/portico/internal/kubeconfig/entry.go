// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Entry is a way into a virtual cluster.
type Entry struct {
	Origin Origin
	// Context names the context; empty for Origin.ContextName.
	Context string

	Server string // https://...
	// ServerName is the name in the certificate, where it is not the server's.
	ServerName string
	// ProxyURL, if set, is the way to the server. Its token makes it a secret.
	ProxyURL string
	// Insecure gives up the verification of the certificate, on demand.
	Insecure bool
	CA       []byte

	// Token, or Cert and Key.
	Token     string
	Cert, Key []byte
}

// name returns the name of the context.
func (e Entry) name() string {
	if e.Context != "" {
		return e.Context
	}
	return e.Origin.ContextName()
}

// Alone returns a kubeconfig with nothing but the entry.
func (e Entry) Alone() *api.Config {
	c := api.NewConfig()
	e.put(c)
	c.CurrentContext = e.name()
	return c
}

// YAML returns the content of a kubeconfig with nothing but the entry.
func (e Entry) YAML() ([]byte, error) {
	content, err := clientcmd.Write(*e.Alone())
	if err != nil {
		return nil, fmt.Errorf("encode kubeconfig: %w", err)
	}
	return content, nil
}

func (e Entry) put(c *api.Config) {
	name := e.name()
	cluster := api.NewCluster()
	cluster.Server, cluster.TLSServerName = e.Server, e.ServerName
	cluster.ProxyURL = e.ProxyURL
	if e.Insecure {
		cluster.InsecureSkipTLSVerify = true // A gateway still has to know the name.
	} else {
		cluster.CertificateAuthorityData = e.CA
	}
	user := api.NewAuthInfo()
	user.Token, user.ClientCertificateData, user.ClientKeyData = e.Token, e.Cert, e.Key
	ctx := api.NewContext()
	ctx.Cluster, ctx.AuthInfo = name, name
	ctx.Extensions = map[string]runtime.Object{extension: e.Origin.extension()}
	c.Clusters[name], c.AuthInfos[name], c.Contexts[name] = cluster, user, ctx
}

// Put writes the entry into the file and makes it the current context. The
// context that was current before, in all files together, is remembered.
func Put(f File, e Entry) (string, error) {
	merged, err := f.Merged()
	if err != nil {
		return "", err
	}
	name := e.name()
	if ctx := merged.Contexts[name]; ctx != nil {
		if _, ours := OriginOf(merged, name); !ours {
			return "", fmt.Errorf("kubeconfig: the context %q exists, and is not of a virtual cluster", name)
		}
	}
	switch previous := merged.CurrentContext; previous {
	case name:
		was, _ := OriginOf(merged, name)
		e.Origin.Previous = was.Previous
	default:
		e.Origin.Previous = previous
	}
	return name, f.Edit(func(c *api.Config) error {
		e.put(c)
		c.CurrentContext = name
		return nil
	})
}

// Leave makes the context current that was so before one of ours, else the
// host's, else none, and returns its name. A context that leads through a port
// forward goes, and with remove any.
func Leave(f File, context string, remove bool) (next string, err error) {
	merged, err := f.Merged()
	if err != nil {
		return "", err
	}
	origin, ours := OriginOf(merged, context)
	if !ours {
		return "", fmt.Errorf("kubeconfig: the context %q is not of a virtual cluster", context)
	}
	next = merged.CurrentContext
	if next == context {
		next = ""
		for _, candidate := range []string{origin.Previous, origin.HostContext} {
			if candidate != context && merged.Contexts[candidate] != nil {
				next = candidate
				break
			}
		}
	}
	return next, f.Edit(func(c *api.Config) error {
		if c.CurrentContext == context || merged.CurrentContext == context {
			c.CurrentContext = next
		}
		if remove || origin.Forwarded {
			delete(c.Contexts, context)
			delete(c.Clusters, context)
			delete(c.AuthInfos, context)
		}
		return nil
	})
}

// ContextsOf returns the names of all contexts that lead to a virtual cluster.
func ContextsOf(c *api.Config, o Origin) []string {
	var names []string
	for name := range c.Contexts {
		if found, ours := OriginOf(c, name); ours && found.Same(o) {
			names = append(names, name)
		}
	}
	return names
}

// Renew puts new credentials of the administrator into all contexts of a
// cluster that have some, and returns how many there were. Contexts with a token
// stay as they are.
func Renew(f File, o Origin, ca, cert, key []byte) (int, error) {
	renewed := 0
	err := f.Edit(func(c *api.Config) error {
		for _, name := range ContextsOf(c, o) {
			cluster, user := c.Clusters[c.Contexts[name].Cluster], c.AuthInfos[c.Contexts[name].AuthInfo]
			if cluster == nil || user == nil || len(user.ClientCertificateData) == 0 {
				continue
			}
			if !cluster.InsecureSkipTLSVerify {
				cluster.CertificateAuthorityData = ca
			}
			user.ClientCertificateData, user.ClientKeyData = cert, key
			renewed++
		}
		return nil
	})
	return renewed, err
}
