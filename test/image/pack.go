// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"
)

// file is a file of the image.
type file struct {
	path    string
	content []byte
	program bool
}

// user is not a user of the system, as in the chart.
const user = "65532:65532"

// Media types of the OCI image specification.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

// pack returns the archive of an image that runs the first file, and the digest
// of its manifest.
func pack(ref, arch string, files []file) (archive []byte, digest string, err error) {
	layer, err := layerOf(files)
	if err != nil {
		return nil, "", err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": arch, "os": "linux",
		"config": map[string]any{
			"Entrypoint": []string{files[0].path}, "Cmd": []string{"serve"}, "User": user, "Env": []string{"PATH=/"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digestOf(layer)}},
	})
	if err != nil {
		return nil, "", err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest,
		"config": describe(typeConfig, config), "layers": []descriptor{describe(typeLayer, layer)},
	})
	if err != nil {
		return nil, "", err
	}
	named := describe(typeManifest, manifest)
	named.Platform = map[string]string{"os": "linux", "architecture": arch}
	// Names are where the engines look for them: the whole one is containerd's.
	named.Annotations = map[string]string{"io.containerd.image.name": ref, "org.opencontainers.image.ref.name": ref[strings.LastIndex(ref, ":")+1:]}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []descriptor{named}})
	if err != nil {
		return nil, "", err
	}
	// For engines of before the OCI layout.
	docker, err := json.Marshal([]map[string]any{{"Config": blob(config), "RepoTags": []string{ref}, "Layers": []string{blob(layer)}}})
	if err != nil {
		return nil, "", err
	}
	archive, err = tarOf([]file{
		{path: "oci-layout", content: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{path: "index.json", content: index},
		{path: "manifest.json", content: docker},
		{path: blob(manifest), content: manifest},
		{path: blob(config), content: config},
		{path: blob(layer), content: layer},
	}, nil)
	return archive, digestOf(manifest), err
}

// layerOf is a file system with the files and a directory for temporary files.
// Everything is root's, and none of it can be written by the image's user.
func layerOf(files []file) ([]byte, error) {
	directories := map[string]int64{"tmp": 0o1777}
	var all []file
	for _, f := range files {
		f.path = strings.TrimPrefix(f.path, "/")
		for dir := path.Dir(f.path); dir != "."; dir = path.Dir(dir) {
			directories[dir] = 0o755
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return tarOf(all, directories)
}

// tarOf writes a tar without times and owners.
func tarOf(files []file, directories map[string]int64) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, dir := range slices.Sorted(maps.Keys(directories)) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: directories[dir], Format: tar.FormatUSTAR}); err != nil {
			return nil, err
		}
	}
	for _, f := range files {
		mode := int64(0o644)
		if f.program {
			mode = 0o755
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: mode, Size: int64(len(f.content)), Format: tar.FormatUSTAR}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func blob(content []byte) string { return "blobs/" + strings.Replace(digestOf(content), ":", "/", 1) }

func describe(mediaType string, content []byte) descriptor {
	return descriptor{MediaType: mediaType, Digest: digestOf(content), Size: len(content)}
}
