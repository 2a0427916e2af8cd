// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// ResourceClaim is the table of ResourceClaims.
var ResourceClaim = Table{
	Kind: "ResourceClaim",
	Rules: []Rule{
		{Path: requests + ".exactly.deviceClassName", Action: Pass, Pass: "resourceClaim"},
		{Path: requests + ".firstAvailable[].deviceClassName", Action: Pass, Pass: "resourceClaim"},
		{Path: requests + ".exactly.adminAccess", Action: Pass, Pass: "validateResourceClaim"},
		{Path: "status.reservedFor", Action: Pass, Pass: "resourceClaim"},
		{Path: "status.devices[].conditions[].reason", Action: Text},
		{Path: "status.devices[].conditions[].message", Action: Text},
	},
	Reach: resourceClaimReach,
	Kept: []Excuse{
		{Reason: "name of a part of the claim itself", Paths: []string{
			requests + ".name",
			requests + ".firstAvailable[].name",
			"spec.devices.constraints[].requests[]",
			"spec.devices.config[].requests[]",
			"status.allocation.devices.results[].request",
			"status.allocation.devices.config[].requests[]",
		}},
		{Reason: "name of the host's in a world that has no objects: a driver, and its names of devices and their attributes", Paths: []string{
			requests + ".{exactly,firstAvailable[]}.derivedAttributes[].name",
			requests + ".{exactly,firstAvailable[]}.capacity.requests",
			requests + ".{exactly,firstAvailable[]}.tolerations[].{key,value}",
			"spec.devices.constraints[].{matchAttribute,distinctAttribute}",
			"{spec,status.allocation}.devices.config[].opaque.driver",
			"status.allocation.devices.results[].{driver,pool,device,bindingConditions[],bindingFailureConditions[],shareID,consumedCapacity}",
			"status.allocation.devices.results[].tolerations[].{key,value}",
			"status.devices[].{driver,pool,device,shareID,data,networkData}",
			"status.devices[].conditions[].type",
		}},
		{Reason: "expression over the attributes of a device", Paths: []string{
			requests + ".{exactly,firstAvailable[]}.selectors[].cel.expression",
			requests + ".{exactly,firstAvailable[]}.derivedAttributes[].expression",
		}},
		{Reason: "parameters for the driver, from the claim or from a class that the tenant sees", Paths: []string{
			"{spec,status.allocation}.devices.config[].opaque.parameters",
		}},
		{Reason: "the node is the host's and has the same name inside", Paths: []string{"status.allocation.nodeSelector"}},
	},
}

const requests = "spec.devices.requests[]"
