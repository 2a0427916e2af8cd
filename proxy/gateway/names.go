// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// ServiceSuffix is always understood: the certificate of every door has the name
// NAME.NAMESPACE.svc.
const ServiceSuffix = "svc"

// suffixes are the domains below which clusters have names.
type suffixes []string

// cluster returns the cluster that a name stands for.
func (s suffixes) cluster(host string) (types.NamespacedName, bool) {
	host = strings.ToLower(host)
	for _, suffix := range s {
		rest, ok := strings.CutSuffix(host, "."+suffix)
		if !ok {
			continue
		}
		name, namespace, ok := strings.Cut(rest, ".")
		if ok && isLabel(name) && isLabel(namespace) {
			return types.NamespacedName{Namespace: namespace, Name: name}, true
		}
	}
	return types.NamespacedName{}, false
}

// isLabel reports whether Kubernetes takes s as the name of a namespace.
func isLabel(s string) bool { return len(validation.IsDNS1123Label(s)) == 0 }

// suffixesOf puts the given domains into their one form.
func suffixesOf(domains []string) suffixes {
	all := suffixes{ServiceSuffix}
	for _, d := range domains {
		d = strings.ToLower(strings.Trim(d, "."))
		if d != "" && !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	return all
}
