// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	fieldpath "k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/rewrite"
)

// crowded is a pod of whose lists the host has longer ones.
func crowded() *corev1.Pod {
	return fullyNamed(func(p *corev1.Pod) {
		for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for i := range list {
				list[i].Env = []corev1.EnvVar{{Name: "A"}, {Name: "B"}}
				list[i].EnvFrom = []corev1.EnvFromSource{{Prefix: "C_"}, {Prefix: "D_"}}
				list[i].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "tokens", MountPath: "/tokens"}}
			}
		}
		p.Spec.Volumes = []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
			{Name: "tokens", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
			}}}},
		}
		p.Spec.HostAliases = []corev1.HostAlias{{IP: "10.96.7.7", Hostnames: []string{"mine"}}}
		p.Spec.Tolerations = []corev1.Toleration{{Key: "a"}, {Key: "app"}}
		p.Spec.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.1"}, Searches: []string{"corp.example"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots"}, {Name: "edns0"}}}
	})
}

// about returns the tenant's form of a path in an answer about h.
func about(tr *rewrite.Translator, h *corev1.Pod, path string) (field, message string) {
	st := tr.StatusAbout(metav1.Status{Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Field: path, Message: "no"}}}}, h, nil)
	return st.Details.Causes[0].Field, st.Details.Causes[0].Message
}

// Every element of every list with additions is led back to the tenant's
// element of that name, and to nothing else.
func TestFieldsOfAHostPodAreThoseOfTheVirtualPod(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := crowded()
	h := toHost(t, tr, v, testInputs()).(*corev1.Pod)
	check := func(owner, list string, host, virtual []string, rest string) {
		t.Helper()
		led := 0
		for i, name := range host {
			want, wantMessage := owner, "the host of this cluster refuses a part that was added to the pod there"
			if at := slices.Index(virtual, name); at >= 0 {
				want, wantMessage, led = fmt.Sprintf("%s.%s[%d]%s", owner, list, at, rest), "no", led+1
			}
			path := fmt.Sprintf("%s.%s[%d]%s", hostPath(owner, h, v), list, i, rest)
			if got, message := about(tr, h, path); got != want || message != wantMessage {
				t.Errorf("%s (%s) is %s: %s, want %s: %s", path, name, got, message, want, wantMessage)
			}
		}
		if led != len(virtual) || len(host) == len(virtual) {
			t.Errorf("%s: of %v, %d were led back to %v", list, host, led, virtual)
		}
	}
	check("spec", "initContainers", namesOf(h.Spec.InitContainers), namesOf(v.Spec.InitContainers), ".image")
	check("spec", "volumes", namesOf(h.Spec.Volumes), namesOf(v.Spec.Volumes), ".name")
	check("spec", "tolerations", namesOf(h.Spec.Tolerations), namesOf(v.Spec.Tolerations), ".key")
	check("spec", "hostAliases", namesOf(h.Spec.HostAliases), namesOf(v.Spec.HostAliases), ".ip")
	for i := range v.Spec.InitContainers {
		hc, vc := &h.Spec.InitContainers[i+1], &v.Spec.InitContainers[i]
		check(fmt.Sprintf("spec.initContainers[%d]", i), "envFrom", namesOf(hc.EnvFrom), namesOf(vc.EnvFrom), ".secretRef.name")
		check(fmt.Sprintf("spec.initContainers[%d]", i), "volumeMounts", namesOf(hc.VolumeMounts), namesOf(vc.VolumeMounts), "")
	}
	for i := range v.Spec.Containers {
		hc, vc := &h.Spec.Containers[i], &v.Spec.Containers[i]
		check(fmt.Sprintf("spec.containers[%d]", i), "envFrom", namesOf(hc.EnvFrom), namesOf(vc.EnvFrom), ".prefix")
		check(fmt.Sprintf("spec.containers[%d]", i), "volumeMounts", namesOf(hc.VolumeMounts), namesOf(vc.VolumeMounts), ".mountPath")
	}
}

// hostPath is the path of a container of v in h: one init container is in front.
func hostPath(virtual string, h, v *corev1.Pod) string {
	for i := range v.Spec.InitContainers {
		if virtual == fmt.Sprintf("spec.initContainers[%d]", i) {
			return fmt.Sprintf("spec.initContainers[%d]", i+len(h.Spec.InitContainers)-len(v.Spec.InitContainers))
		}
	}
	return virtual
}

func namesOf[T any](list []T) []string {
	out := make([]string, len(list))
	for i := range list {
		switch e := any(&list[i]).(type) {
		case *corev1.Container:
			out[i] = e.Name
		case *corev1.Volume:
			out[i] = e.Name
		case *corev1.VolumeMount:
			out[i] = e.Name
		case *corev1.EnvFromSource:
			out[i] = e.Prefix
		case *corev1.Toleration:
			out[i] = e.Key
		case *corev1.HostAlias:
			out[i] = strings.Join(e.Hostnames, " ")
		}
	}
	return out
}

func TestFieldsThatTheHostHasInOtherWords(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := toHost(t, tr, crowded(), testInputs()).(*corev1.Pod)
	for host, want := range map[string]string{
		"spec.volumes[0].persistentVolumeClaim.claimName":            "spec.volumes[0].ephemeral",
		"spec.volumes[1].projected.sources[0].secret.items[0].path":  "spec.volumes[1].projected.sources[0].serviceAccountToken",
		"spec.volumes[1].projected.sources[0].secretly":              "spec.volumes[1].projected.sources[0].secretly",
		"spec.dnsConfig.nameservers[0]":                              "spec.dnsPolicy",
		"spec.dnsConfig.nameservers[1]":                              "spec.dnsConfig.nameservers[0]",
		"spec.dnsConfig.searches[3]":                                 "spec.dnsConfig.searches[0]",
		"spec.dnsConfig.searches[9]":                                 "spec.dnsPolicy",
		"spec.dnsConfig.options[1].name":                             "spec.dnsConfig.options[1].name",
		"spec.initContainers[7].image":                               "spec.initContainers[6].image", // appended by the host itself
		"spec.containers[9].env[0]":                                  "spec.containers[9].env[0]",
		"spec.initContainers[0].env[0].name":                         "spec",
		"spec.initContainers[99999999999999999999].image":            "spec.initContainers[99999999999999999999].image",
		"spec.initContainers[-1]":                                    "spec.initContainers[-1]",
		"status.initContainerStatuses[0].name":                       "status.initContainerStatuses[0].name", // there is none
		"spec.hostname":                                              "spec.hostname",
		"metadata.labels[spec.volumes[3]]":                           "metadata.labels[spec.volumes[3]]",
		"spec.affinity.nodeAffinity.required.nodeSelectorTerms[0].x": "spec.affinity.nodeAffinity.required.nodeSelectorTerms[0].x",
	} {
		if got, _ := about(tr, h, host); got != want {
			t.Errorf("%s is %s, want %s", host, got, want)
		}
	}
}

// The message of a 422 repeats its causes, and nothing else in it is a path.
func TestMessageOfAnInvalidPodNamesTheTenantsFields(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := toHost(t, tr, crowded(), testInputs()).(*corev1.Pod)
	spec := fieldpath.NewPath("spec")
	invalid := func(errs ...*fieldpath.Error) metav1.Status {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, h.Name, errs).Status()
	}
	last := len(h.Spec.Containers[0].Env) - 1
	for name, c := range map[string]struct {
		in    metav1.Status
		want  string
		count int
	}{
		"one": {
			invalid(fieldpath.Required(spec.Child("initContainers").Index(1).Child("image"), "")),
			`Pod "web-0" is invalid: spec.initContainers[0].image: Required value`, 1,
		},
		"several": {
			invalid(
				fieldpath.Invalid(spec.Child("initContainers").Index(1).Child("name"), "spec.initContainers[1].name", "bad"),
				fieldpath.Invalid(spec.Child("containers").Index(0).Child("env").Index(last).Child("name"), "B", "bad"),
			),
			`Pod "web-0" is invalid: [spec.initContainers[0].name: Invalid value: "spec.initContainers[1].name": bad, spec.containers[0].env[1].name: Invalid value: "B": bad]`, 2,
		},
		"added": {
			invalid(
				fieldpath.Invalid(spec.Child("initContainers").Index(0).Child("image"), "registry.example/porticod:1", "not from here"),
				fieldpath.Required(spec.Child("initContainers").Index(0).Child("name"), ""),
				fieldpath.Required(spec.Child("containers").Index(1).Child("image"), ""),
			),
			`Pod "web-0" is invalid: [spec: the host of this cluster refuses a part that was added to the pod there, spec.containers[1].image: Required value]`, 2,
		},
		"difference": {
			invalid(fieldpath.Forbidden(spec, "pod updates may not change fields other than `spec.containers[*].image`\n  HostAliases: 10.96.7.7")),
			`Pod "web-0" is invalid: spec: Forbidden: pod updates may not change fields other than ` + "`spec.containers[*].image`", 1,
		},
		"without causes": {
			metav1.Status{Message: `admission webhook "w" denied the request: spec.initContainers[1] of ` + h.Name, Code: http.StatusForbidden, Details: &metav1.StatusDetails{}},
			`admission webhook "w" denied the request: spec.initContainers[1] of web-0`, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := tr.StatusAbout(c.in, h, tr.Known("Pod", h))
			if got.Message != c.want || len(got.Details.Causes) != c.count {
				t.Errorf("got %s\nwant %s\ncauses %v", got.Message, c.want, got.Details.Causes)
			}
		})
	}
}

// The door has warned of the same pod already, and equal warnings are shown
// once.
func TestWarningsNameTheTenantsFields(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := toHost(t, tr, crowded(), testInputs()).(*corev1.Pod)
	last := len(h.Spec.Containers[0].Env) - 1
	for in, want := range map[string]string{
		fmt.Sprintf(`spec.containers[0].env[%d]: hides previous definition of "B", which may be dropped when using apply`, last):                                                                   `spec.containers[0].env[1]: hides previous definition of "B", which may be dropped when using apply`,
		`spec.containers[0].ports[1]: duplicate port definition with spec.initContainers[1].ports[0]`:                                                                                              `spec.containers[0].ports[1]: duplicate port definition with spec.initContainers[0].ports[0]`,
		`spec.initContainers[1].ports[0]: duplicate port name "http" with spec.initContainers[1].ports[1], services and probes that select ports by name will use spec.initContainers[1].ports[1]`: `spec.initContainers[0].ports[0]: duplicate port name "http" with spec.initContainers[0].ports[1], services and probes that select ports by name will use spec.initContainers[0].ports[1]`,
		`spec.hostAliases[1].ip: duplicate ip "10.96.7.7"`:                                                             "",
		`spec.initContainers[0].resources.requests[memory]: fractional byte value "1m" is invalid, must be an integer`: "",
		`would violate PodSecurity "restricted:latest": ` + h.Name:                                                     `would violate PodSecurity "restricted:latest": web-0`,
	} {
		got, ok := tr.WarningAbout(in, h, tr.Known("Pod", h))
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s\n got %s, %v\nwant %s", in, got, ok, want)
		}
	}
	if got, ok := tr.WarningAbout("spec.initContainers[1]: x", nil, nil); !ok || got != "spec.initContainers[1]: x" {
		t.Errorf("about nothing: %s, %v", got, ok)
	}
}
