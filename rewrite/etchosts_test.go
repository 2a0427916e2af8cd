// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"portico.dev/portico/rewrite"
)

// fullyNamed is a pod for which a kubelet writes a full name.
func fullyNamed(change func(*corev1.Pod)) *corev1.Pod {
	v := pod("demo", "web-0", nil)
	v.Spec.Subdomain = "web"
	v.Spec.InitContainers = []corev1.Container{{Name: "prepare", Image: "prepare:1"}}
	v.Spec.Containers = []corev1.Container{{Name: "app", Image: "app:1"}, {Name: "helper", Image: "helper:1"}}
	if change != nil {
		change(v)
	}
	return v
}

// mounting lists the containers that have the volume at /etc/hosts.
func mounting(h *corev1.Pod) []string {
	var out []string
	for _, c := range slices.Concat(h.Spec.InitContainers, h.Spec.Containers) {
		for _, m := range c.VolumeMounts {
			if m.Name == rewrite.EtcHostsName && m.MountPath == "/etc/hosts" && m.SubPath == "hosts" {
				out = append(out, c.Name)
			}
		}
	}
	return out
}

func TestEveryContainerOfAPodWithASubdomainHasItsFullName(t *testing.T) {
	h := podToHost(t, fullyNamed(nil), testInputs())
	first := h.Spec.InitContainers[0]
	want := []string{"/portico-hosts", "/etc/hosts", "/shared/hosts", "web-0.web.demo.svc.cluster.local", "web-0"}
	if first.Name != rewrite.EtcHostsName || !slices.Equal(first.Command, want) {
		t.Errorf("the first init container is %s: %v, want %v", first.Name, first.Command, want)
	}
	if got, want := mounting(h), []string{"prepare", "app", "helper"}; !slices.Equal(got, want) {
		t.Errorf("/etc/hosts is ours in %v, want %v", got, want)
	}
	if h.Spec.Subdomain != "" {
		t.Errorf("the host's kubelet would write a name of the host namespace: %s", h.Spec.Subdomain)
	}
}

func TestOnlyPodsWithAFullNameGetOne(t *testing.T) {
	for name, v := range map[string]*corev1.Pod{
		"no subdomain":            fullyNamed(func(p *corev1.Pod) { p.Spec.Subdomain = "" }),
		"the node's network":      fullyNamed(func(p *corev1.Pod) { p.Spec.HostNetwork = true }),
		"another name altogether": fullyNamed(func(p *corev1.Pod) { p.Spec.HostnameOverride = ptr("mine") }),
		"Windows":                 fullyNamed(func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }),
		"Windows by its node":     fullyNamed(func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "windows"} }),
		"told not to":             fullyNamed(func(p *corev1.Pod) { p.Annotations = map[string]string{rewrite.AnnotationEtcHosts: "kubelet"} }),
	} {
		t.Run(name, func(t *testing.T) {
			h := podToHost(t, v, testInputs())
			if h.Spec.InitContainers[0].Name != "prepare" || len(h.Spec.Volumes) > 0 || len(mounting(h)) > 0 {
				t.Errorf("the host pod has %v", h.Spec)
			}
			if d := diff(wire(t, v), toVirtual(t, mustNew(t, testCluster()), h)); d != "" {
				t.Errorf("turned back (-want +got):\n%s", d)
			}
		})
	}
	without := testCluster()
	without.EtcHostsImage = ""
	if h := toHost(t, mustNew(t, without), fullyNamed(nil), testInputs()).(*corev1.Pod); len(h.Spec.InitContainers) != 1 {
		t.Error("without an image the pod gets a container")
	}
}

// A container that has a file of its own there keeps it, as from a kubelet.
func TestOwnMountAtEtcHostsStays(t *testing.T) {
	for _, at := range []string{"/etc/hosts", "/etc//hosts", "/etc/hosts/"} {
		h := podToHost(t, fullyNamed(func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "mine", MountPath: at}}
			p.Spec.Containers[1].VolumeDevices = []corev1.VolumeDevice{{Name: "block", DevicePath: at}}
		}), testInputs())
		if got, want := mounting(h), []string{"prepare"}; !slices.Equal(got, want) {
			t.Errorf("%s: ours in %v, want %v", at, got, want)
		}
	}
}

func TestFullNameAsHostnameHasTheShortOneInEtcHosts(t *testing.T) {
	h := podToHost(t, fullyNamed(func(p *corev1.Pod) { p.Spec.SetHostnameAsFQDN = ptr(true) }), testInputs())
	full := "web-0.web.demo.svc.cluster.local"
	if got := h.Spec.InitContainers[0].Command[3:]; !slices.Equal(got, []string{full, "web-0"}) || h.Spec.HostnameOverride == nil || *h.Spec.HostnameOverride != full {
		t.Errorf("the names are %v, the hostname is %v", got, h.Spec.HostnameOverride)
	}
}

// restricted is a pod that the strictest of the Pod Security Standards allows.
func restricted(p *corev1.Pod) {
	p.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: ptr(true), RunAsUser: ptr(int64(1000)), FSGroup: ptr(int64(2000)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			list[i].SecurityContext = &corev1.SecurityContext{
				AllowPrivilegeEscalation: ptr(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}
		}
	}
}

func TestARestrictedPodStaysRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := podToHost(t, fullyNamed(restricted), testInputs())
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	if r := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &h.ObjectMeta, &h.Spec)); !r.Allowed {
		t.Errorf("the host refuses it: %s: %s", r.ForbiddenReason(), r.ForbiddenDetail())
	}
}

// A pod on the host has the same requests as inside and the same quality of
// service, and each container has the values that a quota or a limit range asks
// for.
func TestResourcesOfThePodAreTheTenants(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	device := func(l corev1.ResourceList) corev1.ResourceList {
		l["example.com/device"] = resource.MustParse("1")
		return l
	}
	for name, r := range map[string][2]corev1.ResourceRequirements{
		"best effort":        {},
		"guaranteed":         {{Requests: list("100m", "64Mi"), Limits: list("100m", "64Mi")}, {Requests: list("1", "1Gi"), Limits: list("1", "1Gi")}},
		"limits only":        {{Limits: list("100m", "64Mi")}, {Limits: list("1", "1Gi")}},
		"burstable":          {{Requests: list("100m", "64Mi"), Limits: list("1", "1Gi")}, {Requests: list("100m", "64Mi"), Limits: list("1", "1Gi")}},
		"one of two":         {{Requests: list("100m", "64Mi"), Limits: list("100m", "64Mi")}, {}},
		"the other":          {{}, {Requests: list("100m", "64Mi"), Limits: list("100m", "64Mi")}},
		"a device":           {{Requests: device(list("100m", "64Mi")), Limits: device(list("100m", "64Mi"))}, {}},
		"smaller than any":   {{Requests: list("1m", "6Mi"), Limits: list("1m", "6Mi")}, {Requests: list("1m", "6Mi"), Limits: list("1m", "6Mi")}},
		"the tenant's large": {{Requests: list("1", "64Mi")}, {Requests: list("1", "64Mi")}},
	} {
		t.Run(name, func(t *testing.T) {
			v := fullyNamed(func(p *corev1.Pod) {
				p.Spec.InitContainers = nil
				p.Spec.Containers[0].Resources, p.Spec.Containers[1].Resources = r[0], r[1]
			})
			h := podToHost(t, v, testInputs())
			options := resourcehelper.PodResourcesOptions{}
			if got, want := resourcehelper.PodRequests(h, options), resourcehelper.PodRequests(v, options); !apiequality.Semantic.DeepEqual(got, want) {
				t.Errorf("the host pod requests %v, want %v", got, want)
			}
			if got, want := resourcehelper.PodLimits(h, options), resourcehelper.PodLimits(v, options); !apiequality.Semantic.DeepEqual(got, want) {
				t.Errorf("the host pod has the limits %v, want %v", got, want)
			}
			if got, want := quality(h), quality(v); got != want {
				t.Errorf("the host pod is %s, want %s", got, want)
			}
			if _, ok := h.Spec.InitContainers[0].Resources.Limits["example.com/device"]; ok {
				t.Error("the device is held twice")
			}
		})
	}
}

// quality is the class that a kubelet puts a pod into
// (k8s.io/kubernetes/pkg/apis/core/v1/helper/qos, for CPU and memory).
func quality(p *corev1.Pod) corev1.PodQOSClass {
	guaranteed, asks := true, false
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, requested := c.Resources.Requests[name]
			limit, limited := c.Resources.Limits[name]
			if !requested {
				request = limit // by default
			}
			asks = asks || requested || limited
			guaranteed = guaranteed && limited && request.Cmp(limit) == 0
		}
	}
	switch {
	case !asks:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

// running is the pod as its host shows it: a webhook has put a container before
// all others, and the kubelet has begun.
func running(t *testing.T, tr *rewrite.Translator) *corev1.Pod {
	t.Helper()
	h := toHost(t, tr, fullyNamed(nil), testInputs()).(*corev1.Pod)
	h.Spec.InitContainers = slices.Insert(h.Spec.InitContainers, 0, corev1.Container{Name: "host-init", Image: "proxy-init:1"})
	h.Spec.InitContainers[1].TerminationMessagePath = "/dev/termination-log"
	h.Status = corev1.PodStatus{
		Phase: corev1.PodPending,
		Conditions: []corev1.PodCondition{{
			Type: corev1.PodInitialized, Status: corev1.ConditionFalse, Reason: "ContainersNotInitialized",
			Message: "containers with incomplete status: [host-init " + rewrite.EtcHostsName + " prepare]",
		}},
		InitContainerStatuses: []corev1.ContainerStatus{{Name: "host-init"}, {Name: rewrite.EtcHostsName, Image: testCluster().EtcHostsImage}, {Name: "prepare"}},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "app"}, {Name: "helper", VolumeMounts: []corev1.VolumeMountStatus{
			{Name: rewrite.EtcHostsName, MountPath: "/etc/hosts"}, {Name: "host-volume", MountPath: "/host"},
		}}},
	}
	return h
}

func TestTheTenantSeesNothingOfIt(t *testing.T) {
	tr := mustNew(t, testCluster())
	for name, h := range map[string]*corev1.Pod{
		"intact": running(t, tr),
		"without its overlay": func() *corev1.Pod {
			h := running(t, tr)
			h.Annotations[rewrite.AnnotationOverlay] = "broken"
			return h
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			v, _ := tr.PodToVirtual(h) // the broken one is an error, and usable
			raw, err := v.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(raw), rewrite.EtcHostsName) || strings.Contains(string(raw), testCluster().EtcHostsImage) {
				t.Errorf("the tenant sees %v", v)
			}
			if got, want := v.Status.Conditions[0].Message, "containers with incomplete status: [host-init prepare]"; got != want {
				t.Errorf("the condition says %q, want %q", got, want)
			}
		})
	}
	h := running(t, tr)
	h.Status.Conditions[0].Message = "containers with incomplete status: [" + rewrite.EtcHostsName + "]"
	if got := toVirtual(t, tr, h).(*corev1.Pod).Status.Conditions[0].Message; got != "/etc/hosts is not written yet" {
		t.Errorf("the condition says %q", got)
	}
}

// Fields that a tenant may change in a pod change at their place, and the
// hidden parts stay at theirs: the host refuses a pod whose init containers
// change places.
func TestHiddenPartsStayInPlace(t *testing.T) {
	tr := mustNew(t, testCluster())
	now := testCluster()
	now.EtcHostsImage = "" // of today; the pod is of yesterday
	later := mustNew(t, now)
	for name, change := range map[string]func(p *corev1.Pod, prepare int){
		"image of an init container": func(p *corev1.Pod, prepare int) { p.Spec.InitContainers[prepare].Image = "prepare:2" },
		"image of a container":       func(p *corev1.Pod, _ int) { p.Spec.Containers[1].Image = "helper:2" },
		"resources": func(p *corev1.Pod, _ int) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
		},
		"readiness gate": func(p *corev1.Pod, _ int) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: "example.com/gate", Status: corev1.ConditionTrue})
		},
		"annotation": func(p *corev1.Pod, _ int) { metav1.SetMetaDataAnnotation(&p.ObjectMeta, "a", "b") },
	} {
		t.Run(name, func(t *testing.T) {
			h := running(t, tr)
			v := toVirtual(t, later, h).(*corev1.Pod)
			change(v, 1)
			got := toHost(t, later, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
			want := h.DeepCopy()
			change(want, 2)
			if d := diff(wire(t, want).Spec, got.Spec); d != "" {
				t.Errorf("spec on the host (-want +got):\n%s", d)
			}
			if d := diff(wire(t, want).Status, got.Status); d != "" {
				t.Errorf("status on the host (-want +got):\n%s", d)
			}
			if d := diff(v, toVirtual(t, later, got)); d != "" {
				t.Errorf("turned back (-want +got):\n%s", d)
			}
		})
	}
}

// A debug container cannot mount a single file; it has the kubelet's own.
func TestDebugContainersMountNothing(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := running(t, tr)
	v := toVirtual(t, tr, h).(*corev1.Pod)
	v.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
	got := toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
	if m := got.Spec.EphemeralContainers[0].VolumeMounts; len(m) > 0 {
		t.Errorf("it mounts %v", m)
	}
}

func TestListsOfContainersInATextLoseTheHiddenOne(t *testing.T) {
	tr := mustNew(t, testCluster())
	for host, want := range map[string]string{
		"choose one of: [" + rewrite.EtcHostsName + " prepare app]":                                            "choose one of: [prepare app]",
		"choose one of: [host-init " + rewrite.EtcHostsName + "]":                                              "choose one of: [host-init]",
		"must specify cpu for: app," + rewrite.EtcHostsName + "; memory for: " + rewrite.EtcHostsName + ",app": "must specify cpu for: app; memory for: app",
		`secret "` + rewrite.EtcHostsName + `" not found`:                                                      `secret "` + rewrite.EtcHostsName + `" not found`,
		"my-" + rewrite.EtcHostsName + ",b":                                                                    "my-" + rewrite.EtcHostsName + ",b",
	} {
		if got := tr.TextToVirtual(host, nil); got != want {
			t.Errorf("%q reads %q, want %q", host, got, want)
		}
	}
}

// The host's admission lists in an annotation whose requests it has filled in.
func TestLimitRangerSaysNothingOfTheHiddenContainer(t *testing.T) {
	tr := mustNew(t, testCluster())
	for said, want := range map[string]string{
		"LimitRanger plugin set: cpu request for container app; cpu, memory request for init container portico-hosts; cpu limit for init container portico-hosts": "LimitRanger plugin set: cpu request for container app",
		"LimitRanger plugin set: cpu request for init container portico-hosts":                                                                                    "",
		"what the tenant wrote for init container portico-hosts":                                                                                                  "what the tenant wrote for init container portico-hosts",
	} {
		h := podToHost(t, fullyNamed(nil), testInputs())
		h.Annotations["kubernetes.io/limit-ranger"] = said
		v := toVirtual(t, tr, h).(*corev1.Pod)
		if got := v.Annotations["kubernetes.io/limit-ranger"]; got != want {
			t.Errorf("%q is shown as %q, want %q", said, got, want)
		}
		in := testInputs()
		in.Host = h
		if got := toHost(t, tr, v, in).(*corev1.Pod).Annotations["kubernetes.io/limit-ranger"]; want != "" && got != said {
			t.Errorf("an update makes %q of %q", got, said)
		}
	}
}
