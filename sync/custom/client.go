// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package custom

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
)

// object is what this package works on.
type object = *unstructured.Unstructured

// client has the methods of a typed client.
type client struct{ dynamic.ResourceInterface }

func (c client) Get(ctx context.Context, name string, o metav1.GetOptions) (object, error) {
	return c.ResourceInterface.Get(ctx, name, o)
}

func (c client) Create(ctx context.Context, obj object, o metav1.CreateOptions) (object, error) {
	return c.ResourceInterface.Create(ctx, obj, o)
}

func (c client) Update(ctx context.Context, obj object, o metav1.UpdateOptions) (object, error) {
	return c.ResourceInterface.Update(ctx, obj, o)
}

func (c client) Patch(ctx context.Context, name string, pt types.PatchType, data []byte, o metav1.PatchOptions, sub ...string) (object, error) {
	return c.ResourceInterface.Patch(ctx, name, pt, data, o, sub...)
}

func (c client) Delete(ctx context.Context, name string, o metav1.DeleteOptions) error {
	return c.ResourceInterface.Delete(ctx, name, o)
}

// writeStatus writes the status of an object. A kind without the subresource has it
// written with the rest.
func writeStatus(ctx context.Context, of dynamic.ResourceInterface, obj object) error {
	_, err := of.UpdateStatus(ctx, obj, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = of.Update(ctx, obj, metav1.UpdateOptions{})
	}
	return err
}

// informer watches the objects of a resource, in a namespace if it is not "".
func informer(c dynamic.Interface, r schema.GroupVersionResource, namespace, selector string) cache.SharedIndexInformer {
	of := c.Resource(r).Namespace(namespace)
	i := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector
			return of.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = selector
			return of.Watch(ctx, o)
		},
	}, &unstructured.Unstructured{}, 0, cache.Indexers{})
	// Nobody has begun it, so it cannot refuse.
	_ = i.SetTransform(func(obj any) (any, error) {
		if u, ok := obj.(object); ok {
			u = u.DeepCopy()
			u.SetManagedFields(nil)
			return u, nil
		}
		return obj, nil
	})
	return i
}
