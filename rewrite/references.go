// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"reflect"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/rewrite/rules"
)

// references gives every field with a rule its host form. obj is a pointer to
// the copy that becomes the host object.
func (c *translation) references(obj any) {
	c.t.walkers[reflect.TypeOf(obj).Elem()].visit(obj, func(l leaf) {
		switch l.rule.Action {
		case rules.Reference:
			if name := l.text(); name != "" {
				c.names.add(name)
				l.setText(c.hostName(l.rule.Kind, name))
			}
		case rules.FieldPath:
			l.setText(c.fieldPath(l.text()))
		case rules.Text, rules.Pass:
		}
	})
}

// references turns every field with a rule back. A name that is not one of ours
// is the host's own change and stays.
func (c *restoration) references(obj any) {
	known := sync.OnceValue(c.known) // most objects have no text
	c.t.walkers[reflect.TypeOf(obj).Elem()].visit(obj, func(l leaf) {
		switch l.rule.Action {
		case rules.Reference:
			if name, ok := c.virtualName(l.text()); ok {
				l.setText(name)
			}
		case rules.FieldPath:
			l.setText(c.fieldPath(l.text()))
		case rules.Text:
			if text := l.text(); text != "" {
				l.setText(c.t.TextToVirtual(text, known()))
			}
		case rules.Pass:
		}
	})
}

// virtualName looks up a host name. When the overlay is lost, so is the list of
// names; then a name of the plain form is tried and believed if it leads back.
func (c *restoration) virtualName(host string) (string, bool) {
	if name, ok := c.names[host]; ok {
		return name, true
	}
	if c.overlayErr == nil {
		return "", false
	}
	return c.t.PlainName(c.namespace, host)
}

// PlainName returns the virtual name behind a host name that is said to be of
// an object in a virtual namespace. It reads names of the plain form only, and
// believes a name that leads back; ok is false for a shortened name.
func (t *Translator) PlainName(namespace, host string) (name string, ok bool) {
	name, ok = strings.CutSuffix(host, separator+namespace+separator+t.cluster.Name)
	return name, ok && name != "" && t.Name(namespace, name) == host
}

// PlainClusterName is PlainName for objects without a namespace.
func (t *Translator) PlainClusterName(host string) (name string, ok bool) {
	name, ok = strings.CutSuffix(host, separator+t.cluster.HostNamespace+separator+t.cluster.Name)
	name, prefixed := strings.CutPrefix(name, clusterPrefix)
	return name, ok && prefixed && name != "" && t.ClusterName(name) == host
}

// Reference is an object that another one names.
type Reference struct {
	Kind string
	Name string // virtual, in the namespace of the object that names it
	// Optional is set if the object may be missing everywhere it is named.
	Optional bool
}

// PodReferences lists the Secrets, ConfigMaps and PersistentVolumeClaims that
// a virtual pod names, each once, in the order of the table.
func (t *Translator) PodReferences(v *corev1.Pod) []Reference {
	var out []Reference
	at := map[Reference]int{}
	add := func(kind, name string, optional bool) {
		key := Reference{Kind: kind, Name: name}
		if i, ok := at[key]; ok {
			out[i].Optional = out[i].Optional && optional
			return
		}
		at[key] = len(out)
		out = append(out, Reference{Kind: kind, Name: name, Optional: optional})
	}
	t.walkers[reflect.TypeFor[corev1.Pod]()].visit(v, func(l leaf) {
		if l.rule.Action != rules.Reference || l.text() == "" {
			return
		}
		switch l.rule.Kind {
		case "Secret", "ConfigMap", "PersistentVolumeClaim":
			add(l.rule.Kind, l.text(), l.optional)
		}
	})
	for i := range v.Spec.Volumes {
		if v.Spec.Volumes[i].Ephemeral != nil {
			add("PersistentVolumeClaim", ephemeralClaim(v.Name, v.Spec.Volumes[i].Name), false)
		}
	}
	return out
}
