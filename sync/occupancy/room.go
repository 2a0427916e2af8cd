// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package occupancy

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/resource"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
)

// Config says whose pods are not those of others, and where all are.
type Config struct {
	Translator *rewrite.Translator
	Informers  informers.SharedInformerFactory // of the virtual cluster
	// Host may get, list and watch the pods of all namespaces.
	Host kubernetes.Interface
	// Clock is the real one when nil.
	Clock clock.PassiveClock
}

// Room is the room that pods take on the nodes of the host.
type Room struct {
	own     func(*corev1.Pod) bool
	outside informers.SharedInformerFactory
	pods    cache.SharedIndexInformer
	refused *refused
	synced  []cache.InformerSynced
}

const byNode = "node"

// assigned selects the pods that take room.
const assigned = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"

// New returns a Room that knows of no pods before it observes.
func New(cfg Config) (*Room, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	namespace, ours := cfg.Translator.Cluster().HostNamespace, labels.SelectorFromSet(cfg.Translator.ScopeLabels())
	r := &Room{
		own: func(pod *corev1.Pod) bool { return pod.Namespace == namespace && ours.Matches(labels.Set(pod.Labels)) },
		outside: informers.NewSharedInformerFactoryWithOptions(cfg.Host, 0,
			informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = assigned }),
			informers.WithTransform(reduce)),
		refused: newRefused(cfg.Clock),
	}
	r.pods = r.outside.Core().V1().Pods().Informer()
	r.Await(r.pods.HasSynced)
	if err := r.pods.AddIndexers(cache.Indexers{byNode: indexByNode}); err != nil {
		return nil, fmt.Errorf("index the host's pods by node: %w", err)
	}
	return r, queue.Listen(r, "pods", cfg.Informers.Core().V1().Pods().Informer(), queue.On[*corev1.Pod]{Changed: r.refused.look})
}

// Await implements queue.Waiter: nothing fits before all pods are known.
func (r *Room) Await(synced ...cache.InformerSynced) { r.synced = append(r.synced, synced...) }

// Observe watches the host's pods until ctx ends. Every replica does, because
// each refuses bindings.
func (r *Room) Observe(ctx context.Context) error { return hostview.Observe(ctx, r.outside) }

// Listen calls look with the name of a node on which others take more or less
// room than before.
func (r *Room) Listen(l queue.Waiter, look func(node string)) error {
	each := func(pod *corev1.Pod) {
		if !r.own(pod) {
			look(pod.Spec.NodeName)
		}
	}
	return queue.Listen(l, "pods of the host", r.pods, queue.On[*corev1.Pod]{Added: each, Deleted: each, Changed: func(old, pod *corev1.Pod) {
		if old.ResourceVersion != pod.ResourceVersion && !sameRoom(old, pod) {
			each(old)
			each(pod)
		}
	}})
}

// Left returns the resources of a node that others leave, and nothing below
// zero. Resources that the node does not have are not in it.
func (r *Room) Left(node string, of corev1.ResourceList) corev1.ResourceList {
	left := of.DeepCopy()
	taken := sum(r.on(node, func(pod *corev1.Pod) bool { return !r.own(pod) }))
	for name, q := range left {
		less, ok := taken[name]
		if !ok {
			continue
		}
		q.Sub(less)
		if q.Sign() < 0 {
			q.Set(0)
		}
		left[name] = q
	}
	return left
}

// on returns the pods on a node that a condition holds for.
func (r *Room) on(node string, holds func(*corev1.Pod) bool) []*corev1.Pod {
	all, err := r.pods.GetIndexer().ByIndex(byNode, node)
	if err != nil {
		return nil // only of an index that is not there
	}
	var pods []*corev1.Pod
	for _, obj := range all {
		if pod, ok := obj.(*corev1.Pod); ok && holds(pod) {
			pods = append(pods, pod)
		}
	}
	return pods
}

func indexByNode(obj any) ([]string, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, nil
	}
	return []string{pod.Spec.NodeName}, nil
}

// sum adds up the requests of pods, and counts them.
func sum(pods []*corev1.Pod) corev1.ResourceList {
	total := corev1.ResourceList{}
	for _, pod := range pods {
		for name, q := range requests(pod) {
			t := total[name]
			t.Add(q)
			total[name] = t
		}
	}
	return total
}

// requests are those of the pod that count on its node, and its place there.
func requests(pod *corev1.Pod) corev1.ResourceList {
	all := resource.PodRequests(pod, resource.PodResourcesOptions{
		UseStatusResources: true, InPlacePodLevelResourcesVerticalScalingEnabled: true,
	})
	all[corev1.ResourcePods] = *apiresource.NewQuantity(1, apiresource.DecimalSI)
	return all
}

// reduce leaves the parts of a pod that the package needs, in one container.
// Applied twice it does the same as once.
func reduce(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	counted := requests(pod)
	delete(counted, corev1.ResourcePods)
	out := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			DeletionTimestamp: pod.DeletionTimestamp,
		},
		Spec: corev1.PodSpec{NodeName: pod.Spec.NodeName, Containers: []corev1.Container{{
			Resources: corev1.ResourceRequirements{Requests: counted}, Ports: ports(pod),
		}}},
	}
	if cluster, ok := pod.Labels[rewrite.LabelCluster]; ok {
		out.Labels = map[string]string{rewrite.LabelCluster: cluster}
	}
	return out, nil
}
