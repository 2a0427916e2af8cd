// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
)

const (
	// announceInterval is how often a replica looks whether it is announced.
	announceInterval = 10 * time.Second
	// withdrawTimeout bounds the farewell of a replica that ends.
	withdrawTimeout = 2 * time.Second

	// checkInterval is how often the leader knocks at all doors, and
	// failuresToClose how many times in a row it gets no answer before traffic
	// is led elsewhere.
	checkInterval   = 2 * time.Second
	failuresToClose = 2
	// forgetAfter is when a door that does not answer is taken off the list. A
	// replica that is there after all puts itself on it again.
	forgetAfter = 10 * time.Minute
)

// Doors are the addresses behind the cluster's own Service: those of porticods
// that are pods of the host, which the host's controllers keep, or one
// EndpointSlice for each porticod outside of it. Each replica puts itself on the
// list and takes itself off; the leader closes the doors of those that died.
type Doors struct {
	o      Options
	owner  func() metav1.OwnerReference
	client kubernetes.Interface
	clock  clock.WithTicker

	view   informers.SharedInformerFactory
	slices discoverylisters.EndpointSliceLister
	gone   chan struct{} // has a token when a slice was deleted
}

// NewDoors returns the doors of a cluster, of which o describes ours. owner returns
// the anchor of now.
func NewDoors(client kubernetes.Interface, o Options, owner func() metav1.OwnerReference) *Doors {
	o = o.complete()
	selector := rewrite.LabelCluster + "=" + o.Cluster + "," + discoveryv1.LabelServiceName + " in (" + strings.Join(o.ledServices(), ",") + ")"
	view := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(o.Namespace),
		informers.WithTweakListOptions(func(l *metav1.ListOptions) { l.LabelSelector = selector }))
	lister := view.Discovery().V1().EndpointSlices()
	d := &Doors{
		o: o, owner: owner, client: client, clock: o.Clock,
		view: view, slices: lister.Lister(), gone: make(chan struct{}, 1),
	}
	// It fails only for an informer that has ended, and this one has not begun.
	_, _ = lister.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: func(any) {
		select {
		case d.gone <- struct{}{}:
		default:
		}
	}})
	return d
}

// ledServices are the Services that lead to a porticod.
func (o Options) ledServices() []string {
	if o.DNS == nil {
		return []string{o.Service}
	}
	return []string{o.Service, o.DNS.Service}
}

// behindService selects the slices of the cluster's own Service. The host's
// controllers give those that they make the labels of the Service; a slice of
// another user that names it does not have them.
func (o Options) behindService() labels.Selector {
	return labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: o.Service, rewrite.LabelCluster: o.Cluster})
}

// Ready returns the addresses at which the cluster can be reached now, sorted.
// It knows none before Observe.
func (d *Doors) Ready() []netip.AddrPort {
	found, err := d.slices.EndpointSlices(d.o.Namespace).List(d.o.behindService())
	if err != nil {
		return nil
	}
	var ready []netip.AddrPort
	for _, s := range found {
		for _, p := range s.Ports {
			if p.Port == nil {
				continue
			}
			for i := range s.Endpoints {
				if !open(&s.Endpoints[i]) {
					continue
				}
				for _, a := range s.Endpoints[i].Addresses {
					if ip, err := netip.ParseAddr(a); err == nil {
						ready = append(ready, netip.AddrPortFrom(ip, uint16(*p.Port)))
					}
				}
			}
		}
	}
	slices.SortFunc(ready, netip.AddrPort.Compare)
	return slices.Compact(ready)
}

// The purpose of slices, as part of their names.
const (
	doorSlice = "-door"
	dnsSlice  = "-dns"
)

// open reports whether traffic goes to an endpoint. Unknown means yes, as the
// API says.
func open(e *discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready }

// Observe keeps the view of all doors, and ours among them, until ctx ends. A
// replica that ends takes its door off the list, if there are several.
func (d *Doors) Observe(ctx context.Context) error {
	d.view.Start(ctx.Done())
	defer d.view.Shutdown()
	if !d.o.Advertise.IsValid() {
		<-ctx.Done()
		return nil
	}
	tick := d.clock.NewTicker(announceInterval)
	defer tick.Stop()
	gone := d.gone
	if d.o.Replicas {
		gone = nil // A leader that takes a door off its list has a reason. It comes back at the next tick.
	}
	for {
		select {
		case <-ctx.Done():
			return d.withdraw(context.WithoutCancel(ctx))
		case <-tick.C():
		case <-gone:
		}
		if d.announced() {
			continue
		}
		if err := d.o.announce(ctx, d.client, d.owner()); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Info("Door not announced on the host", "endpointSlice", d.o.sliceName(), "err", err)
		}
	}
}

// announced reports whether the host has the slices that lead to this porticod.
func (d *Doors) announced() bool {
	ours := d.slices.EndpointSlices(d.o.Namespace)
	_, err := ours.Get(d.o.sliceName())
	if err == nil && d.o.DNS != nil {
		_, err = ours.Get(d.o.sliceNameOf(dnsSlice))
	}
	return !apierrors.IsNotFound(err)
}

// withdraw takes our door off the list, so that no new connection comes while
// the last requests are served.
func (d *Doors) withdraw(ctx context.Context) error {
	if !d.o.Replicas {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, withdrawTimeout)
	defer cancel()
	all := d.client.DiscoveryV1().EndpointSlices(d.o.Namespace)
	err := all.Delete(ctx, d.o.sliceName(), metav1.DeleteOptions{})
	if d.o.DNS != nil {
		err = errors.Join(ignoreNotFound(err), ignoreNotFound(all.Delete(ctx, d.o.sliceNameOf(dnsSlice), metav1.DeleteOptions{})))
	}
	if err != nil && !apierrors.IsNotFound(err) {
		klog.FromContext(ctx).Info("Door not taken off the host's list; the leader will find that it does not answer", "err", err)
	}
	return nil
}

// Knock asks a door whether it serves.
type Knock func(ctx context.Context, at netip.AddrPort) error

// Check knocks at all doors outside of the host until ctx ends, and opens and
// closes them by their answers. Only the leader calls it. client makes its
// changes.
func (d *Doors) Check(ctx context.Context, client kubernetes.Interface, knock Knock) error {
	if !d.o.Advertise.IsValid() {
		<-ctx.Done()
		return nil // Pods have probes.
	}
	c := checker{doors: d, client: client, knock: knock, silent: map[string]silence{}}
	tick := d.clock.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
		}
		if err := c.round(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Info("Doors on the host not corrected", "err", err)
		}
	}
}

// announce puts this porticod's own address behind the Service, and behind that
// of the DNS if it is that, too.
func (o Options) announce(ctx context.Context, client kubernetes.Interface, owner metav1.OwnerReference) error {
	if err := o.ensureSlice(ctx, client, o.slice(owner)); err != nil || o.DNS == nil {
		return err
	}
	return o.ensureSlice(ctx, client, o.dnsSlice(owner))
}

// ensureSlice creates or corrects a slice of ours.
func (o Options) ensureSlice(ctx context.Context, client kubernetes.Interface, want *discoveryv1.EndpointSlice) error {
	all := client.DiscoveryV1().EndpointSlices(o.Namespace)
	return retry.OnError(retry.DefaultBackoff, raced, func() error {
		found, err := all.Get(ctx, want.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = all.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
			return err
		}
		if err != nil {
			return err
		}
		if err := o.ours(found); err != nil {
			return err
		}
		if found.AddressType != want.AddressType {
			// Immutable.
			if err := all.Delete(ctx, want.Name, metav1.DeleteOptions{}); err != nil {
				return err
			}
			_, err = all.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
			return err
		}
		updated := found.DeepCopy()
		updated.Labels, updated.OwnerReferences = want.Labels, want.OwnerReferences
		updated.Endpoints, updated.Ports = want.Endpoints, want.Ports
		if apiequality.Semantic.DeepEqual(found, updated) {
			return nil
		}
		_, err = all.Update(ctx, updated, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
}

// sliceName is one name for a porticod that is alone, wherever it moves, and
// one for each address otherwise.
func (o Options) sliceName() string { return o.sliceNameOf(doorSlice) }

func (o Options) sliceNameOf(what string) string {
	name := o.Service + what
	if !o.Replicas {
		return name
	}
	address := strings.NewReplacer(":", "-", ".", "-").Replace(o.Advertise.Unmap().String())
	return name + "-" + strings.Trim(address, "-") + "-" + strconv.Itoa(int(o.TargetPort))
}

func (o Options) slice(owner metav1.OwnerReference) *discoveryv1.EndpointSlice {
	return o.sliceOf(doorSlice, o.Service, owner, endpointPort("https", corev1.ProtocolTCP, o.TargetPort))
}

// sliceOf leads a Service of the host to this porticod.
func (o Options) sliceOf(what, service string, owner metav1.OwnerReference, ports ...discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
	family, ready := discoveryv1.AddressTypeIPv4, true
	if o.Advertise.Unmap().Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: o.sliceNameOf(what), Namespace: o.Namespace,
			Labels: map[string]string{
				rewrite.LabelCluster:         o.Cluster,
				discoveryv1.LabelServiceName: service,
				discoveryv1.LabelManagedBy:   rewrite.ManagedBy,
			},
			OwnerReferences: []metav1.OwnerReference{owner},
		},
		AddressType: family,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{o.Advertise.Unmap().String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		}},
		Ports: ports,
	}
}

func endpointPort(name string, protocol corev1.Protocol, port int32) discoveryv1.EndpointPort {
	return discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &port}
}
