// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"

	"portico.dev/portico/rewrite/rules"
)

// ownConditions is the record of the types of conditions that are the tenant's:
// the readiness gates that the pod was created with, and those that the tenant
// wrote first.
const ownConditions = "ownConditions"

// status leaves the host its status, except for the fields that own names. A
// scheduler, a quota, a load balancer and a node's proxy act on a status, and
// the tenant is not one of its writers: a phase frees a quota, resources of a
// container change the scheduler's sums, and the API server proxies to an
// address.
func (c *translation) status(own []rules.StatusRule, s forms) {
	translated := reflect.New(reflect.TypeOf(s.out).Elem())
	translated.Elem().Set(reflect.ValueOf(s.out).Elem())
	reflect.ValueOf(s.out).Elem().Set(reflect.ValueOf(s.host).Elem())
	for _, rule := range own {
		after, seen, out := c.t.fields.at(s.after, rule.Field), c.t.fields.at(s.seen, rule.Field), c.t.fields.at(s.out, rule.Field)
		switch {
		case rule.Share == rules.Shown:
		case rule.Share == rules.Conditions:
			c.conditions(rule, after, seen, out)
		case !apiequality.Semantic.DeepEqual(after.Interface(), seen.Interface()):
			out.Set(c.t.fields.at(translated.Interface(), rule.Field))
		}
	}
}

// conditions puts the tenant's conditions into out, which is the host's list,
// each at the place that it has there. All are lists of structs with a Type and
// a Reason.
func (c *translation) conditions(rule rules.StatusRule, after, seen, out reflect.Value) {
	owner := c.owner(rule, out)
	list := reflect.Zero(out.Type())
	taken := set{}
	for i := range out.Len() {
		host := out.Index(i)
		typ := typeOf(host)
		taken.add(typ)
		written, there := condition(after, typ)
		switch {
		case !owner.mayReplace(host) || there && !owner.mayWrite(written):
			list = reflect.Append(list, host)
		case !there: // removed
		case unchanged(written, seen):
			list = reflect.Append(list, host)
		default:
			list = reflect.Append(list, written)
		}
	}
	for i := range after.Len() {
		if e := after.Index(i); !taken.has(typeOf(e)) && owner.mayWrite(e) {
			taken.add(typeOf(e))
			owner.types.add(typeOf(e))
			list = reflect.Append(list, e)
		}
	}
	out.Set(list)
	c.recordOwn(owner, list)
}

// recordOwn remembers the tenant's types of those in list, and its gates.
func (c *translation) recordOwn(owner *owner, list reflect.Value) {
	var own []string
	for _, typ := range owner.types.sorted() {
		if _, there := condition(list, typ); there || owner.gates.has(typ) {
			own = append(own, typ)
		}
	}
	if len(own) > 0 {
		c.overlay.put(ownConditions, own)
	}
}

// gates remembers the readiness gates of a new pod. Those that the host adds are
// for a component of the host, such as the one of its load balancer.
func (c *translation) gates(h *corev1.Pod) {
	if c.in.Host != nil {
		return
	}
	own := set{}
	for _, gate := range h.Spec.ReadinessGates {
		own.add(string(gate.ConditionType))
	}
	if len(own) > 0 {
		c.overlay.put(ownConditions, own.sorted())
	}
}

// owner decides whose the conditions of an object are.
type owner struct {
	rule  rules.StatusRule
	types set // the tenant's, of the record and new
	gates set // all readiness gates of the pod
	host  set // types that are on the host
}

func (c *translation) owner(rule rules.StatusRule, host reflect.Value) *owner {
	o := &owner{rule: rule, types: set{}, gates: set{}, host: set{}}
	var own []string
	c.prior.get(ownConditions, &own)
	for _, typ := range own {
		o.types.add(typ)
	}
	if pod, ok := c.in.Host.(*corev1.Pod); ok {
		for _, gate := range pod.Spec.ReadinessGates {
			o.gates.add(string(gate.ConditionType))
		}
	}
	for i := range host.Len() {
		o.host.add(typeOf(host.Index(i)))
	}
	return o
}

// mayReplace reports whether a condition that the host has is the tenant's. The
// host may have written another reason since.
func (o *owner) mayReplace(host reflect.Value) bool {
	return o.types.has(typeOf(host)) && o.allowed(host)
}

// mayWrite reports whether a condition may come from the tenant.
func (o *owner) mayWrite(e reflect.Value) bool {
	typ := typeOf(e)
	return o.allowed(e) && (o.types.has(typ) || !o.host.has(typ) && !o.gates.has(typ))
}

func (o *owner) allowed(e reflect.Value) bool {
	if reasons, ok := o.rule.Unqualified[typeOf(e)]; ok {
		return slices.Contains(reasons, e.FieldByName("Reason").String())
	}
	return qualified(typeOf(e))
}

// qualified reports whether a type of a condition has a domain that is not
// Kubernetes' own.
func qualified(typ string) bool {
	domain, _, ok := strings.Cut(typ, "/")
	if !ok || len(validation.IsQualifiedName(typ)) > 0 {
		return false
	}
	for _, reserved := range []string{"kubernetes.io", "k8s.io"} {
		if domain == reserved || strings.HasSuffix(domain, "."+reserved) {
			return false
		}
	}
	return true
}

// unchanged reports whether the tenant wrote a condition as it was seen.
func unchanged(written, seen reflect.Value) bool {
	was, ok := condition(seen, typeOf(written))
	return ok && apiequality.Semantic.DeepEqual(written.Interface(), was.Interface())
}

// condition finds the first condition of a type.
func condition(list reflect.Value, typ string) (reflect.Value, bool) {
	for i := range list.Len() {
		if typeOf(list.Index(i)) == typ {
			return list.Index(i), true
		}
	}
	return reflect.Value{}, false
}

func typeOf(condition reflect.Value) string { return condition.FieldByName("Type").String() }

// zero empties the target of a pointer.
func zero(p any) { reflect.ValueOf(p).Elem().SetZero() }
