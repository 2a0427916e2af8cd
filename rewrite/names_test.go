// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"

	"portico.dev/portico/rewrite"
)

func ExampleTranslator_Name() {
	t, err := rewrite.New(rewrite.Cluster{Name: "my-vcluster", HostNamespace: "team-a"})
	if err != nil {
		panic(err)
	}
	fmt.Println(t.Name("demo-nginx", "nginx-deployment-5d6f7b8c9d-x2x4z"))
	fmt.Println(t.Name("demo-nginx", "a-x-b"))
	fmt.Println(t.ServiceName("default", "kubernetes"))
	fmt.Println(t.ClusterName("fast"))
	// Output:
	// nginx-deployment-5d6f7b8c9d-x2x4z-x-demo-nginx-x-my-vcluster
	// a-x-b-x-demo-nginx-x-my-vcluster-iozvozkmjnmaykeiinspy5vhp2
	// my-vcluster
	// portico-fast-x-team-a-x-my-vcluster
}

func TestNames(t *testing.T) {
	tr := mustNew(t, testCluster())
	for name, c := range map[string]struct {
		reason, namespace, name string
		want                    string
		hashed                  bool
	}{
		"plain":                {reason: "short names are joined", namespace: "demo", name: "web-0", want: "web-0-x-demo-x-my-vcluster"},
		"dots":                 {reason: "a pod may have dots", namespace: "demo", name: "a.b", want: "a.b-x-demo-x-my-vcluster"},
		"separator in name":    {reason: "could be read in two ways", namespace: "c", name: "a-x-b", hashed: true},
		"separator in ns":      {reason: "could be read in two ways", namespace: "b-x-c", name: "a", hashed: true},
		"half separators":      {reason: "a-x + b and a + x-b join alike", namespace: "b", name: "a-x", hashed: true},
		"other half":           {reason: "a-x + b and a + x-b join alike", namespace: "x-b", name: "a", hashed: true},
		"too long":             {reason: "63 is the limit", namespace: "demo", name: strings.Repeat("n", 60), hashed: true},
		"cut at a dot":         {reason: "a label cannot begin with the hyphen before the hash", namespace: "demo", name: strings.Repeat("n", 51) + ".nnnnnnnnnnn", hashed: true},
		"cut at a hyphen":      {reason: "two hyphens are ugly", namespace: "demo", name: strings.Repeat("n", 50) + "--nnnnnnnnnnn", hashed: true},
		"longest pod name":     {reason: "virtual rules allow 253", namespace: strings.Repeat("n", 63), name: strings.Repeat("p", 253), hashed: true},
		"a letter and an x":    {reason: "x alone is a name", namespace: "demo", name: "x", want: "x-x-demo-x-my-vcluster"},
		"namespace that is x":  {reason: "a-x-x-x-c has a third separator in it", namespace: "x", name: "a", hashed: true},
		"name with x in front": {reason: "nothing before it to join with", namespace: "demo", name: "x-b", want: "x-b-x-demo-x-my-vcluster"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tr.Name(c.namespace, c.name)
			if c.want != "" && got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
			if joined := c.name + "-x-" + c.namespace + "-x-my-vcluster"; c.hashed == (got == joined) {
				t.Errorf("%s: got %q", c.reason, got)
			}
			checkHostName(t, c.name, got)
		})
	}
}

// checkHostName checks that a host name is valid for every kind for which the
// virtual name is.
func checkHostName(t *testing.T, virtual, host string) {
	t.Helper()
	if len(host) > 63 {
		t.Errorf("%q has %d characters", host, len(host))
	}
	if msgs := validation.IsDNS1123Subdomain(host); len(msgs) > 0 {
		t.Errorf("%q: %v", host, msgs)
	}
	if !strings.Contains(virtual, ".") {
		if msgs := validation.IsDNS1123Label(host); len(msgs) > 0 {
			t.Errorf("%q: %v", host, msgs)
		}
	}
	if len(validation.IsDNS1035Label(virtual)) == 0 {
		if msgs := validation.IsDNS1035Label(host); len(msgs) > 0 {
			t.Errorf("%q: %v", host, msgs)
		}
	}
}

// TestLaw3NamesAreInjective tries every combination of short names over the
// alphabet of the separator, across clusters of one host namespace.
func TestLaw3NamesAreInjective(t *testing.T) {
	words := labelsOver("ax-", 4)
	short := labelsOver("ax-", 3)
	taken := map[string]string{}
	for _, cluster := range []string{"a", "x", "a-x", "x-a", "a-x-a", "x-x"} {
		tr := mustNew(t, rewrite.Cluster{Name: cluster, HostNamespace: "h"})
		claim := func(host, what string) {
			if other, ok := taken[host]; ok {
				t.Fatalf("%s and %s are both %q", what, other, host)
			}
			taken[host] = what
		}
		claim(tr.RootsSecretName(), "keys of "+cluster)
		claim(tr.CredentialsSecretName(), "credentials of "+cluster)
		claim(tr.AccessSecretName(), "kubeconfig of "+cluster)
		for _, ns := range short {
			for _, name := range words {
				claim(tr.Name(ns, name), fmt.Sprintf("%s/%s in %s", ns, name, cluster))
				claim(tr.TokenSecretName(ns, name), fmt.Sprintf("tokens of %s/%s in %s", ns, name, cluster))
			}
		}
	}
}

// labelsOver lists the DNS labels of up to n characters of an alphabet.
func labelsOver(alphabet string, n int) []string {
	var out []string
	var grow func(s string)
	grow = func(s string) {
		if len(validation.IsDNS1123Label(s)) == 0 {
			out = append(out, s)
		}
		if len(s) == n {
			return
		}
		for _, c := range alphabet {
			grow(s + string(c))
		}
	}
	grow("")
	return out
}

func FuzzNames(f *testing.F) {
	f.Add("web-0", "demo", "a-x", "x-b")
	f.Add("a-x", "b", "a", "x-b")
	f.Add(strings.Repeat("n", 51)+".b", "demo", strings.Repeat("n", 52), "b-demo")
	tr, err := rewrite.New(rewrite.Cluster{Name: "c", HostNamespace: "h"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, namespace, otherName, otherNamespace string) {
		for _, n := range []string{name, otherName} {
			if len(validation.IsDNS1123Subdomain(n)) > 0 {
				return
			}
		}
		for _, n := range []string{namespace, otherNamespace} {
			if len(validation.IsDNS1123Label(n)) > 0 {
				return
			}
		}
		host, other := tr.Name(namespace, name), tr.Name(otherNamespace, otherName)
		checkHostName(t, name, host)
		if same := name == otherName && namespace == otherNamespace; same != (host == other) {
			t.Errorf("%s/%s and %s/%s: %q and %q", namespace, name, otherNamespace, otherName, host, other)
		}
		if host == tr.RootsSecretName() || host == tr.CredentialsSecretName() || host == tr.AccessSecretName() {
			t.Errorf("%s/%s has the name of the cluster's keys", namespace, name)
		}
		if host == tr.TokenSecretName(otherNamespace, otherName) {
			t.Errorf("%s/%s has the name of the tokens of %s/%s", namespace, name, otherNamespace, otherName)
		}
	})
}

// TestNamesAreNotCutInsideACharacter: a reference with a name that no object can
// have is text like any other, and comes back as it was.
func TestNamesAreNotCutInsideACharacter(t *testing.T) {
	tr := mustNew(t, testCluster())
	for i := range 4 {
		name := strings.Repeat("a", i) + strings.Repeat("\u52dd", 40)
		for _, host := range tr.HostNames("Secret", "demo", name) {
			if !utf8.ValidString(host) || len(host) > 63 || !strings.HasPrefix(name, host[:strings.LastIndex(host, "-")]) {
				t.Errorf("host name %q of %q", host, name)
			}
		}
	}
}
