// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
)

// component is a part of the image in CycloneDX, version 1.5.
type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	PURL    string `json:"purl,omitempty"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// materials lists the content of the image: its files, and the modules that the
// Go compiler has written into programs. There is no time and no serial number
// in it: the same image has the same bill.
func materials(w io.Writer, ref, digest string, files []file) error {
	modules := map[string]component{}
	image := component{Type: "container", Ref: "image", Name: ref, Version: digest}
	var all []component
	depends := []dependency{{Ref: image.Ref}}
	for _, f := range files {
		c := component{
			Type: "file", Ref: "file:" + f.path, Name: f.path,
			Hashes: []hash{{"SHA-256", strings.TrimPrefix(digestOf(f.content), "sha256:")}},
		}
		all, depends[0].DependsOn = append(all, c), append(depends[0].DependsOn, c.Ref)
		if !f.program {
			continue
		}
		info, err := buildinfo.Read(bytes.NewReader(f.content))
		if err != nil {
			return err
		}
		d := dependency{Ref: c.Ref}
		for _, m := range modulesOf(info) {
			modules[m.Ref] = m
			d.DependsOn = append(d.DependsOn, m.Ref)
		}
		slices.Sort(d.DependsOn)
		depends = append(depends, d)
	}
	for _, ref := range slices.Sorted(maps.Keys(modules)) {
		all = append(all, modules[ref])
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata":     map[string]any{"component": image},
		"components":   all,
		"dependencies": depends,
	})
}

// modulesOf returns the modules in a program, the standard library among them.
func modulesOf(info *debug.BuildInfo) []component {
	all := []component{{
		Type: "library", Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go"),
		PURL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"),
	}}
	for _, m := range info.Deps {
		m = cmp.Or(m.Replace, m)
		all = append(all, component{
			Type: "library", Name: m.Path, Version: m.Version,
			PURL: "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B"),
		})
	}
	for i := range all {
		all[i].Ref = all[i].PURL
	}
	return all
}
