// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"
)

// lacking is a part of the core API that a host of an earlier version does not have,
// and the consequence for tenants.
type lacking struct{ resource, consequence string }

// neededOfHost are the parts that hosts have not always had.
var neededOfHost = []lacking{
	{"pods/ephemeralcontainers", "kubectl debug cannot add containers to pods"},
	{"pods/resize", "running pods cannot be resized"}, // Kubernetes 1.33
	{"pods/eviction", "the host cannot be drained"},
}

// checkHost writes down the host's version, and what it lacks: a tenant's request for
// it gets an error that does not end by itself. A host that does not say is no
// obstacle to the start.
func (vc *virtualCluster) checkHost(ctx context.Context) error {
	logger, discovery := klog.FromContext(ctx), vc.hostClient.Discovery()
	of, err := discovery.ServerVersion()
	if err != nil {
		logger.Info("Host does not say its version", "err", err)
		return nil
	}
	logger.Info("Host found", "version", of.GitVersion)
	if consequence := ofAnotherVersion(of.GitVersion, version.DefaultKubeBinaryVersion); consequence != "" {
		logger.Info("Warning: the host is of another version", "host", of.GitVersion, "own", version.DefaultKubeBinaryVersion, "consequence", consequence)
	}
	served, err := discovery.ServerResourcesForGroupVersion("v1")
	if err != nil {
		logger.Info("Host does not say which resources it serves", "err", err)
		return nil
	}
	for _, l := range neededOfHost {
		if !slices.ContainsFunc(served.APIResources, func(r metav1.APIResource) bool { return r.Name == l.resource }) {
			logger.Info("Warning: the host lacks a part of the API", "resource", l.resource, "consequence", l.consequence)
		}
	}
	return nil
}

// ofAnotherVersion returns the consequence for tenants of a host that is older or
// newer than this program by a minor version.
func ofAnotherVersion(host, own string) string {
	theirs, err := utilversion.ParseGeneric(host)
	if err != nil {
		return fmt.Sprintf("unknown: %v", err)
	}
	ours, err := utilversion.ParseGeneric(own)
	if err != nil {
		return fmt.Sprintf("unknown: %v", err)
	}
	switch {
	case theirs.Minor() > ours.Minor():
		return "fields that only the host knows cannot be used inside"
	case theirs.Minor() < ours.Minor():
		return "fields that the host does not know are named when a tenant uses them"
	}
	return ""
}
