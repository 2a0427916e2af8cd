// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/rewrite"
)

// MapServices makes single Services of one side known on the other, by name.
type MapServices struct {
	// FromHost shows Services of named host namespaces inside: from and to are
	// NAMESPACE/NAME.
	FromHost []ServiceMapping `json:"fromHost,omitempty"`
	// FromVirtual offers virtual Services in the cluster's host namespace: from is
	// NAMESPACE/NAME, to is NAME.
	FromVirtual []ServiceMapping `json:"fromVirtual,omitempty"`
}

// ServiceMapping leads from a Service of one side to one of the other.
type ServiceMapping struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// HostNamespaces are those of the host that FromHost names, apart from own, the
// cluster's host namespace. They are sorted.
func (m *MapServices) HostNamespaces(own string) []string {
	var all []string
	for _, s := range m.FromHost {
		if namespace, _, _ := strings.Cut(s.From, "/"); namespace != own {
			all = append(all, namespace)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// HostServices are the names of the Services of a host namespace that FromHost
// names. They are sorted.
func (m *MapServices) HostServices(namespace string) []string {
	var all []string
	for _, s := range m.FromHost {
		if at, name, _ := strings.Cut(s.From, "/"); at == namespace {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// ServiceKey reads NAMESPACE/NAME of a mapping. It has been validated.
func ServiceKey(s string) types.NamespacedName {
	namespace, name, _ := strings.Cut(s, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// hostSeparator stands in every host name of a tenant's Service that is not
// shortened (rewrite, Translator.Name).
const hostSeparator = "-x-"

func (c *Config) validateMapServices(path *field.Path) field.ErrorList {
	m := &c.MapServices
	var errs field.ErrorList
	shown := map[string]bool{}
	for i, s := range m.FromHost {
		at := path.Child("fromHost").Index(i)
		errs = append(errs, serviceKey(at.Child("from"), s.From, validation.IsDNS1123Label)...)
		errs = append(errs, serviceKey(at.Child("to"), s.To, validation.IsDNS1035Label)...)
		errs = append(errs, c.notOurs(at.Child("to"), s.To)...)
		if shown[s.To] {
			errs = append(errs, field.Duplicate(at.Child("to"), s.To))
		}
		shown[s.To] = true
	}
	offered := map[string]bool{}
	for i, s := range m.FromVirtual {
		at := path.Child("fromVirtual").Index(i)
		errs = append(errs, serviceKey(at.Child("from"), s.From, validation.IsDNS1123Label)...)
		errs = append(errs, c.notOurs(at.Child("from"), s.From)...)
		if shown[s.From] {
			errs = append(errs, field.Invalid(at.Child("from"), s.From, "is mapped from the host: name that Service of the host where it is needed"))
		}
		errs = append(errs, c.hostServiceName(at.Child("to"), s.To)...)
		if offered[s.To] {
			errs = append(errs, field.Duplicate(at.Child("to"), s.To))
		}
		offered[s.To] = true
	}
	return errs
}

// notOurs refuses the Services that Portico itself keeps inside.
func (c *Config) notOurs(path *field.Path, key string) field.ErrorList {
	switch {
	case key == "default/kubernetes":
		return field.ErrorList{field.Invalid(path, key, "leads to this cluster's API, which is the host Service "+c.Host.ServiceName)}
	case key == rewrite.DNSNamespace+"/"+rewrite.DNSName && c.CoreDNS.Enabled:
		return field.ErrorList{field.Invalid(path, key, "is this cluster's DNS")}
	}
	return nil
}

// hostServiceName refuses a name that is not one of a Service, or that a
// tenant's Service could have on the host: the first Service with the name
// keeps it.
func (c *Config) hostServiceName(path *field.Path, name string) field.ErrorList {
	var errs field.ErrorList
	if name == "" {
		return field.ErrorList{field.Required(path, "must be the NAME of a Service in host.namespace")}
	}
	if strings.Contains(name, "/") {
		return field.ErrorList{field.Invalid(path, name, "must be a name without a namespace: the Service is in host.namespace")}
	}
	for _, msg := range validation.IsDNS1035Label(name) {
		errs = append(errs, field.Invalid(path, name, msg))
	}
	if strings.Contains(name, hostSeparator) {
		errs = append(errs, field.Invalid(path, name, "must not contain "+hostSeparator+": a Service that a tenant makes could have this name on the host"))
	}
	if name == c.Host.ServiceName {
		errs = append(errs, field.Invalid(path, name, "is the host Service that leads to this cluster's API"))
	}
	return errs
}

func serviceKey(path *field.Path, key string, named func(string) []string) field.ErrorList {
	if key == "" {
		return field.ErrorList{field.Required(path, "must be NAMESPACE/NAME of a Service")}
	}
	namespace, name, ok := strings.Cut(key, "/")
	if !ok || strings.Contains(name, "/") {
		return field.ErrorList{field.Invalid(path, key, "must be NAMESPACE/NAME of a Service")}
	}
	var errs field.ErrorList
	for _, msg := range validation.IsDNS1123Label(namespace) {
		errs = append(errs, field.Invalid(path, key, "namespace: "+msg))
	}
	for _, msg := range named(name) {
		errs = append(errs, field.Invalid(path, key, "name: "+msg))
	}
	return errs
}
