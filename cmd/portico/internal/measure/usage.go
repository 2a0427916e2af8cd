// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"

	"portico.dev/portico/proxy/door"
)

// Usage is what a pod uses.
type Usage struct {
	CPU    int64 // thousandths of a core
	Memory int64 // bytes
}

// Pods returns what each pod of a control plane uses, in a namespace of the host
// or, with "", in all.
func Pods(ctx context.Context, client metricsclient.PodMetricsesGetter, namespace string) (map[types.NamespacedName]Usage, error) {
	list, err := client.PodMetricses(namespace).List(ctx, metav1.ListOptions{LabelSelector: door.LabelDoor})
	if apierrors.IsNotFound(err) {
		return nil, errors.New("the host has no metrics server")
	}
	if err != nil {
		return nil, fmt.Errorf("read the host's metrics of pods: %w", err)
	}
	all := map[types.NamespacedName]Usage{}
	for _, pod := range list.Items {
		var u Usage
		for _, c := range pod.Containers {
			u.CPU += c.Usage.Cpu().MilliValue()
			u.Memory += c.Usage.Memory().Value()
		}
		all[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = u
	}
	return all, nil
}
