// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kubedns

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
)

// Deployment says which pods are the DNS.
type Deployment struct {
	Replicas int32
	Image    string
	// Upstream are the resolvers of names outside of the cluster; none stands
	// for those of the node.
	Upstream []string
}

// deployment makes the Deployment with its ServiceAccount and ConfigMap, or
// removes the Deployment where porticod itself is the DNS. Fields that we set
// are put back; others are the tenant's, and so is the whole ConfigMap once it
// exists.
func (c *Controller) deployment(ctx context.Context) error {
	d := c.cfg.Deployment
	if d == nil {
		return c.removeDeployment(ctx)
	}
	core := c.cfg.Virtual.CoreV1()
	config := d.configMap(c.cfg.Translator.Cluster().ClusterDomain)
	_, err := core.ConfigMaps(config.Namespace).Create(ctx, config, metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the Corefile: %w", err)
	}
	rbac := c.cfg.Virtual.RbacV1()
	for _, step := range []struct {
		what  string
		apply func() error
	}{
		{"ServiceAccount", func() error {
			return applied(ctx, core.ServiceAccounts(rewrite.DNSNamespace), deploymentName, serviceAccount())
		}},
		{"ClusterRole", func() error { return applied(ctx, rbac.ClusterRoles(), roleName, clusterRole()) }},
		{"ClusterRoleBinding", func() error { return applied(ctx, rbac.ClusterRoleBindings(), roleName, clusterRoleBinding()) }},
		{"Deployment", func() error {
			return applied(ctx, c.cfg.Virtual.AppsV1().Deployments(rewrite.DNSNamespace), deploymentName, d.object())
		}},
	} {
		if err := step.apply(); err != nil {
			return fmt.Errorf("apply the %s of CoreDNS: %w", step.what, err)
		}
	}
	return nil
}

// patcher is a typed client.
type patcher[T any] interface {
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (T, error)
}

// applied sets the fields of obj by server-side apply.
func applied[T any](ctx context.Context, client patcher[T], name string, obj any) error {
	body, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	force := true
	_, err = client.Patch(ctx, name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: fieldManager, Force: &force})
	return err
}

// removeDeployment ends the pods of a time when they were the DNS. The Corefile
// stays: it may have a tenant's work in it.
func (c *Controller) removeDeployment(ctx context.Context) error {
	deployments := c.cfg.Virtual.AppsV1().Deployments(rewrite.DNSNamespace)
	found, err := deployments.Get(ctx, deploymentName, metav1.GetOptions{})
	if err == nil && ours(found) {
		err = deployments.Delete(ctx, deploymentName, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(found.UID))})
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
