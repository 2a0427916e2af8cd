// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"

	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/lru"

	"portico.dev/portico/rewrite"
)

// resourceClaimFacts finds the facts for the translation of a new
// ResourceClaim: which of its classes are the host's, and whether the pod that
// it names as its controller really is. When they cannot be found out the claim
// is refused: its spec cannot be corrected later.
func (s *Storage) resourceClaimFacts(ctx context.Context, k key, v runtime.Object, in *rewrite.Inputs) error {
	claim, ok := v.(*resourcev1.ResourceClaim)
	if !ok {
		return nil
	}
	if s.cfg.DeviceClasses != nil {
		var err error
		if in.DeviceClasses, err = s.cfg.DeviceClasses(ctx, rewrite.DeviceClasses(claim)); err != nil {
			klog.FromContext(ctx).Error(err, "Classes of a claim cannot be looked up", "virtualObject", k.ref())
			return unavailable("the classes of the claim cannot be looked up now")
		}
	}
	owner := rewrite.ControllerPod(claim)
	if owner == nil {
		return nil
	}
	pod, err := findPod(ctx, s.cfg, k.namespace, owner.Name)
	if apierrors.IsNotFound(err) || errors.Is(err, rewrite.ErrForeign) {
		return nil
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "Pod of a claim cannot be looked up", "virtualObject", k.ref())
		return unavailable("the pod of the claim cannot be looked up now")
	}
	// On the host the uid alone identifies the pod that a claim was made for.
	// It may be that of another namespace's pod, and of another cluster's.
	in.ControllerPod = pod.GetUID() == owner.UID
	if pod.GetName() != s.cfg.Translator.Name(k.namespace, owner.Name) {
		in.Former = append(in.Former, rewrite.Named{Kind: "Pod", Name: owner.Name})
	}
	return nil
}

// completeResourceClaim adds to the virtual claim v the names of pods that the
// translation of h did not find.
func (s *Storage) completeResourceClaim(ctx context.Context, v, h runtime.Object) {
	if claim, ok := v.(*resourcev1.ResourceClaim); ok {
		s.podNames.complete(ctx, claim, h)
	}
}

// rememberedNames bounds how many names of pods are kept.
const rememberedNames = 1024

// podNames finds the virtual names of host pods. Most are read from the host
// name, which costs nothing; the others are asked for once.
type podNames struct {
	tr    *rewrite.Translator
	pods  hostAPI
	known *lru.Cache // types.UID of a pod to podName; neither ever changes
}

type podName struct{ namespace, name string }

func newPodNames(cfg Config) *podNames {
	return &podNames{tr: cfg.Translator, pods: newHostAPI(cfg, kindNamed("Pod")), known: lru.New(rememberedNames)}
}

// complete adds to a virtual claim those of the pods that the host claim h is
// reserved for whose names its translation did not find. A pod that is not
// found has gone, and the host is about to drop its reservation.
func (p *podNames) complete(ctx context.Context, claim *resourcev1.ResourceClaim, h runtime.Object) {
	host, ok := h.(*resourcev1.ResourceClaim)
	if !ok {
		return
	}
	shown := make(map[types.UID]resourcev1.ResourceClaimConsumerReference, len(claim.Status.ReservedFor))
	for _, r := range claim.Status.ReservedFor {
		shown[r.UID] = r
	}
	var all []resourcev1.ResourceClaimConsumerReference
	for _, r := range host.Status.ReservedFor {
		if !rewrite.ReservedForPod(r) {
			continue
		}
		if known, ok := shown[r.UID]; ok {
			all = append(all, known)
			continue
		}
		if found, ok := p.find(ctx, r.Name, r.UID); ok && found.namespace == claim.Namespace {
			r.Name = found.name
			all = append(all, r)
		}
	}
	claim.Status.ReservedFor = all
}

func (p *podNames) find(ctx context.Context, hostName string, uid types.UID) (podName, bool) {
	if known, ok := p.known.Get(uid); ok {
		return known.(podName), true
	}
	pod, err := p.pod(ctx, hostName)
	if err != nil || pod.GetUID() != uid {
		klog.FromContext(ctx).V(2).Info("Host pod of a claim not found", "hostPod", klog.KRef(p.pods.namespace, hostName), "err", err)
		return podName{}, false
	}
	namespace, name, err := p.tr.Identify("Pod", pod)
	if err != nil {
		return podName{}, false
	}
	found := podName{namespace, name}
	p.known.Add(uid, found)
	return found, true
}

// pod asks the host for a pod.
func (p *podNames) pod(ctx context.Context, hostName string) (metav1.Object, error) {
	pod, err := p.pods.get(ctx, hostName, "")
	if err != nil {
		return nil, err
	}
	return meta.Accessor(pod)
}
