// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"portico.dev/portico/rewrite/rules"
)

// A tenant's write to a status that the host keeps as it is shows inside all the
// same, as on every cluster: until the component that the field belongs to
// writes it again. The overlay has the tenant's value and a digest of the host's,
// and the value is shown while the host's is still that one.

// shownPrefix begins the keys of the records of a status.
const shownPrefix = "status."

// shownValue is the record of a field, or of one condition: the tenant's value.
type shownValue struct {
	Virtual json.RawMessage `json:"virtual"`
	// Host is the digest of the host's value, and empty for a condition that the
	// host does not have.
	Host string `json:"host,omitempty"`
}

// shown records the tenant's values of those fields of a status that rules name.
func (c *translation) shown(own []rules.StatusRule, s forms) {
	for _, rule := range own {
		after, seen, out := c.t.fields.at(s.after, rule.Field), c.t.fields.at(s.seen, rule.Field), c.t.fields.at(s.out, rule.Field)
		key := shownPrefix + rule.Field
		switch {
		case areConditions(out.Type()):
			c.shownConditions(rule, after, seen, out)
		case rule.Share != rules.Shown:
		case rule.Placement && (c.bound || !c.t.cluster.SchedulesInside):
		case !apiequality.Semantic.DeepEqual(after.Interface(), seen.Interface()):
			if isShown(rule, after) {
				c.overlay.put(key, shownValue{Virtual: encoded(after), Host: over(rule, out, s.out)})
			}
		default:
			var was shownValue
			if c.prior.get(key, &was) && was.Host == over(rule, out, s.out) {
				c.overlay.put(key, was)
			}
		}
	}
}

// isShown reports whether a tenant's value of a field is one that is shown.
func isShown(rule rules.StatusRule, value reflect.Value) bool {
	return len(rule.Values) == 0 || slices.Contains(rule.Values, value.String())
}

// over is the digest of the host's value that a tenant's is shown over. A value of
// a list ends with any change of the status: a component that goes on to write
// the status has not come to that finding.
func over(rule rules.StatusRule, field reflect.Value, status any) string {
	if len(rule.Values) == 0 {
		return digestOf(field)
	}
	return digestOf(reflect.ValueOf(status))
}

// shownConditions is shown for each condition by itself: those that the tenant
// did not write follow the host.
func (c *translation) shownConditions(rule rules.StatusRule, after, seen, out reflect.Value) {
	key := shownPrefix + rule.Field
	was, records := map[string]shownValue{}, map[string]shownValue{}
	c.prior.get(key, &was)
	types := set{}
	for _, list := range []reflect.Value{after, seen, out} {
		for i := range list.Len() {
			types.add(typeOf(list.Index(i)))
		}
	}
	for typ := range types {
		if c.ofHost(rule, typ) {
			continue
		}
		a, wanted := condition(after, typ)
		s, visible := condition(seen, typ)
		o, there := condition(out, typ)
		host := ""
		if there {
			host = digestOf(o)
		}
		switch {
		case wanted == visible && (!wanted || apiequality.Semantic.DeepEqual(a.Interface(), s.Interface())):
			if r, ok := was[typ]; ok && r.Host == host {
				records[typ] = r
			}
		case wanted == there && (!wanted || apiequality.Semantic.DeepEqual(a.Interface(), o.Interface())):
		case wanted: // a removed one stays, as its component would write it again
			records[typ] = shownValue{Virtual: encoded(a), Host: host}
		}
	}
	if len(records) > 0 {
		c.overlay.put(key, records)
	}
}

// ofHost reports whether a condition is shown as the host has it. Controllers
// inside act on one that is ruled, and their part of it is on the host; only a
// scheduler inside writes one, of pods that it preempts, that the host's would
// act on. The host decides whether a pod has its node.
func (c *translation) ofHost(rule rules.StatusRule, typ string) bool {
	_, ruled := rule.Unqualified[typ]
	return ruled && !c.t.cluster.SchedulesInside || c.bound && typ == string(corev1.PodScheduled)
}

// shown puts the tenant's values into v, the status as it is shown, where the
// host's in h are still those that they were written over.
func (c *restoration) shown(own []rules.StatusRule, v, h any) {
	if !c.overlay.hasBelow(shownPrefix) {
		return
	}
	for _, rule := range own {
		shown, host := c.t.fields.at(v, rule.Field), c.t.fields.at(h, rule.Field)
		key := shownPrefix + rule.Field
		if areConditions(host.Type()) {
			c.shownConditions(key, shown, host)
			continue
		}
		var r shownValue
		if rule.Placement && !c.t.cluster.SchedulesInside {
			continue
		}
		if rule.Share == rules.Shown && c.overlay.get(key, &r) && r.Host == over(rule, host, h) {
			c.decode(key, r, shown)
		}
	}
}

func (c *restoration) shownConditions(key string, shown, host reflect.Value) {
	records := map[string]shownValue{}
	if !c.overlay.get(key, &records) {
		return
	}
	list := reflect.Zero(shown.Type())
	for i := range host.Len() {
		e := shown.Index(i)
		if r, ok := records[typeOf(host.Index(i))]; ok && r.Host == digestOf(host.Index(i)) {
			c.decode(key, r, e)
		}
		list = reflect.Append(list, e)
	}
	for _, typ := range slices.Sorted(maps.Keys(records)) {
		if _, there := condition(host, typ); there || records[typ].Host != "" {
			continue
		}
		if e := reflect.New(shown.Type().Elem()).Elem(); c.decode(key, records[typ], e) {
			list = reflect.Append(list, e)
		}
	}
	shown.Set(list)
}

// hasBelow reports whether there is a record whose key begins like this.
func (o *overlay) hasBelow(prefix string) bool {
	for key := range o.Records {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// decode reads the value of a record into a field. A broken one is the fault of
// the overlay, and leaves the field as it is.
func (c *restoration) decode(key string, r shownValue, into reflect.Value) bool {
	p := reflect.New(into.Type())
	if err := json.Unmarshal(r.Virtual, p.Interface()); err != nil {
		c.overlay.fail(key, err)
		return false
	}
	into.Set(p.Elem())
	return true
}

// areConditions reports whether a type is a list of structs with a Type and a
// Reason, as all conditions are.
func areConditions(typ reflect.Type) bool {
	if typ.Kind() != reflect.Slice || typ.Elem().Kind() != reflect.Struct {
		return false
	}
	_, hasType := typ.Elem().FieldByName("Type")
	_, hasReason := typ.Elem().FieldByName("Reason")
	return hasType && hasReason
}

// encoded is for values of the API's types, which always encode.
func encoded(v reflect.Value) json.RawMessage {
	raw, err := json.Marshal(v.Interface())
	if err != nil {
		return nil
	}
	return raw
}

func digestOf(v reflect.Value) string { return digest(string(encoded(v))) }
