// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"portico.dev/portico/rewrite"
)

// AnnotationDNSIP on the anchor remembers the address of the cluster's DNS, which
// every pod has been given, beyond the life of the DNS's Service. In clusters
// from before there was an anchor it is on the cluster's own Service.
const AnnotationDNSIP = rewrite.Prefix + "dns-ip"

// DNSEndpoint is a porticod that is the DNS of its cluster.
type DNSEndpoint struct {
	Service string // on the host
	Port    int32
}

// DNSOptions describe the Service of a cluster's DNS.
type DNSOptions struct {
	// Door has DNS set if porticod itself is the DNS, and not pods of the virtual
	// cluster.
	Door Options
	// Translator of the cluster, made with DNS and without DNSIP.
	Translator *rewrite.Translator
}

// DNSSelector is the selector of the host Service of an embedded DNS: the pods
// of porticod, or nil when porticod is outside of the host cluster.
func (o Options) DNSSelector() map[string]string {
	if o.Advertise.IsValid() {
		return nil
	}
	return map[string]string{LabelDoor: o.Cluster}
}

// EnsureDNS creates or corrects the host Service of the virtual
// kube-system/kube-dns and returns its address. It comes before the first pod
// is translated, so that no pod is without it. The address stays the same for
// the life of the cluster, unless the host has given it away.
func EnsureDNS(ctx context.Context, client kubernetes.Interface, o DNSOptions, d Door) (string, error) {
	o.Door = o.Door.complete()
	name, err := o.serviceName(ctx, client)
	if err != nil {
		return "", fmt.Errorf("find the host Service of the DNS: %w", err)
	}
	svc, err := o.ensureService(ctx, client, name)
	if err != nil {
		return "", fmt.Errorf("host Service %s/%s: %w", o.Door.Namespace, name, err)
	}
	if o.Door.DNS != nil {
		o.Door.DNS.Service = svc.Name // announced from now on
	}
	if err := o.Door.note(ctx, client, AnnotationDNSIP, svc.Spec.ClusterIP); err != nil {
		return "", fmt.Errorf("host ConfigMap %s/%s: %w", o.Door.Namespace, rewrite.AnchorName(o.Door.Cluster), err)
	}
	if err := o.ensureEndpoints(ctx, client, svc, d); err != nil {
		return "", fmt.Errorf("host EndpointSlice %s/%s: %w", o.Door.Namespace, name, err)
	}
	return svc.Spec.ClusterIP, nil
}

// serviceName is the name that the Service has on the host: with the name of the
// cluster, it may be one that an earlier version shortened.
func (o DNSOptions) serviceName(ctx context.Context, client kubernetes.Interface) (string, error) {
	found, err := rewrite.Find(o.Translator, "Service", rewrite.DNSNamespace, rewrite.DNSName, func(name string) (*corev1.Service, error) {
		return client.CoreV1().Services(o.Door.Namespace).Get(ctx, name, metav1.GetOptions{})
	})
	switch {
	case err == nil:
		return found.Name, nil
	case apierrors.IsNotFound(err), errors.Is(err, rewrite.ErrForeign): // which ensureService reports
		return o.Translator.ServiceName(rewrite.DNSNamespace, rewrite.DNSName), nil
	}
	return "", err
}

func (o DNSOptions) ensureService(ctx context.Context, client kubernetes.Interface, name string) (svc *corev1.Service, err error) {
	services := client.CoreV1().Services(o.Door.Namespace)
	err = retry.OnError(retry.DefaultBackoff, raced, func() error {
		svc, err = services.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			svc, err = o.create(ctx, client)
			return err
		}
		if err != nil {
			return err
		}
		if _, _, err := o.Translator.Identify("Service", svc); err != nil {
			return errors.Join(ErrNotOurs, err)
		}
		if svc.Spec.ClusterIP == corev1.ClusterIPNone {
			// Made while the DNS was off. A headless Service stays headless;
			// the retry makes it again.
			if err := services.Delete(ctx, name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(svc.UID))}); err != nil {
				return err
			}
			svc, err = o.create(ctx, client)
			return err
		}
		updated, err := o.corrected(svc)
		if err != nil || apiequality.Semantic.DeepEqual(svc, updated) {
			return err
		}
		svc, err = services.Update(ctx, updated, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
	return svc, err
}

// desired is the host Service as it is made.
func (o DNSOptions) desired() (*corev1.Service, error) {
	return o.Translator.ServiceToHost(o.Translator.DNSService(), rewrite.Inputs{
		NamespaceLabels: map[string]string{corev1.LabelMetadataName: rewrite.DNSNamespace},
	})
}

// create asks for the address that pods have been given. If the host has given
// it away, a DNS that only new pods can find is better than none.
func (o DNSOptions) create(ctx context.Context, client kubernetes.Interface) (*corev1.Service, error) {
	svc, err := o.desired()
	if err != nil {
		return nil, err
	}
	was, err := o.noted(ctx, client)
	if err != nil {
		return nil, err
	}
	return createAt(ctx, client.CoreV1().Services(o.Door.Namespace), svc, was)
}

// noted returns the address that the DNS had, or nothing.
func (o DNSOptions) noted(ctx context.Context, client kubernetes.Interface) (string, error) {
	anchor, err := client.CoreV1().ConfigMaps(o.Door.Namespace).Get(ctx, rewrite.AnchorName(o.Door.Cluster), metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if ip := anchor.Annotations[AnnotationDNSIP]; ip != "" {
		return ip, nil
	}
	door, err := client.CoreV1().Services(o.Door.Namespace).Get(ctx, o.Door.Service, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return door.Annotations[AnnotationDNSIP], nil
}

// corrected is a host Service that exists, led to where the DNS is now.
func (o DNSOptions) corrected(svc *corev1.Service) (*corev1.Service, error) {
	want, err := o.desired()
	if err != nil {
		return nil, err
	}
	// Values that a tenant may have written while the DNS was off go; values
	// that the host allocated stay.
	spec, cluster := want.Spec, corev1.ServiceInternalTrafficPolicyCluster
	spec.ClusterIP, spec.ClusterIPs = svc.Spec.ClusterIP, svc.Spec.ClusterIPs
	spec.IPFamilies, spec.IPFamilyPolicy = svc.Spec.IPFamilies, svc.Spec.IPFamilyPolicy
	spec.SessionAffinity, spec.InternalTrafficPolicy = corev1.ServiceAffinityNone, &cluster
	updated := svc.DeepCopy()
	updated.Spec = spec
	return updated, nil
}

// ensureEndpoints leads the Service to a porticod outside of the host. In all
// other cases the host finds the endpoints itself, and slices that are left
// from before must not stay next to them.
func (o DNSOptions) ensureEndpoints(ctx context.Context, client kubernetes.Interface, svc *corev1.Service, d Door) error {
	if o.Door.DNS != nil && o.Door.Advertise.IsValid() {
		return o.Door.ensureSlice(ctx, client, o.Door.dnsSlice(d.Owner))
	}
	all := client.DiscoveryV1().EndpointSlices(o.Door.Namespace)
	found, err := all.List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(labels.Set{
		discoveryv1.LabelServiceName: svc.Name, discoveryv1.LabelManagedBy: rewrite.ManagedBy, rewrite.LabelCluster: o.Door.Cluster,
	}).String()})
	if err != nil {
		return err
	}
	var errs []error
	for i := range found.Items {
		errs = append(errs, ignoreNotFound(all.Delete(ctx, found.Items[i].Name, metav1.DeleteOptions{})))
	}
	return errors.Join(errs...)
}

func (o Options) dnsSlice(owner metav1.OwnerReference) *discoveryv1.EndpointSlice {
	return o.sliceOf(dnsSlice, o.DNS.Service, owner,
		endpointPort("dns", corev1.ProtocolUDP, o.DNS.Port), endpointPort("dns-tcp", corev1.ProtocolTCP, o.DNS.Port))
}

// followDNS opens, closes or (ready nil) removes the slice by which a porticod
// is the DNS, as is about to be done with its door. There may be none.
func (c *checker) followDNS(ctx context.Context, door *discoveryv1.EndpointSlice, ready *bool) error {
	rest, ok := strings.CutPrefix(door.Name, c.doors.o.Service+doorSlice)
	if !ok {
		return nil
	}
	name, all := c.doors.o.Service+dnsSlice+rest, c.client.DiscoveryV1().EndpointSlices(door.Namespace)
	s, err := all.Get(ctx, name, metav1.GetOptions{})
	if err != nil || c.doors.o.ours(s) != nil || len(s.Endpoints) == 0 {
		return ignoreNotFound(err)
	}
	if ready == nil {
		return ignoreNotFound(all.Delete(ctx, name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(s.UID))}))
	}
	s.Endpoints[0].Conditions.Ready = ready
	_, err = all.Update(ctx, s, metav1.UpdateOptions{FieldManager: fieldManager})
	return ignoreNotFound(err)
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
