// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/util/intstr"
	psapi "k8s.io/pod-security-admission/api"
)

// SchemaDialect is the one that schemas are written in, which Helm knows too.
const SchemaDialect = "http://json-schema.org/draft-07/schema#"

// limits are the bounds of a value that the type of its key does not have.
// Rules between keys are in no schema: porticod and the chart have those.
var limits = map[string]map[string]any{
	"name":                                 {"minLength": 1, "maxLength": maxName},
	"replicas":                             {"minimum": 1},
	"reads":                                {"enum": []any{ReadsCached, ReadsStrict}},
	"logLevel":                             {"minimum": 0, "maximum": 10},
	"host.qps":                             {"minimum": 1, "maximum": mostOfHost},
	"host.burst":                           {"minimum": 1},
	"host.maxStreams":                      {"minimum": 1},
	"coredns.mode":                         {"enum": []any{CoreDNSEmbedded, CoreDNSDeployment}},
	"coredns.queriesPerSecond":             {"minimum": 1},
	"coredns.connections":                  {"minimum": 1},
	"coredns.replicas":                     {"minimum": 1},
	"coredns.image":                        {"minLength": 1},
	"store.durability":                     {"enum": []any{DurabilityFull, DurabilityNormal}},
	"sleep.scope":                          {"enum": []any{SleepControlPlane, SleepWorkloads}},
	"sync.toHost.priorityClasses.maxValue": {"maximum": highestPriority},
	"isolation.podSecurityStandard": {"enum": []any{
		string(psapi.LevelPrivileged), string(psapi.LevelBaseline), string(psapi.LevelRestricted),
	}},
}

// Schema returns the JSON schema of portico.yaml, without the keys of some
// paths. It is for editors and charts; porticod goes by [Read].
func Schema(without ...string) map[string]any {
	described := map[string]string{}
	for _, k := range reference {
		for _, path := range k.each() {
			described[path] = plain(k.meaning)
		}
	}
	left := map[string]bool{}
	for _, path := range without {
		left[path] = true
	}
	return schemaOf(reflect.TypeFor[Config](), "", func(path string, s map[string]any) bool {
		if text := described[path]; text != "" {
			s["description"] = text
		}
		for rule, value := range limits[path] {
			s[rule] = value
		}
		return !left[path]
	})
}

// SchemaOf returns the JSON schema of a type by its JSON tags. No struct in it
// has other properties than its fields. visit completes the schema of each path
// and says whether it stays.
func SchemaOf(t reflect.Type, visit func(path string, schema map[string]any) bool) map[string]any {
	return schemaOf(t, "", visit)
}

func schemaOf(t reflect.Type, path string, visit func(string, map[string]any) bool) map[string]any {
	switch t {
	case reflect.TypeFor[intstr.IntOrString]():
		return map[string]any{"type": []any{"integer", "string"}}
	case reflect.TypeFor[Quantity]():
		return map[string]any{"type": []any{"number", "string", "null"}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), path, visit)
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Interface:
		return map[string]any{}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), path+"[]", visit)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem(), path+"{}", visit)}
	case reflect.Struct:
		properties := map[string]any{}
		eachField(t, path, func(name, at string, f reflect.Type) {
			if s := schemaOf(f, at, visit); visit(at, s) {
				properties[name] = s
			}
		})
		return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	default:
		panic(fmt.Sprintf("%s is a %s, for which there is no schema", path, t))
	}
}

// eachField calls do with each field of a struct that has a JSON name.
func eachField(t reflect.Type, path string, do func(name, at string, field reflect.Type)) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := jsonName(f)
		if name == "" || name == "-" {
			continue
		}
		at := name
		if path != "" {
			at = path + "." + name
		}
		do(name, at, f.Type)
	}
}
