// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"fmt"

	"k8s.io/apiserver/pkg/storage"
	etcdfeature "k8s.io/apiserver/pkg/storage/feature"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/compatibility"
)

// featureGates are the upstream gates that differ from their defaults in an
// embedded API server, with the reason for each.
var featureGates = map[string]bool{
	// Its endpoint lease reconciler dials etcd, and there are no peers of
	// another version to route to.
	"UnknownVersionInteroperabilityProxy": false,
	// Lists every resource from storage every five minutes; costs more than a
	// small control plane does otherwise.
	"DetectCacheInconsistency": false,
	// Publishes the name of the machine, which is the operator's, in a Lease that
	// the tenant can read. Only the first gate above makes anything of it.
	"APIServerIdentity": false,
}

// setProcessGlobals sets upstream's process-global state: the feature gates,
// the component registry, and the answer to "does this etcd support progress
// requests", which upstream finds by asking each endpoint of the client, of
// which the in-process client of an exclusive store has none.
//
// It must run before the first server of the process is configured.
func setProcessGlobals(registry compatibility.ComponentGlobalsRegistry, inProcess bool) error {
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(featureGates); err != nil {
		return fmt.Errorf("set feature gates: %w", err)
	}
	if err := registry.Set(); err != nil {
		return fmt.Errorf("set component globals: %w", err)
	}
	if !inProcess {
		return nil
	}
	if _, done := etcdfeature.DefaultFeatureSupportChecker.(inProcessFeatures); !done {
		etcdfeature.DefaultFeatureSupportChecker = inProcessFeatures{etcdfeature.DefaultFeatureSupportChecker}
	}
	return nil
}

// inProcessFeatures says that the backend supports every optional etcd
// feature. The embedded checker is there for the methods whose parameter
// types upstream does not export.
type inProcessFeatures struct {
	etcdfeature.FeatureSupportChecker
}

// Supports implements etcdfeature.FeatureSupportChecker.
func (inProcessFeatures) Supports(storage.Feature) bool { return true }
