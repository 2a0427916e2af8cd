// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controlplane"
	"k8s.io/kubernetes/pkg/controlplane/controller/kubernetesservice"
	"k8s.io/kubernetes/pkg/controlplane/reconcilers"
)

// endpointsInterval is how often the endpoints of default/kubernetes are put
// right, as often as kube-apiserver does it; firstEndpointsInterval until they
// have been for the first time, or firstEndpointsTimeout has passed without.
const (
	endpointsInterval      = 10 * time.Second
	firstEndpointsInterval = 100 * time.Millisecond
	firstEndpointsTimeout  = 30 * time.Second
)

// doorsInterval is how often the doors are compared with the last ones, which
// needs no request.
const doorsInterval = time.Second

// addKubernetesServiceHook keeps the Service default/kubernetes of an ordinary
// cluster. In a virtual cluster it is the projection of a host Service.
func addKubernetesServiceHook(server *genericapiserver.GenericAPIServer, c controlplane.CompletedConfig, client kubernetes.Interface) error {
	_, port, err := c.ControlPlane.Generic.SecureServing.HostPort()
	if err != nil {
		return fmt.Errorf("address of the listener: %w", err)
	}
	controller := kubernetesservice.New(kubernetesservice.Config{
		PublicIP:           c.ControlPlane.Generic.PublicAddress,
		EndpointReconciler: &noEndpoints{EndpointReconciler: reconcilers.NewNoneEndpointReconciler()},
		EndpointInterval:   endpointsInterval,
		ServiceIP:          c.Extra.APIServerServiceIP,
		ServicePort:        c.Extra.APIServerServicePort,
		PublicServicePort:  port,
	}, client, c.ControlPlane.VersionedInformers.Core().V1().Services())
	if err := server.AddPostStartHook(kubernetesServiceHook, func(hook genericapiserver.PostStartHookContext) error {
		controller.Start(hook.Done())
		return nil
	}); err != nil {
		return err
	}
	return server.AddPreShutdownHook(kubernetesServiceHook, func() error {
		controller.Stop()
		return nil
	})
}

// noEndpoints is upstream's reconciler that does nothing. The removal of endpoints
// at a start has to find none: success is a crash of before to upstream, which it
// logs as an error.
type noEndpoints struct {
	reconcilers.EndpointReconciler
	started atomic.Bool
}

// RemoveEndpoints implements reconcilers.EndpointReconciler.
func (n *noEndpoints) RemoveEndpoints(string, net.IP, []corev1.EndpointPort) error {
	if n.started.Swap(true) {
		return nil
	}
	return storage.NewKeyNotFoundError("kubernetes", 0)
}

// addEndpointsHook keeps the Endpoints and EndpointSlice of default/kubernetes
// pointing at the doors, in each replica alike. The last endpoints stay when no
// door is known: an empty list would not help.
func addEndpointsHook(server *genericapiserver.GenericAPIServer, client kubernetes.Interface, doors func() []netip.AddrPort) error {
	if doors == nil {
		return nil
	}
	adapter := reconcilers.NewEndpointsAdapter(client.CoreV1(), client.DiscoveryV1())
	var last []netip.AddrPort
	var due time.Time
	return server.AddPostStartHook(kubernetesServiceHook, func(hook genericapiserver.PostStartHookContext) error {
		publish := func(ctx context.Context) error {
			now, at := doors(), time.Now()
			if slices.Equal(now, last) && at.Before(due) {
				return nil
			}
			if err := reconcileEndpoints(&adapter, now); err != nil {
				klog.FromContext(ctx).V(2).Info("Endpoints of default/kubernetes not reconciled", "err", err)
				return err
			}
			last, due = now, at.Add(endpointsInterval)
			return nil
		}
		go func() {
			// The namespace is made in another hook, and doors are looked for
			// elsewhere. The first time must not wait for the second.
			_ = wait.PollUntilContextTimeout(hook, firstEndpointsInterval, firstEndpointsTimeout, true, func(ctx context.Context) (bool, error) {
				return publish(ctx) == nil && len(last) > 0, nil
			})
			wait.UntilWithContext(hook, func(ctx context.Context) { _ = publish(ctx) }, doorsInterval)
		}()
		return nil
	})
}

func reconcileEndpoints(adapter *reconcilers.EndpointsAdapter, doors []netip.AddrPort) error {
	if len(doors) == 0 {
		return nil
	}
	want := &corev1.Endpoints{ //nolint:staticcheck // upstream keeps both kinds for this Service, and conformance asks for both
		ObjectMeta: metav1.ObjectMeta{
			Name: "kubernetes", Namespace: metav1.NamespaceDefault,
			Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"}, // The adapter makes the slice.
		},
		Subsets: subsets(doors),
	}
	found, err := adapter.Get(want.Namespace, want.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = adapter.Create(want.Namespace, want)
		if apierrors.IsAlreadyExists(err) {
			return nil // Another replica was faster.
		}
		return err
	case err != nil:
		return err
	case apiequality.Semantic.DeepEqual(found.Subsets, want.Subsets) && found.Labels[discoveryv1.LabelSkipMirror] == "true":
		return adapter.EnsureEndpointSliceFromEndpoints(want.Namespace, found)
	}
	want.ResourceVersion = found.ResourceVersion
	_, err = adapter.Update(want.Namespace, want)
	if apierrors.IsConflict(err) {
		return nil // Another replica was faster.
	}
	return err
}

// subsets has one subset for each port. Replicas have the same port but in
// tests, and the slice shows the first one's.
//
//nolint:staticcheck // see reconcileEndpoints
func subsets(doors []netip.AddrPort) []corev1.EndpointSubset {
	var all []corev1.EndpointSubset
	at := map[uint16]int{}
	for _, d := range doors {
		i, ok := at[d.Port()]
		if !ok {
			i = len(all)
			at[d.Port()] = i
			all = append(all, corev1.EndpointSubset{
				Ports: []corev1.EndpointPort{{Name: "https", Port: int32(d.Port()), Protocol: corev1.ProtocolTCP}},
			})
		}
		all[i].Addresses = append(all[i].Addresses, corev1.EndpointAddress{IP: d.Addr().String()})
	}
	return all
}
