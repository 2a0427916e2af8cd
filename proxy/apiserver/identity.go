// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	controlplaneapiserver "k8s.io/kubernetes/pkg/controlplane/apiserver"
)

// addIdentityHook removes the Leases by which API servers were known while the
// gate APIServerIdentity was on. Each has the name of the machine of a porticod,
// and no API server is left that would.
func addIdentityHook(server *genericapiserver.GenericAPIServer, client kubernetes.Interface) error {
	return server.AddPostStartHook("remove-identities", func(hook genericapiserver.PostStartHookContext) error {
		go wait.PollUntilContextCancel(hook, firstEndpointsInterval, true, func(ctx context.Context) (bool, error) { //nolint:errcheck // It ends with the server.
			err := client.CoordinationV1().Leases(metav1.NamespaceSystem).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{
				LabelSelector: controlplaneapiserver.IdentityLeaseComponentLabelKey + "=" + controlplaneapiserver.KubeAPIServer,
			})
			if err != nil {
				klog.FromContext(ctx).V(2).Info("Leases with names of machines not removed yet", "err", err)
			}
			return err == nil, nil
		})
		return nil
	})
}
