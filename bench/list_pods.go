// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// listPodsMark is how much slower a LIST through the door may be.
const listPodsMark = 1.2

// listPods reads all standing pods in one page. The times include the client's
// decoding, which is the same work on both sides.
func listPods(ctx context.Context, r *report, door, host side, n int) error {
	counts := map[string]int{}
	list := func(s side) request {
		return func(ctx context.Context, _ int) error {
			pods, err := s.client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{})
			if err == nil {
				counts[s.name] = len(pods.Items)
			}
			return err
		}
	}
	a, b, err := compare(ctx, n, list(door), list(host))
	if err != nil {
		return err
	}
	if counts[door.name] != counts[host.name] {
		return fmt.Errorf("the door lists %d pods, the host %d", counts[door.name], counts[host.name])
	}
	r.addRatio(fmt.Sprintf("LIST %d pods", counts[door.name]), door.name, host.name, listPodsMark, a, b)
	return nil
}
