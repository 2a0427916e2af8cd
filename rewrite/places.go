// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// A host's text about a field is about the object that it was sent. Lists in a
// host pod have more elements than the tenant's, some of them in front, so that
// spec.initContainers[2] is the tenant's spec.initContainers[1]. Which elements
// were added is known exactly: from the object and its overlay.

// StatusAbout is StatusWith for the answer to a write of the host object h,
// which may be nil: the fields that it names, in its causes and where its
// message repeats these, are the fields of the virtual object. A cause about an
// added element names the field that it was added to, and no detail: the tenant
// has not written it and cannot fix it.
func (t *Translator) StatusAbout(s metav1.Status, h runtime.Object, known map[string]VirtualRef) metav1.Status {
	if p, ok := t.places(h); ok && s.Details != nil {
		s = p.status(s)
	}
	return t.StatusWith(s, known)
}

// WarningAbout returns a warning of the host about the host object h, as the
// tenant of the virtual object should read it. It is false for a warning about
// something that was added.
func (t *Translator) WarningAbout(text string, h runtime.Object, known map[string]VirtualRef) (string, bool) {
	p, ok := t.places(h)
	if !ok {
		return t.TextToVirtual(text, known), true
	}
	ours := false
	text = warningPaths.ReplaceAllStringFunc(text, func(found string) string {
		parts := warningPaths.FindStringSubmatch(found)
		path, added := p.path(parts[2])
		ours = ours || added
		return parts[1] + path
	})
	return t.TextToVirtual(text, known), !ours
}

// warningPaths matches the paths in a warning about a pod
// (k8s.io/kubernetes/pkg/api/pod/warnings.go): one at its beginning, and the
// port of another container that a port is in conflict with.
var warningPaths = regexp.MustCompile(`(^| with | will use )(spec\.[^ ,:"]+)`)

// places knows where in a virtual pod the elements of its host pod are.
type places struct {
	c    *restoration
	h, v *corev1.Pod
}

func (t *Translator) places(h runtime.Object) (places, bool) {
	pod, ok := h.(*corev1.Pod)
	if !ok {
		return places{}, false
	}
	c, err := t.open(pods.name, pod)
	if err != nil {
		return places{}, false
	}
	return places{c: c, h: pod, v: pods.restored(c, pod)}, true
}

// addedDetail replaces the host's text about an added element.
const addedDetail = "the host of this cluster refuses a part that was added to the pod there"

func (p places) status(s metav1.Status) metav1.Status {
	out := *s.DeepCopy()
	out.Details.Causes = nil
	var message strings.Builder
	rest := s.Message
	for _, cause := range s.Details.Causes {
		before, after, repeated := strings.Cut(rest, cause.Field+": "+cause.Message)
		cause = p.cause(cause)
		news := !slices.Contains(out.Details.Causes, cause)
		if news {
			out.Details.Causes = append(out.Details.Causes, cause)
		}
		if !repeated {
			continue
		}
		rest = after
		if news || before != ", " {
			message.WriteString(before + cause.Field + ": " + cause.Message)
		}
	}
	out.Message = message.String() + rest
	return out
}

func (p places) cause(c metav1.StatusCause) metav1.StatusCause {
	field, ours := p.path(c.Field)
	switch {
	case ours:
		c.Type, c.Message = metav1.CauseTypeFieldValueInvalid, addedDetail
	case c.Field == "spec" && c.Type == metav1.CauseTypeForbidden:
		// The rest is the difference of two host pods.
		c.Message, _, _ = strings.Cut(c.Message, "\n")
	}
	c.Field = field
	return c
}

var (
	listPath   = regexp.MustCompile(`^(spec|status)\.(\w+)\[(\d{1,9})\](.*)$`)
	innerPath  = regexp.MustCompile(`^\.(env|envFrom|volumeMounts)\[(\d{1,9})\](.*)$`)
	sourcePath = regexp.MustCompile(`^(\.projected\.sources\[(\d{1,9})\])\.(secret|configMap)\b`)
	dnsPath    = regexp.MustCompile(`^spec\.dnsConfig\.(nameservers|searches|options)\[(\d{1,9})\](.*)$`)
)

// path returns the virtual path of a host path. If the path leads to an element
// that Portico added, ours is true and the result is the path of the field that
// it was added to.
func (p places) path(host string) (virtual string, ours bool) {
	if m := dnsPath.FindStringSubmatch(host); m != nil {
		return p.dns(m[1], index(m[2]), m[3]), false
	}
	m := listPath.FindStringSubmatch(host)
	if m == nil {
		return host, false
	}
	part, list, i, rest := m[1], m[2], index(m[3]), m[4]
	at, ours := visibleAt(i, p.added(list))
	if ours {
		return part, true
	}
	if list == "tolerations" {
		for _, d := range p.c.dropped(p.h.Spec.Tolerations) {
			if d.Index <= at {
				at++
			}
		}
	}
	path := fmt.Sprintf("%s.%s[%d]", part, list, at)
	if list == "volumes" {
		return path + p.volume(at, rest), false
	}
	m = innerPath.FindStringSubmatch(rest)
	if m == nil {
		return path + rest, false
	}
	at, ours = visibleAt(index(m[2]), p.addedWithin(list, i, m[1]))
	if ours {
		return path, true
	}
	return fmt.Sprintf("%s.%s[%d]%s", path, m[1], at, m[3]), false
}

// added says which elements of a list of the host pod were added.
func (p places) added(list string) []bool {
	spec, status := &p.h.Spec, &p.h.Status
	switch list {
	case "initContainers":
		return which(spec.InitContainers, isHidden)
	case "volumes":
		return which(spec.Volumes, isHidden)
	case "hostAliases":
		added := make([]bool, len(spec.HostAliases))
		if i := p.c.addedAlias(spec.HostAliases); i >= 0 {
			added[i] = true
		}
		return added
	case "tolerations":
		enforced := p.c.addedTolerations()
		return which(spec.Tolerations, func(t *corev1.Toleration) bool { return tolerates(enforced, t) })
	case "initContainerStatuses":
		return which(status.InitContainerStatuses, isHidden)
	}
	return nil
}

// addedWithin is added for a list of element i of list.
func (p places) addedWithin(list string, i int, inner string) []bool {
	var added []bool
	within := func(key string, ctr *corev1.Container) {
		switch inner {
		case "env":
			names := p.c.addedEnv(key)
			added = which(ctr.Env, func(e *corev1.EnvVar) bool { return names.has(e.Name) })
		case "envFrom":
			added = which(ctr.EnvFrom, p.c.readsVariables)
		case "volumeMounts":
			added = which(ctr.VolumeMounts, isHidden)
		}
	}
	spec, status := &p.h.Spec, &p.h.Status
	switch list {
	case "initContainers", "containers":
		ctrs := spec.InitContainers
		if list == "containers" {
			ctrs = spec.Containers
		}
		if i < len(ctrs) {
			within(element(list, ctrs[i].Name), &ctrs[i])
		}
	case "ephemeralContainers":
		if i < len(spec.EphemeralContainers) {
			ctr := (*corev1.Container)(&spec.EphemeralContainers[i].EphemeralContainerCommon)
			within(element(list, ctr.Name), ctr)
		}
	case "initContainerStatuses":
		if i < len(status.InitContainerStatuses) {
			added = which(status.InitContainerStatuses[i].VolumeMounts, isHidden)
		}
	case "containerStatuses":
		if i < len(status.ContainerStatuses) {
			added = which(status.ContainerStatuses[i].VolumeMounts, isHidden)
		}
	}
	return added
}

// volume returns the rest of a path in volume i of the virtual pod, where the
// host has another source in the place of the tenant's.
func (p places) volume(i int, rest string) string {
	if i >= len(p.v.Spec.Volumes) {
		return rest
	}
	v := &p.v.Spec.Volumes[i]
	if v.Ephemeral != nil && strings.HasPrefix(rest, ".persistentVolumeClaim") {
		return ".ephemeral"
	}
	m := sourcePath.FindStringSubmatch(rest)
	if m == nil || v.Projected == nil || index(m[2]) >= len(v.Projected.Sources) {
		return rest
	}
	switch s := &v.Projected.Sources[index(m[2])]; {
	case s.ServiceAccountToken != nil:
		return m[1] + ".serviceAccountToken"
	case s.PodCertificate != nil:
		return m[1] + ".podCertificate"
	case s.ClusterTrustBundle != nil:
		return m[1] + ".clusterTrustBundle"
	}
	return rest
}

// dns returns the path of an element of the merged DNS settings: its place in
// the tenant's settings, or else the field that it comes from.
func (p places) dns(list string, i int, rest string) string {
	host, own := p.h.Spec.DNSConfig, p.v.Spec.DNSConfig
	at := -1
	if host != nil && own != nil {
		switch {
		case list == "nameservers" && i < len(host.Nameservers):
			at = slices.Index(own.Nameservers, host.Nameservers[i])
		case list == "searches" && i < len(host.Searches):
			at = slices.Index(own.Searches, host.Searches[i])
		case list == "options" && i < len(host.Options):
			at = slices.IndexFunc(own.Options, func(o corev1.PodDNSConfigOption) bool { return o.Name == host.Options[i].Name })
		}
	}
	if at < 0 {
		return "spec.dnsPolicy"
	}
	return fmt.Sprintf("spec.dnsConfig.%s[%d]%s", list, at, rest)
}

func isHidden[T any](e *T) bool { return hidden(e) }

func which[T any](list []T, is func(*T) bool) []bool {
	out := make([]bool, len(list))
	for i := range list {
		out[i] = is(&list[i])
	}
	return out
}

// visibleAt returns where element i is without those that were added, or true
// if it is one of these. Elements that the host itself has appended are beyond
// the list.
func visibleAt(i int, added []bool) (at int, ours bool) {
	if i < len(added) && added[i] {
		return 0, true
	}
	at = i
	for _, a := range added[:min(i, len(added))] {
		if a {
			at--
		}
	}
	return at, false
}

// index reads the digits of a path, which are few.
func index(digits string) int {
	i, _ := strconv.Atoi(digits)
	return i
}
