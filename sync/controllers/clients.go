// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/controller-manager/pkg/clientbuilder"
)

// serviceAccountClients makes a client per controller that acts as that
// controller's service account in kube-system.
//
// Upstream mints a token for each of them. Inside the API server's own process
// that would buy nothing: every holder of the loopback credential can mint any
// token. Impersonation gives the same result where it matters: RBAC decides on
// the rights of a controller, and the audit log names it, without a token to
// mint, keep or rotate.
type serviceAccountClients struct {
	base *rest.Config
}

var _ clientbuilder.ControllerClientBuilder = serviceAccountClients{}

// Config returns the client configuration of one controller.
func (c serviceAccountClients) Config(name string) (*rest.Config, error) {
	config := rest.AddUserAgent(rest.CopyConfig(c.base), name)
	groups := append(serviceaccount.MakeGroupNames(metav1.NamespaceSystem), user.AllAuthenticated)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: serviceaccount.MakeUsername(metav1.NamespaceSystem, name),
		Groups:   groups,
	}
	return config, nil
}

// Client returns a typed client for one controller.
func (c serviceAccountClients) Client(name string) (kubernetes.Interface, error) {
	config, err := c.Config(name)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// DiscoveryClient returns a discovery client for one controller.
func (c serviceAccountClients) DiscoveryClient(name string) (discovery.DiscoveryInterface, error) {
	client, err := c.Client(name)
	if err != nil {
		return nil, err
	}
	return client.Discovery(), nil
}

// ConfigOrDie panics when there is no configuration. Upstream asks for the
// OrDie forms in a few constructors; Run turns the panic into an error.
func (c serviceAccountClients) ConfigOrDie(name string) *rest.Config {
	return must(c.Config(name))
}

// ClientOrDie panics when the client cannot be made: see ConfigOrDie.
func (c serviceAccountClients) ClientOrDie(name string) kubernetes.Interface {
	return must(c.Client(name))
}

// DiscoveryClientOrDie panics when the client cannot be made: see ConfigOrDie.
func (c serviceAccountClients) DiscoveryClientOrDie(name string) discovery.DiscoveryInterface {
	return must(c.DiscoveryClient(name))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(fmt.Errorf("make a controller's client: %w", err))
	}
	return value
}
