// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	networkingclient "k8s.io/client-go/kubernetes/typed/networking/v1"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/controlplane"
	"k8s.io/kubernetes/pkg/controlplane/controller/defaultservicecidr"
	servicestrategy "k8s.io/kubernetes/pkg/registry/core/service"
	"k8s.io/kubernetes/pkg/registry/core/service/ipallocator"
	"k8s.io/kubernetes/pkg/registry/core/service/portallocator"
	servicestore "k8s.io/kubernetes/pkg/registry/core/service/storage"
	netutils "k8s.io/utils/net"
)

// allocators give upstream's service storage addresses and node ports.
type allocators struct {
	family    api.IPFamily
	clusterIP map[api.IPFamily]ipallocator.Interface
	nodePort  portallocator.Interface
}

// newAllocators makes the allocators of one cluster.
//
// An ordinary cluster allocates ClusterIPs through ServiceCIDR and IPAddress
// objects, as upstream does (KEP-1880). Node ports are allocated in memory and
// seeded from the existing Services at start: upstream keeps them in etcd
// outside of any storage we could replace.
//
// A virtual cluster's Services get both from the host. Its allocators exist
// only because upstream's constructor wants them, and are never asked.
func newAllocators(c controlplane.CompletedConfig, client *kubernetes.Clientset, virtual bool) (*allocators, error) {
	ports, err := portallocator.NewInMemory(c.Extra.ServiceNodePortRange)
	if err != nil {
		return nil, fmt.Errorf("allocate node ports from %v: %w", c.Extra.ServiceNodePortRange, err)
	}
	cidr := c.Extra.ServiceIPRange
	var ips ipallocator.Interface
	if virtual {
		ips, err = ipallocator.NewInMemory(&cidr)
	} else {
		shared := c.ControlPlane.VersionedInformers.Networking().V1()
		ips, err = ipallocator.NewMetaAllocator(networkingclient.New(client.NetworkingV1().RESTClient()),
			shared.ServiceCIDRs(), shared.IPAddresses(), netutils.IsIPv6CIDR(&cidr), nil)
	}
	if err != nil {
		return nil, fmt.Errorf("allocate ClusterIPs from %v: %w", cidr.String(), err)
	}
	return &allocators{
		family:    ips.IPFamily(),
		clusterIP: map[api.IPFamily]ipallocator.Interface{ips.IPFamily(): ips},
		nodePort:  ports,
	}, nil
}

// addServiceCIDRHook keeps the default ServiceCIDR.
func addServiceCIDRHook(server *genericapiserver.GenericAPIServer, c controlplane.CompletedConfig, client *kubernetes.Clientset) error {
	return server.AddPostStartHook(serviceCIDRHook, func(hook genericapiserver.PostStartHookContext) error {
		defaultservicecidr.NewController(c.Extra.ServiceIPRange, c.Extra.SecondaryServiceIPRange, client).Start(hook)
		return nil
	})
}

// addNodePortHook holds the node ports of existing Services in an ordinary
// cluster.
func addNodePortHook(server *genericapiserver.GenericAPIServer, client *kubernetes.Clientset, a *allocators) error {
	return server.AddPostStartHook(serviceRepairHook, func(hook genericapiserver.PostStartHookContext) error {
		services, err := client.CoreV1().Services(metav1.NamespaceAll).List(hook, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list services to seed node ports: %w", err)
		}
		for i := range services.Items {
			for _, p := range services.Items[i].Spec.Ports {
				if p.NodePort == 0 {
					continue
				}
				// Two Services may share a port number under two protocols.
				if err := a.nodePort.Allocate(int(p.NodePort)); err != nil && !errors.Is(err, portallocator.ErrAllocated) {
					return fmt.Errorf("hold node port %d of service %s/%s: %w", p.NodePort, services.Items[i].Namespace, services.Items[i].Name, err)
				}
			}
		}
		return nil
	})
}

// letHostAllocate replaces the hooks by which upstream's service storage
// allocates addresses. The rest stays: the normalization between the singular
// and the plural address field, without which "clusterIP: None" fails
// validation, and keeping allocated values when a client resubmits its original
// manifest.
func letHostAllocate(services *servicestore.REST) {
	strategy := allocatedLater{servicestrategy.Strategy}
	services.Store.CreateStrategy, services.Store.UpdateStrategy = strategy, strategy
	services.Store.BeginCreate = func(_ context.Context, obj runtime.Object, _ *metav1.CreateOptions) (registry.FinishFunc, error) {
		normalizeNew(obj.(*api.Service))
		return func(context.Context, bool) {}, nil
	}
	services.Store.BeginUpdate = func(_ context.Context, obj, old runtime.Object, _ *metav1.UpdateOptions) (registry.FinishFunc, error) {
		keepAllocated(obj.(*api.Service), old.(*api.Service))
		normalizeChanged(obj.(*api.Service), old.(*api.Service))
		return func(context.Context, bool) {}, nil
	}
	services.Store.AfterDelete = nil
}

// normalizeNew completes the plural address field for clients that know only
// the singular one.
func normalizeNew(s *api.Service) {
	if s.Spec.ClusterIP != "" && len(s.Spec.ClusterIPs) == 0 {
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	}
}

// normalizeChanged lets a client that knows only the singular address field
// change or clear it. When a client changes both, validation judges the result.
func normalizeChanged(s, old *api.Service) {
	if s.Spec.ClusterIP == old.Spec.ClusterIP {
		if len(s.Spec.ClusterIPs) == 0 {
			s.Spec.ClusterIPs = old.Spec.ClusterIPs
		}
		return
	}
	if !slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) {
		return
	}
	if s.Spec.ClusterIP == "" {
		s.Spec.ClusterIPs = nil
	} else {
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	}
}

// keepAllocated fills in allocated values that the client did not repeat, so
// that resubmitting a manifest is not a request to deallocate
// (patchAllocatedValues in pkg/registry/core/service/storage).
func keepAllocated(s, old *api.Service) {
	if hasClusterIP(s) && hasClusterIP(old) {
		if s.Spec.ClusterIP == "" {
			s.Spec.ClusterIP = old.Spec.ClusterIP
		}
		if len(s.Spec.ClusterIPs) == 0 {
			s.Spec.ClusterIPs = old.Spec.ClusterIPs
		}
		// The host defaulted these together with the addresses.
		if s.Spec.IPFamilyPolicy == nil {
			s.Spec.IPFamilyPolicy = old.Spec.IPFamilyPolicy
		}
		if len(s.Spec.IPFamilies) == 0 {
			s.Spec.IPFamilies = old.Spec.IPFamilies
		}
	}
	if hasNodePorts(s) && hasNodePorts(old) {
		keepNodePorts(s, old)
	}
	if hasHealthCheckPort(s) && hasHealthCheckPort(old) && s.Spec.HealthCheckNodePort == 0 {
		s.Spec.HealthCheckNodePort = old.Spec.HealthCheckNodePort
	}
}

// keepNodePorts matches ports by name and keeps a node port unless the new
// spec gave it to another port.
func keepNodePorts(s, old *api.Service) {
	taken := map[int32]bool{}
	for _, p := range s.Spec.Ports {
		taken[p.NodePort] = true
	}
	was := map[string]int32{}
	for _, p := range old.Spec.Ports {
		was[p.Name] = p.NodePort
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if kept := was[p.Name]; p.NodePort == 0 && !taken[kept] {
			p.NodePort = kept
		}
	}
}

func hasClusterIP(s *api.Service) bool { return s.Spec.Type != api.ServiceTypeExternalName }

func hasNodePorts(s *api.Service) bool {
	switch s.Spec.Type {
	case api.ServiceTypeNodePort:
		return true
	case api.ServiceTypeLoadBalancer:
		return s.Spec.AllocateLoadBalancerNodePorts == nil || *s.Spec.AllocateLoadBalancerNodePorts
	default:
		return false
	}
}

// serviceStrategy is all of upstream's strategy that the registry looks for.
type serviceStrategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
	rest.DeclarativeValidationStrategy
}

// allocatedLater is upstream's strategy for Services, but for the health check
// port of a load balancer with the external traffic policy Local: upstream
// allocates it before it validates, and here the host does so after.
type allocatedLater struct{ serviceStrategy }

// someHealthCheckPort takes the place of a port that the host has yet to allocate
// while a Service is validated. It never leaves this file.
const someHealthCheckPort = 65535

// Validate implements rest.RESTCreateStrategy.
func (s allocatedLater) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	return s.serviceStrategy.Validate(ctx, withHealthCheckPort(obj.(*api.Service)))
}

// ValidateUpdate implements rest.RESTUpdateStrategy.
func (s allocatedLater) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	return s.serviceStrategy.ValidateUpdate(ctx, withHealthCheckPort(obj.(*api.Service)), old)
}

// withHealthCheckPort returns a Service with all that validation wants to see.
func withHealthCheckPort(s *api.Service) *api.Service {
	if !hasHealthCheckPort(s) || s.Spec.HealthCheckNodePort != 0 {
		return s
	}
	s = s.DeepCopy()
	s.Spec.HealthCheckNodePort = someHealthCheckPort
	return s
}

func hasHealthCheckPort(s *api.Service) bool {
	return s.Spec.Type == api.ServiceTypeLoadBalancer && s.Spec.ExternalTrafficPolicy == api.ServiceExternalTrafficPolicyLocal
}
