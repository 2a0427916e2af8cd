// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rights

import (
	"fmt"
	"strings"
)

// Manifest returns the Role of grants in a namespace, and the ClusterRole if
// they need one, as YAML with the reason above each rule. namespace may be empty.
func Manifest(name, namespace string, grants []Grant) string {
	var role, clusterRole strings.Builder
	for _, g := range grants {
		b := &role
		if g.Cluster {
			b = &clusterRole
		}
		fmt.Fprintf(b, "# %s\n", g.Why)
		for _, r := range g.Rules {
			fmt.Fprintf(b, "- apiGroups: [%s]\n  resources: [%s]\n  verbs: [%s]\n", list(r.APIGroups), list(r.Resources), list(r.Verbs))
		}
	}
	var b strings.Builder
	if role.Len() > 0 {
		b.WriteString(head("Role", name, namespace) + role.String())
	}
	if clusterRole.Len() > 0 {
		if b.Len() > 0 {
			b.WriteString("---\n")
		}
		if namespace != "" {
			// Cluster roles of several virtual clusters must not be one object.
			name = namespace + "-" + name
		}
		b.WriteString(head("ClusterRole", name, "") + clusterRole.String())
	}
	return b.String()
}

func head(kind, name, namespace string) string {
	s := "apiVersion: rbac.authorization.k8s.io/v1\nkind: " + kind + "\nmetadata:\n  name: " + name + "\n"
	if namespace != "" {
		s += "  namespace: " + namespace + "\n"
	}
	return s + "rules:\n"
}

// list is a list in YAML's flow style. "" and "*" need quotes.
func list(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = s
		if s == "" || s == "*" {
			quoted[i] = `"` + s + `"`
		}
	}
	return strings.Join(quoted, ", ")
}
