// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"fmt"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controlplane"
	"k8s.io/kubernetes/pkg/controlplane/controller/kubernetesservice"
	"k8s.io/kubernetes/pkg/controlplane/reconcilers"
)

// endpointsInterval is how often the endpoints of default/kubernetes are put
// right, as often as kube-apiserver does it; firstEndpointsInterval until they
// have been for the first time.
const (
	endpointsInterval      = 10 * time.Second
	firstEndpointsInterval = 100 * time.Millisecond
)

// addKubernetesServiceHook keeps the Service default/kubernetes of an ordinary
// cluster. In a virtual cluster it is the projection of a host Service.
func addKubernetesServiceHook(server *genericapiserver.GenericAPIServer, c controlplane.CompletedConfig, client kubernetes.Interface) error {
	_, port, err := c.ControlPlane.Generic.SecureServing.HostPort()
	if err != nil {
		return fmt.Errorf("address of the listener: %w", err)
	}
	controller := kubernetesservice.New(kubernetesservice.Config{
		PublicIP:           c.ControlPlane.Generic.PublicAddress,
		EndpointReconciler: reconcilers.NewNoneEndpointReconciler(),
		EndpointInterval:   endpointsInterval,
		ServiceIP:          c.Extra.APIServerServiceIP,
		ServicePort:        c.Extra.APIServerServicePort,
		PublicServicePort:  port,
	}, client, c.ControlPlane.VersionedInformers.Core().V1().Services())
	if err := server.AddPostStartHook("kubernetes-service", func(hook genericapiserver.PostStartHookContext) error {
		controller.Start(hook.Done())
		return nil
	}); err != nil {
		return err
	}
	return server.AddPreShutdownHook("kubernetes-service", func() error {
		controller.Stop()
		return nil
	})
}

// addEndpointsHook keeps the Endpoints and EndpointSlice of default/kubernetes
// pointing at the door. A door on loopback has none: nobody else could use them.
func addEndpointsHook(server *genericapiserver.GenericAPIServer, client kubernetes.Interface, ip net.IP, port int) error {
	if ip == nil || ip.IsLoopback() || ip.IsUnspecified() {
		return nil
	}
	reconciler := reconcilers.NewMasterCountEndpointReconciler(1,
		reconcilers.NewEndpointsAdapter(client.CoreV1(), client.DiscoveryV1()))
	ports := []corev1.EndpointPort{{Name: "https", Port: int32(port), Protocol: corev1.ProtocolTCP}}
	return server.AddPostStartHook("kubernetes-endpoints", func(hook genericapiserver.PostStartHookContext) error {
		publish := func(ctx context.Context) error {
			err := reconciler.ReconcileEndpoints("kubernetes", ip, ports, true)
			if err != nil {
				klog.FromContext(ctx).V(2).Info("Endpoints of default/kubernetes not reconciled", "err", err)
			}
			return err
		}
		go func() {
			// The namespace is made in another hook. The first time must not
			// wait for the second.
			_ = wait.PollUntilContextCancel(hook, firstEndpointsInterval, true, func(ctx context.Context) (bool, error) {
				return publish(ctx) == nil, nil
			})
			wait.UntilWithContext(hook, func(ctx context.Context) { _ = publish(ctx) }, endpointsInterval)
		}()
		return nil
	})
}
