// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package walk_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"portico.dev/portico/test/walk"
)

func TestSteps(t *testing.T) {
	const page = "# A page\n" +
		"```sh\nrm -rf /\n```\n" +
		"```console\n$ one\nfirst\nsecond\n\n$ two \\\n  --flag\n```\n" +
		"text\n```yaml\n$ not: this\n```\n" +
		"```console\n$ three -f - <<EOF\n$ text\nEOF\nthird\n$ four\nerror: no\n```\n"
	want := []walk.Step{
		{Line: 6, Command: "one", Output: "first\nsecond\n\n"},
		{Line: 10, Command: "two \\\n  --flag"},
		{Line: 18, Command: "three -f - <<EOF\n$ text\nEOF", Output: "third\n"},
		{Line: 22, Command: "four", Output: "error: no\n"},
	}
	got, err := walk.Steps(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got[0].Fails() || !got[3].Fails() {
		t.Error("a step fails if its output begins with an error")
	}
}

func TestPagesThatMakeNoSense(t *testing.T) {
	for reason, page := range map[string]string{
		"output without a command":     "```console\nfirst\n```\n",
		"a command that does not end":  "```console\n$ one \\\n```\n",
		"a text that does not end":     "```console\n$ one <<EOF\na\n```\n",
		"a block that does not end":    "```console\n$ one\n",
		"a block that ends with words": "```console\n$ one \\\n```console\n",
	} {
		if steps, err := walk.Steps(page); err == nil {
			t.Errorf("%s: got %v", reason, steps)
		}
	}
}

func TestDiffers(t *testing.T) {
	for reason, c := range map[string]struct {
		shown, got string
		same       bool
	}{
		"the same":                       {"a b\n", "a b\n", true},
		"nothing and nothing":            {"", "\n", true},
		"something instead of nothing":   {"", "a", false},
		"nothing instead of something":   {"a", "", false},
		"another word":                   {"pod/a created", "pod/b created", false},
		"another width":                  {"NAME  AGE\na     5s", "NAME                 AGE\na                    12s", true},
		"another time":                   {"default Active 5s", "default Active 2m13s", true},
		"a time in words":                {"waited 2.5 s", "waited 11.0 s", true},
		"a time instead of a word":       {"default Active 5s", "default Active <none>", false},
		"another address":                {"https://127.0.0.1:40001", "https://10.0.0.7:8443", true},
		"another generated name":         {"web-5fbdf85c67-42rmp 1/1", "web-6c9d5fbf4b-x7k2z 1/1", true},
		"another workload":               {"web-5fbdf85c67-42rmp 1/1", "api-6c9d5fbf4b-x7k2z 1/1", false},
		"the host's name of it":          {"web-5fbdf85c67-42rmp-x-demo-x-a", "web-6c9d5fbf4b-x7k2z-x-demo-x-a", true},
		"a name without its end":         {"web-5fbdf85c67-42rmp 1/1", "web 1/1", false},
		"a count is no time":             {"ready 1/1", "ready 0/1", false},
		"a line more":                    {"a", "a\nb", false},
		"a line less":                    {"a\nb", "a", false},
		"dots for lines":                 {"a\n...\nd", "a\nb\nc\nd", true},
		"dots for no line":               {"a\n...\nd", "a\nd", true},
		"dots, and another end":          {"a\n...\nd", "a\nb", false},
		"dots at the end":                {"a\n...", "a\nb\nc", true},
		"dots within a line":             {"the context is portico_a_... now", "the context is portico_a_b_kind now", true},
		"dots within, and another end":   {"the context is ... now", "the context is a then", false},
		"dots are not part of a pattern": {"a.c", "abc", false},
		"dots for a word":                {"node ... is Ready", "node node-1 is Ready", true},
	} {
		if diff := walk.Differs(c.shown, c.got); (diff == "") != c.same {
			t.Errorf("%s: %q", reason, diff)
		}
	}
}

// TestQuickstartCanBeWalked: the page's commands are those that its test can
// run, and the page shows their output.
func TestQuickstartCanBeWalked(t *testing.T) {
	page, err := os.ReadFile("../../docs/quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := walk.Steps(string(page))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"create", "list", "disconnect", "connect", "delete"} {
		found := false
		for _, s := range steps {
			found = found || strings.HasPrefix(s.Command, "portico "+verb)
		}
		if !found {
			t.Errorf("no command is portico %s", verb)
		}
	}
	for _, s := range steps {
		if program, _, _ := strings.Cut(s.Command, " "); program != "portico" && program != "kubectl" {
			t.Errorf("line %d: %s is no command of Portico's or Kubernetes'", s.Line, program)
		}
		if s.Output == "" {
			t.Errorf("line %d: the page does not show what %q prints", s.Line, s.Command)
		}
	}
}
