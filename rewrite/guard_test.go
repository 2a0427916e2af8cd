// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"portico.dev/portico/rewrite/rules"
)

// guarded are the kinds that live on the host.
var guarded = map[reflect.Type]rules.Table{
	reflect.TypeFor[corev1.Pod]():                   rules.Pod,
	reflect.TypeFor[corev1.Service]():               rules.Service,
	reflect.TypeFor[corev1.PersistentVolumeClaim](): rules.PersistentVolumeClaim,
	reflect.TypeFor[resourcev1.ResourceClaim]():     rules.ResourceClaim,
}

// guardedCopies are the kinds of which the host has a copy.
var guardedCopies = map[reflect.Type]rules.Table{
	reflect.TypeFor[corev1.Secret]():                rules.Secret,
	reflect.TypeFor[corev1.ConfigMap]():             rules.ConfigMap,
	reflect.TypeFor[discoveryv1.EndpointSlice]():    rules.EndpointSlice,
	reflect.TypeFor[schedulingv1.PriorityClass]():   rules.PriorityClass,
	reflect.TypeFor[networkingv1.NetworkPolicy]():   rules.NetworkPolicy,
	reflect.TypeFor[networkingv1.Ingress]():         rules.Ingress,
	reflect.TypeFor[policyv1.PodDisruptionBudget](): rules.PodDisruptionBudget,
	reflect.TypeFor[storagev1.StorageClass]():       rules.StorageClass,
	reflect.TypeFor[corev1.PersistentVolume]():      rules.PersistentVolume,
}

// tables returns the table of every kind that reaches the host.
func tables() map[reflect.Type]rules.Table {
	all := maps.Clone(guarded)
	maps.Copy(all, guardedCopies)
	return all
}

// TestLaw4EveryFieldHasARule: a field that could name an object or select some
// is either rewritten or excused with a reason. It fails for a field that a new
// Kubernetes version brings, and for a row whose field is gone.
func TestLaw4EveryFieldHasARule(t *testing.T) {
	for typ, table := range tables() {
		t.Run(table.Kind, func(t *testing.T) {
			for _, problem := range guard(typ, table) {
				t.Error(problem)
			}
		})
	}
}

// TestLaw4TheGuardIsAwake takes out one row at a time and expects a problem to
// be reported.
func TestLaw4TheGuardIsAwake(t *testing.T) {
	typ := reflect.TypeFor[corev1.Pod]()
	for typ, whole := range tables() {
		for i, r := range whole.Rules {
			if strings.Contains(r.Path, "['") || isBool(r.Path) {
				continue // no string field of the type
			}
			table := whole
			table.Rules = slices.Delete(slices.Clone(table.Rules), i, i+1)
			if len(guard(typ, table)) == 0 {
				t.Errorf("the row of %s of %s can go without notice", r.Path, whole.Kind)
			}
		}
	}
	if len(guard(typ, rules.Table{Kept: []rules.Excuse{{Reason: "r", Paths: []string{"spec.gone"}}}})) == 0 {
		t.Error("a row of a field that does not exist can stay without notice")
	}
}

// isBool lists the rows that are in the table for the reader: no string is in
// their fields, so no name can be.
func isBool(path string) bool {
	switch path {
	case "spec.enableServiceLinks", "spec.automountServiceAccountToken", "spec.setHostnameAsFQDN", "spec.priority", "spec.overhead",
		"spec.dnsPolicy", "spec.preemptionPolicy", "spec.devices.requests[].exactly.adminAccess", "value", "globalDefault", "spec.egress[].ports[]",
		"spec.minAvailable", "spec.maxUnavailable", "spec.persistentVolumeReclaimPolicy":
		return true
	}
	return false
}

// guard lists the problems of a type's table.
func guard(typ reflect.Type, table rules.Table) []string {
	var problems []string
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	covered, unused := map[string]bool{}, map[string]bool{}
	row := func(path string) {
		for _, p := range alternatives(path) {
			if covered[p] {
				say("%s has two rows", p)
			}
			covered[p], unused[p] = true, true
		}
	}
	for _, r := range table.Rules {
		row(r.Path)
	}
	for _, e := range table.Kept {
		if e.Reason == "" {
			say("%v are excused without a reason", e.Paths)
		}
		for _, p := range e.Paths {
			row(p)
		}
	}
	visitFields(typ, func(path string, leaf bool, typ reflect.Type) bool {
		if covered[path] {
			delete(unused, path)
			return false
		}
		if leaf {
			say("%s (%s) has no rule and no excuse", path, typ)
		}
		return true
	})
	for p := range unused {
		// A key of a map is no field of the type; the map itself has a row.
		if !strings.Contains(p, "['") {
			say("%s has a row, but there is no such field, or one above it has a row", p)
		}
	}
	return problems
}

// TestLaw4MetadataIsKnown: metadata is translated by hand, field by field.
func TestLaw4MetadataIsKnown(t *testing.T) {
	known := []string{
		"Name", "GenerateName", "Namespace", "SelfLink", "UID", "ResourceVersion", "Generation", "CreationTimestamp",
		"DeletionTimestamp", "DeletionGracePeriodSeconds", "Labels", "Annotations", "OwnerReferences", "Finalizers", "ManagedFields",
	}
	typ := reflect.TypeFor[metav1.ObjectMeta]()
	for i := range typ.NumField() {
		if name := typ.Field(i).Name; !slices.Contains(known, name) {
			t.Errorf("metadata has a new field %s", name)
		}
	}
}

// visitFields calls do for the fields besides metadata that can hold a name, and
// for the structs and lists that lead to them, which need no row but may have
// one. do returns whether to go deeper.
func visitFields(typ reflect.Type, do func(path string, leaf bool, typ reflect.Type) bool) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "metadata" {
			visitType(name, f.Type, do)
		}
	}
}

func visitType(path string, typ reflect.Type, do func(string, bool, reflect.Type) bool) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch {
	case typ.PkgPath() == "k8s.io/apimachinery/pkg/api/resource", typ == reflect.TypeFor[metav1.Time]():
		return // an amount, a time
	case typ == reflect.TypeFor[intstr.IntOrString]():
		do(path, false, typ) // a port, by number or by its name in the pod
		return
	case typ == reflect.TypeFor[metav1.LabelSelector]():
		do(path, true, typ)
		return
	}
	switch typ.Kind() {
	case reflect.String:
		_, word := rules.Words[typ.String()]
		do(path, !word, typ)
	case reflect.Map:
		_, word := rules.Words[typ.Key().String()]
		_, values := rules.Words[typ.Elem().String()]
		amounts := typ.Elem().PkgPath() == "k8s.io/apimachinery/pkg/api/resource"
		do(path, !word || (!values && !amounts), typ)
	case reflect.Slice:
		if do(path, false, typ) {
			visitType(path+"[]", typ.Elem(), do)
		}
	case reflect.Struct:
		if path == "spec" || path == "status" || do(path, false, typ) {
			for i := range typ.NumField() {
				f := typ.Field(i)
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if name == "" && f.Anonymous {
					visitInline(path, f.Type, do)
					continue
				}
				visitType(path+"."+name, f.Type, do)
			}
		}
	case reflect.Bool, reflect.Int32, reflect.Int64, reflect.Uint8:
		do(path, false, typ)
	default:
		do(path, true, typ) // nothing that the API has today
	}
}

func visitInline(path string, typ reflect.Type, do func(string, bool, reflect.Type) bool) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" && f.Anonymous {
			visitInline(path, f.Type, do)
			continue
		}
		visitType(path+"."+name, f.Type, do)
	}
}

// alternatives resolves the braces of a path, as the engine does.
func alternatives(path string) []string {
	open := strings.IndexByte(path, '{')
	if open < 0 {
		return []string{path}
	}
	end := open + strings.IndexByte(path[open:], '}')
	var out []string
	for _, name := range strings.Split(path[open+1:end], ",") {
		out = append(out, alternatives(path[:open]+name+path[end+1:])...)
	}
	return out
}

// TestEveryWordIsAType catches a typo in the list of types that need no row.
func TestEveryWordIsAType(t *testing.T) {
	used := map[string]bool{}
	for typ := range tables() {
		visitFields(typ, func(_ string, _ bool, typ reflect.Type) bool {
			used[typ.String()] = true
			if typ.Kind() == reflect.Map {
				used[typ.Key().String()], used[typ.Elem().String()] = true, true
			}
			return true
		})
	}
	var unused []string
	for name := range rules.Words {
		if !used[name] {
			unused = append(unused, name)
		}
	}
	slices.Sort(unused)
	if len(unused) > 0 {
		t.Errorf("no field has the types %v", unused)
	}
}
