// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	kubeversion "k8s.io/client-go/pkg/version"

	"portico.dev/portico/cmd/portico/internal/output"
)

// versions are those of the program's parts. The JSON form is stable.
type versions struct {
	Portico    string `json:"portico"`
	Chart      string `json:"chart"`
	Kubernetes string `json:"kubernetes"`
	Platform   string `json:"platform"`
}

func (a *app) newVersion() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of portico and of the parts that it installs",
		Args:  none,
		RunE: func(*cobra.Command, []string) error {
			if err := output.CheckFormat(format, output.Table, output.JSON, output.YAML); err != nil {
				return err
			}
			chart, err := a.chart()
			if err != nil {
				return err
			}
			v := versions{chart.Metadata.AppVersion, chart.Metadata.Version, served(), runtime.GOOS + "/" + runtime.GOARCH}
			if format != output.Table {
				return output.Data(a.streams.Out, format, v)
			}
			fmt.Fprintf(a.streams.Out, "portico %s (chart %s, serves Kubernetes %s, %s)\n", v.Portico, v.Chart, v.Kubernetes, v.Platform)
			return nil
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "", "json or yaml")
	return c
}

// served is the version of Kubernetes that porticod of this build serves.
func served() string {
	if v := kubeversion.Get().GitVersion; !strings.Contains(v, "$Format") && !strings.HasPrefix(v, "v0.") {
		return v // as the Makefile has set it
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == "k8s.io/client-go" {
			return strings.Replace(cmp.Or(replaced(m), m.Version), "v0.", "v1.", 1)
		}
	}
	return "unknown"
}

func replaced(m *debug.Module) string {
	if m.Replace == nil {
		return ""
	}
	return m.Replace.Version
}

// distros are those that scripts for other tools name. A cluster serves
// Kubernetes as upstream makes it in any case.
var distros = []string{"k8s", "k3s", "k0s", "eks"}

// checkDistro judges --distro and --kubernetes-version, and returns a remark on
// them for a person.
func checkDistro(distro, version string) (note string, err error) {
	if distro != "" && !slices.Contains(distros, distro) {
		return "", output.Misuse(output.WithHint(fmt.Errorf("--distro %s: there is no such distribution", distro), "leave the flag out, or use k8s"))
	}
	serves := served()
	if v := strings.TrimPrefix(version, "v"); v != "" && "v"+v != serves && !strings.HasPrefix(serves, "v"+v+".") {
		return "", output.Misuse(output.WithHint(fmt.Errorf("--kubernetes-version %s: this version of portico serves Kubernetes %s only", version, serves),
			"leave the flag out; other releases of portico serve other versions"))
	}
	if distro != "" && distro != "k8s" {
		note = fmt.Sprintf("note: a virtual cluster is Kubernetes %s as upstream makes it; --distro %s changes nothing", serves, distro)
	}
	return note, nil
}
