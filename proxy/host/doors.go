// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
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
	// failuresToClose how many times in a row it hears nothing before traffic
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
	o      DoorOptions
	door   Door
	client kubernetes.Interface
	clock  clock.WithTicker

	view   informers.SharedInformerFactory
	slices discoverylisters.EndpointSliceLister
}

// NewDoors returns the doors of a cluster, of which o describes ours.
func NewDoors(client kubernetes.Interface, o DoorOptions, d Door) *Doors {
	o = o.complete()
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: o.Service})
	view := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(o.Namespace),
		informers.WithTweakListOptions(func(l *metav1.ListOptions) { l.LabelSelector = selector.String() }))
	lister := view.Discovery().V1().EndpointSlices()
	lister.Informer()
	return &Doors{
		o: o, door: d, client: client, clock: o.Clock,
		view: view, slices: lister.Lister(),
	}
}

// Ready returns the addresses at which the cluster can be reached now, sorted.
// It knows none before Observe.
func (d *Doors) Ready() []netip.AddrPort {
	found, err := d.slices.EndpointSlices(d.o.Namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: d.o.Service}))
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

// What slices are for, as part of their names.
const (
	doorSlice = "-door"
	dnsSlice  = "-dns"
)

// open reports whether traffic goes to an endpoint. Unknown means yes, as the
// API says.
func open(e *discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready }

// Observe keeps the view of all doors, and ours among them, until ctx ends. Of
// several replicas, one that ends takes its door off the list.
func (d *Doors) Observe(ctx context.Context) error {
	d.view.Start(ctx.Done())
	defer d.view.Shutdown()
	if !d.o.Advertise.IsValid() {
		<-ctx.Done()
		return nil
	}
	tick := d.clock.NewTicker(announceInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return d.withdraw(context.WithoutCancel(ctx))
		case <-tick.C():
		}
		_, err := d.slices.EndpointSlices(d.o.Namespace).Get(d.o.sliceName())
		if !apierrors.IsNotFound(err) {
			continue
		}
		if err := d.o.announce(ctx, d.client, d.door.Owner); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Info("Door not announced on the host", "endpointSlice", d.o.sliceName(), "err", err)
		}
	}
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
// closes them by what it hears. It is the leader's. client makes its changes.
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
func (o DoorOptions) announce(ctx context.Context, client kubernetes.Interface, owner metav1.OwnerReference) error {
	if err := o.ensureSlice(ctx, client, o.slice(owner)); err != nil || o.DNS == nil {
		return err
	}
	return o.ensureSlice(ctx, client, o.dnsSlice(owner))
}

// ensureSlice creates or corrects a slice of ours.
func (o DoorOptions) ensureSlice(ctx context.Context, client kubernetes.Interface, want *discoveryv1.EndpointSlice) error {
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
func (o DoorOptions) sliceName() string { return o.sliceNameOf(doorSlice) }

func (o DoorOptions) sliceNameOf(what string) string {
	name := o.Service + what
	if !o.Replicas {
		return name
	}
	address := strings.NewReplacer(":", "-", ".", "-").Replace(o.Advertise.Unmap().String())
	return name + "-" + strings.Trim(address, "-") + "-" + strconv.Itoa(int(o.TargetPort))
}

func (o DoorOptions) slice(owner metav1.OwnerReference) *discoveryv1.EndpointSlice {
	return o.sliceOf(doorSlice, o.Service, owner, endpointPort("https", corev1.ProtocolTCP, o.TargetPort))
}

// sliceOf leads a Service of the host to this porticod.
func (o DoorOptions) sliceOf(what, service string, owner metav1.OwnerReference, ports ...discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
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

// silence is since when a door has not answered, and how often.
type silence struct {
	since    time.Time
	failures int
}

// checker is one leader's knowledge of the doors.
type checker struct {
	doors  *Doors
	client kubernetes.Interface
	knock  Knock
	silent map[string]silence // by name of the slice
}

// round knocks once at every door, at all of them at the same time.
func (c *checker) round(ctx context.Context) error {
	found, err := c.doors.slices.EndpointSlices(c.doors.o.Namespace).List(labels.SelectorFromSet(labels.Set{
		discoveryv1.LabelServiceName: c.doors.o.Service, discoveryv1.LabelManagedBy: rewrite.ManagedBy, rewrite.LabelCluster: c.doors.o.Cluster,
	}))
	if err != nil {
		return err
	}
	if len(found) == 1 && found[0].Name == c.doors.o.sliceName() {
		return nil // Ours is the only one.
	}
	answers := c.ask(ctx, found)
	if ctx.Err() != nil || !slices.Contains(answers, nil) {
		// If nobody answers, not even we ourselves, it is this process that
		// hears nothing: pods may well reach what we don't.
		return nil
	}
	var errs []error
	for i, s := range found {
		errs = append(errs, c.judge(ctx, s, answers[i]))
	}
	return errors.Join(errs...)
}

func (c *checker) ask(ctx context.Context, found []*discoveryv1.EndpointSlice) []error {
	ctx, cancel := context.WithTimeout(ctx, checkInterval)
	defer cancel()
	answers := make([]error, len(found))
	done := make(chan struct{})
	for i, s := range found {
		go func() {
			answers[i] = c.askOne(ctx, s)
			done <- struct{}{}
		}()
	}
	for range found {
		<-done
	}
	return answers
}

func (c *checker) askOne(ctx context.Context, s *discoveryv1.EndpointSlice) error {
	if len(s.Endpoints) != 1 || len(s.Endpoints[0].Addresses) != 1 || len(s.Ports) != 1 || s.Ports[0].Port == nil {
		return errors.New("not a door that a porticod made")
	}
	ip, err := netip.ParseAddr(s.Endpoints[0].Addresses[0])
	if err != nil {
		return err
	}
	return c.knock(ctx, netip.AddrPortFrom(ip, uint16(*s.Ports[0].Port)))
}

// judge opens, closes or removes a door by its answer.
func (c *checker) judge(ctx context.Context, s *discoveryv1.EndpointSlice, answer error) error {
	now := c.doors.clock.Now()
	if answer == nil {
		delete(c.silent, s.Name)
		return c.set(ctx, s, true, nil)
	}
	was := c.silent[s.Name]
	if was.failures == 0 {
		was.since = now
	}
	was.failures++
	c.silent[s.Name] = was
	switch {
	case was.failures < failuresToClose:
		return nil
	case now.Sub(was.since) < forgetAfter:
		return c.set(ctx, s, false, answer)
	}
	delete(c.silent, s.Name)
	if err := c.followDNS(ctx, s, nil); err != nil {
		return err
	}
	err := c.client.DiscoveryV1().EndpointSlices(s.Namespace).Delete(ctx, s.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(s.UID)),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func (c *checker) set(ctx context.Context, s *discoveryv1.EndpointSlice, ready bool, why error) error {
	if len(s.Endpoints) == 0 || open(&s.Endpoints[0]) == ready {
		return nil
	}
	if err := c.followDNS(ctx, s, &ready); err != nil {
		return err
	}
	changed := s.DeepCopy()
	changed.Endpoints[0].Conditions.Ready = &ready
	_, err := c.client.DiscoveryV1().EndpointSlices(s.Namespace).Update(ctx, changed, metav1.UpdateOptions{FieldManager: fieldManager})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // It is another one by now; the next round sees it.
	}
	if err != nil {
		return fmt.Errorf("EndpointSlice %s/%s: %w", s.Namespace, s.Name, err)
	}
	klog.FromContext(ctx).Info("Changed which doors lead to the cluster", "endpointSlice", klog.KObj(s), "ready", ready, "reason", why)
	return nil
}
