// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
)

// hostTexts are texts of a host's components about the host object of demo/web,
// each with its place in the sources. POD, CREDS, SETTINGS and DATA stand for
// host names, and for virtual ones in the text that the tenant must read.
var hostTexts = map[string]struct{ source, said, read string }{
	"quota": {
		"apiserver/pkg/admission/plugin/resourcequota",
		`pods "POD" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=5, limited: pods=5`,
		`pods "POD" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=5, limited: pods=5`,
	},
	"quota without a request": {
		"apiserver/pkg/admission/plugin/resourcequota",
		`pods "POD" is forbidden: failed quota: compute: must specify limits.cpu for: app,portico-hosts; limits.memory for: app,helper,portico-hosts`,
		`pods "POD" is forbidden: failed quota: compute: must specify limits.cpu for: app; limits.memory for: app,helper`,
	},
	"limit range": {
		"plugin/pkg/admission/limitranger",
		`pods "POD" is forbidden: [minimum cpu usage per Container is 100m, but request is 10m, maximum memory usage per Pod is 1Gi, but limit is 2147483648]`,
		`pods "POD" is forbidden: [minimum cpu usage per Container is 100m, but request is 10m, maximum memory usage per Pod is 1Gi, but limit is 2147483648]`,
	},
	"Pod Security": {
		"pod-security-admission/admission",
		`pods "POD" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (containers "app", "helper" must set securityContext.allowPrivilegeEscalation=false)`,
		`pods "POD" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (containers "app", "helper" must set securityContext.allowPrivilegeEscalation=false)`,
	},
	"webhook": {
		"apiserver/pkg/admission/plugin/webhook/errors",
		`admission webhook "validate.kyverno.svc-fail" denied the request: resource Pod/team-a/POD was blocked due to the following policies`,
		`admission webhook "validate.kyverno.svc-fail" denied the request: resource Pod/demo/POD was blocked due to the following policies`,
	},
	"webhook, in words": {
		"apiserver/pkg/admission/plugin/webhook/errors",
		`admission webhook "deny.example.com" denied the request: POD in the "team-a" namespace mounts CREDS, which namespace team-a forbids`,
		`admission webhook "deny.example.com" denied the request: POD in the "demo" namespace mounts CREDS, which namespace demo forbids`,
	},
	"policy": {
		"apiserver/pkg/admission/plugin/policy/validating",
		`pods "POD" is forbidden: ValidatingAdmissionPolicy 'limits' with binding 'all' denied request: failed expression: object.metadata.name != 'POD'`,
		`pods "POD" is forbidden: ValidatingAdmissionPolicy 'limits' with binding 'all' denied request: failed expression: object.metadata.name != 'POD'`,
	},
	"conflict": {
		"apiserver/pkg/registry/generic/registry",
		`Operation cannot be fulfilled on pods "POD": the object has been modified; please apply your changes to the latest version and try again`,
		`Operation cannot be fulfilled on pods "POD": the object has been modified; please apply your changes to the latest version and try again`,
	},
	"precondition": {
		"apiserver/pkg/registry/rest",
		`Operation cannot be fulfilled on Pod "POD": the UID in the precondition (a-1) does not match the UID in record (a-2). The object might have been deleted and then recreated`,
		`Operation cannot be fulfilled on Pod "POD": the UID in the precondition (a-1) does not match the UID in record (a-2). The object might have been deleted and then recreated`,
	},
	"precondition of the store": {
		"apiserver/pkg/storage",
		`Operation cannot be fulfilled on pods "POD": StorageError: invalid object, Code: 4, Key: /registry/pods/team-a/POD, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: a-1, UID in object meta: a-2`,
		`Operation cannot be fulfilled on pods "POD": StorageError: invalid object, Code: 4, Key: /registry/pods/demo/POD, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: a-1, UID in object meta: a-2`,
	},
	"being deleted": {
		"apiserver/pkg/registry/generic/registry",
		`object is being deleted: pods "POD" already exists`,
		`object is being deleted: pods "POD" already exists`,
	},
	"which container": {
		"pkg/registry/core/pod",
		`a container name must be specified for pod POD, choose one of: [portico-hosts app helper]`,
		`a container name must be specified for pod POD, choose one of: [app helper]`,
	},
	"no such container": {"pkg/registry/core/pod", `container nosuch is not valid for pod POD`, `container nosuch is not valid for pod POD`},
	"no log yet": {
		"pkg/kubelet", `container "app" in pod "POD" is waiting to start: ContainerCreating`, `container "app" in pod "POD" is waiting to start: ContainerCreating`,
	},
	"no earlier log": {
		"pkg/kubelet", `previous terminated container "app" in pod "POD" not found`, `previous terminated container "app" in pod "POD" not found`,
	},
	"no such pod":    {"pkg/kubelet", `pod POD_team-a not found`, `pod POD_demo not found`},
	"unable to find": {"pkg/kubelet/server", `unable to upgrade connection: pod not found ("POD_team-a")`, `unable to upgrade connection: pod not found ("POD_demo")`},
	"kubelet away": {
		"pkg/registry/core/pod/rest",
		`Get "https://192.0.2.7:10250/containerLogs/team-a/POD/app": dial tcp 192.0.2.7:10250: connect: connection refused`,
		`Get "https://192.0.2.7:10250/containerLogs/demo/POD/app": dial tcp 192.0.2.7:10250: connect: connection refused`,
	},
	"missing Secret": {
		"pkg/kubelet/util/manager", `MountVolume.SetUp failed for volume "creds" : [secret "CREDS" not found, object "team-a"/"SETTINGS" not registered]`,
		`MountVolume.SetUp failed for volume "creds" : [secret "CREDS" not found, object "demo"/"SETTINGS" not registered]`,
	},
	"missing key": {"pkg/kubelet", `Error: couldn't find key user in Secret team-a/CREDS`, `Error: couldn't find key user in Secret demo/CREDS`},
	"pull secrets": {
		"pkg/kubelet", `Unable to retrieve some image pull secrets (CREDS, other); attempting to pull the image may not succeed.`,
		`Unable to retrieve some image pull secrets (CREDS, other); attempting to pull the image may not succeed.`,
	},
	"back-off": {
		"pkg/kubelet/kuberuntime", `back-off 10s restarting failed container=app pod=POD_team-a(a-1)`, `back-off 10s restarting failed container=app pod=POD_demo(a-1)`,
	},
	"hook": {
		"pkg/kubelet/kuberuntime", `PostStartHook of container app in Pod "POD_team-a(a-1)" failed`, `PostStartHook of container app in Pod "POD_demo(a-1)" failed`,
	},
	"claim of a volume": {
		"pkg/kubelet/volumemanager", `error processing PVC team-a/DATA: PVC is not bound`, `error processing PVC demo/DATA: PVC is not bound`,
	},
	"network plugin": {
		"containernetworking: arguments of a plugin", `failed to set up pod network: K8S_POD_NAMESPACE=team-a;K8S_POD_NAME=POD;K8S_POD_UID=a-1: no addresses`,
		`failed to set up pod network: K8S_POD_NAMESPACE=demo;K8S_POD_NAME=POD;K8S_POD_UID=a-1: no addresses`,
	},
	"another network plugin": {
		"multus", `error adding container to network "b": [team-a/POD/a-1:cbr0]: error adding container`, `error adding container to network "b": [demo/POD/a-1:cbr0]: error adding container`,
	},
	"container runtime": {
		"containerd, pkg/cri", `failed to reserve container name "app_POD_team-a_a-1_0": name "app_POD_team-a_a-1_0" is reserved for "f00"`,
		`failed to reserve container name "app_POD_demo_a-1_0": name "app_POD_demo_a-1_0" is reserved for "f00"`,
	},
	"log directory": {
		"containerd, pkg/cri", `failed to create log directory "/var/log/pods/team-a_POD_a-1/app": no space left`, `failed to create log directory "/var/log/pods/demo_POD_a-1/app": no space left`,
	},
	"scheduler": {
		"pkg/scheduler/framework/plugins/volumebinding", `0/2 nodes are available: persistentvolumeclaim "DATA" is being deleted. not found`, `0/2 nodes are available: persistentvolumeclaim "DATA" is being deleted. not found`,
	},
	"provisioner": {
		"sig-storage-lib-external-provisioner", `External provisioner is provisioning volume for claim "team-a/DATA"`, `External provisioner is provisioning volume for claim "demo/DATA"`,
	},
	"volume controller": {
		"pkg/controller/volume/persistentvolume", `waiting for pod POD to be scheduled`, `waiting for pod POD to be scheduled`,
	},
	"user": {
		"apiserver/pkg/authorization", `User "system:serviceaccount:team-a:portico" is throttled`, `User "system:serviceaccount:demo:portico" is throttled`,
	},
}

func TestLaw6WhatAHostSaysOfAPod(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := fullyNamed(func(p *corev1.Pod) {
		p.Name = "web"
		p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "creds"}}
		p.Spec.Volumes = []corev1.Volume{
			{Name: "settings", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}},
			{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
		}
	})
	h := toHost(t, tr, v, testInputs()).(*corev1.Pod)
	host := strings.NewReplacer("POD", h.Name, "CREDS", tr.Name("demo", "creds"), "SETTINGS", tr.Name("demo", "settings"), "DATA", tr.Name("demo", "data"))
	virtual := strings.NewReplacer("POD", "web", "CREDS", "creds", "SETTINGS", "settings", "DATA", "data")
	// The environment of a network plugin has a name that the replacers would
	// take for one.
	keep := func(r *strings.Replacer, s string) string {
		return strings.ReplaceAll(r.Replace(strings.ReplaceAll(s, "K8S_POD_", "K8S_pod_")), "K8S_pod_", "K8S_POD_")
	}
	for name, c := range hostTexts {
		t.Run(name, func(t *testing.T) {
			said, want := keep(host, c.said), keep(virtual, c.read)
			st := metav1.Status{Message: said, Details: &metav1.StatusDetails{Name: h.Name, Kind: "pods", Causes: []metav1.StatusCause{{Message: said}}}}
			got := tr.StatusAbout(st, h, tr.Known("Pod", h))
			if got.Message != want || got.Details.Causes[0].Message != want {
				t.Errorf("%s:\n got %s\nwant %s", c.source, got.Message, want)
			}
			if got.Details.Name != "web" {
				t.Errorf("it is about %s", got.Details.Name)
			}
			if warning, ok := tr.WarningAbout(said, h, tr.Known("Pod", h)); !ok || warning != want {
				t.Errorf("as a warning: %s", warning)
			}
		})
	}
}

func TestLaw6WhatAHostSaysOfAService(t *testing.T) {
	tr := mustNew(t, testCluster())
	host := tr.ServiceName("demo", "web")
	for said, want := range map[string]string{
		`Service "WEB" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated`:                                   `Service "web" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated`,
		`Service "WEB" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.9"]: failed to allocate IP 10.96.0.9: provided IP is already allocated`:   `Service "web" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.9"]: failed to allocate IP 10.96.0.9: provided IP is already allocated`,
		`Internal error occurred: failed to allocate a serviceIP for Service "WEB": range is full`:                                                     `Internal error occurred: failed to allocate a serviceIP for Service "web": range is full`,
		`services "WEB" is forbidden: exceeded quota: net, requested: services.nodeports=1, used: services.nodeports=0, limited: services.nodeports=0`: `services "web" is forbidden: exceeded quota: net, requested: services.nodeports=1, used: services.nodeports=0, limited: services.nodeports=0`,
		`Error syncing load balancer: failed to ensure load balancer for service team-a/WEB`:                                                           `Error syncing load balancer: failed to ensure load balancer for service demo/web`,
		`error trying to reach service: lookup WEB.team-a.svc: no such host`:                                                                           `error trying to reach service: lookup web.demo.svc: no such host`,
	} {
		st := metav1.Status{Message: strings.ReplaceAll(said, "WEB", host), Details: &metav1.StatusDetails{Name: host, Kind: "services"}}
		for how, got := range map[string]metav1.Status{
			"by name":   tr.StatusToVirtual(st, "demo", "web"),
			"by object": tr.StatusAbout(st, &corev1.Service{}, map[string]rewrite.VirtualRef{host: {Namespace: "demo", Name: "web"}}),
		} {
			if got.Message != want || got.Details.Name != "web" {
				t.Errorf("%s:\n got %s\nwant %s", how, got.Message, want)
			}
		}
	}
}
