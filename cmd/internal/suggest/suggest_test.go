// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package suggest_test

import (
	"slices"
	"testing"

	"portico.dev/portico/cmd/internal/suggest"
)

func TestClosest(t *testing.T) {
	keys := []string{"namespace", "kubeconfig", "qps", "store", "sync", "exportKubeConfig", "reads"}
	for reason, c := range map[string]struct{ word, want string }{
		"a character is another":        {"namespase", "namespace"},
		"a character is missing":        {"stor", "store"},
		"a character is too many":       {"syncc", "sync"},
		"two are the other way round":   {"snyc", "sync"},
		"upper case":                    {"exportKubeconfig", "exportKubeConfig"},
		"all upper case":                {"QPS", "qps"},
		"two mistakes in a long word":   {"kubbeconfigg", "kubeconfig"},
		"another word":                  {"persistence", ""},
		"another word of the same size": {"write", ""},
		"a short word has one mistake":  {"qqq", ""},
		"nothing":                       {"", ""},
	} {
		t.Run(reason, func(t *testing.T) {
			if got := suggest.Closest(c.word, keys); got != c.want {
				t.Errorf("Closest(%q) = %q, want %q", c.word, got, c.want)
			}
			back := slices.Clone(keys)
			slices.Reverse(back)
			if got := suggest.Closest(c.word, back); got != c.want {
				t.Errorf("from the other end: Closest(%q) = %q, want %q", c.word, got, c.want)
			}
		})
	}
}

// Two words that are equally close: the first of the alphabet is suggested.
func TestEquallyClose(t *testing.T) {
	for _, words := range [][]string{{"cat", "bat"}, {"bat", "cat"}} {
		if got := suggest.Closest("hat", words); got != "bat" {
			t.Errorf("of %v got %q, want %q", words, got, "bat")
		}
	}
}
