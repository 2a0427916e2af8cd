// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	psapi "k8s.io/pod-security-admission/api"

	"portico.dev/portico/rewrite"
)

// Isolation are limits that the operator puts around a cluster, and no tenant
// can lift. porticod enforces the Pod Security Standard; the chart makes the
// other objects in the host namespace.
type Isolation struct {
	// Enabled switches all of them on. Without it the others mean nothing.
	Enabled bool `json:"enabled"`
	// PodSecurityStandard is the least that holds for every pod: privileged,
	// baseline or restricted.
	PodSecurityStandard string `json:"podSecurityStandard"`
	// PodSecurityVersion is the version of Kubernetes that the standard is of.
	PodSecurityVersion string `json:"podSecurityVersion"`
	// PodSecurityExemptions are pods that the standard does not hold for.
	PodSecurityExemptions PodSecurityExemptions `json:"podSecurityExemptions"`

	ResourceQuota ResourceQuota          `json:"resourceQuota"`
	LimitRange    LimitRange             `json:"limitRange"`
	NetworkPolicy IsolationNetworkPolicy `json:"networkPolicy"`
}

// PodSecurityExemptions are those of upstream's admission, all of the virtual
// cluster.
type PodSecurityExemptions struct {
	Namespaces     []string `json:"namespaces,omitempty"`
	Usernames      []string `json:"usernames,omitempty"`
	RuntimeClasses []string `json:"runtimeClasses,omitempty"`
}

// ResourceQuota bounds everything in the host namespace together.
type ResourceQuota struct {
	Enabled bool       `json:"enabled"`
	Quota   Quantities `json:"quota,omitempty"`
}

// LimitRange is for each container in the host namespace.
type LimitRange struct {
	Enabled        bool       `json:"enabled"`
	Default        Quantities `json:"default,omitempty"`
	DefaultRequest Quantities `json:"defaultRequest,omitempty"`
	Min            Quantities `json:"min,omitempty"`
	Max            Quantities `json:"max,omitempty"`
}

// IsolationNetworkPolicy says where pods and the control plane may connect to.
type IsolationNetworkPolicy struct {
	Enabled bool `json:"enabled"`
	// OutgoingConnections are those of pods besides connections within the
	// cluster.
	OutgoingConnections OutgoingConnections `json:"outgoingConnections"`
	// Workloads and ControlPlane add to the peers that are allowed to either.
	Workloads    AddedEgress        `json:"workloads"`
	ControlPlane ControlPlaneEgress `json:"controlPlane"`
}

// OutgoingConnections are those of pods to the outside.
type OutgoingConnections struct {
	IPBlock IPBlock `json:"ipBlock"`
	// DNS allows port 53 of every address.
	DNS bool `json:"dns"`
}

// IPBlock is the one of a NetworkPolicy.
type IPBlock struct {
	// CIDR may be empty: none.
	CIDR   string   `json:"cidr"`
	Except []string `json:"except,omitempty"`
}

// AddedEgress are rules of a NetworkPolicy as the host takes them.
type AddedEgress struct {
	Egress []networkingv1.NetworkPolicyEgressRule `json:"egress,omitempty"`
}

// ControlPlaneEgress is where porticod may connect to besides the cluster's own
// pods, its etcd and the host's DNS.
type ControlPlaneEgress struct {
	// Ports are those of the host's API, at any address.
	Ports  []int                                  `json:"ports,omitempty"`
	Egress []networkingv1.NetworkPolicyEgressRule `json:"egress,omitempty"`
}

// Quantities are amounts by resource. A value that is empty or null takes a
// default away.
type Quantities map[string]Quantity

// Quantity is a Kubernetes quantity, which a file may write as a number.
type Quantity string

// UnmarshalJSON takes a text or a number.
func (q *Quantity) UnmarshalJSON(b []byte) error {
	var number json.Number
	switch {
	case string(b) == "null":
		*q = ""
		return nil
	case b[0] == '"':
		var s string
		err := json.Unmarshal(b, &s)
		*q = Quantity(s)
		return err
	}
	err := json.Unmarshal(b, &number)
	*q = Quantity(number)
	return err
}

// defaultIsolation has the numbers that people know from vcluster's --isolate.
func defaultIsolation() Isolation {
	return Isolation{
		PodSecurityStandard: string(psapi.LevelBaseline),
		PodSecurityVersion:  psapi.VersionLatest,
		ResourceQuota: ResourceQuota{Enabled: true, Quota: Quantities{
			"requests.cpu": "10", "requests.memory": "20Gi", "requests.storage": "100Gi", "requests.ephemeral-storage": "60Gi",
			"limits.cpu": "20", "limits.memory": "40Gi", "limits.ephemeral-storage": "160Gi",
			"services.nodeports": "0", "services.loadbalancers": "1",
			"count/endpoints": "40", "count/pods": "20", "count/services": "20", "count/secrets": "100", "count/configmaps": "100",
			"count/persistentvolumeclaims": "20",
		}},
		LimitRange: LimitRange{
			Enabled:        true,
			Default:        Quantities{"cpu": "1", "memory": "512Mi", "ephemeral-storage": "8Gi"},
			DefaultRequest: Quantities{"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "3Gi"},
		},
		NetworkPolicy: IsolationNetworkPolicy{
			Enabled: true,
			OutgoingConnections: OutgoingConnections{
				DNS: true,
				IPBlock: IPBlock{
					CIDR:   "0.0.0.0/0",
					Except: []string{"100.64.0.0/10", "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"},
				},
			},
			ControlPlane: ControlPlaneEgress{Ports: []int{443, 8443, 6443}},
		},
	}
}

func (i *Isolation) validate(path *field.Path, dns *CoreDNS) field.ErrorList {
	errs := oneOf(path.Child("podSecurityStandard"), i.PodSecurityStandard,
		string(psapi.LevelPrivileged), string(psapi.LevelBaseline), string(psapi.LevelRestricted))
	if i.Enabled && i.PodSecurityStandard == string(psapi.LevelRestricted) && dns.Enabled && dns.Mode == CoreDNSDeployment &&
		!slices.Contains(i.PodSecurityExemptions.Namespaces, rewrite.DNSNamespace) {
		errs = append(errs, field.Invalid(path.Child("podSecurityStandard"), i.PodSecurityStandard,
			"the pods of coredns.mode deployment do not meet it, and there would be no DNS: use the mode embedded, or exempt kube-system"))
	}
	if _, err := psapi.ParseVersion(i.PodSecurityVersion); err != nil {
		errs = append(errs, field.Invalid(path.Child("podSecurityVersion"), i.PodSecurityVersion, err.Error()))
	}
	errs = append(errs, i.PodSecurityExemptions.validate(path.Child("podSecurityExemptions"))...)
	for _, of := range []struct {
		path *field.Path
		q    Quantities
	}{
		{path.Child("resourceQuota", "quota"), i.ResourceQuota.Quota},
		{path.Child("limitRange", "default"), i.LimitRange.Default},
		{path.Child("limitRange", "defaultRequest"), i.LimitRange.DefaultRequest},
		{path.Child("limitRange", "min"), i.LimitRange.Min},
		{path.Child("limitRange", "max"), i.LimitRange.Max},
	} {
		errs = append(errs, of.q.validate(of.path)...)
	}
	return append(errs, i.NetworkPolicy.validate(path.Child("networkPolicy"))...)
}

// validate refuses names that nothing could have.
func (e *PodSecurityExemptions) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, name := range e.Namespaces {
		errs = append(errs, label(path.Child("namespaces").Index(i), name)...)
	}
	for i, name := range e.Usernames {
		if name == "" {
			errs = append(errs, field.Required(path.Child("usernames").Index(i), "a user has a name"))
		}
	}
	for i, name := range e.RuntimeClasses {
		for _, msg := range validation.IsDNS1123Subdomain(name) {
			errs = append(errs, field.Invalid(path.Child("runtimeClasses").Index(i), name, msg))
		}
	}
	return errs
}

func (q Quantities) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if q[name] == "" {
			continue
		}
		if amount, err := resource.ParseQuantity(string(q[name])); err != nil || amount.Sign() < 0 {
			errs = append(errs, field.Invalid(path.Key(name), q[name], "must be a quantity of at least 0, such as 20 or 40Gi"))
		}
	}
	return errs
}

func (n *IsolationNetworkPolicy) validate(path *field.Path) field.ErrorList {
	errs := n.OutgoingConnections.IPBlock.validate(path.Child("outgoingConnections", "ipBlock"))
	for i, port := range n.ControlPlane.Ports {
		for _, msg := range validation.IsValidPortNum(port) {
			errs = append(errs, field.Invalid(path.Child("controlPlane", "ports").Index(i), port, msg))
		}
	}
	return errs
}

// validate refuses networks that the host would refuse.
func (b *IPBlock) validate(path *field.Path) field.ErrorList {
	if b.CIDR == "" {
		return nil
	}
	block, err := netip.ParsePrefix(b.CIDR)
	if err != nil || block != block.Masked() {
		return field.ErrorList{field.Invalid(path.Child("cidr"), b.CIDR, "must be a network in CIDR notation")}
	}
	var errs field.ErrorList
	for i, s := range b.Except {
		except, err := netip.ParsePrefix(s)
		if err != nil || except != except.Masked() || !block.Contains(except.Addr()) || except.Bits() <= block.Bits() {
			errs = append(errs, field.Invalid(path.Child("except").Index(i), s, "must be a network within "+b.CIDR))
		}
	}
	return errs
}
