// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestHelm3RendersTheSame has the library of Helm 3 render each golden case: the
// objects are those of Helm 4.
func TestHelm3RendersTheSame(t *testing.T) {
	cases := 0
	for _, pattern := range []string{"testdata/*.values.yaml", "testdata/gateway/*.values.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no cases (%v)", err)
		}
		cases += len(files)
	}
	run := exec.CommandContext(t.Context(), "go", "-C", "../helm3", "run", "-trimpath", ".", "../..")
	run.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "the same as with Helm 4"); n != cases {
		t.Errorf("%d of %d cases were compared:\n%s", n, cases, out)
	}
}
