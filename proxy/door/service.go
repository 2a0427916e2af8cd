// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
)

// LabelDoor marks the pods of a porticod that runs inside the host cluster.
// The cluster's own Service selects by it, and by nothing that a tenant could
// put on a pod.
const LabelDoor = rewrite.Prefix + "door"

// fieldManager is the name of the door in the managedFields of host objects. It
// is the one that package host uses for translated objects.
const fieldManager = "portico"

// ErrNotOurs is returned when something else has the name of the cluster's own
// Service or of its workload ServiceAccount.
var ErrNotOurs = errors.New("object on the host belongs to something else")

// Options describe how the host reaches a virtual cluster.
type Options struct {
	Cluster        string // name of the virtual cluster
	Namespace      string // on the host
	Service        string // defaults to Cluster
	ServiceAccount string // that pods run as; none is made for "" and "default"

	// TargetPort is where porticod listens; the Service has port 443.
	TargetPort int32

	// Advertise is the address of a porticod outside of the host cluster. Zero
	// means inside: the Service selects pods by LabelDoor.
	Advertise netip.Addr

	// Replicas says that other porticods lead to the same cluster.
	Replicas bool

	// Clock is the real one when nil.
	Clock clock.WithTicker

	// DNS is set when this porticod is the DNS of its cluster, too.
	DNS *DNSEndpoint
}

// Door is the host end of a virtual cluster.
type Door struct {
	ClusterIP string
	UID       types.UID
	// Owner is for every host object of the cluster: the anchor, with which they
	// go.
	Owner metav1.OwnerReference
}

// EnsureService creates or corrects the anchor, which owns every host object of
// the cluster, the cluster's own Service, which pods find as default/kubernetes,
// and the ServiceAccount that its pods run as. It may be called again at any
// time. The Service keeps its address, unless the host has given that away while
// there was no Service.
func EnsureService(ctx context.Context, client kubernetes.Interface, o Options) (Door, error) {
	o = o.complete()
	if o.Advertise.IsValid() && (o.Advertise.IsLoopback() || o.Advertise.IsUnspecified() || o.Advertise.IsLinkLocalUnicast() || o.Advertise.IsMulticast()) {
		return Door{}, fmt.Errorf("advertise address %s: pods cannot reach it", o.Advertise)
	}
	anchor, _, err := o.ensureAnchor(ctx, client)
	if err != nil {
		return Door{}, fmt.Errorf("host ConfigMap %s/%s: %w", o.Namespace, rewrite.AnchorName(o.Cluster), err)
	}
	svc, err := o.ensureService(ctx, client, anchor)
	if err != nil {
		return Door{}, fmt.Errorf("host Service %s/%s: %w", o.Namespace, o.Service, err)
	}
	if err := o.note(ctx, client, AnnotationServiceIP, svc.Spec.ClusterIP); err != nil {
		return Door{}, fmt.Errorf("host ConfigMap %s/%s: %w", o.Namespace, anchor.Name, err)
	}
	d := Door{
		ClusterIP: svc.Spec.ClusterIP,
		UID:       svc.UID,
		Owner:     ownerOf(anchor),
	}
	if o.Advertise.IsValid() {
		if err := o.announce(ctx, client, d.Owner); err != nil {
			return Door{}, fmt.Errorf("host EndpointSlice %s/%s: %w", o.Namespace, o.sliceName(), err)
		}
	}
	if o.ServiceAccount != "" && o.ServiceAccount != "default" {
		if _, err := o.ensureServiceAccount(ctx, client, d.Owner); err != nil {
			return Door{}, fmt.Errorf("host ServiceAccount %s/%s: %w", o.Namespace, o.ServiceAccount, err)
		}
	}
	return d, nil
}

func (o Options) complete() Options {
	if o.Service == "" {
		o.Service = o.Cluster
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return o
}

func (o Options) labels() map[string]string {
	return map[string]string{rewrite.LabelCluster: o.Cluster}
}

// ours reports whether an object that was found carries this cluster's label.
func (o Options) ours(m metav1.Object) error {
	if m.GetLabels()[rewrite.LabelCluster] == o.Cluster {
		return nil
	}
	return fmt.Errorf("%w: it lacks the label %s=%s", ErrNotOurs, rewrite.LabelCluster, o.Cluster)
}

func (o Options) service(owner metav1.OwnerReference) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: o.Service, Namespace: o.Namespace,
			Labels: o.labels(), OwnerReferences: []metav1.OwnerReference{owner},
			Annotations: map[string]string{
				rewrite.AnnotationName:      "kubernetes",
				rewrite.AnnotationNamespace: metav1.NamespaceDefault,
				rewrite.AnnotationKind:      "Service",
			},
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP,
			Ports: []corev1.ServicePort{{
				Name: "https", Protocol: corev1.ProtocolTCP, Port: 443, TargetPort: intstr.FromInt32(o.TargetPort),
			}},
		},
	}
	svc.Labels[rewrite.LabelNamespace] = metav1.NamespaceDefault
	if !o.Advertise.IsValid() {
		svc.Spec.Selector = map[string]string{LabelDoor: o.Cluster}
	}
	return svc
}

func (o Options) ensureService(ctx context.Context, client kubernetes.Interface, anchor *corev1.ConfigMap) (svc *corev1.Service, err error) {
	services, want := client.CoreV1().Services(o.Namespace), o.service(ownerOf(anchor))
	err = retry.OnError(retry.DefaultBackoff, raced, func() error {
		svc, err = services.Get(ctx, o.Service, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			svc, err = createAt(ctx, services, want, anchor.Annotations[AnnotationServiceIP])
			return err
		}
		if err != nil {
			return err
		}
		if err := o.ours(svc); err != nil {
			return err
		}
		updated := correctedService(svc, want)
		if apiequality.Semantic.DeepEqual(svc, updated) {
			return nil
		}
		svc, err = services.Update(ctx, updated, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
	return svc, err
}

// correctedService is a Service that exists, led to the door as want is. A chart may
// have made it, with a type and ports of its own besides 443.
func correctedService(svc, want *corev1.Service) *corev1.Service {
	updated := svc.DeepCopy()
	updated.OwnerReferences = withOwner(svc.OwnerReferences, want.OwnerReferences[0])
	if updated.Annotations == nil {
		updated.Annotations = map[string]string{}
	}
	maps.Copy(updated.Annotations, want.Annotations)
	maps.Copy(updated.Labels, want.Labels)
	updated.Spec.Selector = want.Spec.Selector
	setPort(&updated.Spec, want.Spec.Ports[0])
	return updated
}

// createAt creates a Service with the address that it had before, if there is
// one. If the host has given it away, a Service that only new pods can find is
// better than none.
func createAt(ctx context.Context, services typedcorev1.ServiceInterface, want *corev1.Service, was string) (*corev1.Service, error) {
	want = want.DeepCopy()
	want.Spec.ClusterIP = was
	created, err := services.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
	if was != "" && apierrors.IsInvalid(err) {
		klog.FromContext(ctx).Error(err, "The address of a Service could not be had again; pods that use it must be created again",
			"hostObject", klog.KObj(want), "clusterIP", was)
		want.Spec.ClusterIP = ""
		created, err = services.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
	}
	return created, err
}

// withOwner adds the anchor as an owner, in place of one that was deleted. It is the
// controller if there is no other.
func withOwner(all []metav1.OwnerReference, owner metav1.OwnerReference) []metav1.OwnerReference {
	former := func(r metav1.OwnerReference) bool {
		return r.UID != owner.UID && r.APIVersion == owner.APIVersion && r.Kind == owner.Kind && r.Name == owner.Name
	}
	out := slices.DeleteFunc(slices.Clone(all), former)
	controlled := false
	for _, r := range out {
		if r.UID == owner.UID {
			return out
		}
		controlled = controlled || r.Controller != nil && *r.Controller
	}
	if controlled {
		owner.Controller = nil
	}
	return append(out, owner)
}

// setPort makes the port of the same number lead to want's target.
func setPort(spec *corev1.ServiceSpec, want corev1.ServicePort) {
	for i := range spec.Ports {
		if p := &spec.Ports[i]; p.Port == want.Port && p.Protocol == want.Protocol {
			p.Name, p.TargetPort = want.Name, want.TargetPort
			return
		}
	}
	spec.Ports = append(spec.Ports, want)
}

// ensureServiceAccount creates the account if it is not there, and reports whether
// it did.
func (o Options) ensureServiceAccount(ctx context.Context, client kubernetes.Interface, owner metav1.OwnerReference) (bool, error) {
	accounts := client.CoreV1().ServiceAccounts(o.Namespace)
	found, err := accounts.Get(ctx, o.ServiceAccount, metav1.GetOptions{})
	if err == nil {
		return false, o.ours(found)
	}
	if !apierrors.IsNotFound(err) {
		return false, err
	}
	no := false
	_, err = accounts.Create(ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Name: o.ServiceAccount, Namespace: o.Namespace, Labels: o.labels(),
			OwnerReferences: []metav1.OwnerReference{owner},
		},
		AutomountServiceAccountToken: &no,
	}, metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	return err == nil, err
}

// raced reports whether another replica was faster.
func raced(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }
