// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apiserver/pkg/features"
	etcdfeature "k8s.io/apiserver/pkg/storage/feature"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
)

// quiet is a progress interval that no test notices.
const quiet = time.Hour

// maxPage is etcd3's limit on the growth of pages.
const maxPage = 10000

// RunStorage runs upstream's exported storage suites.
func RunStorage(t *testing.T, open Open) {
	t.Run("Store", func(t *testing.T) { runStore(t, open) })
	t.Run("List", func(t *testing.T) { runList(t, open) })
	t.Run("Corrupt", func(t *testing.T) { runCorrupt(t, open) })
	t.Run("Watch", func(t *testing.T) { runWatch(t, open) })
}

// suite is one of upstream's tests on a fixture.
type suite map[string]func(ctx context.Context, t *testing.T, f *fixture)

func (s suite) run(t *testing.T, open Open) {
	for name, test := range s {
		t.Run(name, func(t *testing.T) { test(t.Context(), t, setup(t, open, quiet)) })
	}
}

func runStore(t *testing.T, open Open) {
	suite{
		"Create": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestCreate(ctx, t, f, f.validateKey)
		},
		"CreateWithTTL": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestCreateWithTTL(ctx, t, f)
		},
		"CreateWithKeyExist": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestCreateWithKeyExist(ctx, t, f)
		},
		"Get": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestGet(ctx, t, f)
		},
		"UnconditionalDelete": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestUnconditionalDelete(ctx, t, f)
		},
		"ConditionalDelete": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestConditionalDelete(ctx, t, f)
		},
		"DeleteWithSuggestion": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestDeleteWithSuggestion(ctx, t, f)
		},
		"DeleteWithSuggestionAndConflict": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestDeleteWithSuggestionAndConflict(ctx, t, f)
		},
		"DeleteWithConflict": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestDeleteWithConflict(ctx, t, f)
		},
		"DeleteWithSuggestionOfDeletedObject": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestDeleteWithSuggestionOfDeletedObject(ctx, t, f)
		},
		"ValidateDeletionWithSuggestion": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestValidateDeletionWithSuggestion(ctx, t, f)
		},
		"ValidateDeletionWithOnlySuggestionValid": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestValidateDeletionWithOnlySuggestionValid(ctx, t, f)
		},
		"PreconditionalDeleteWithSuggestion": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestPreconditionalDeleteWithSuggestion(ctx, t, f)
		},
		"PreconditionalDeleteWithOnlySuggestionPass": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestPreconditionalDeleteWithOnlySuggestionPass(ctx, t, f)
		},
		"GuaranteedUpdate": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestGuaranteedUpdate(ctx, t, f, f.validateKey)
		},
		"GuaranteedUpdateWithTTL": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestGuaranteedUpdateWithTTL(ctx, t, f)
		},
		"GuaranteedUpdateChecksStoredData": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestGuaranteedUpdateChecksStoredData(ctx, t, f)
		},
		"GuaranteedUpdateWithConflict": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestGuaranteedUpdateWithConflict(ctx, t, f)
		},
		"GuaranteedUpdateWithSuggestionAndConflict": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestGuaranteedUpdateWithSuggestionAndConflict(ctx, t, f)
		},
		"TransformationFailure": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestTransformationFailure(ctx, t, f)
		},
		"KeySchema": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestKeySchema(ctx, t, f)
		},
		"CompactRevision": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestCompactRevision(ctx, t, f, f.increaseRevision, f.compact)
		},
	}.run(t, open)
	for _, sized := range []bool{false, true} {
		t.Run(fmt.Sprintf("Stats/Sized=%v", sized), func(t *testing.T) {
			f := setup(t, open, quiet)
			if sized {
				if err := f.EnableResourceSizeEstimation(f.keys); err != nil {
					t.Fatal(err)
				}
			}
			storagetesting.RunTestStats(t.Context(), t, f, f.codec, f.transformer, sized)
		})
	}
}

// keys is the storage.KeysFunc of the fixture.
func (f *fixture) keys(ctx context.Context) ([]string, error) {
	resp, err := f.client.KV.Get(ctx, "/pods/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		keys = append(keys, string(kv.Key))
	}
	return keys, nil
}

func runList(t *testing.T, open Open) {
	suite{
		"ListPaging": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestListPaging(ctx, t, f)
		},
		"GetListNonRecursive": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestGetListNonRecursive(ctx, t, f.increaseRevision, f)
		},
		"GetListRecursivePrefix": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestGetListRecursivePrefix(ctx, t, f)
		},
		"NamespaceScopedList": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestNamespaceScopedList(ctx, t, f)
		},
		"ListInconsistentContinuation": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestListInconsistentContinuation(ctx, t, f, f.compact)
		},
		"ListResourceVersionMatch": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestListResourceVersionMatch(ctx, t, f)
		},
		"ListContinuation": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestListContinuation(ctx, t, f, f.validateCalls)
		},
		"ListContinuationWithFilter": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestListContinuationWithFilter(ctx, t, f, f.validateCalls)
		},
		"ListPaginationRareObject": func(ctx context.Context, t *testing.T, f *fixture) {
			storagetesting.RunTestListPaginationRareObject(ctx, t, f, f.validateCalls)
		},
	}.run(t, open)
	for _, streamed := range []bool{false, true} {
		t.Run(fmt.Sprintf("Streamed=%v", streamed), func(t *testing.T) {
			suite{
				"List": func(ctx context.Context, t *testing.T, f *fixture) {
					useStreams(t, streamed)
					storagetesting.RunTestList(ctx, t, f, f.compact, false, f.lists)
					// A server without streams (etcd before v3.7) is asked for one, once.
					if reads := f.kv.GetStreamReadsAndReset(); (reads > 0) != streamed {
						t.Errorf("%d streams were asked for", reads)
					}
				},
				"ConsistentList": func(ctx context.Context, t *testing.T, f *fixture) {
					useStreams(t, streamed)
					storagetesting.RunTestConsistentList(ctx, t, f, f.increaseRevision, false, true, false)
				},
			}.run(t, open)
		})
	}
}

// useStreams turns streamed lists on or off for a test, and resets upstream's
// conclusion about their support.
func useStreams(t *testing.T, streamed bool) {
	t.Helper()
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, features.EtcdRangeStream, streamed)
	before := etcdfeature.DefaultFeatureSupportChecker
	etcdfeature.DefaultFeatureSupportChecker = etcdfeature.NewDefaultFeatureSupportChecker()
	t.Cleanup(func() { etcdfeature.DefaultFeatureSupportChecker = before })
}

// validateCalls is the storagetesting.CallsValidation of the fixture: as many
// objects are read as expected, in pages that double.
func (f *fixture) validateCalls(t *testing.T, pageSize, objects uint64) {
	t.Helper()
	if got := f.transformer.get().(*storagetesting.PrefixTransformer).GetReadsAndReset(); got != objects {
		t.Errorf("read %d objects, want %d", got, objects)
	}
	want := uint64(1)
	if pageSize != 0 {
		page := pageSize
		for sum := uint64(1); sum < objects; want++ {
			page = min(2*page, maxPage)
			sum += page
		}
	}
	if got := f.reads.n.Swap(0) + f.kv.GetStreamReadsAndReset(); got != want {
		t.Errorf("made %d calls, want %d", got, want)
	}
}
