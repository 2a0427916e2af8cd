// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/rules"
)

// TestReachEveryFieldIsDecided: for every field of spec and status there is a
// decision how far a tenant's value of it reaches. It fails for a field that a
// new Kubernetes version brings, and for a decision whose field is gone.
func TestReachEveryFieldIsDecided(t *testing.T) {
	used := map[string]bool{}
	for typ, table := range guarded {
		for _, problem := range undecided(typ, table, rules.Decided, used) {
			t.Errorf("%s: %s", table.Kind, problem)
		}
	}
	for typ, fields := range rules.Decided {
		for _, name := range strings.Fields(fields) {
			if !used[typ+" "+name] {
				t.Errorf("no field %s of %s is without a decision", name, typ)
			}
		}
	}
}

// TestReachTheGuardIsAwake takes out one decision, and one field, at a time and
// expects a problem to be reported.
func TestReachTheGuardIsAwake(t *testing.T) {
	for typ, table := range guarded {
		for i, d := range table.Reach {
			less := table
			less.Reach = slices.Delete(slices.Clone(table.Reach), i, i+1)
			if strings.HasPrefix(d.Paths[0], "status.") && len(undecided(typ, less, rules.Decided, map[string]bool{})) == 0 {
				t.Errorf("%s: the decision on %v can go without notice", table.Kind, d.Paths)
			}
		}
		more := table
		more.Reach = append(slices.Clone(table.Reach), rules.Decision{Reach: rules.Never, Reason: "r", Paths: []string{"spec.gone"}})
		if len(undecided(typ, more, rules.Decided, map[string]bool{})) == 0 {
			t.Errorf("%s: a decision on a field that does not exist can stay without notice", table.Kind)
		}
	}
	for typ, fields := range rules.Decided {
		less := maps.Clone(rules.Decided)
		_, less[typ], _ = strings.Cut(fields, " ")
		found := false
		for root, table := range guarded {
			found = found || len(undecided(root, table, less, map[string]bool{})) > 0
		}
		if !found {
			t.Errorf("the first field of %s can go without notice", typ)
		}
	}
}

// undecided lists the problems of the decisions on a type. It notes in used
// which fields of passing it came upon.
func undecided(typ reflect.Type, table rules.Table, passing map[string]string, used map[string]bool) []string {
	var problems []string
	seen := map[string]bool{}
	for _, d := range table.Reach {
		if d.Reason == "" {
			problems = append(problems, fmt.Sprintf("the decision on %v has no reason", d.Paths))
		}
	}
	eachField(typ, func(f fieldAt) bool {
		d, decided := decisionOn(table, f.path)
		seen[d.path] = true
		if decided && (d.Reach != rules.Own || f.path == d.path) {
			return true
		}
		name := f.owner + " " + f.name
		switch {
		case !decided && strings.HasPrefix(f.path, "status."):
			problems = append(problems, f.path+" of a status has no decision")
		case !slices.Contains(strings.Fields(passing[f.owner]), f.name):
			problems = append(problems, fmt.Sprintf("%s has no decision, and %s is not among those of %s that pass", f.path, f.name, f.owner))
		}
		used[name] = true
		return true
	})
	for _, d := range table.Reach {
		for _, path := range d.Paths {
			for _, p := range alternatives(path) {
				if !seen[p] {
					problems = append(problems, p+" has a decision, and there is no such field")
				}
			}
		}
	}
	return problems
}

// TestReachIsAsDecided is the counterpart of law 4: it writes every field of
// every kind, in a new object and in one that the host has, and compares the
// fields that reached the host with the decisions.
func TestReachIsAsDecided(t *testing.T) {
	tr := mustNew(t, testCluster())
	for typ, table := range guarded {
		for _, part := range []string{"Spec", "Status"} {
			f, _ := typ.FieldByName(part)
			eachLeaf(strings.ToLower(part), f.Type, func(path string) {
				d, _ := decisionOn(table, path)
				want := map[rules.Reach][2]string{
					"": {"reaches", "reaches"}, rules.Created: {"reaches", "never"}, rules.Offered: {"never", "never"},
					rules.Refused: {"refused", "refused"}, rules.Never: {"never", "never"}, rules.Own: {"never", "reaches"},
				}[d.Reach]
				if got := [2]string{created(t, tr, typ, path, wordFor(path)), updated(t, tr, typ, path)}; got != want {
					t.Errorf("%s %s, when created and when changed: %v, want %v (%s)", table.Kind, path, got, want, d.Reason)
				}
				if d.Reach == rules.Offered && created(t, tr, typ, path, offeredWords[path]) != "reaches" {
					t.Errorf("%s %s does not reach the host, though the host offers %s", table.Kind, path, offeredWords[path])
				}
			})
		}
	}
}

// TestReachOfAStatusIsWhatTheEngineDoes: the decisions on statuses and the rules
// that the translation goes by are the same.
func TestReachOfAStatusIsWhatTheEngineDoes(t *testing.T) {
	for _, table := range guarded {
		var own, decided []string
		for _, r := range table.Status {
			if r.Share != rules.Shown {
				own = append(own, "status."+r.Field)
			}
		}
		for _, d := range table.Reach {
			if d.Reach == rules.Own {
				decided = append(decided, d.Paths...)
			}
		}
		slices.Sort(own)
		slices.Sort(decided)
		if d := diff(own, decided); d != "" {
			t.Errorf("%s (-rules +decisions):\n%s", table.Kind, d)
		}
	}
}

// offeredWords are values of testInputs.
var offeredWords = map[string]string{"spec.priorityClassName": "app", "spec.runtimeClassName": "web"}

// beside returns the other fields of the same object without which a field has
// no effect: the host form of a selector that selects nothing is the same for
// all.
func beside(path string) map[string]string {
	out := map[string]string{}
	if before, _, ok := strings.Cut(path, "matchExpressions[]"); ok {
		out[before+"matchExpressions[].key"], out[before+"matchExpressions[].operator"], out[before+"matchExpressions[].values[]"] = "beside", "In", "beside"
	}
	for _, in := range []string{".namespaces[]", ".namespaceSelector."} {
		if before, _, ok := strings.Cut(path, in); ok && strings.HasPrefix(path, "spec.affinity") {
			out[before+".labelSelector.matchLabels"] = "beside"
		}
	}
	switch {
	case strings.HasPrefix(path, "spec.tolerations[]"): // others are not on the host
		out["spec.tolerations[].key"], out["spec.tolerations[].operator"] = "node.kubernetes.io/not-ready", "Exists"
	case strings.HasPrefix(path, "status.conditions[]"):
		out["status.conditions[].type"] = "example.com/beside"
	case strings.HasPrefix(path, "status.resourceClaimStatuses[]"):
		out["spec.resourceClaims[].name"] = "beside"
	}
	return out
}

// wordFor is the string that a test writes into a field.
func wordFor(path string) string {
	if path == "status.conditions[].type" {
		return "example.com/written"
	}
	return "written"
}

// skeleton is an object that has everything around a field but its value.
func skeleton(typ reflect.Type, path string) runtime.Object {
	v := reflect.New(typ).Interface().(runtime.Object)
	m, _ := meta.Accessor(v)
	m.SetNamespace("demo")
	m.SetName("web")
	surround(v, path)
	return v
}

func surround(v runtime.Object, path string) {
	place(reflect.ValueOf(v).Elem(), path, "")
	for p, word := range beside(path) {
		place(reflect.ValueOf(v).Elem(), p, word)
	}
}

func created(t *testing.T, tr *rewrite.Translator, typ reflect.Type, path, word string) string {
	without, err := tr.ToHost(skeleton(typ, path), testInputs())
	if apierrors.IsInvalid(err) {
		return "refused" // with anything in the list
	}
	if err != nil {
		t.Fatal(err)
	}
	v := skeleton(typ, path)
	place(reflect.ValueOf(v).Elem(), path, word)
	return reached(t, tr, v, wireObject(t, without), testInputs())
}

func updated(t *testing.T, tr *rewrite.Translator, typ reflect.Type, path string) string {
	in := testInputs()
	base, err := tr.ToHost(skeleton(typ, path), in)
	if apierrors.IsInvalid(err) {
		return "refused"
	}
	if err != nil {
		t.Fatal(err)
	}
	in.Host = wireObject(t, base)
	v := toVirtual(t, tr, in.Host)
	surround(v, path)
	in.Host = toHost(t, tr, v, in)
	v = toVirtual(t, tr, in.Host)
	place(reflect.ValueOf(v).Elem(), path, wordFor(path))
	return reached(t, tr, v, in.Host, in)
}

// reached translates v and says how it differs from a host object.
func reached(t *testing.T, tr *rewrite.Translator, v, without runtime.Object, in rewrite.Inputs) string {
	h, err := tr.ToHost(v, in)
	if apierrors.IsInvalid(err) {
		return "refused"
	}
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(parts(without), parts(wireObject(t, h))) {
		return "never"
	}
	return "reaches"
}

func parts(o runtime.Object) [2]any {
	v := reflect.ValueOf(o).Elem()
	return [2]any{v.FieldByName("Spec").Interface(), v.FieldByName("Status").Interface()}
}

// decision is a row, and which of its paths it was.
type decision struct {
	rules.Decision
	path string
}

// decisionOn finds the decision on a field, or on the nearest one above it.
func decisionOn(table rules.Table, path string) (decision, bool) {
	var found []decision
	for _, d := range table.Reach {
		for _, p := range d.Paths {
			for _, p := range alternatives(p) {
				if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
					found = append(found, decision{d, p})
				}
			}
		}
	}
	if len(found) == 0 {
		return decision{}, false
	}
	return slices.MaxFunc(found, func(a, b decision) int { return cmp.Compare(len(a.path), len(b.path)) }), true
}
