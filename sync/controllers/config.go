// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	kubectrlmgrconfig "k8s.io/kubernetes/pkg/controller/apis/config"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	garbagecollectorconfig "k8s.io/kubernetes/pkg/controller/garbagecollector/config"
)

// Config has the clients, informers and keys of the process that the
// controllers run in.
type Config struct {
	// Mode selects the controllers.
	Mode Mode

	// Kubeconfig reaches the API server with full rights and leave to impersonate: its loopback client.
	Kubeconfig *rest.Config

	// Informers is the API server's own factory. Run adds informers to it and starts them; it never shuts it down.
	Informers informers.SharedInformerFactory

	// RootCAFile holds the CA bundle that clients verify this API server with: it becomes the ConfigMap
	// kube-root-ca.crt of every namespace.
	RootCAFile string

	// ServiceAccountKeyFile is the private key that service account tokens are signed with.
	ServiceAccountKeyFile string

	// SigningCertFile and SigningKeyFile are the CA that signs approved certificate signing requests. With neither,
	// requests are approved and cleaned but not signed.
	SigningCertFile, SigningKeyFile string

	// ResourceClaims also makes claims from templates in a virtual cluster. It is for one whose claims are the host's:
	// those of any other have no devices.
	ResourceClaims bool

	// Scheduler also runs upstream's scheduler. In a virtual cluster without it the host schedules.
	Scheduler bool

	// Placement is asked by that scheduler. Nil means that Nodes say all.
	Placement Placement
}

func (c Config) validate() error {
	var errs []error
	if c.Kubeconfig == nil {
		errs = append(errs, errors.New("no client configuration"))
	}
	if c.Informers == nil {
		errs = append(errs, errors.New("no informers"))
	}
	if c.RootCAFile == "" {
		errs = append(errs, errors.New("no root CA file"))
	}
	if c.ServiceAccountKeyFile == "" {
		errs = append(errs, errors.New("no service account key file"))
	}
	if (c.SigningCertFile == "") != (c.SigningKeyFile == "") {
		errs = append(errs, errors.New("a signing certificate and its key go together"))
	}
	if len(errs) > 0 {
		return fmt.Errorf("configure controllers: %w", errors.Join(errs...))
	}
	return nil
}

// component returns upstream's defaults with our files in them.
func (c Config) component() (kubectrlmgrconfig.KubeControllerManagerConfiguration, error) {
	component, err := options.NewDefaultComponentConfig()
	if err != nil {
		return component, fmt.Errorf("default the controllers' configuration: %w", err)
	}
	component.Generic.Controllers = []string{"*"}
	component.SAController.RootCAFile = c.RootCAFile
	component.SAController.ServiceAccountKeyFile = c.ServiceAccountKeyFile
	component.CSRSigningController.ClusterSigningCertFile = c.SigningCertFile
	component.CSRSigningController.ClusterSigningKeyFile = c.SigningKeyFile
	// Upstream fills this list where it parses its flags, not where it sets its defaults.
	for r := range garbagecollector.DefaultIgnoredResources() {
		component.GarbageCollectorController.GCIgnoredResources = append(component.GarbageCollectorController.GCIgnoredResources,
			garbagecollectorconfig.GroupResource{Group: r.Group, Resource: r.Resource})
	}
	return component, nil
}

// resync spreads the periodic resyncs of the controllers over time, as upstream does.
func resync(minimum time.Duration) func() time.Duration {
	return func() time.Duration {
		return time.Duration(float64(minimum) * (1 + rand.Float64())) //nolint:gosec // spreads load; not a secret
	}
}
