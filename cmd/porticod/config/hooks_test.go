// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestHooks(t *testing.T) {
	good := func() Hook {
		return Hook{Name: "images", URL: "https://hooks.example:8443/pods", Kinds: []string{"pods"}}
	}
	for _, tc := range []struct {
		reason string
		change func(*Hook)
		says   string // empty: it is valid
	}{
		{"the least", func(*Hook) {}, ""},
		{"everything", func(h *Hook) {
			h.CAFile, h.CertFile, h.KeyFile, h.Timeout, h.FailurePolicy = "/ca", "/crt", "/key", "2s", HookIgnore
			h.Operations, h.References = []string{HookCreate, HookUpdate}, []HookReference{{Kind: "Secret", Name: "registry"}}
		}, ""},
		{"the way back", func(h *Hook) { h.Direction = HookToVirtual }, ""},
		{"no name", func(h *Hook) { h.Name = "" }, "hooks[0].name"},
		{"no TLS", func(h *Hook) { h.URL = "http://hooks.example" }, "hooks[0].url"},
		{"a password in the URL", func(h *Hook) { h.URL = "https://a:b@hooks.example" }, "hooks[0].url"},
		{"a certificate without a key", func(h *Hook) { h.CertFile = "/crt" }, "certFile and keyFile"},
		{"a file somewhere", func(h *Hook) { h.CAFile = "ca.crt" }, "hooks[0].caFile"},
		{"a long time", func(h *Hook) { h.Timeout = "1m" }, "hooks[0].timeout"},
		{"no kind", func(h *Hook) { h.Kinds = nil }, "hooks[0].kinds"},
		{"a kind that is not shown", func(h *Hook) { h.Kinds = []string{"secrets"} }, "hooks[0].kinds[0]"},
		{"Ingresses that are not on the host", func(h *Hook) { h.Kinds = []string{"ingresses"} }, "sync.toHost.ingresses"},
		{"another operation", func(h *Hook) { h.Operations = []string{"DELETE"} }, "hooks[0].operations[0]"},
		{"another policy", func(h *Hook) { h.FailurePolicy = "Maybe" }, "hooks[0].failurePolicy"},
		{"objects that would vanish", func(h *Hook) { h.Direction, h.FailurePolicy = HookToVirtual, HookFail }, "hooks[0].failurePolicy"},
		{"references on the way back", func(h *Hook) { h.Direction, h.References = HookToVirtual, []HookReference{{Kind: "Secret", Name: "a"}} }, "hooks[0].direction"},
		{"a reference to any kind", func(h *Hook) { h.References = []HookReference{{Kind: "ServiceAccount", Name: "a"}} }, "hooks[0].references[0].kind"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			h := good()
			tc.change(&h)
			errs := (&Config{Hooks: []Hook{h}}).validateHooks(field.NewPath("hooks"))
			switch {
			case tc.says == "" && len(errs) > 0:
				t.Errorf("refused: %v", errs.ToAggregate())
			case tc.says != "" && (len(errs) == 0 || !strings.Contains(errs.ToAggregate().Error(), tc.says)):
				t.Errorf("got %v, want one of %s", errs.ToAggregate(), tc.says)
			}
		})
	}
	if errs := (&Config{Hooks: []Hook{good(), good()}}).validateHooks(field.NewPath("hooks")); len(errs) != 1 {
		t.Errorf("two hooks of one name: %v", errs)
	}
}

func TestPatches(t *testing.T) {
	good := func() Patch {
		return Patch{Name: "runtime", Kinds: []string{"pods"}, ApplyConfiguration: "Object{}"}
	}
	for _, tc := range []struct {
		reason string
		change func(*Patch)
		says   string // empty: it is valid
	}{
		{"the least", func(*Patch) {}, ""},
		{"the other form", func(p *Patch) { p.ApplyConfiguration, p.JSONPatch = "", "[]" }, ""},
		{"both forms", func(p *Patch) { p.JSONPatch = "[]" }, "one of applyConfiguration and jsonPatch"},
		{"no form", func(p *Patch) { p.ApplyConfiguration = "" }, "one of applyConfiguration and jsonPatch"},
		{"no kind", func(p *Patch) { p.Kinds = nil }, "patches[0].kinds"},
		{"a kind without patches", func(p *Patch) { p.Kinds = []string{"nodes"} }, "patches[0].kinds[0]"},
		{"the name of a hook", func(p *Patch) { p.Name = "images" }, "patches[0].name"},
		{"another operation", func(p *Patch) { p.Operations = []string{"DELETE"} }, "patches[0].operations[0]"},
		{"a reference to any kind", func(p *Patch) { p.References = []HookReference{{Kind: "Node", Name: "a"}} }, "patches[0].references[0].kind"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			p := good()
			tc.change(&p)
			errs := (&Config{Hooks: []Hook{{Name: "images"}}, Patches: []Patch{p}}).validatePatches(field.NewPath("patches"))
			switch {
			case tc.says == "" && len(errs) > 0:
				t.Errorf("refused: %v", errs.ToAggregate())
			case tc.says != "" && (len(errs) == 0 || !strings.Contains(errs.ToAggregate().Error(), tc.says)):
				t.Errorf("got %v, want one of %s", errs.ToAggregate(), tc.says)
			}
		})
	}
}
