// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

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
		// If no door answers, not even our own, this process is cut off: pods
		// may well reach doors that we don't.
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
