// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/cmd/portico/internal/access"
	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/kubeconfig"
	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/cmd/portico/internal/wait"
	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

type deleteFlags struct {
	keepPVC, deleteNamespace, autoDeleteNamespace, ignoreNotFound, wait bool
	timeout                                                             time.Duration
}

func (a *app) newDelete() *cobra.Command {
	f := deleteFlags{autoDeleteNamespace: true, wait: true, timeout: defaultTimeout}
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a virtual cluster with everything that is in it",
		Long: `Delete a virtual cluster, everything of it on the host, its data, and the contexts
that lead into it. A namespace that portico create has made goes as well, unless
something else is in it: that is then listed.

--keep-pvc keeps the volume claim with the cluster's own objects, and a cluster
that is created with the same name and namespace has them again. Pods and volumes
of the cluster go in any case.`,
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error { return a.delete(c.Context(), args[0], f) },
	}
	flags := c.Flags()
	flags.BoolVar(&f.keepPVC, "keep-pvc", false, "keep the volume claim with the data of the control plane")
	flags.BoolVar(&f.deleteNamespace, "delete-namespace", false, "delete the host namespace with everything in it")
	flags.BoolVar(&f.autoDeleteNamespace, "auto-delete-namespace", f.autoDeleteNamespace, "delete a host namespace that portico create made, if nothing else is in it")
	flags.BoolVar(&f.ignoreNotFound, "ignore-not-found", false, "succeed if there is no such cluster")
	flags.BoolVar(&f.wait, "wait", f.wait, "wait until everything is gone")
	flags.DurationVar(&f.timeout, "timeout", f.timeout, "how long to wait, at each step")
	return c
}

func (a *app) delete(ctx context.Context, name string, f deleteFlags) error {
	h, c, err := a.find(ctx, name)
	switch {
	case errors.Is(err, cluster.ErrNotFound):
		c, err = a.leftovers(ctx, h, name, err)
		if err != nil && f.ignoreNotFound && errors.Is(err, cluster.ErrNotFound) {
			a.streams.Say("there is no virtual cluster %s", name)
			return nil
		}
	case err == nil && c.Name != name:
		err = fmt.Errorf("virtual cluster %s: found %s instead", name, c.Name)
	}
	if err != nil {
		return err
	}
	namespace := c.Namespace
	if err := a.leave(ctx, h.Kubeconfig, kubeconfig.Origin{Name: name, Namespace: namespace, HostContext: h.Context}, true); err != nil {
		return err
	}
	if err := a.uninstall(ctx, h, c, f); err != nil {
		return err
	}
	if err := access.ForgetGateway(ctx, h.Client, namespace, name); err != nil {
		return err
	}
	if err := a.deleteData(ctx, h, namespace, name, f); err != nil {
		return err
	}
	if err := a.deleteNamespace(ctx, h, namespace, name, f); err != nil {
		return err
	}
	a.streams.Say("deleted virtual cluster %s", name)
	return nil
}

// leftovers finds the rest of a cluster after an interrupted deletion: its
// anchor with everything that it owns, its data, or the namespace that was made
// for it.
func (a *app) leftovers(ctx context.Context, h *host.Host, name string, notFound error) (*cluster.Cluster, error) {
	namespace := a.namespace
	if namespace == "" {
		namespace = cluster.Namespace(name)
	}
	data, err := cluster.Data(ctx, h.Client, namespace, name)
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, err
	}
	made, err := cluster.MadeFor(ctx, h.Client, namespace, name)
	if err != nil {
		return nil, err
	}
	_, err = h.Client.CoreV1().ConfigMaps(namespace).Get(ctx, rewrite.AnchorName(name), metav1.GetOptions{})
	if err != nil && len(data) == 0 && !made {
		return nil, notFound
	}
	return &cluster.Cluster{Name: name, Namespace: namespace, State: cluster.Deleting}, nil
}

// uninstall removes the objects of the chart, then everything else of the
// cluster on the host, and its record at the end.
func (a *app) uninstall(ctx context.Context, h *host.Host, c *cluster.Cluster, f deleteFlags) error {
	releases, err := a.releases(h, c.Namespace)
	if err != nil {
		return err
	}
	a.streams.Say("deleting virtual cluster %s in the host namespace %s", c.Name, c.Namespace)
	values, there, err := releases.Uninstall(ctx, c.Name, f.timeout)
	if err != nil {
		return err
	}
	if !there && c.Kind != "" {
		return output.WithHint(fmt.Errorf("virtual cluster %s: its %s %s/%s was not installed by portico or Helm", c.Name, c.Kind, c.Namespace, c.Name),
			"delete it with the tool that made it, such as kubectl delete -f or Argo CD")
	}
	err = a.within(ctx, f.timeout, "virtual cluster "+c.Name+" to leave its host", func(ctx context.Context, report func(string)) error {
		return door.Removal{
			Cluster: c.Name, Namespace: c.Namespace, Report: func(left string) { report("left are " + left) },
			ResourceClaims:    enabled(values, "sync", "toHost", "resourceClaims", "enabled"),
			PriorityClasses:   enabled(values, "sync", "toHost", "priorityClasses", "enabled"),
			PersistentVolumes: enabled(values, "sync", "toHost", "persistentVolumes", "enabled"),
			StorageClasses:    enabled(values, "sync", "toHost", "storageClasses", "enabled"),
		}.Run(ctx, h.Client, h.Metadata)
	})
	if err != nil || !there {
		return err
	}
	return releases.Forget(c.Name)
}

// enabled reports whether a switch is on in a release's values.
func enabled(values map[string]any, path ...string) bool {
	for _, key := range path[:len(path)-1] {
		values, _ = values[key].(map[string]any)
	}
	on, _ := values[path[len(path)-1]].(bool)
	return on
}

func (a *app) deleteData(ctx context.Context, h *host.Host, namespace, name string, f deleteFlags) error {
	data, err := cluster.Data(ctx, h.Client, namespace, name)
	if err != nil || len(data) == 0 {
		return err
	}
	if f.keepPVC {
		a.streams.Say("kept the data: PersistentVolumeClaim %s in the host namespace %s", strings.Join(data, ", "), namespace)
		return nil
	}
	if err := cluster.DeleteData(ctx, h.Client, namespace, data); err != nil {
		return err
	}
	a.streams.Say("deleted the data: PersistentVolumeClaim %s", strings.Join(data, ", "))
	return nil
}

func (a *app) deleteNamespace(ctx context.Context, h *host.Host, namespace, name string, f deleteFlags) error {
	if !f.deleteNamespace {
		made, err := cluster.MadeFor(ctx, h.Client, namespace, name)
		if err != nil || !made || !f.autoDeleteNamespace {
			return err
		}
		remains, err := cluster.Remains(ctx, h.Client, namespace)
		if err != nil {
			return fmt.Errorf("look into the host namespace %s: %w", namespace, err)
		}
		if len(remains) > 0 {
			a.streams.Say("kept the host namespace %s: in it are %s", namespace, strings.Join(remains, ", "))
			return nil
		}
	}
	gone, err := cluster.DeleteNamespace(ctx, h.Client, namespace)
	if err != nil || gone || !f.wait {
		return err
	}
	return wait.Until(ctx, wait.Options{
		For: fmt.Sprintf("the host namespace %s to go", namespace), Limit: f.timeout, Flag: "--timeout", Say: a.streams.Say,
		Why: func(ctx context.Context) string { return cluster.NamespaceReason(ctx, h.Client, namespace) },
	}, func(ctx context.Context) (bool, error) {
		_, err := h.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}
