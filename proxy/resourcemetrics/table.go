// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package resourcemetrics

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/metrics/pkg/apis/metrics"
)

// table prints metrics of one kind.
type table[T runtime.Object] struct{}

// ConvertToTable implements rest.TableConvertor.
func (table[T]) ConvertToTable(_ context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	out := &metav1.Table{}
	if o, ok := options.(*metav1.TableOptions); !ok || !o.NoHeaders {
		out.ColumnDefinitions = []metav1.TableColumnDefinition{
			{Name: "Name", Type: "string", Format: "name", Description: "Name of the resource"},
			{Name: "CPU", Type: "string", Description: "Cores in use, over the window"},
			{Name: "Memory", Type: "string", Description: "Working set"},
			{Name: "Window", Type: "string", Description: "Time over which was measured"},
		}
	}
	add := func(item runtime.Object) error {
		m, err := meta.Accessor(item)
		if err != nil {
			return err
		}
		usage, window, err := usageOf(item)
		if err != nil {
			return err
		}
		out.Rows = append(out.Rows, metav1.TableRow{
			Cells:  []any{m.GetName(), quantity(usage, corev1.ResourceCPU), quantity(usage, corev1.ResourceMemory), window.Duration.String()},
			Object: runtime.RawExtension{Object: item},
		})
		return nil
	}
	if _, one := obj.(T); one {
		return out, add(obj)
	}
	list, err := meta.ListAccessor(obj)
	if err != nil {
		return nil, err
	}
	out.ResourceVersion, out.Continue = list.GetResourceVersion(), list.GetContinue()
	return out, meta.EachListItem(obj, add)
}

// usageOf is the total usage in an object.
func usageOf(obj runtime.Object) (corev1.ResourceList, metav1.Duration, error) {
	switch o := obj.(type) {
	case *metrics.NodeMetrics:
		return o.Usage, o.Window, nil
	case *metrics.PodMetrics:
		sum := corev1.ResourceList{}
		for _, c := range o.Containers {
			for name, q := range c.Usage {
				total := sum[name]
				total.Add(q)
				sum[name] = total
			}
		}
		return sum, o.Window, nil
	default:
		return nil, metav1.Duration{}, fmt.Errorf("%T has no usage", obj)
	}
}

func quantity(usage corev1.ResourceList, name corev1.ResourceName) string {
	q, ok := usage[name]
	if !ok {
		q = resource.Quantity{}
	}
	return q.String()
}
