// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// createConfigMapMark is how much slower a durable write of a kind of our own
// may be than an etcd-backed API server's.
const createConfigMapMark = 1.0

// createConfigMap creates ConfigMaps of 1 KiB, which no pod names: they stay
// in the virtual cluster's own store. Both sides have written to disk when
// they answer.
func createConfigMap(ctx context.Context, r *report, door, etcd side, n int) error {
	data := map[string]string{"key": strings.Repeat("x", 1<<10)}
	create := func(s side) request {
		return func(ctx context.Context, number int) error {
			configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("created-%d", number)}, Data: data}
			_, err := s.client.CoreV1().ConfigMaps(s.namespace).Create(ctx, configMap, metav1.CreateOptions{})
			return err
		}
	}
	a, b, err := compare(ctx, n, create(door), create(etcd))
	if err != nil {
		return err
	}
	r.addRatio("POST ConfigMap, 1 KiB", door.name, etcd.name, createConfigMapMark, a, b)
	return nil
}
