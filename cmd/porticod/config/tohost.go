// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/rewrite"
)

// highestPriority is the highest value that the API allows a class that is not
// the system's (HighestUserDefinablePriority in pkg/apis/scheduling).
const highestPriority = 1_000_000_000

// ToHost chooses the kinds of the tenant that the host gets besides pods,
// Services and volume claims.
type ToHost struct {
	PriorityClasses ToHostPriorityClasses `json:"priorityClasses"`
	ResourceClaims  ToHostResourceClaims  `json:"resourceClaims"`
	NetworkPolicies ToHostNetworkPolicies `json:"networkPolicies"`

	PodDisruptionBudgets ToHostPodDisruptionBudgets `json:"podDisruptionBudgets"`
	Ingresses            ToHostIngresses            `json:"ingresses"`
	StorageClasses       ToHostStorageClasses       `json:"storageClasses"`
	PersistentVolumes    ToHostPersistentVolumes    `json:"persistentVolumes"`
}

// ToHostIngresses has the host's controllers route requests as the tenant's
// Ingresses say.
type ToHostIngresses struct {
	// Enabled gives the host a copy of each Ingress of the classes.
	Enabled bool `json:"enabled"`
	// Classes are those of the host that an Ingress may have. One of another class
	// stays inside.
	Classes []string `json:"classes,omitempty"`
	// AllowedHosts are the host names that an Ingress may have, *.SUFFIX for all
	// under one, or * for all.
	AllowedHosts []string `json:"allowedHosts,omitempty"`
	// Annotations are the keys that reach the host. A controller can have some
	// that change its configuration for everybody.
	Annotations []string `json:"annotations,omitempty"`
}

// Policy is what Ingresses may do.
func (i *ToHostIngresses) Policy() *rewrite.IngressPolicy {
	return &rewrite.IngressPolicy{Classes: i.Classes, Hosts: i.AllowedHosts, Annotations: i.Annotations}
}

func (i *ToHostIngresses) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if i.Enabled && len(i.Classes) == 0 {
		errs = append(errs, field.Required(path.Child("classes"), "without a class no Ingress would reach the host"))
	}
	if i.Enabled && len(i.AllowedHosts) == 0 {
		errs = append(errs, field.Required(path.Child("allowedHosts"), "without a host name every Ingress would be refused"))
	}
	for n, class := range i.Classes {
		for _, msg := range validation.IsDNS1123Subdomain(class) {
			errs = append(errs, field.Invalid(path.Child("classes").Index(n), class, msg))
		}
	}
	for n, host := range i.AllowedHosts {
		if host == "*" {
			continue
		}
		for _, msg := range validation.IsDNS1123Subdomain(strings.TrimPrefix(host, "*.")) {
			errs = append(errs, field.Invalid(path.Child("allowedHosts").Index(n), host, "must be *, a host name, or *. and one: "+msg))
		}
	}
	for n, key := range i.Annotations {
		at := path.Child("annotations").Index(n)
		for _, msg := range validation.IsQualifiedName(key) {
			errs = append(errs, field.Invalid(at, key, "must be a key: "+msg))
		}
		if key == rewrite.AnnotationIngressClass || rewrite.Reserved(key) {
			errs = append(errs, field.Invalid(at, key, "never reaches the host"))
		}
	}
	return errs
}

// ToHostPodDisruptionBudgets has the host keep the tenant's budgets.
type ToHostPodDisruptionBudgets struct {
	// Enabled gives the host a copy of each. Otherwise they hold for evictions
	// inside only.
	Enabled bool `json:"enabled"`
}

// ToHostStorageClasses lets claims have the tenant's own classes on the host.
type ToHostStorageClasses struct {
	Enabled bool `json:"enabled"`
	// Provisioners are those that classes with a copy on the host may have. Nil
	// means those of the host's classes that are shown; an empty list is none.
	Provisioners []string `json:"provisioners"`
	// Parameters are keys of parameters that may reach the provisioners.
	Parameters []string `json:"parameters"`
}

func (s *ToHostStorageClasses) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, key := range s.Parameters {
		if rewrite.DangerousParameter(key) {
			errs = append(errs, field.Invalid(path.Child("parameters").Index(i), key, "would let a tenant name Secrets, namespaces or credentials of the host"))
		}
	}
	return errs
}

// ToHostPersistentVolumes lets claims have volumes that the tenant made.
type ToHostPersistentVolumes struct {
	// Enabled gives the host a copy of each volume that is bound to a claim.
	// Otherwise a tenant's volumes stay inside, where no claim gets one.
	Enabled bool `json:"enabled"`
	// Drivers are those that the volumes may have, by the names of
	// rules.VolumeDrivers and rules.NodeVolumes; * for all that do not reach into
	// a node. None by default: a volume names any place that its driver reaches.
	Drivers []string `json:"drivers,omitempty"`
}

func (v *ToHostPersistentVolumes) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if v.Enabled && len(v.Drivers) == 0 {
		errs = append(errs, field.Required(path.Child("drivers"), "without a driver every volume would be refused"))
	}
	for i, name := range v.Drivers {
		if strings.TrimSpace(name) == "" {
			errs = append(errs, field.Invalid(path.Child("drivers").Index(i), name, "must be the name of a driver"))
		}
	}
	return errs
}

// ToHostNetworkPolicies has the host enforce the tenant's policies.
type ToHostNetworkPolicies struct {
	// Enabled gives the host a copy of each. Otherwise they have no effect, and
	// those who write one are warned.
	Enabled bool `json:"enabled"`
}

// ToHostResourceClaims lets pods have devices.
type ToHostResourceClaims struct {
	// Enabled makes a ResourceClaim one of the host's. Otherwise claims are the
	// virtual cluster's own, and a pod that names one has no device.
	Enabled bool `json:"enabled"`
}

// validate reports a setting that could not work: a claim asks for a device of
// a class, and there would be none.
func (c *ToHostResourceClaims) validate(path *field.Path, classes *FromHostKind) field.ErrorList {
	if c.Enabled && !classes.Enabled {
		return field.ErrorList{field.Invalid(path.Child("enabled"), true, "needs sync.fromHost.deviceClasses: a claim is for devices of a class of the host")}
	}
	return nil
}

// ToHostPriorityClasses lets pods have the tenant's own classes on the host.
type ToHostPriorityClasses struct {
	Enabled bool `json:"enabled"`
	// MaxValue is the highest value that a class has on the host: a higher one
	// is pushed with this.
	MaxValue int32 `json:"maxValue"`
}

func (p *ToHostPriorityClasses) validate(path *field.Path) field.ErrorList {
	if p.MaxValue > highestPriority {
		return field.ErrorList{field.Invalid(path.Child("maxValue"), p.MaxValue, "must not be above 1000000000: higher values are the system's")}
	}
	return nil
}
