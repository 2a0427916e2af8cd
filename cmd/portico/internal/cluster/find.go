// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/rewrite"
)

// ErrNotFound says that there is no such virtual cluster.
var ErrNotFound = errors.New("there is no such virtual cluster")

// Finder looks for virtual clusters on a host.
type Finder struct {
	Client   kubernetes.Interface
	Metadata metadata.Interface
}

// List returns the clusters of a namespace, or of all with "", by namespace and
// name.
func (f Finder) List(ctx context.Context, namespace string) ([]Cluster, error) {
	return f.list(ctx, namespace, labelApp+"="+appName+","+rewrite.LabelCluster)
}

// Get returns the cluster of the name in a namespace.
func (f Finder) Get(ctx context.Context, namespace, name string) (*Cluster, error) {
	found, err := f.list(ctx, namespace, labelApp+"="+appName+","+rewrite.LabelCluster+"="+name)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, notFound(name, namespace)
	}
	return &found[0], nil
}

// Find returns the cluster of the name in the namespace, or, when that is empty,
// wherever it is on the host. One who may not look everywhere gets that of the
// default namespace.
func (f Finder) Find(ctx context.Context, namespace, name string) (*Cluster, error) {
	if namespace != "" {
		return f.Get(ctx, namespace, name)
	}
	found, err := f.list(ctx, "", labelApp+"="+appName+","+rewrite.LabelCluster+"="+name)
	if apierrors.IsForbidden(err) {
		return f.Get(ctx, Namespace(name), name)
	}
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, notFound(name, "")
	case 1:
		return &found[0], nil
	}
	var in []string
	for _, c := range found {
		in = append(in, c.Namespace)
	}
	return nil, output.WithHint(fmt.Errorf("several virtual clusters have the name %s: in the namespaces %s", name, strings.Join(in, ", ")),
		"say which with -n")
}

func notFound(name, namespace string) error {
	where := "on this host"
	if namespace != "" {
		where = "in the host namespace " + namespace
	}
	return output.WithHint(fmt.Errorf("virtual cluster %s: %w %s", name, ErrNotFound, where),
		"portico list -A shows those of the current context; --context chooses another host")
}

func (f Finder) list(ctx context.Context, namespace, selector string) ([]Cluster, error) {
	options := metav1.ListOptions{LabelSelector: selector}
	sets, err := f.Client.AppsV1().StatefulSets(namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list virtual clusters: %w", err)
	}
	deployments, err := f.Client.AppsV1().Deployments(namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list virtual clusters: %w", err)
	}
	var found []Cluster
	// Other parts of a cluster, such as an etcd, have the label as well, and
	// another name.
	for i := range sets.Items {
		if c := fromStatefulSet(&sets.Items[i]); c.Name == sets.Items[i].Name {
			found = append(found, c)
		}
	}
	for i := range deployments.Items {
		if c := fromDeployment(&deployments.Items[i]); c.Name == deployments.Items[i].Name {
			found = append(found, c)
		}
	}
	found = append(found, f.recorded(ctx, namespace, selector, found)...)
	slices.SortFunc(found, func(a, b Cluster) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return found, nil
}

// recorded returns the clusters that have a record of Helm and no workload. Only
// the labels of the records are read. One who may not read them does not see
// such clusters.
func (f Finder) recorded(ctx context.Context, namespace, selector string, known []Cluster) []Cluster {
	selector = strings.Replace(selector, labelApp+"="+appName, "owner=helm", 1)
	records, err := f.Metadata.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(namespace).
		List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil
	}
	var found []Cluster
	for _, r := range records.Items {
		c := Cluster{Name: r.Labels[rewrite.LabelCluster], Namespace: r.Namespace, State: Incomplete, Created: r.CreationTimestamp.Time}
		same := func(o Cluster) bool { return o.Name == c.Name && o.Namespace == c.Namespace }
		if status := r.Labels["status"]; status == "uninstalling" || status == "uninstalled" {
			c.State = Deleting
		}
		if i := slices.IndexFunc(found, same); i >= 0 {
			if c.State == Deleting {
				found[i].State = Deleting
			}
			found[i].Created = minTime(found[i].Created, c.Created)
			continue
		}
		if !slices.ContainsFunc(known, same) {
			found = append(found, c)
		}
	}
	return found
}
