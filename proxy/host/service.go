// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// keptService is a view of the host Service that leads to the door. A user who
// could change it would lead the whole cluster elsewhere.
var keptService = types.NamespacedName{Namespace: "default", Name: "kubernetes"}

// errDNSService is returned for a deletion of the DNS's Service.
var errDNSService = errors.New("the Service of the cluster's DNS cannot be deleted: pods have its address")

// isDNSService reports whether an object is the Service of the cluster's DNS.
func (s *Storage) isDNSService(k key, obj runtime.Object) bool {
	_, service := obj.(*corev1.Service)
	return service && s.cfg.Translator.OwnsDNS(k.namespace, k.name)
}

// hiddenInServices knows the field that an API server hides in a Service of type
// ExternalName (defaultOnReadInternalTrafficPolicy upstream).
func hiddenInServices(asked runtime.Object, path string) bool {
	svc, ok := asked.(*corev1.Service)
	return ok && svc.Spec.Type == corev1.ServiceTypeExternalName && path == "spec.internalTrafficPolicy"
}

// keepsDNS refuses to begin the deletion of kube-system/kube-dns. While it is
// gone its address is free for a Service of any host namespace, and the Service
// with that address answers the questions of all pods. At another address it is
// of no use and may go, and so may one that the host deletes already.
func (s *Storage) keepsDNS(k key, h runtime.Object) error {
	svc, ok := h.(*corev1.Service)
	if !ok || !s.cfg.Translator.OwnsDNS(k.namespace, k.name) || svc.DeletionTimestamp != nil {
		return nil
	}
	if ip := s.cfg.Translator.Cluster().DNSIP; ip != "" && ip != svc.Spec.ClusterIP {
		return nil
	}
	return apierrors.NewForbidden(s.resource, k.name, errDNSService)
}
