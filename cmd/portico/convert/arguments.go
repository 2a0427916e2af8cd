// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"fmt"
	"strings"
)

// syncerArgs moves the flags of vcluster's syncer that people set, and lists
// the others by their names: a value may be a credential.
func syncerArgs(c *conversion, r row, v any) error {
	for i, arg := range v.([]any) {
		at := fmt.Sprintf("%s[%d]", r.path, i)
		flag, ok := arg.(string)
		if !ok {
			return &ValueError{Path: at, Why: "must be a text"}
		}
		name, value, _ := strings.Cut(flag, "=")
		from := row{path: at}
		var err error
		switch name {
		case "--tls-san":
			var names []any
			for san := range strings.SplitSeq(value, ",") {
				names = append(names, san)
			}
			err = c.put(from, "certSANs", names)
		case "--enforce-toleration":
			from.to = "pods.tolerations"
			err = tolerations(c, from, []any{value})
		case "--translate-image":
			image, run, ok := strings.Cut(value, "=")
			if !ok {
				return &ValueError{Path: at, Why: "must be --translate-image=IMAGE=IMAGE"}
			}
			err = c.put(from, "images", map[string]any{image: run})
		default:
			name, _, _ = strings.Cut(name, " ")
			c.missing(at, fmt.Sprintf("%s is a flag of vcluster's syncer.", name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tolerations takes apart the one text that vcluster writes for each: *, KEY,
// KEY:EFFECT, KEY=VALUE or KEY=VALUE:EFFECT.
func tolerations(c *conversion, r row, v any) error {
	var all []any
	for i, entry := range v.([]any) {
		s, ok := entry.(string)
		if !ok {
			return &ValueError{Path: fmt.Sprintf("%s[%d]", r.path, i), Why: "must be a text such as KEY=VALUE:EFFECT"}
		}
		t, ok := toleration(s)
		if !ok {
			return &ValueError{Path: fmt.Sprintf("%s[%d]", r.path, i), Why: "must be *, KEY, KEY:EFFECT, KEY=VALUE or KEY=VALUE:EFFECT"}
		}
		all = append(all, t)
	}
	return c.put(r, r.to, all)
}

func toleration(s string) (map[string]any, bool) {
	if s == "*" {
		return map[string]any{"operator": "Exists"}, true
	}
	pair, effect, hasEffect := strings.Cut(s, ":")
	key, value, hasValue := strings.Cut(pair, "=")
	if strings.ContainsAny(effect, ":=") || strings.Contains(value, "=") || key == "" && !hasEffect {
		return nil, false
	}
	t := map[string]any{"operator": "Exists"}
	if key != "" {
		t["key"] = key
	}
	if hasEffect {
		t["effect"] = effect
	}
	if hasValue {
		t["operator"], t["value"] = "Equal", value
	}
	return t, true
}
