// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command roots prints the certificate authorities of Mozilla's trust store, of
// the version that go.mod pins, for the image. Those with conditions that a file
// cannot express are left out.
package main

import (
	"encoding/pem"
	"fmt"
	"os"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func main() {
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(os.Stdout, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			fmt.Fprintf(os.Stderr, "error: %v\n", err)
			os.Exit(1)
		}
	}
}
