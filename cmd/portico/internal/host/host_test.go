// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"portico.dev/portico/cmd/portico/internal/kubeconfig"
)

// connected returns a kubeconfig from which a person has connected to outer,
// and from there to inner, and perhaps to another outer inside of that.
func connected(t *testing.T, names ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	c := api.NewConfig()
	c.Clusters["c"] = &api.Cluster{Server: "https://host"}
	c.Contexts["host"] = &api.Context{Cluster: "c"}
	c.CurrentContext = "host"
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	current := "host"
	for _, name := range names {
		e := kubeconfig.Entry{Origin: kubeconfig.Origin{Name: name, Namespace: "portico-" + name, HostContext: current}, Server: "https://" + name, CA: []byte("ca"), Token: "t"}
		var err error
		if current, err = kubeconfig.Put(kubeconfig.Locate(path), e); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestTheHostOfACluster(t *testing.T) {
	const outer, inner = "portico_outer_portico-outer_host", "portico_inner_portico-inner_portico_outer_portico-outer_host"
	for name, tc := range map[string]struct {
		connected []string
		explicit  string
		cluster   string
		want      string
		inside    string
	}{
		"not connected": {nil, "", "outer", "host", ""},
		"connected to the cluster itself: its host":         {[]string{"outer"}, "", "outer", "host", ""},
		"connected to another: inside of that":              {[]string{"outer"}, "", "inner", outer, "outer"},
		"connected to a nested one itself: the outer one":   {[]string{"outer", "inner"}, "", "inner", outer, "outer"},
		"connected two deep, about the outer one: inside":   {[]string{"outer", "inner"}, "", "outer", inner, "inner"},
		"about none: where the current context leads":       {[]string{"outer"}, "", "", outer, "outer"},
		"both of one name: the outermost that is meant":     {[]string{"outer", "outer"}, "", "outer", "host", ""},
		"told which, also if that is inside of one like it": {[]string{"outer"}, outer, "outer", outer, "outer"},
		"told which, which is not the current one":          {[]string{"outer"}, "host", "inner", "host", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Host{Kubeconfig: kubeconfig.Locate(connected(t, tc.connected...))}
			if err := h.choose(tc.explicit, tc.cluster); err != nil {
				t.Fatal(err)
			}
			inside := ""
			if h.Inside != nil {
				inside = h.Inside.Name
			}
			if h.Context != tc.want || inside != tc.inside {
				t.Errorf("context %q inside of %q, want %q inside of %q", h.Context, inside, tc.want, tc.inside)
			}
		})
	}
}

func TestAContextThatIsNotThereIsAnError(t *testing.T) {
	h := &Host{Kubeconfig: kubeconfig.Locate(connected(t))}
	if err := h.choose("gone", "vc"); err == nil {
		t.Error("no error")
	}
}

func TestOpenTakesTheContextThatWasChosen(t *testing.T) {
	h, err := Open(Options{Kubeconfig: connected(t, "outer")}, "outer")
	if err != nil {
		t.Fatal(err)
	}
	if h.REST.Host != "https://host" || h.Context != "host" {
		t.Errorf("the host is %s, by the context %s", h.REST.Host, h.Context)
	}
}
