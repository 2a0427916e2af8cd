// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/pager"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
)

// ErrInUse is returned when a control plane of the cluster is still there. It
// would make removed objects again.
var ErrInUse = errors.New("the control plane is still there")

// removeInterval is how often the remaining objects are listed.
const removeInterval = time.Second

// Removal takes a virtual cluster off its host, when no porticod of it is left:
// its anchor, and with it every object that the anchor owns, with their data.
// It does not touch the objects that a chart has made: the control plane with
// its volume, its accounts and its configuration.
type Removal struct {
	Cluster, Namespace string

	// ResourceClaims, the classes and the copies of volumes are looked for too. All
	// but the first are in no namespace, and no anchor can own them. The data of a
	// volume stays: its copy is retained.
	ResourceClaims, PriorityClasses, StorageClasses, PersistentVolumes bool

	// Report is called with a text about the remaining objects, whenever it has
	// changed.
	Report func(left string)

	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Run returns when nothing is left. It may be called again after any failure,
// and for a cluster that is gone.
func (r Removal) Run(ctx context.Context, client kubernetes.Interface, meta metadata.Interface) error {
	if r.Clock == nil {
		r.Clock = clock.RealClock{}
	}
	if err := r.unused(ctx, client, meta); err != nil {
		return err
	}
	for said := ""; ; {
		left, err := r.round(ctx, client, meta)
		if err != nil || left == "" {
			return err
		}
		if left != said && r.Report != nil {
			r.Report(left)
		}
		said = left
		timer := r.Clock.NewTimer(removeInterval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w; left are %s", ctx.Err(), left)
		case <-timer.C():
		}
	}
}

// unused makes sure that nothing would start a porticod again. Its pods may
// still be about to end: round waits for them.
func (r Removal) unused(ctx context.Context, client kubernetes.Interface, meta metadata.Interface) error {
	for _, resource := range []string{"statefulsets", "deployments"} {
		found, err := meta.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: resource}).
			Namespace(r.Namespace).Get(ctx, r.Cluster, metav1.GetOptions{})
		if err == nil && found.DeletionTimestamp == nil && found.Labels[rewrite.LabelCluster] == r.Cluster {
			return fmt.Errorf("%w: %s %s/%s", ErrInUse, strings.TrimSuffix(resource, "s"), r.Namespace, r.Cluster)
		}
		if err := ignoreNotFound(err); err != nil {
			return fmt.Errorf("look for a control plane: %w", err)
		}
	}
	anchor, err := client.CoreV1().ConfigMaps(r.Namespace).Get(ctx, rewrite.AnchorName(r.Cluster), metav1.GetOptions{})
	if err == nil {
		err = Options{Cluster: r.Cluster}.ours(anchor)
	}
	if err := ignoreNotFound(err); err != nil {
		return fmt.Errorf("host ConfigMap %s/%s: %w", r.Namespace, rewrite.AnchorName(r.Cluster), err)
	}
	return nil
}

// round deletes the remaining objects, and returns a text about those that are
// not gone yet; porticod's own pods come first.
func (r Removal) round(ctx context.Context, client kubernetes.Interface, meta metadata.Interface) (string, error) {
	doors, err := client.CoreV1().Pods(r.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.SelectorFromSet(labels.Set{LabelDoor: r.Cluster}).String(),
	})
	if err != nil {
		return "", fmt.Errorf("look for porticod's pods: %w", err)
	}
	if n := len(doors.Items); n > 0 {
		return fmt.Sprintf("%d of porticod's own pods (%s)", n, doors.Items[0].Name), nil
	}
	ours := labels.SelectorFromSet(labels.Set{rewrite.LabelCluster: r.Cluster})
	left := map[string][]string{}
	for _, resource := range r.resources() {
		if left[resource.Resource], err = r.sweep(ctx, meta.Resource(resource).Namespace(r.Namespace), ours); err != nil {
			return "", fmt.Errorf("remove %s of host namespace %s: %w", resource.Resource, r.Namespace, err)
		}
	}
	for _, resource := range r.clusterWide() {
		ours := labels.SelectorFromSet(labels.Set{rewrite.LabelCluster: r.Cluster, rewrite.LabelHostNamespace: r.Namespace})
		if left[resource.Resource], err = r.sweep(ctx, meta.Resource(resource), ours); err != nil {
			return "", fmt.Errorf("remove %s: %w", resource.Resource, err)
		}
	}
	var all []string
	for _, resource := range slices.Sorted(maps.Keys(left)) {
		if n := len(left[resource]); n > 0 {
			all = append(all, fmt.Sprintf("%d %s (%s)", n, resource, left[resource][0]))
		}
	}
	return strings.Join(all, ", "), nil
}

// clusterWide are the kinds of the cluster's objects without a namespace.
func (r Removal) clusterWide() []schema.GroupVersionResource {
	var all []schema.GroupVersionResource
	if r.PriorityClasses {
		all = append(all, schedulingv1.SchemeGroupVersion.WithResource("priorityclasses"))
	}
	if r.StorageClasses {
		all = append(all, storagev1.SchemeGroupVersion.WithResource("storageclasses"))
	}
	if r.PersistentVolumes {
		all = append(all, corev1.SchemeGroupVersion.WithResource("persistentvolumes"))
	}
	return all
}

// resources are those of the host namespace, the pods first: the objects that
// they use go after them. The anchor is among the ConfigMaps.
func (r Removal) resources() []schema.GroupVersionResource {
	all := []schema.GroupVersionResource{
		corev1.SchemeGroupVersion.WithResource("pods"),
		corev1.SchemeGroupVersion.WithResource("services"),
		corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims"),
		corev1.SchemeGroupVersion.WithResource("secrets"),
		corev1.SchemeGroupVersion.WithResource("configmaps"),
		discoveryv1.SchemeGroupVersion.WithResource("endpointslices"),
	}
	if r.ResourceClaims {
		all = append(all, resourcev1.SchemeGroupVersion.WithResource("resourceclaims"))
	}
	return all
}

// sweep deletes objects of the cluster, takes our finalizer off them, because
// no porticod is left to do it, and returns their names.
func (r Removal) sweep(ctx context.Context, all metadata.ResourceInterface, ours labels.Selector) ([]string, error) {
	list := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return all.List(ctx, o) })
	var names []string
	err := list.EachListItem(ctx, metav1.ListOptions{LabelSelector: ours.String()}, func(obj runtime.Object) error {
		m, ok := obj.(*metav1.PartialObjectMetadata)
		if !ok {
			return fmt.Errorf("got a %T", obj)
		}
		names = append(names, m.Name)
		if m.DeletionTimestamp == nil {
			err := all.Delete(ctx, m.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(m.UID))})
			if err := ignoreGone(err); err != nil {
				return err
			}
		}
		return r.release(ctx, all, m)
	})
	return names, err
}

// release takes our finalizer off an object. Those of others stay.
func (r Removal) release(ctx context.Context, all metadata.ResourceInterface, m *metav1.PartialObjectMetadata) error {
	position := slices.Index(m.Finalizers, rewrite.FinalizerVirtual)
	if position < 0 {
		return nil
	}
	// The deletion has changed the resourceVersion that was read, so it cannot be
	// the condition.
	body, err := json.Marshal([]map[string]any{
		{"op": "test", "path": "/metadata/uid", "value": m.UID},
		{"op": "test", "path": fmt.Sprintf("/metadata/finalizers/%d", position), "value": rewrite.FinalizerVirtual},
		{"op": "remove", "path": fmt.Sprintf("/metadata/finalizers/%d", position)},
	})
	if err != nil {
		return err
	}
	_, err = all.Patch(ctx, m.Name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
	if apierrors.IsInvalid(err) { // the list was another by then: the next round sees it
		return nil
	}
	return ignoreGone(err)
}

// ignoreGone drops the errors that say that the object which was read is no
// longer there as it was.
func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
