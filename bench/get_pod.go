// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// getPodMark is how much slower a GET through the door may be.
const getPodMark = 1.5

// getPod reads one pod. The host reads it from its store; the door answers
// from memory once it has caught up with every write made through it.
func getPod(ctx context.Context, r *report, door, host side, n int) error {
	get := func(s side) request {
		return func(ctx context.Context, _ int) error {
			_, err := s.client.CoreV1().Pods(s.namespace).Get(ctx, standingPod(0), metav1.GetOptions{})
			return err
		}
	}
	a, b, err := compare(ctx, n, get(door), get(host))
	if err != nil {
		return err
	}
	r.addRatio("GET pod", door.name, host.name, getPodMark, a, b)
	return nil
}
