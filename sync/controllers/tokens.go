// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"os"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
	serviceaccountcontroller "k8s.io/kubernetes/pkg/controller/serviceaccount"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

// newTokenController builds the controller that fills Secrets of type
// kubernetes.io/service-account-token. Upstream's own descriptor for it cannot
// be used: its client builder is private to upstream's Run.
func newTokenController(ctx context.Context, cfg Config, controllers app.ControllerContext) (app.Controller, error) {
	key, err := keyutil.PrivateKeyFromFile(cfg.ServiceAccountKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the service account key: %w", err)
	}
	rootCA, err := os.ReadFile(cfg.RootCAFile)
	if err != nil {
		return nil, fmt.Errorf("read the root CA: %w", err)
	}
	// It mints credentials for everyone, so it acts with the loopback identity
	// itself and not as a service account.
	client, err := kubernetes.NewForConfig(rest.AddUserAgent(rest.CopyConfig(cfg.Kubeconfig), "tokens-controller"))
	if err != nil {
		return nil, fmt.Errorf("make the token controller's client: %w", err)
	}
	generator, err := serviceaccount.JWTTokenGenerator(serviceaccount.LegacyIssuer, key)
	if err != nil {
		return nil, fmt.Errorf("make the token generator: %w", err)
	}

	logger := klog.LoggerWithName(klog.FromContext(ctx), names.ServiceAccountTokenController)
	tokens, err := serviceaccountcontroller.NewTokensController(logger,
		controllers.InformerFactory.Core().V1().ServiceAccounts(), controllers.InformerFactory.Core().V1().Secrets(), client,
		serviceaccountcontroller.TokensControllerOptions{TokenGenerator: generator, RootCA: rootCA})
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", names.ServiceAccountTokenController, err)
	}
	workers := int(controllers.ComponentConfig.SAController.ConcurrentSATokenSyncs)
	return loop{
		name: names.ServiceAccountTokenController,
		run: func(ctx context.Context) {
			tokens.Run(klog.NewContext(ctx, logger), workers)
		},
	}, nil
}

// loop turns a function into a controller.
type loop struct {
	name string
	run  func(context.Context)
}

var _ app.Controller = loop{}

// Name returns the controller's name.
func (l loop) Name() string { return l.name }

// Run runs the controller until ctx ends.
func (l loop) Run(ctx context.Context) { l.run(ctx) }
