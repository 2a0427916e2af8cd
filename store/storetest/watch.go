// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/features"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
)

func runWatch(t *testing.T, open Open) {
	suite{
		"Watch": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestWatch(ctx, t, f)
		},
		"ClusterScoped": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestClusterScopedWatch(ctx, t, f)
		},
		"NamespaceScoped": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestNamespaceScopedWatch(ctx, t, f)
		},
		"DeleteTriggerWatch": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestDeleteTriggerWatch(ctx, t, f)
		},
		"FromZero": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestWatchFromZero(ctx, t, f, f.compact)
		},
		"FromNonZero": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestWatchFromNonZero(ctx, t, f)
		},
		"DelayedDelivery": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestDelayedWatchDelivery(ctx, t, f)
		},
		"Error": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestWatchError(ctx, t, f)
		},
		"ContextCancel": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestWatchContextCancel(ctx, t, f)
		},
		"Timeout": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestWatcherTimeout(ctx, t, f)
		},
		"DeleteEventObjectHasLatestRV": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestWatchDeleteEventObjectHaveLatestRV(ctx, t, f)
		},
		"InitializationSignal": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestWatchInitializationSignal(ctx, t, f)
		},
		"SendInitialEventsBackwardCompatibility": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunSendInitialEventsBackwardCompatibility(ctx, t, f)
		},
		"ErrorIsBlockingFurtherEvents": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunWatchErrorIsBlockingFurtherEvents(ctx, t, f)
		},
	}.run(t, open)
	t.Run("ProgressNotify", func(t *testing.T) {
		f := setup(t, open, time.Second)
		storagetesting.RunOptionalTestProgressNotify(t.Context(), t, f, f.increaseRevision)
	})
	t.Run("DispatchBookmarkEvents", func(t *testing.T) {
		storagetesting.RunTestWatchDispatchBookmarkEvents(t.Context(), t, setup(t, open, time.Second), false)
	})
	for _, streamed := range []bool{false, true} {
		t.Run(fmt.Sprintf("Streamed=%v", streamed), func(t *testing.T) {
			useStreams(t, streamed)
			semantics(t, open)
		})
	}
}

func semantics(t *testing.T, open Open) {
	for _, concurrent := range []bool{false, true} {
		t.Run(fmt.Sprintf("ConcurrentDecode=%v", concurrent), func(t *testing.T) {
			featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, features.ConcurrentWatchObjectDecode, concurrent)
			suite{
				"Semantics": func(ctx context.Context, t *testing.T, f *fixture) {
					storagetesting.RunWatchSemantics(ctx, t, f)
				},
				"SemanticInitialEventsExtended": func(ctx context.Context, t *testing.T, f *fixture) {
					storagetesting.RunWatchSemanticInitialEventsExtended(ctx, t, f)
				},
				"ListMatchSingle": func(ctx context.Context, t *testing.T, f *fixture) {
					storagetesting.RunWatchListMatchSingle(ctx, t, f)
				},
			}.run(t, open)
		})
	}
}
