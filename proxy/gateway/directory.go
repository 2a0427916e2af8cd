// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/rewrite"
)

// doorPort is the port of every door's Service.
const doorPort = 443

// ErrNoDoor is returned for a name that no cluster has.
var ErrNoDoor = errors.New("no such virtual cluster")

// Directory knows the doors of a host by watching its Services.
type Directory struct {
	views   []informers.SharedInformerFactory
	listers map[string]corelisters.ServiceLister // by namespace; "" is all
	synced  []cache.InformerSynced
}

// NewDirectory watches the doors of some namespaces, or of all.
func NewDirectory(client kubernetes.Interface, namespaces ...string) *Directory {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	d := &Directory{listers: map[string]corelisters.ServiceLister{}}
	for _, ns := range namespaces {
		view := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(ns),
			informers.WithTweakListOptions(func(l *metav1.ListOptions) { l.LabelSelector = rewrite.LabelCluster }),
			informers.WithTransform(lean))
		services := view.Core().V1().Services()
		d.views = append(d.views, view)
		d.listers[ns] = services.Lister()
		d.synced = append(d.synced, services.Informer().HasSynced)
	}
	return d
}

// lean drops the fields that are not looked at: most labelled Services are a
// tenant's.
func lean(obj any) (any, error) {
	svc, ok := obj.(*corev1.Service)
	if !ok {
		return obj, nil
	}
	if _, err := doorOf(svc); err != nil {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{
			Namespace: svc.Namespace, Name: svc.Name, UID: svc.UID, ResourceVersion: svc.ResourceVersion,
		}}, nil
	}
	svc.ManagedFields = nil
	return svc, nil
}

// Run watches until ctx is done.
func (d *Directory) Run(ctx context.Context) {
	for _, view := range d.views {
		view.StartWithContext(ctx)
	}
	<-ctx.Done()
	for _, view := range d.views {
		view.Shutdown()
	}
}

// Synced reports whether the directory knows every door.
func (d *Directory) Synced() bool {
	return !slices.ContainsFunc(d.synced, func(synced cache.InformerSynced) bool { return !synced() })
}

// Door returns the address of a cluster's door.
func (d *Directory) Door(cluster types.NamespacedName) (netip.AddrPort, error) {
	lister, ok := d.listers[cluster.Namespace]
	if !ok {
		lister, ok = d.listers[metav1.NamespaceAll]
	}
	if !ok {
		return netip.AddrPort{}, ErrNoDoor
	}
	svc, err := lister.Services(cluster.Namespace).Get(cluster.Name)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", ErrNoDoor, err)
	}
	return doorOf(svc)
}

// doorOf returns the address of a Service that is a door, as package door makes
// it: named like its cluster, standing for the virtual default/kubernetes, which
// no Service of a tenant can do, and with the door's port.
func doorOf(svc *corev1.Service) (netip.AddrPort, error) {
	ours := svc.Name == svc.Labels[rewrite.LabelCluster] && svc.Labels[rewrite.LabelNamespace] == metav1.NamespaceDefault &&
		svc.Annotations[rewrite.AnnotationName] == "kubernetes" && svc.Annotations[rewrite.AnnotationNamespace] == metav1.NamespaceDefault
	if !ours || svc.Spec.Type == corev1.ServiceTypeExternalName || svc.DeletionTimestamp != nil {
		return netip.AddrPort{}, ErrNoDoor
	}
	if !slices.ContainsFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool {
		return p.Port == doorPort && p.Name == "https" && (p.Protocol == corev1.ProtocolTCP || p.Protocol == "")
	}) {
		return netip.AddrPort{}, ErrNoDoor
	}
	ip, err := netip.ParseAddr(svc.Spec.ClusterIP)
	if err != nil || ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() {
		return netip.AddrPort{}, ErrNoDoor
	}
	return netip.AddrPortFrom(ip, doorPort), nil
}
