// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// StorageClass is the table of StorageClasses.
var StorageClass = Table{
	Kind: "StorageClass",
	Rules: []Rule{
		{Path: "parameters", Action: Pass, Pass: "StorageClassProblems"},
		{Path: "mountOptions[]", Action: Pass, Pass: "StorageClassProblems"},
	},
	Kept: []Excuse{
		{Reason: "name of a driver of the host, which the operator allows (sync/classes)", Paths: []string{"provisioner"}},
		{Reason: "labels of nodes, which are the host's and the same inside", Paths: []string{
			"allowedTopologies[].matchLabelExpressions[].key", "allowedTopologies[].matchLabelExpressions[].values[]",
		}},
	},
}

// HarmlessParameters choose no more than a file system, with any provisioner. Some
// of these read keys in any case.
var HarmlessParameters = []string{"csi.storage.k8s.io/fstype", "fstype"}

// DangerousParameters are parts of keys by which provisioners find the host's
// Secrets, with rights of their own. No operator can let them pass.
var DangerousParameters = []string{"secret", "namespace", "password", "passphrase", "credential", "token", "kubeconfig"}
