// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package app is the only wiring point of porticod: it builds the parts from
// configuration and runs them until a signal or a command ends it.
//
// It holds no behaviour of its own: the packages that it wires do the work.
// Here are the order in which parts start and end, and the fate of the others
// when one fails.
//
// # Map
//
//	app.go           the command tree, and how errors reach a person
//	serve.go         porticod serve: a virtual cluster and its connection to the host
//	parts.go         the table of a virtual cluster's parts, each with its constructor
//	undone.go        the writes of tenants that the parts would undo
//	referents.go     the objects that are on the host before a pod that reads them
//	controlplane.go  an API server with its store, controllers and parts: start and end
//	store.go         which store a configuration opens
//	downgrade.go     which versions of Kubernetes it can belong to
//	limit.go         how much it can hold, and who may write when it is full
//	keys.go          the keys on the host: credentials, the administrator's kubeconfig
//	rotate.go        porticod rotate
//	replicas.go      the leader's clients; the doors of other replicas
//	placement.go     the host's refusals, for a scheduler inside
//	isolation.go     the limits of the operator, and policies of the tenant within them
//	egress.go        the addresses that the API server may dial for its tenant
//	mapservices.go   the Services that are mapped from one side to the other
//	imports.go  ConfigMaps and Secrets of the host
//	hooks.go         the webhooks and patches of the operator
//	ingresses.go     Ingresses on the host, and what their writers are told
//	leftovers.go     copies of kinds that are switched off go
//	custom.go        kinds without a row of their own, as sync.custom says
//	dns.go metrics.go nodes.go classes.go tohost.go   checks at the start, one per feature
//	hostversion.go   the version of the host, and what it lacks
//	host.go          porticod host, an embedded host cluster for demos and tests
//	check.go snapshot.go   porticod check, porticod snapshot save: data directories
//	restore.go replace.go  porticod snapshot restore: into an empty one, in the place of another
//	excess.go        the warning about a host credential that can do too much
//	synctest.go      porticod sync test: a dry run of sync.custom
//	rights.go        porticod rights: the Role and ClusterRole of a configuration
//	config.go        porticod config: the schema and the table of the configuration
//	uninstall.go     porticod uninstall: everything of a cluster off its host
//	etcdkeys.go      porticod etcd-keys: certificates of a cluster's own etcd
//	probe.go         porticod probe: whether clients reach a cluster
//	demo.go          porticod demo
//	logging.go       where logs go
//	tracing.go       where traces go
//	clienttls.go     the TLS of connections to a store and a collector
//	metadata.go      the labels and annotations that the operator lets through
//	memory.go        settings of the garbage collector; code_linux.go, code_other.go  memory of the program file
//	measurements.go  the operator's metrics: a listener, and gauges of this process
//	conditions.go    the troubles of a cluster, reported on the host
//	sleep.go         the activity of users, and the workload that is put to sleep
//	gateway.go       the names that the host's gateway gives to the door
//	proxyprotocol.go who a client is, by the word of a gateway
//	memorylimit.go   the container's memory limit, for the garbage collector
package app
