// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package endpoints

import (
	"context"
	"encoding/json"
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
)

// write brings one slice to the host.
func (c *Controller) write(ctx context.Context, key types.NamespacedName, want *discoveryv1.EndpointSlice) error {
	if seen, err := c.copies.Get(want.Name); err == nil && inStep(want, seen) {
		return nil
	}
	slices := c.host.DiscoveryV1().EndpointSlices(c.namespace)
	_, err := slices.Create(ctx, want, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return describe("create", key, err)
	}
	old, err := slices.Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return describe("read", key, err)
	}
	if !c.ours(key, old) {
		return fmt.Errorf("bring endpoint slice %s to the host: an object with its name there is not ours", key)
	}
	if old.AddressType != want.AddressType {
		// Immutable: it is made anew.
		if err := c.delete(ctx, old); err != nil {
			return describe("replace", key, err)
		}
		_, err := slices.Create(ctx, want, metav1.CreateOptions{})
		return describe("replace", key, err)
	}
	labels, annotations := rewrite.CopyChanges(want, old)
	// Lists of a merge patch replace those that are there.
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid": old.UID, "resourceVersion": old.ResourceVersion,
			"labels": labels, "annotations": annotations, "ownerReferences": want.OwnerReferences,
		},
		"endpoints": nonNil(want.Endpoints), "ports": nonNil(want.Ports),
	})
	if err != nil {
		return describe("encode", key, err)
	}
	_, err = slices.Patch(ctx, want.Name, types.MergePatchType, body, metav1.PatchOptions{})
	return describe("update", key, err)
}

// remove takes the host slice of a virtual slice away, if there is one.
func (c *Controller) remove(ctx context.Context, key types.NamespacedName) error {
	name := c.translator.Name(key.Namespace, key.Name)
	if _, err := c.copies.Get(name); apierrors.IsNotFound(err) {
		return nil // one that was just made comes back here with its event
	}
	// The view may be behind; the decision is made on what is there, and holds for that object only.
	old, err := c.host.DiscoveryV1().EndpointSlices(c.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return describe("read", key, ignoreNotFound(err))
	}
	if !c.ours(key, old) {
		return nil
	}
	return describe("remove", key, c.delete(ctx, old))
}

func (c *Controller) delete(ctx context.Context, old *discoveryv1.EndpointSlice) error {
	defer c.room.Free(old.Name) // what is still there is seen
	return ignoreNotFound(c.host.DiscoveryV1().EndpointSlices(c.namespace).Delete(ctx, old.Name,
		metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(old.UID))}))
}

// ours reports whether a host slice is of exactly this virtual slice.
func (c *Controller) ours(key types.NamespacedName, host *discoveryv1.EndpointSlice) bool {
	namespace, name, err := c.translator.Identify(kind, host)
	return err == nil && namespace == key.Namespace && name == key.Name
}

// inStep reports whether host says everything that want says, and has no key of the tenant's beside.
func inStep(want, host *discoveryv1.EndpointSlice) bool {
	labels, annotations := rewrite.CopyChanges(want, host)
	return host.DeletionTimestamp == nil && want.AddressType == host.AddressType &&
		len(labels) == 0 && len(annotations) == 0 &&
		apiequality.Semantic.DeepEqual(want.Endpoints, host.Endpoints) && apiequality.Semantic.DeepEqual(want.Ports, host.Ports)
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func describe(action string, key types.NamespacedName, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s the host slice of endpoint slice %s: %w", action, key, err)
}
