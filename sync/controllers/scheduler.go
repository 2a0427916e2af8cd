// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
)

const schedulerName = "kube-scheduler"

// lookAgain is the time after which a pod without a node is looked at again,
// although nothing in the virtual cluster has changed: the host may have.
const lookAgain = time.Minute

// newScheduler builds upstream's scheduler with its default profile.
//
// It keeps informers of its own: they leave finished pods out, which the API server's do not, and a scheduler that sees
// finished pods counts their requests against the nodes.
func newScheduler(ctx context.Context, cfg Config) (app.Controller, error) {
	// Unlike a controller's account, the scheduler's is a user of its own with a cluster role of its own.
	config := rest.AddUserAgent(rest.CopyConfig(cfg.Kubeconfig), schedulerName)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:" + schedulerName, Groups: []string{"system:authenticated"}}

	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the scheduler's client: %w", err)
	}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the scheduler's dynamic client: %w", err)
	}
	defaults, err := latest.Default()
	if err != nil {
		return nil, fmt.Errorf("default the scheduler's configuration: %w", err)
	}
	// The name labels metrics and is unique in a process until released.
	informerName, err := cache.NewInformerName(schedulerName)
	if err != nil {
		return nil, fmt.Errorf("name the scheduler's informers: %w", err)
	}

	broadcaster := events.NewEventBroadcasterAdapterWithContext(ctx, client)
	typed := scheduler.NewInformerFactory(client, 0, informerName)
	untyped := dynamicinformer.NewFilteredDynamicSharedInformerFactory(dynamicClient, 0, corev1.NamespaceAll, nil)
	options := []scheduler.Option{
		scheduler.WithComponentConfigVersion(defaults.APIVersion),
		scheduler.WithKubeConfig(config),
		scheduler.WithProfiles(defaults.Profiles...),
	}
	if cfg.Placement != nil {
		options = append(options,
			scheduler.WithFrameworkOutOfTreeRegistry(withPlacement(defaults.Profiles, cfg.Placement)),
			scheduler.WithPodMaxInUnschedulablePodsDuration(lookAgain))
	}
	sched, err := scheduler.New(ctx, client, typed, untyped,
		func(name string) events.EventRecorderLogger { return broadcaster.NewRecorder(name) }, options...)
	if err != nil {
		informerName.Release()
		return nil, fmt.Errorf("build the scheduler: %w", err)
	}

	return loop{name: schedulerName, run: func(ctx context.Context) {
		defer informerName.Release()
		broadcaster.StartRecordingToSink(ctx.Done())
		defer broadcaster.Shutdown()
		typed.Start(ctx.Done())
		untyped.Start(ctx.Done())
		defer typed.Shutdown()
		defer untyped.Shutdown()
		typed.WaitForCacheSync(ctx.Done())
		untyped.WaitForCacheSync(ctx.Done())
		if err := sched.WaitForHandlersSync(ctx); err != nil {
			// The wait only ends early with the context.
			if !errors.Is(err, context.Canceled) {
				klog.FromContext(ctx).Error(err, "Scheduler's handlers did not sync")
			}
			return
		}
		sched.Run(ctx)
	}}, nil
}
