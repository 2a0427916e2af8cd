// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
)

// lateControllers are those, of every mode, that are made when the first object of their kind is
// there, by the informer that sees it. Each holds much memory for a kind that
// most clusters never have: that of admission policies holds the schemas of all
// types, a tenth of the live heap of an idle process.
func lateControllers() map[string]func(informers.SharedInformerFactory) cache.SharedIndexInformer {
	return map[string]func(informers.SharedInformerFactory) cache.SharedIndexInformer{
		names.ValidatingAdmissionPolicyStatusController: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Admissionregistration().V1().ValidatingAdmissionPolicies().Informer()
		},
	}
}

// late is the work of one of them.
type late struct {
	name   string
	config Config // with informers that hold nothing back
	shared app.ControllerContext
	fail   context.CancelCauseFunc
}

// run waits for the first object, and then makes and runs the controller until
// ctx ends.
func (l late) run(ctx context.Context) error {
	first := make(chan struct{})
	seen := sync.OnceFunc(func() { close(first) })
	informer := lateControllers()[l.name](l.config.Informers)
	handle, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(any) { seen() }})
	if err != nil {
		return fmt.Errorf("wait for the first object of controller %s: %w", l.name, err)
	}
	l.config.Informers.Start(ctx.Done())
	select {
	case <-ctx.Done():
		return nil
	case <-first:
	}
	if err := informer.RemoveEventHandler(handle); err != nil {
		return fmt.Errorf("controller %s: %w", l.name, err)
	}
	held, release := hold(ctx, l.config.Informers)
	l.shared.InformerFactory = held
	descriptor := app.NewControllerDescriptors()[l.name]
	made, err := app.BuildControllers(ctx, l.shared, map[string]*app.ControllerDescriptor{l.name: descriptor}, nil, noHealthChecks{})
	if err != nil {
		return fmt.Errorf("build controller %s: %w", l.name, err)
	}
	release()
	l.config.Informers.Start(ctx.Done())
	for i := range made {
		made[i] = guard(made[i], l.fail)
	}
	app.RunControllers(ctx, l.shared, made, 0, stopTimeout)
	return nil
}
