// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

const (
	walkNamespace  = "demo-nginx"
	walkDeployment = "nginx-deployment"
	walkReplicas   = 2
)

// walk does the same as
//
//	kubectl create namespace demo-nginx
//	kubectl create deployment nginx-deployment -n demo-nginx --image=nginx --replicas=2
//
// and waits until the pods run. It leaves existing objects as they are, so that
// the demo can be run again in the same directory.
func walk(ctx context.Context, p *progress, client kubernetes.Interface) error {
	if err := p.step("Creating namespace "+walkNamespace+" in the virtual cluster", func() error {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: walkNamespace}}
		_, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
		return tolerate(err, "create namespace %q", walkNamespace)
	}); err != nil {
		return err
	}
	if err := p.step("Creating deployment "+walkDeployment, func() error {
		_, err := client.AppsV1().Deployments(walkNamespace).Create(ctx, nginx(), metav1.CreateOptions{})
		return tolerate(err, "create deployment %q", walkDeployment)
	}); err != nil {
		return err
	}
	return p.step("Waiting until its pods are Running", func() error {
		ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %s", patience))
		defer cancel()
		return awaitRunning(ctx, client)
	})
}

func tolerate(err error, what string, name string) error {
	if err == nil || apierrors.IsAlreadyExists(err) {
		return nil
	}
	return fmt.Errorf(what+": %w", name, err)
}

// nginx is the Deployment that kubectl makes.
func nginx() *appsv1.Deployment {
	labels := map[string]string{"app": walkDeployment}
	replicas := int32(walkReplicas)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: walkDeployment, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "nginx", Image: "nginx"}}},
			},
		},
	}
}

// awaitRunning watches the pods until as many as the Deployment has replicas
// are Running, and then the Deployment until its status shows that.
func awaitRunning(ctx context.Context, client kubernetes.Interface) error {
	running := map[string]bool{}
	pods := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.CoreV1().Pods(walkNamespace).List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.CoreV1().Pods(walkNamespace).Watch(ctx, o)
		},
	}, client)
	_, err := watchtools.UntilWithSync(ctx, pods, &corev1.Pod{}, nil, func(e watch.Event) (bool, error) {
		if pod, ok := e.Object.(*corev1.Pod); ok {
			running[pod.Name] = e.Type != watch.Deleted && pod.Status.Phase == corev1.PodRunning
		}
		return count(running) >= walkReplicas, nil
	})
	if err != nil {
		return fmt.Errorf("wait for %d running pods, have %d: %w", walkReplicas, count(running), err)
	}
	deployments := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.AppsV1().Deployments(walkNamespace).List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.AppsV1().Deployments(walkNamespace).Watch(ctx, o)
		},
	}, client)
	if _, err := watchtools.UntilWithSync(ctx, deployments, &appsv1.Deployment{}, nil, func(e watch.Event) (bool, error) {
		d, ok := e.Object.(*appsv1.Deployment)
		return ok && d.Name == walkDeployment && d.Status.AvailableReplicas == walkReplicas, nil
	}); err != nil {
		return fmt.Errorf("wait for deployment %q to be available: %w", walkDeployment, err)
	}
	return nil
}

func count(set map[string]bool) int {
	n := 0
	for _, member := range set {
		if member {
			n++
		}
	}
	return n
}
