// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// write brings a virtual Event to the state given. key is the name of the host
// Event.
func (c *Controller) write(ctx context.Context, key string, want *corev1.Event) error {
	events := c.cfg.Virtual.CoreV1().Events(want.Namespace)
	if _, ok := c.written.Load(key); !ok {
		_, err := events.Create(ctx, want, metav1.CreateOptions{})
		if err == nil {
			c.written.Store(key, true)
			return nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return hopeless(ctx, want, err)
		}
		// From before a restart, or not ours.
	}
	old, err := events.Get(ctx, want.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		// The tenant deleted it, or it was too old. An update of the host Event
		// is news again.
		c.written.Delete(key)
		_, err := events.Create(ctx, want, metav1.CreateOptions{})
		return hopeless(ctx, want, err)
	}
	if err != nil {
		return err
	}
	if old.InvolvedObject.UID != want.InvolvedObject.UID || old.Reason != want.Reason {
		klog.FromContext(ctx).Info("Left out host event because of a virtual event with its name", "virtualObject", klog.KObj(want))
		return nil
	}
	c.written.Store(key, true)
	if !changed(old, want) {
		return nil
	}
	body, err := json.Marshal(map[string]any{
		"count": want.Count, "lastTimestamp": want.LastTimestamp, "firstTimestamp": want.FirstTimestamp,
		"message": want.Message, "type": want.Type, "series": want.Series,
	})
	if err != nil {
		return fmt.Errorf("encode the patch of event %s/%s: %w", want.Namespace, want.Name, err)
	}
	_, err = events.Patch(ctx, want.Name, types.MergePatchType, body, metav1.PatchOptions{})
	return hopeless(ctx, want, err)
}

// changed reports whether the host Event has moved on.
func changed(old, want *corev1.Event) bool {
	return old.Count != want.Count || old.Message != want.Message || old.Type != want.Type ||
		!old.LastTimestamp.Equal(&want.LastTimestamp) ||
		!apiequality.Semantic.DeepEqual(old.Series, want.Series)
}

// hopeless drops the errors that another try cannot fix: the namespace is gone or
// going, or the Event is rejected as invalid.
func hopeless(ctx context.Context, event *corev1.Event, err error) error {
	switch {
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err):
		klog.FromContext(ctx).Info("Left out host event that the API server refused", "virtualObject", klog.KObj(event), "err", err)
		return nil
	default:
		return err
	}
}
