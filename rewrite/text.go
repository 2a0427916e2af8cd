// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// generatedName is how much of a name is kept before the five letters that an
// API server adds to it (k8s.io/apiserver/pkg/storage/names).
const generatedName = 58

// VirtualRef is the virtual object that a host name stands for.
type VirtualRef struct {
	Namespace, Name string
}

// TextToVirtual replaces the host names in a text by the virtual names that
// known gives for them. Only whole names count: a host name is found where it
// stands between characters that cannot be part of one, so a name that is the
// beginning of another is not taken for it. The host namespace is replaced
// where the text clearly means it: next to one of the names, or next to the
// word namespace. A list of container names loses the hidden one.
func (t *Translator) TextToVirtual(s string, known map[string]VirtualRef) string {
	s = withoutEtcHosts(s)
	if !strings.Contains(s, t.cluster.HostNamespace) && !strings.Contains(s, absentClass) && !containsAny(s, known) {
		return s
	}
	words := tokenize(s)
	namespace := theNamespace(known)
	var out strings.Builder
	for i, w := range words {
		out.WriteString(w.gap)
		switch ref, ok := known[w.name]; {
		case ok:
			out.WriteString(ref.Name)
		case w.name == t.cluster.HostNamespace && meansNamespace(words, i, known):
			out.WriteString(cmp.Or(namespace, w.name))
		case w.name == t.cluster.HostNamespace && followsName(words, i, known):
			out.WriteString(cmp.Or(known[words[i-1].name].Namespace, namespace, w.name))
		case i > 0 && words[i-1].name == t.cluster.HostNamespace && serviceAccountAt(words, i-1):
			// A user of the host: the door's own, or a controller's.
			out.WriteString("portico")
		default:
			out.WriteString(quotaOfClass(extendedClaim(strings.TrimSuffix(t.qualified(w.name, known), absentClass), known), known))
		}
		out.WriteString(w.tail)
	}
	return out.String()
}

// PodTextToVirtual is TextToVirtual for a text about the virtual pod v, in
// which images are those of the tenant, and claims of ephemeral volumes are
// spoken of as such. container is the container that it is about, or empty.
func (t *Translator) PodTextToVirtual(s string, v *corev1.Pod, container string, known map[string]VirtualRef) string {
	return ephemeralToVirtual(t.TextToVirtual(t.imagesToVirtual(s, v, container), known), v)
}

// qualified translates a DNS name of the host, <name>.<host namespace>....
func (t *Translator) qualified(name string, known map[string]VirtualRef) string {
	for i := range len(name) {
		if name[i] != '.' {
			continue
		}
		ref, ok := known[name[:i]]
		if !ok {
			continue
		}
		if rest, ok := strings.CutPrefix(name[i+1:], t.cluster.HostNamespace); ok && (rest == "" || rest[0] == '.') {
			return ref.Name + "." + ref.Namespace + rest
		}
	}
	return name
}

// extendedClaim translates the name of a claim that the host's scheduler has made
// for the extended resources of a pod: <pod>-extended-resources-<five letters>,
// cut before these to generatedName.
func extendedClaim(name string, known map[string]VirtualRef) string {
	const infix = "-extended-resources-"
	for host, ref := range known {
		base := host + infix
		base = base[:min(len(base), generatedName)]
		if len(name) == len(base)+5 && strings.HasPrefix(name, base) {
			return ref.Name + infix + name[len(base):]
		}
	}
	return name
}

// quotaOfClass translates the name of a quota for the claims of one storage class,
// <class>.storageclass.storage.k8s.io.
func quotaOfClass(name string, known map[string]VirtualRef) string {
	const suffix = ".storageclass.storage.k8s.io"
	class, ok := strings.CutSuffix(name, suffix)
	if ref, found := known[class]; ok && found {
		return ref.Name + suffix
	}
	return name
}

// word is a run of characters that can stand in a name, with the characters
// before it and the punctuation at its end.
type word struct {
	gap, name, tail string
}

func tokenize(s string) []word {
	var out []word
	for len(s) > 0 {
		start := 0
		for start < len(s) && (!inName(s[start]) || s[start] == '.' || s[start] == '-') {
			start++
		}
		end := start
		for end < len(s) && inName(s[end]) {
			end++
		}
		name := strings.TrimRight(s[start:end], ".-")
		out = append(out, word{gap: s[:start], name: name, tail: s[start+len(name) : end]})
		s = s[end:]
	}
	return out
}

func inName(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '.'
}

// meansNamespace reports whether word i, which reads like the host namespace,
// is it.
func meansNamespace(words []word, i int, known map[string]VirtualRef) bool {
	if i > 0 && words[i].gap != "" {
		switch strings.ToLower(words[i-1].name) {
		case "namespace", "namespaces":
			return len(words[i].gap) <= 3
		}
	}
	if serviceAccountAt(words, i) {
		return true
	}
	if i+1 == len(words) || words[i].tail != "" {
		return false
	}
	if words[i+1].name == "namespace" && len(words[i+1].gap) <= 3 {
		return true
	}
	_, named := known[words[i+1].name]
	switch words[i+1].gap {
	case "/", "_", `"/"`, ":":
		return named
	}
	return false
}

// followsName reports whether word i is the part that the kubelet's format.Pod
// writes after a pod's name, <name>_<namespace>(<uid>): in texts about
// back-offs and about containers that it does not find.
func followsName(words []word, i int, known map[string]VirtualRef) bool {
	if i == 0 || words[i].gap != "_" || words[i-1].tail != "" {
		return false
	}
	_, named := known[words[i-1].name]
	return named
}

// serviceAccountAt reports whether word i is the namespace in
// system:serviceaccount:<namespace>:<name>.
func serviceAccountAt(words []word, i int) bool {
	return i >= 2 && words[i].gap == ":" && words[i-1].name == "serviceaccount" && words[i-2].name == "system"
}

func containsAny(s string, known map[string]VirtualRef) bool {
	for name := range known {
		if strings.Contains(s, name[:min(len(name), generatedName)]) {
			return true
		}
	}
	return false
}

// theNamespace is the virtual namespace that a text is about.
func theNamespace(known map[string]VirtualRef) string {
	var out string
	for _, ref := range known {
		if ref.Namespace != "" && (out == "" || ref.Namespace < out) {
			out = ref.Namespace
		}
	}
	return out
}
