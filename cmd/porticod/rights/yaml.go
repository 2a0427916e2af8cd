// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rights

import (
	"fmt"
	"slices"
	"strings"
)

// Manifest returns the Role of grants in a namespace, their Roles in other
// namespaces, and the ClusterRole if they need one, as YAML with the reason above
// each rule. namespace may be empty.
func Manifest(name, namespace string, grants []Grant) string {
	// Roles of several virtual clusters, in one place, must not be one object.
	own := name
	if namespace != "" {
		own = namespace + "-" + name
	}
	documents := []string{
		document(head("Role", name, namespace), grants, func(g *Grant) bool { return !g.Cluster && g.Namespace == "" }),
	}
	for _, other := range Namespaces(grants) {
		documents = append(documents, document(head("Role", own, other), grants, func(g *Grant) bool { return g.Namespace == other }))
	}
	documents = append(documents, document(head("ClusterRole", own, ""), grants, func(g *Grant) bool { return g.Cluster }))
	documents = slices.DeleteFunc(documents, func(d string) bool { return d == "" })
	return strings.Join(documents, "---\n")
}

// document is a role with the rules of some of the grants, or nothing if there
// are none.
func document(head string, grants []Grant, in func(*Grant) bool) string {
	var b strings.Builder
	for i := range grants {
		g := &grants[i]
		if !in(g) {
			continue
		}
		fmt.Fprintf(&b, "# %s\n", g.Why)
		for _, r := range g.Rules {
			fmt.Fprintf(&b, "- apiGroups: [%s]\n  resources: [%s]\n", list(r.APIGroups), list(r.Resources))
			if len(r.ResourceNames) > 0 {
				fmt.Fprintf(&b, "  resourceNames: [%s]\n", list(r.ResourceNames))
			}
			fmt.Fprintf(&b, "  verbs: [%s]\n", list(r.Verbs))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return head + b.String()
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
