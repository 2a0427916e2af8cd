// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// Reach is the effect of a tenant's value of a field on the host.
type Reach string

const (
	// Passes is a field whose value reaches the host, as it is or in its host
	// form, when the object is made and when it is changed. Whether it may change
	// is for the host to say.
	Passes Reach = "passes"
	// Created is a field that reaches the host when the object is made, and that
	// no update changes there.
	Created Reach = "created"
	// Offered is the name of something that reaches the host when the object is
	// made, if the host offers it to the tenant, and is dropped otherwise.
	Offered Reach = "offered"
	// Refused is a field that a tenant may not set.
	Refused Reach = "refused"
	// Never is a field whose value has no effect on the host object.
	Never Reach = "never"
	// Own is a status field of which a part is the tenant's (Table.Status).
	Own Reach = "own"
)

// Decision says how far some fields reach, and why. It holds for all that is
// below them. A field of a spec without a decision passes if its type is in
// Decided with it; a field of a status needs one.
type Decision struct {
	Reach  Reach
	Reason string
	Paths  []string
}

const (
	hostWrites = "the components of the host write it, and others there act on it"
	ownerRule  = "a controller outside of the kubelet has a condition of its own domain"
)

var podReach = []Decision{
	{Own, ownerRule, []string{"status.conditions"}},
	{Own, "upstream's controller of templates runs inside of the virtual cluster", []string{"status.resourceClaimStatuses"}},
	{Never, hostWrites, []string{
		"status.{observedGeneration,phase,message,reason,startTime,qosClass,resize,allocatedResources,resources}",
		"status.{initContainerStatuses,containerStatuses,ephemeralContainerStatuses,volumeHealth}",
	}},
	{Never, "an address or a node: the host sends traffic there, or reserves it", []string{
		"status.{nominatedNodeName,hostIP,hostIPs,podIP,podIPs}",
	}},
	{Never, "the host's scheduler makes these claims for itself", []string{
		"status.{extendedResourceClaimStatus,nodeAllocatableResourceClaimStatuses}",
	}},
	{Never, "pods run as a ServiceAccount of the host without rights, and mount no token of it", []string{
		"spec.{serviceAccountName,serviceAccount,automountServiceAccountToken}",
	}},
	{Never, "containers read the variables of Services from a ConfigMap, and those would be the host's otherwise", []string{"spec.enableServiceLinks"}},
	{Offered, "a class has its name on the host only if the host offers it", []string{"spec.{priorityClassName,runtimeClassName}"}},
	{Never, "the host resolves the class of the pod again", []string{"spec.{priority,preemptionPolicy,overhead}"}},
	{Never, "groups of pods and responders to evictions are not on the host", []string{"spec.{schedulingGroup,evictionResponders}"}},
	{Created, "the name of a pod is written into its /etc/hosts when it is made", []string{"spec.subdomain"}},
	{Refused, "a claim cannot have a source in another namespace", []string{
		volumes + ".ephemeral.volumeClaimTemplate.spec.dataSourceRef.namespace",
	}},
	{Never, "the claim of the volume is made inside, and reaches the host as a claim", []string{volumes + ".ephemeral"}},
	{Never, "porticod makes the token, the certificate or the bundle, and the host pod mounts a Secret or a ConfigMap with it", []string{
		volumes + ".projected.sources[].serviceAccountToken.{audience,expirationSeconds}",
		volumes + ".projected.sources[].podCertificate.{signerName,keyType,maxExpirationSeconds,userAnnotations,user}",
	}},
}

var serviceReach = []Decision{
	{Refused, "every node of the host takes traffic to the address to the Service, also traffic meant for others (CVE-2020-8554)", []string{"spec.externalIPs"}},
	{Own, ownerRule, []string{"status.conditions"}},
	{Never, "traffic to the address of a load balancer goes to the Service, also traffic meant for others (CVE-2020-8554)", []string{"status.loadBalancer"}},
}

var claimReach = []Decision{
	{Never, hostWrites, []string{
		"status.{conditions,phase,accessModes,capacity,allocatedResources,allocatedResourceStatuses}",
		"status.{currentVolumeAttributesClassName,modifyVolumeStatus,healthStatus}",
	}},
	{Refused, "a claim cannot have a source in another namespace", []string{"spec.dataSourceRef.namespace"}},
}

var resourceClaimReach = []Decision{
	{Never, "a node prepares the devices that it names, for the pods that it names", []string{"status.{allocation,reservedFor,devices}"}},
	{Refused, "devices that others use are not accessible from a virtual cluster", []string{requests + ".exactly.adminAccess"}},
}
