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

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/kubeconfig"
	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/cmd/portico/internal/wait"
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
	flags.BoolVar(&f.deleteNamespace, "delete-namespace", false, "delete the host namespace, whatever is in it")
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
	if err := a.deleteData(ctx, h, namespace, name, f); err != nil {
		return err
	}
	if err := a.deleteNamespace(ctx, h, namespace, name, f); err != nil {
		return err
	}
	a.streams.Say("deleted virtual cluster %s", name)
	return nil
}

// leftovers finds what an interrupted deletion has left of a cluster that is
// gone: its data, or the namespace that was made for it.
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
	if len(data) == 0 && !made {
		return nil, notFound
	}
	return &cluster.Cluster{Name: name, Namespace: namespace, State: cluster.Deleting}, nil
}

// uninstall removes the release. porticod's own cleaning is a hook of it, which
// is left out where porticod has never run: its image may not even exist.
func (a *app) uninstall(ctx context.Context, h *host.Host, c *cluster.Cluster, f deleteFlags) error {
	releases, err := a.releases(h, c.Namespace)
	if err != nil {
		return err
	}
	_, err = h.Client.CoreV1().ConfigMaps(c.Namespace).Get(ctx, rewrite.AnchorName(c.Name), metav1.GetOptions{})
	ran := !apierrors.IsNotFound(err)
	a.streams.Say("deleting virtual cluster %s in the host namespace %s", c.Name, c.Namespace)
	there, err := releases.Uninstall(ctx, c.Name, ran, f.timeout)
	if err != nil {
		return err
	}
	if !there && c.Kind != "" {
		return output.WithHint(fmt.Errorf("virtual cluster %s: its %s %s/%s was not installed by portico or Helm", c.Name, c.Kind, c.Namespace, c.Name),
			"delete it with the tool that made it, such as kubectl delete -f or Argo CD")
	}
	if !f.wait {
		return nil
	}
	return wait.Until(ctx, wait.Options{
		For: "the control plane of " + c.Name + " to go", Limit: f.timeout, Flag: "--timeout", Say: a.streams.Say,
		Why: wait.Pods(h.Client, c.Namespace, cluster.DoorPods(c.Name), c.Name),
	}, func(ctx context.Context) (bool, error) {
		pods, err := h.Client.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: cluster.DoorPods(c.Name)})
		if err != nil {
			return false, fmt.Errorf("look for the pods of %s: %w", c.Name, err)
		}
		return len(pods.Items) == 0, nil
	})
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
