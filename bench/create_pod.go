// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// createPodMark is how much slower creating a pod through the door may be.
const createPodMark = 2.0

// createPod creates pods that are scheduled and run (on simulated nodes) while
// the next are created. Through the door, one request is one to the host as
// well: the answer carries the host's uid.
func createPod(ctx context.Context, r *report, door, host side, n int) error {
	create := func(s side) request {
		return func(ctx context.Context, number int) error {
			_, err := s.client.CoreV1().Pods(s.namespace).Create(ctx, pod(fmt.Sprintf("created-%d", number)), metav1.CreateOptions{})
			return err
		}
	}
	a, b, err := compare(ctx, n, create(door), create(host))
	if err != nil {
		return err
	}
	r.addRatio("POST pod", door.name, host.name, createPodMark, a, b)
	return nil
}
