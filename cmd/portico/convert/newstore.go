// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import "slices"

const (
	noEtcdOptions = "The chart's etcd has no options but its replicas. For others, run your own and name it in store.endpoint."
	noKine        = "The store is in porticod; it has no arguments."

	deployedEtcd = "controlPlane.backingStore.etcd.deploy"
	externalEtcd = "controlPlane.backingStore.etcd.external"
	externalDB   = "controlPlane.backingStore.database.external"
)

// newStoreRows are the keys of vcluster.yaml under controlPlane.backingStore.
var newStoreRows = slices.Concat(
	one(
		none("controlPlane.backingStore.database.embedded.enabled", "SQLite is the store unless another is named.", true),
		none("controlPlane.backingStore.database.embedded.dataSource", "The file is in the data volume."),
		none("controlPlane.backingStore.database.embedded.extraArgs", noKine),
		none("controlPlane.backingStore.database.embedded.certFile", noKine),
		none("controlPlane.backingStore.database.embedded.keyFile", noKine),
		none("controlPlane.backingStore.database.embedded.caFile", noKine),

		all(externalDB+".enabled", "store.endpoint is the switch."),
	),
	when(externalDB+".enabled",
		via(externalDB+".dataSource", "store.endpoint", text, dataSource, "Without its password. Without TLS it is refused unless store.insecure is true."),
		move(externalDB+".caFile", "store.tls.caFile", text, storeFiles),
		move(externalDB+".certFile", "store.tls.certFile", text, storeFiles),
		move(externalDB+".keyFile", "store.tls.keyFile", text, storeFiles),
		none(externalDB+".connector", noPlatform),
		none(externalDB+".identityProvider", "Passwords come from a file only: store.passwordFile."),
		none(externalDB+".extraArgs", noKine),
	),
	one(
		all(externalEtcd+".enabled", "store.endpoint is the switch."),
	),
	when(externalEtcd+".enabled",
		via(externalEtcd+".endpoint", "store.endpoint", text, etcdEndpoint, "Without TLS it is refused unless store.insecure is true."),
		move(externalEtcd+".tls.caFile", "store.tls.caFile", text, storeFiles),
		move(externalEtcd+".tls.certFile", "store.tls.certFile", text, storeFiles),
		move(externalEtcd+".tls.keyFile", "store.tls.keyFile", text, storeFiles),
	),
	one(
		via("controlPlane.backingStore.etcd.embedded.enabled", "controlPlane.etcd.enabled", boolean, either, "As pods of their own next to porticod."),
		none("controlPlane.backingStore.etcd.embedded.migrateFromDeployedEtcd", "No data of a vcluster is taken over (docs/from-vcluster.md)."),
		none("controlPlane.backingStore.etcd.embedded.snapshotCount", noEtcdOptions),
		none("controlPlane.backingStore.etcd.embedded.extraArgs", noEtcdOptions),

		via(deployedEtcd+".enabled", "controlPlane.etcd.enabled", boolean, either, ""),
	),
	when(deployedEtcd+".enabled",
		move(deployedEtcd+".statefulSet.highAvailability.replicas", "controlPlane.etcd.replicas", number, ""),
		none(deployedEtcd+".statefulSet.enabled", "The chart's etcd is one thing: on or off.", true),
		none(deployedEtcd+".statefulSet.enableServiceLinks", noEtcdOptions, true),
		none(deployedEtcd+".statefulSet.image", noEtcdOptions),
		none(deployedEtcd+".statefulSet.imagePullPolicy", noEtcdOptions),
		none(deployedEtcd+".statefulSet.extraArgs", noEtcdOptions),
		none(deployedEtcd+".statefulSet.env", noEtcdOptions),
		none(deployedEtcd+".statefulSet.labels", noEtcdOptions),
		none(deployedEtcd+".statefulSet.annotations", noEtcdOptions),
		none(deployedEtcd+".statefulSet.pods", noEtcdOptions),
		none(deployedEtcd+".statefulSet.resources", noEtcdOptions),
		none(deployedEtcd+".statefulSet.scheduling", noEtcdOptions, map[string]any{"podManagementPolicy": "Parallel"}),
		none(deployedEtcd+".statefulSet.security", noEtcdOptions),
		none(deployedEtcd+".statefulSet.persistence", noEtcdOptions),
		none(deployedEtcd+".service", noEtcdOptions, map[string]any{"enabled": true}),
		none(deployedEtcd+".headlessService", noEtcdOptions, map[string]any{"enabled": true}),
	),
)

// storeFiles is said of the paths of certificates.
const storeFiles = "A path in porticod's pod: the keys of the Secret controlPlane.storeSecret are files in /etc/portico/store."
