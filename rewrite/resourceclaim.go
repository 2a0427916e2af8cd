// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite/rules"
)

// absentClass ends the host name of a device class that the host does not offer
// to the tenant. No class there has such a name, so that a claim of it waits, as
// it does in any cluster without the class.
const absentClass = ".absent.portico.dev"

var resourceClaims = kind[*resourcev1.ResourceClaim]{
	group: resourcev1.GroupName, name: "ResourceClaim", validate: validateResourceClaim,
	translate: (*translation).resourceClaim, restore: (*restoration).resourceClaim, status: rules.ResourceClaim.Status,
}

// ResourceClaimToHost returns the host claim of a virtual claim.
func (t *Translator) ResourceClaimToHost(v *resourcev1.ResourceClaim, in Inputs) (*resourcev1.ResourceClaim, error) {
	return resourceClaims.hostOf(t, v, in)
}

// ResourceClaimToVirtual returns the virtual claim that a host claim is. Pods
// for which it is reserved are left out if their names cannot be read from the
// claim alone: see [Translator.PlainName].
func (t *Translator) ResourceClaimToVirtual(h *resourcev1.ResourceClaim) (*resourcev1.ResourceClaim, error) {
	return resourceClaims.virtualOf(t, h)
}

// resourceClaim translates the classes of a claim, and makes the pod that it
// was made for its controller: the host's scheduler and kubelet give a pod no
// claim made of a template but its own
// (k8s.io/dynamic-resource-allocation/resourceclaim.IsForPod).
//
// Both are decided when the claim is created: its spec cannot change later.
func (c *translation) resourceClaim(h, v *resourcev1.ResourceClaim) {
	if c.in.Host != nil {
		return
	}
	eachDeviceClass(&h.Spec, func(class *string) {
		if !slices.Contains(c.in.DeviceClasses, *class) {
			*class += absentClass
		}
	})
	if owner := ControllerPod(v); owner != nil && c.in.ControllerPod {
		pod := metav1.OwnerReference{
			APIVersion: "v1", Kind: "Pod", Name: c.hostName("Pod", owner.Name), UID: owner.UID, Controller: ptr.To(true),
		}
		h.OwnerReferences = c.t.owners([]metav1.OwnerReference{pod})
	}
}

func (c *restoration) resourceClaim(v, _ *resourcev1.ResourceClaim) {
	c.references(v)
	eachDeviceClass(&v.Spec, func(class *string) { *class = strings.TrimSuffix(*class, absentClass) })
	owner := ControllerPod(v)
	var pods []resourcev1.ResourceClaimConsumerReference
	for _, r := range v.Status.ReservedFor {
		if !ReservedForPod(r) {
			continue
		}
		name, ok := c.t.PlainName(c.namespace, r.Name)
		if !ok && owner != nil && owner.UID == r.UID {
			name, ok = owner.Name, true
		}
		if ok {
			r.Name = name
			pods = append(pods, r)
		}
	}
	v.Status.ReservedFor = pods
}

// ReservedForPod reports whether a claim is reserved for a pod, rather than for
// something of the host's that no tenant knows.
func ReservedForPod(r resourcev1.ResourceClaimConsumerReference) bool {
	return r.APIGroup == "" && r.Resource == "pods"
}

// ControllerPod returns the reference to the Pod that controls a claim, or nil.
func ControllerPod(claim *resourcev1.ResourceClaim) *metav1.OwnerReference {
	owner := metav1.GetControllerOfNoCopy(claim)
	if owner == nil || owner.Kind != "Pod" || owner.APIVersion != corev1.SchemeGroupVersion.String() {
		return nil
	}
	return owner
}

// DeviceClasses are the classes that a claim asks for, each once.
func DeviceClasses(claim *resourcev1.ResourceClaim) []string {
	out := set{}
	eachDeviceClass(&claim.Spec, func(class *string) { out.add(*class) })
	return out.sorted()
}

// eachDeviceClass calls do for every class that a claim names.
func eachDeviceClass(spec *resourcev1.ResourceClaimSpec, do func(class *string)) {
	for i := range spec.Devices.Requests {
		r := &spec.Devices.Requests[i]
		if r.Exactly != nil && r.Exactly.DeviceClassName != "" {
			do(&r.Exactly.DeviceClassName)
		}
		for j := range r.FirstAvailable {
			if r.FirstAvailable[j].DeviceClassName != "" {
				do(&r.FirstAvailable[j].DeviceClassName)
			}
		}
	}
}

// validateResourceClaim lists the values that a tenant may not write in a
// claim.
func validateResourceClaim(v *resourcev1.ResourceClaim) field.ErrorList {
	var errs field.ErrorList
	requests := field.NewPath("spec", "devices", "requests")
	for i, r := range v.Spec.Devices.Requests {
		if r.Exactly != nil && ptr.Deref(r.Exactly.AdminAccess, false) {
			errs = append(errs, field.Forbidden(requests.Index(i).Child("exactly", "adminAccess"),
				"devices that others use are not accessible from a virtual cluster"))
		}
	}
	return errs
}
