// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// PersistentVolumeClaim is the table of PersistentVolumeClaims.
var PersistentVolumeClaim = Table{
	Kind: "PersistentVolumeClaim",
	Rules: []Rule{
		// The name is translated for every kind, not only claims and snapshots:
		// a volume populator of the host reads any object that it is given.
		{Path: "spec.dataSource.name", Action: Reference, Kind: "DataSource"},
		{Path: "spec.dataSourceRef.name", Action: Reference, Kind: "DataSource"},
		{Path: "spec.dataSourceRef.namespace", Action: Pass, Pass: "claim"},
		{Path: "spec.volumeName", Action: Pass, Pass: "claim"},
		{Path: "spec.selector", Action: Pass, Pass: "claim"},
		{Path: "spec.storageClassName", Action: Pass, Pass: "storageClass"},
		{Path: "status.conditions[].reason", Action: Text},
		{Path: "status.conditions[].message", Action: Text},
		{Path: "status.healthStatus.healthConditions[].reason", Action: Text},
		{Path: "status.healthStatus.healthConditions[].message", Action: Text},
	},
	Status: []StatusRule{{Field: "conditions", Share: Shown}},
	Reach:  claimReach,
	Kept: []Excuse{
		{Reason: "classes are the host's offer and have the same name inside", Paths: []string{
			"spec.volumeAttributesClassName",
			"status.currentVolumeAttributesClassName", "status.modifyVolumeStatus.targetVolumeAttributesClassName",
		}},
		{Reason: "type of a source, not a name", Paths: []string{
			"spec.dataSource.apiGroup", "spec.dataSource.kind", "spec.dataSourceRef.apiGroup", "spec.dataSourceRef.kind",
		}},
	},
}
