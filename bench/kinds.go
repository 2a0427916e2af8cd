// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// batchLabel is on objects that are removed after their round.
const batchLabel = "bench.portico.dev/batch"

// kind is a kind of objects that the scenarios work on, as JSON: no scenario
// needs the objects themselves.
type kind struct {
	name, resource string
	// spec is everything behind the metadata, from a comma on, or empty.
	spec string
	// labels are those of each object.
	labels string
	// status is a merge patch of the status with a %d in it.
	status string
}

// condition is a part of every status, and means nothing to anybody.
const condition = `{"status":{"conditions":[{"type":"bench.portico.dev/turn","status":"True","reason":"Turn","message":"%d","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`

// gatedPods wait for a gate that nobody opens: nothing happens to them. They are
// about the size of a Deployment's pods.
var gatedPods = kind{
	name: "pod", resource: "pods", labels: `"app":"bench","pod-template-hash":"5fbdf85c67"`,
	spec:   `,"spec":{"schedulingGates":[{"name":"bench.portico.dev/never"}],` + container + `}`,
	status: condition,
}

// runningPods are scheduled and run.
var runningPods = kind{name: "running pod", resource: "pods", labels: gatedPods.labels, spec: `,"spec":{` + container + `}`, status: condition}

const container = `"containers":[{"name":"main","image":"nginx","ports":[{"containerPort":80}],"env":[{"name":"MODE","value":"bench"}]}]`

var services = kind{
	name: "Service", resource: "services", labels: `"app":"bench"`,
	spec: `,"spec":{"selector":{"app":"nothing"},"ports":[{"name":"http","port":80,"targetPort":8080}]}`, status: condition,
}

var claims = kind{
	name: "claim", resource: "persistentvolumeclaims", labels: `"app":"bench"`,
	spec: `,"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"bench-nobody","resources":{"requests":{"storage":"1Gi"}}}`, status: condition,
}

var configMaps = kind{
	name: "ConfigMap, 1 KiB", resource: "configmaps", labels: `"app":"bench"`, spec: `,"data":{"key":"` + strings.Repeat("x", 1<<10) + `"}`,
}

// translatedKinds are those that a door stores on its host.
var translatedKinds = []kind{gatedPods, services, claims}

// apiKind is the kind in JSON.
func (k kind) apiKind() string {
	switch k.resource {
	case "services":
		return "Service"
	case "persistentvolumeclaims":
		return "PersistentVolumeClaim"
	case "configmaps":
		return "ConfigMap"
	}
	return "Pod"
}

// object returns the JSON of an object.
func (k kind) object(name, batch string) []byte {
	labels := k.labels
	if batch != "" {
		labels += fmt.Sprintf(`,%q:%q`, batchLabel, batch)
	}
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":%q,"metadata":{"name":%q,"labels":{%s}}%s}`, k.apiKind(), name, labels, k.spec)
}

// turned returns a patch of a label, which is different for each turn.
func turned(turn int) []byte {
	return fmt.Appendf(nil, `{"metadata":{"labels":{"turn":"turn-%d"}}}`, turn)
}

// applied returns the whole object with a label that is different for each turn.
func (k kind) applied(name string, turn int) []byte {
	with := k
	with.labels += fmt.Sprintf(`,"turn":"turn-%d"`, turn)
	return with.object(name, "")
}
