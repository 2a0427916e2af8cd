// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/test/embedded"
)

func list(t *testing.T, q config.Quantities) corev1.ResourceList {
	t.Helper()
	out := corev1.ResourceList{}
	for name, amount := range q {
		parsed, err := resource.ParseQuantity(string(amount))
		if err != nil {
			t.Fatal(err)
		}
		out[corev1.ResourceName(name)] = parsed
	}
	return out
}

// TestIsolatedPodsHaveTheDefaultLimits: under the quota and the limit range of
// isolation, as the chart makes them, a pod without resources runs, shows inside
// the limits that it has got, can be changed, and counts; one more than the quota
// has room for is refused in virtual names.
func TestIsolatedPodsHaveTheDefaultLimits(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "isolation: {enabled: true}\n")
	c.CreateNamespace("a")
	ctx, core := t.Context(), c.Host.CoreV1()
	isolation := config.Default().Isolation
	isolation.ResourceQuota.Quota["count/pods"] = "1"
	ranges := corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
		Type: corev1.LimitTypeContainer, Default: list(t, isolation.LimitRange.Default), DefaultRequest: list(t, isolation.LimitRange.DefaultRequest),
	}}}
	if _, err := core.LimitRanges(c.Namespace).Create(ctx, &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "c1-limit-range"}, Spec: ranges}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "c1-quota"}, Spec: corev1.ResourceQuotaSpec{Hard: list(t, isolation.ResourceQuota.Quota)}}
	if _, err := core.ResourceQuotas(c.Namespace).Create(ctx, quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	used := func(what string, is func(used corev1.ResourceList) bool) {
		t.Helper()
		embedded.Eventually(t, what, func(ctx context.Context) (bool, string) {
			q, err := core.ResourceQuotas(c.Namespace).Get(ctx, "c1-quota", metav1.GetOptions{})
			return err == nil && len(q.Status.Used) == len(quota.Spec.Hard) && is(q.Status.Used), fmt.Sprint(q.Status.Used, err)
		})
	}
	used("quota counted", func(corev1.ResourceList) bool { return true })
	embedded.Eventually(t, "a pod under the limit range", func(ctx context.Context) (bool, string) {
		// The host's admission sees the limit range through an informer.
		_, err := c.Virtual.CoreV1().Pods("a").Create(ctx, embedded.Pod("p", nil), metav1.CreateOptions{})
		if err != nil && !strings.Contains(err.Error(), "must specify limits") {
			t.Fatal(err)
		}
		return err == nil, fmt.Sprint(err)
	})
	c.Settled("a", "p")
	if _, err := c.Virtual.CoreV1().Pods("a").Patch(ctx, "p", types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"web"}}}`), metav1.PatchOptions{}); err != nil {
		t.Errorf("a change of the pod: %v", err)
	}
	seen, err := c.Virtual.CoreV1().Pods("a").Get(ctx, "p", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := seen.Spec.Containers[0].Resources; got.Limits.Memory().String() != "512Mi" || got.Requests.Cpu().String() != "100m" {
		t.Errorf("resources inside: %+v", got)
	}
	used("the pod counted", func(used corev1.ResourceList) bool {
		memory := used[corev1.ResourceLimitsMemory]
		return memory.String() == "512Mi"
	})
	_, err = c.Virtual.CoreV1().Pods("a").Create(ctx, embedded.Pod("more", nil), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `pods "more" is forbidden: exceeded quota: c1-quota, requested: count/pods=1`) {
		t.Errorf("a pod more than the quota has room for: %v", err)
	}
}
