// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

// podFacts finds the classes that a new pod has on the host. When they
// cannot be found out the pod is refused: without its class it would be another
// pod.
func (s *Storage) podFacts(ctx context.Context, k key, v runtime.Object, in *rewrite.Inputs) error {
	pod, ok := v.(*corev1.Pod)
	if !ok || s.cfg.HostClasses == nil {
		return nil
	}
	var err error
	in.HostClasses, err = s.cfg.HostClasses(ctx, pod)
	switch {
	case errors.Is(err, rewrite.ErrNoClass):
		return apierrors.NewForbidden(s.resource, k.name, err)
	case err != nil:
		klog.FromContext(ctx).Error(err, "Classes of a pod cannot be looked up", "virtualObject", k.ref())
		return unavailable("the classes of the pod cannot be looked up now")
	}
	return nil
}

// mayCreatePod refuses a pod that its tenant has put on a node where they may
// not.
func (s *Storage) mayCreatePod(ctx context.Context, k key, h runtime.Object) error {
	pod, ok := h.(*corev1.Pod)
	if !ok || pod.Spec.NodeName == "" {
		return nil
	}
	return s.mayRunOn(ctx, k, pod.Spec.NodeName, pod)
}

// mayUpdatePod refuses bindings that this cluster's tenant may not make.
func (s *Storage) mayUpdatePod(ctx context.Context, k key, p plan) error {
	pod, ok := p.after.(*corev1.Pod)
	for _, st := range p.steps {
		switch {
		case st.subresource != subBinding || !ok:
			continue
		case !s.cfg.AllowBinding:
			return apierrors.NewForbidden(s.resource, k.name,
				fmt.Errorf("pods of this cluster are assigned to nodes by its host's scheduler"))
		}
		if err := s.mayBind(ctx, k, st.bind, pod); err != nil {
			return err
		}
	}
	return nil
}

// bind assigns a host pod to a node. The host answers with a Status only, so
// the pod is read again.
func (s *Storage) bind(ctx context.Context, name, node string, pod metav1.Object) (runtime.Object, error) {
	err := s.host.post(ctx, name, subBinding, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: pod.GetNamespace(), UID: pod.GetUID()},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	})
	if err != nil {
		return nil, err
	}
	return s.host.get(ctx, name, "")
}

// vitalOfPods are those of a pod and of its containers.
func vitalOfPods() []string {
	vital := []string{
		"spec.hostUsers", "spec.hostnameOverride", "spec.resourceClaims", "spec.resources", "spec.schedulingGates", "spec.readinessGates", "spec.volumes",
	}
	for _, of := range []string{"spec.", "spec.containers.", "spec.initContainers."} {
		for _, restricts := range []string{
			"allowPrivilegeEscalation", "appArmorProfile", "capabilities.drop", "procMount", "readOnlyRootFilesystem", "runAsGroup",
			"runAsNonRoot", "runAsUser", "seLinuxOptions", "seccompProfile", "supplementalGroupsPolicy",
		} {
			vital = append(vital, of+"securityContext."+restricts)
		}
	}
	for _, of := range []string{"spec.containers.", "spec.initContainers."} {
		for _, makes := range []string{"env", "envFrom", "resources.claims", "restartPolicy", "restartPolicyRules", "volumeDevices", "volumeMounts"} {
			vital = append(vital, of+makes)
		}
	}
	return vital
}

// podReferents are the objects that a pod needs on the host.
func podReferents(t *rewrite.Translator, v runtime.Object) []rewrite.Reference {
	pod, ok := v.(*corev1.Pod)
	if !ok {
		return nil
	}
	return t.PodReferences(pod)
}

// divertPod takes a binding, and the changes of a spec that have a subresource
// of their own, out of an update.
func divertPod(d *diff, before, after runtime.Object) []step {
	var steps []step
	if node := bindingOf(before, after); node != "" {
		steps = append(steps, step{subresource: subBinding, bind: node})
		delete(d.spec, "nodeName")
		d.status = nil
	}
	if special := specialSpec(d.spec); special != subMain {
		steps = append(steps, step{subresource: special, spec: d.spec})
		d.spec = nil
	}
	return steps
}

// specialSpec recognizes changes of a pod's spec that have a subresource of
// their own, and that the main one would refuse.
func specialSpec(spec map[string]any) string {
	ephemeral, resources := false, false
	for field, change := range spec {
		switch strings.TrimPrefix(field, "$setElementOrder/") {
		case "ephemeralContainers":
			ephemeral = true
		case "resources":
			resources = true
		case "containers", "initContainers":
			if strings.HasPrefix(field, "$") {
				continue
			}
			if !onlyResources(change) {
				return subMain
			}
			resources = true
		default:
			return subMain
		}
	}
	switch {
	case ephemeral && !resources:
		return subEphemeral
	case resources && !ephemeral:
		return subResize
	}
	return subMain
}

func onlyResources(change any) bool {
	list, ok := change.([]any)
	if !ok {
		return false
	}
	for _, item := range list {
		container, ok := item.(map[string]any)
		if !ok {
			return false
		}
		for field := range container {
			switch field {
			case "name", "resources", "resizePolicy":
			default:
				return false
			}
		}
	}
	return true
}

// bindingOf returns the node that an update assigns a pod to, if it does.
func bindingOf(before, after runtime.Object) string {
	b, ok := before.(*corev1.Pod)
	if !ok {
		return ""
	}
	a, ok := after.(*corev1.Pod)
	if !ok || b.Spec.NodeName != "" {
		return ""
	}
	return a.Spec.NodeName
}
