// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	out := flags.String("out", "", "archive to write")
	sbom := flags.String("sbom", "", "bill of materials to write")
	ref := flags.String("ref", "", "name of the image, REPOSITORY:TAG")
	arch := flags.String("arch", runtime.GOARCH, "architecture of the programs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || *ref == "" || flags.NArg() == 0 {
		return fmt.Errorf("usage: image -out FILE -ref REPOSITORY:TAG [-sbom FILE] [-arch ARCH] PATH=FILE..., the first is what runs")
	}
	var files []file
	for _, arg := range flags.Args() {
		path, source, ok := strings.Cut(arg, "=")
		if !ok || !strings.HasPrefix(path, "/") {
			return fmt.Errorf("%q is not /PATH=FILE", arg)
		}
		content, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		info, err := os.Stat(source)
		if err != nil {
			return err
		}
		files = append(files, file{path: path, content: content, program: info.Mode()&0o111 != 0})
	}
	archive, digest, err := pack(*ref, *arch, files)
	if err != nil {
		return err
	}
	if err := os.WriteFile(*out, archive, 0o644); err != nil { //nolint:gosec // others may load it
		return err
	}
	fmt.Println(digest)
	if *sbom == "" {
		return nil
	}
	var b bytes.Buffer
	if err := materials(&b, *ref, digest, files); err != nil {
		return err
	}
	return os.WriteFile(*sbom, b.Bytes(), 0o644) //nolint:gosec // others may read it
}
