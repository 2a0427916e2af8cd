// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"regexp"
	"slices"
	"strings"
)

// limitRanger is the annotation in which the host's admission says for which
// containers it has filled in requests and limits
// (k8s.io/kubernetes/plugin/pkg/admission/limitranger).
const limitRanger = "kubernetes.io/limit-ranger"

// withoutLimits removes the hidden container's part from the annotation in
// which LimitRanger lists the values that it filled in.
func withoutLimits(said string) string {
	const begin, next = "LimitRanger plugin set: ", "; "
	list, ok := strings.CutPrefix(said, begin)
	if !ok {
		return said
	}
	filled := slices.DeleteFunc(strings.Split(list, next), func(s string) bool { return strings.HasSuffix(s, " for init container "+EtcHostsName) })
	if len(filled) == 0 {
		return ""
	}
	return begin + strings.Join(filled, next)
}

// nameLists matches the two forms in which Kubernetes lists containers in a
// text: [a b] and a,b.
var nameLists = regexp.MustCompile(`\[[-a-z0-9 ]+\]|[-a-z0-9]+(?:,[-a-z0-9]+)+`)

// withoutEtcHosts takes the container out of the lists in a text of the host.
func withoutEtcHosts(s string) string {
	if !strings.Contains(s, EtcHostsName) {
		return s
	}
	return nameLists.ReplaceAllStringFunc(s, func(list string) string {
		isOurs := func(name string) bool { return name == EtcHostsName }
		if list[0] == '[' {
			return "[" + strings.Join(slices.DeleteFunc(strings.Split(list[1:len(list)-1], " "), isOurs), " ") + "]"
		}
		return strings.Join(slices.DeleteFunc(strings.Split(list, ","), isOurs), ",")
	})
}
