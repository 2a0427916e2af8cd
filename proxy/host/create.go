// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

// Create implements storage.Interface: the host makes the object, and the
// client gets the host's reply, with its uid and revision. The uid that the
// registry made up before is forgotten.
func (s *Storage) Create(ctx context.Context, path string, obj, out runtime.Object, _ uint64) error {
	k, err := s.parse(path)
	if err != nil {
		return err
	}
	if rv, err := s.versioner.ObjectResourceVersion(obj); err == nil && rv != 0 {
		return storage.ErrResourceVersionSetOnCreate
	}
	return s.create(ctx, k, obj, out)
}

func (s *Storage) create(ctx context.Context, k key, obj, out runtime.Object) error {
	if s.isOwnService(k) {
		return storage.NewKeyExistsError(k.path, 0)
	}
	if err := s.admissible(k, obj); err != nil {
		return err
	}
	versioned, err := s.toVersioned(obj)
	if err != nil {
		return err
	}
	if err := s.vacant(ctx, k); err != nil {
		return err
	}
	in := s.cfg.Inputs(ctx, versioned)
	if in.Former, err = s.claims(ctx, k, versioned); err != nil {
		return err
	}
	switch v := versioned.(type) {
	case *corev1.Pod:
		in.HostClasses, err = s.hostClasses(ctx, v, k)
	case *resourcev1.ResourceClaim:
		err = s.claimFacts(ctx, v, k, &in)
	}
	if err != nil {
		return err
	}
	h, err := s.cfg.Translator.ToHost(versioned, in)
	if err != nil {
		return s.refusal(ctx, err, k)
	}
	if pod, ok := h.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
		if err := s.mayRunOn(ctx, k, pod.Spec.NodeName, pod); err != nil {
			return err
		}
	}
	m, err := meta.Accessor(h)
	if err != nil {
		return err
	}
	m.SetUID("")
	m.SetResourceVersion("")
	k = k.about(h)
	settle, err := s.ensureReferents(ctx, k, versioned)
	if err != nil {
		return err
	}
	reply, err := s.host.create(s.withWarnings(ctx, k), h)
	settle(isRefusal(err))
	if err != nil {
		return s.interpret(ctx, err, k)
	}
	return s.accept(ctx, reply, out, false)
}

// hostClasses finds the classes that a new pod has on the host. When they
// cannot be found out the pod is refused: without its class it would be another
// pod.
func (s *Storage) hostClasses(ctx context.Context, pod *corev1.Pod, k key) (rewrite.HostClasses, error) {
	if s.cfg.HostClasses == nil {
		return rewrite.HostClasses{}, nil
	}
	of, err := s.cfg.HostClasses(ctx, pod)
	switch {
	case errors.Is(err, rewrite.ErrNoClass):
		return of, apierrors.NewForbidden(s.resource, k.name, err)
	case err != nil:
		klog.FromContext(ctx).Error(err, "Classes of a pod cannot be looked up", "virtualObject", k.ref())
		return of, unavailable("the classes of the pod cannot be looked up now")
	}
	return of, nil
}

// isOwnService reports whether k is default/kubernetes, which is a view of the
// host Service that leads to the door. A user who could change it would lead
// the whole cluster elsewhere.
func (s *Storage) isOwnService(k key) bool {
	return s.kind.resource == "services" && k.namespace == "default" && k.name == "kubernetes"
}

// admissible refuses an object that a tenant may not write.
func (s *Storage) admissible(k key, obj runtime.Object) error {
	if s.isOwnService(k) {
		return s.ownServiceForbidden(k)
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	if errs := rewrite.ValidateVirtual(m); len(errs) > 0 {
		return apierrors.NewInvalid(schema.GroupKind{Group: s.kind.group, Kind: s.kind.name}, k.name, errs)
	}
	return nil
}

func (s *Storage) ownServiceForbidden(k key) error {
	return apierrors.NewForbidden(s.resource, k.name, rewrite.ErrOwnService)
}

// errDNSService is returned for a deletion of the DNS's Service.
var errDNSService = errors.New("the Service of the cluster's DNS cannot be deleted: pods have its address")

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

// refusal returns a tenant's error for an object that has no translation.
func (s *Storage) refusal(ctx context.Context, err error, k key) error {
	var status *apierrors.StatusError
	switch {
	case errors.Is(err, rewrite.ErrOwnService):
		return s.ownServiceForbidden(k)
	case errors.As(err, &status):
		return status // the fields that the tenant may not write, one by one
	}
	klog.FromContext(ctx).Error(err, "Object has no translation", "resource", s.kind.resource, "virtualObject", k.ref())
	return apierrors.NewInternalError(errors.New("the object cannot be translated for the host of this cluster"))
}
