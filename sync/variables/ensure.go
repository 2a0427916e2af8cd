// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package variables

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"portico.dev/portico/sync/internal/copies"
)

// Ensure brings the ConfigMaps that a pod of the virtual namespace can read onto
// the host, ahead of the pod, and costs no question while they are in step.
// Errors of the host come back as a Status with virtual names.
//
// Without an error, settle must be called once, with whether the host refused the
// pod: a tenant who posts such pods in many namespaces fills the host with nothing.
func (c *Controller) Ensure(ctx context.Context, namespace string) (settle func(refused bool), err error) {
	made, err := c.ensure(ctx, namespace)
	if err == nil {
		_, err = c.ensure(ctx, "")
	}
	settle = func(refused bool) {
		if made && refused {
			c.withdraw(ctx, namespace)
		}
	}
	if err != nil {
		settle(true)
		return nil, c.forTenant(namespace, err)
	}
	return settle, nil
}

// ensure reports whether it made a ConfigMap where there was none.
func (c *Controller) ensure(ctx context.Context, namespace string) (made bool, err error) {
	since, current := c.state(namespace)
	if current && c.ensured.Known(c.cfg.Translator.ServiceVariablesName(namespace)) {
		return false, nil
	}
	want, _, err := c.want(namespace)
	if err != nil {
		return false, err
	}
	if !c.filled() {
		return c.begin(ctx, want)
	}
	effect, err := c.ensured.Write(ctx, want)
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return false, nil // another request or replica writes it now
	case err != nil:
		return false, err
	}
	c.inStep(namespace, since)
	return effect == copies.Created, nil
}

// begin makes a ConfigMap while this replica does not know all Services yet. One
// that is there may have more of them.
func (c *Controller) begin(ctx context.Context, want *corev1.ConfigMap) (made bool, err error) {
	_, err = c.ensured.Client.Create(ctx, want, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err == nil, err
	}
	have, err := c.ensured.Client.Get(ctx, want.Name, metav1.GetOptions{})
	if err == nil && !c.ensured.Ours(have) {
		err = copies.ErrForeign
	}
	return false, err
}

// withdrawTimeout bounds the removal, for which the tenant's answer waits.
const withdrawTimeout = 5 * time.Second

// withdraw removes a ConfigMap that was made for a pod which there will not be.
// If another pod came meanwhile, its containers wait, and Run finds it.
func (c *Controller) withdraw(ctx context.Context, namespace string) {
	if c.hasPods(namespace) {
		return
	}
	c.mu.Lock()
	delete(c.current, namespace)
	c.mu.Unlock()
	// The refusal holds also when the tenant has gone meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTimeout)
	defer cancel()
	if _, err := c.ensured.Remove(ctx, c.cfg.Translator.ServiceVariablesName(namespace)); err != nil {
		klog.FromContext(ctx).Info("Service variables of a refused pod stay on the host until their namespace goes", "namespace", namespace, "err", err)
	}
}

// state returns the number of changes so far, and whether there was none of the
// namespace since its ConfigMap was in step.
func (c *Controller) state(namespace string) (changes int, current bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes, c.current[namespace]
}

// inStep notes that a ConfigMap was in step, unless a Service has changed since.
func (c *Controller) inStep(namespace string, since int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == since {
		c.current[namespace] = true
	}
}

// forTenant turns the names in a Status of the host back.
func (c *Controller) forTenant(namespace string, err error) error {
	if errors.Is(err, copies.ErrForeign) {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "service variables",
			errors.New("on the host of this cluster the name of its service variables belongs to an object that is not of the cluster"))
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return err
	}
	t := c.cfg.Translator
	return &apierrors.StatusError{ErrStatus: t.StatusWith(status.Status(), t.ComposedNames(namespace, "", nil))}
}
