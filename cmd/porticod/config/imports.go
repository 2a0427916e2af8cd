// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// FromHostObjects chooses objects of one kind in namespaces of the host, which are
// shown in virtual namespaces.
type FromHostObjects struct {
	Enabled  bool           `json:"enabled"`
	Mappings ObjectMappings `json:"mappings"`
}

// ObjectMappings say where objects of the host are shown.
type ObjectMappings struct {
	// ByName leads from NAMESPACE/NAME of the host, or /NAME in the cluster's host
	// namespace, to NAMESPACE/NAME inside, or NAMESPACE for the same name; and from
	// NAMESPACE/* to NAMESPACE/* or NAMESPACE.
	ByName map[string]string `json:"byName,omitempty"`
}

// ObjectMapping is one entry. Both names are empty for all objects of a namespace.
type ObjectMapping struct {
	Host, Virtual types.NamespacedName
}

// anyName stands for all objects of a namespace.
const anyName = "*"

// Shown returns the mappings in the order of their keys; own is the cluster's host
// namespace. They have been validated.
func (o *FromHostObjects) Shown(own string) []ObjectMapping {
	if !o.Enabled {
		return nil
	}
	var all []ObjectMapping
	for _, from := range slices.Sorted(maps.Keys(o.Mappings.ByName)) {
		var m ObjectMapping
		m.Host.Namespace, m.Host.Name, _ = strings.Cut(from, "/")
		m.Virtual.Namespace, m.Virtual.Name, _ = strings.Cut(o.Mappings.ByName[from], "/")
		if m.Host.Namespace == "" {
			m.Host.Namespace = own
		}
		if m.Virtual.Name == "" || m.Virtual.Name == anyName {
			m.Virtual.Name = m.Host.Name
		}
		if m.Host.Name == anyName {
			m.Host.Name, m.Virtual.Name = "", ""
		}
		all = append(all, m)
	}
	return all
}

// HostObjects returns the names of the objects that are shown by their host
// namespace, apart from own. A namespace that is shown whole has no names.
func (o *FromHostObjects) HostObjects(own string) map[string][]string {
	all, whole := map[string][]string{}, map[string]bool{}
	for _, m := range o.Shown(own) {
		at := m.Host.Namespace
		if at == own {
			continue
		}
		all[at] = append(all[at], m.Host.Name)
		whole[at] = whole[at] || m.Host.Name == ""
	}
	for at := range all {
		slices.Sort(all[at])
		all[at] = slices.Compact(all[at])
		if whole[at] {
			all[at] = nil
		}
	}
	return all
}

func (o *FromHostObjects) validate(path *field.Path, own string) field.ErrorList {
	at := path.Child("mappings", "byName")
	if o.Enabled && len(o.Mappings.ByName) == 0 {
		return field.ErrorList{field.Required(at, "without a mapping nothing is shown")}
	}
	var errs field.ErrorList
	shown := map[types.NamespacedName]bool{}
	for _, from := range slices.Sorted(maps.Keys(o.Mappings.ByName)) {
		to, at := o.Mappings.ByName[from], at.Key(from)
		if problem := badMapping(from, to, own); problem != "" {
			errs = append(errs, field.Invalid(at, to, problem))
			continue
		}
		one := FromHostObjects{Enabled: true, Mappings: ObjectMappings{ByName: map[string]string{from: to}}}
		key := one.Shown(own)[0].Virtual
		if shown[key] {
			errs = append(errs, field.Duplicate(at, to))
		}
		shown[key] = true
	}
	return errs
}

// badMapping says what is wrong with a mapping; "" is nothing.
func badMapping(from, to, own string) string {
	namespace, name, ok := strings.Cut(from, "/")
	into, as, _ := strings.Cut(to, "/")
	var wrong []string
	if namespace != "" {
		wrong = validation.IsDNS1123Label(namespace)
	}
	if name != anyName {
		wrong = append(wrong, validation.IsDNS1123Subdomain(name)...)
	}
	wrong = append(wrong, validation.IsDNS1123Label(into)...)
	if as != "" && as != anyName {
		wrong = append(wrong, validation.IsDNS1123Subdomain(as)...)
	}
	switch {
	case !ok || len(wrong) > 0:
		return fmt.Sprintf("must lead from NAMESPACE/NAME, /NAME or NAMESPACE/* of the host to NAMESPACE/NAME or NAMESPACE inside %v", wrong)
	case name == anyName && (namespace == "" || namespace == own):
		return "is all of host.namespace, where the cluster's own objects are: name them one by one"
	case name == anyName && as != "" && as != anyName:
		return "all objects of a namespace cannot have one name: map to NAMESPACE/*"
	}
	return ""
}
