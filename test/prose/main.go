// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command prose counts, in the comments of each package and in each document,
// the turns of phrase that make this project's English hard to read, next to
// the same counts for codebases that read well. It is a mirror for a reviewer,
// not a gate: it always exits 0.
//
// Counts are per 1,000 words; the last column is the share of sentences that
// begin with What, Who, That or Of, in percent. CONTRIBUTING.md has the rule.
//
//	go run ./test/prose [DIR ...]
package main

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

// models are the parts of dependencies that the counts are compared with.
var models = []struct{ module, dir string }{
	{"k8s.io/apiserver", "pkg/server/filters"},
	{"k8s.io/apiserver", "pkg/storage/etcd3"},
	{"go.etcd.io/bbolt", "."},
}

// phrases are the counted words, in the order of the columns.
var phrases = []string{"what", "whoever", "nobody", "anew", "beside", "mend", "tell"}

// opener is a first word that hides the subject of a sentence.
var opener = regexp.MustCompile(`^(What|Who|Whoever|That|Of)\b`)

// A sentence that asks is no free relative.
var question = regexp.MustCompile(`\?$`)

func main() {
	dirs := os.Args[1:]
	if len(dirs) == 0 {
		dirs = []string{"."}
	}
	if err := run(os.Stdout, dirs); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, dirs []string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\twords\t%s\tWhat/Who/That/Of %%\n", strings.Join(phrases, "\t"))
	for _, m := range models {
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", m.module).Output()
		if err != nil {
			return fmt.Errorf("find module %s: %w", m.module, err)
		}
		texts, err := read(filepath.Join(strings.TrimSpace(string(dir)), m.dir), false)
		if err != nil {
			return err
		}
		all := counts{of: map[string]int{}}
		for _, t := range texts {
			all.add(t)
		}
		all.print(w, m.module+"/"+m.dir+" (model)")
	}
	for _, dir := range dirs {
		texts, err := read(dir, true)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			c := counts{of: map[string]int{}}
			c.add(texts[name])
			c.print(w, name)
		}
	}
	return w.Flush()
}

// read returns the text of all comments by package and, if documents is set, of
// each Markdown file.
func read(root string, documents bool) (map[string]string, error) {
	texts := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if n := d.Name(); n == ".git" || n == "bin" || n == "vendor" || n == "testdata" {
				return fs.SkipDir
			}
			return nil
		case documents && strings.HasSuffix(path, ".md"):
			b, err := os.ReadFile(path)
			texts[path] = code.ReplaceAllString(string(b), " ")
			return err
		case strings.HasSuffix(path, ".go"):
			s, err := comments(path)
			texts[filepath.Dir(path)] += s
			return err
		}
		return nil
	})
	return texts, err
}

// code is everything in a document that is no prose.
var code = regexp.MustCompile("(?s)```.*?```|`[^`]*`|\\|[-|]+\\|")

func comments(path string) (string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return "", errors.Join(errors.New(path), err)
	}
	var b strings.Builder
	for _, g := range f.Comments {
		if s := g.Text(); !strings.HasPrefix(s, "Copyright ") {
			b.WriteString(s + "\n")
		}
	}
	return b.String(), nil
}

// counts are those of one package or document.
type counts struct {
	words, sentences, hidden int
	of                       map[string]int
}

var (
	wordPattern     = regexp.MustCompile(`[A-Za-z][A-Za-z']*`)
	sentencePattern = regexp.MustCompile(`[^.!?:]+[.!?:]*`)
)

func (c *counts) add(text string) {
	for _, w := range wordPattern.FindAllString(text, -1) {
		c.words++
		if w = strings.ToLower(w); slices.Contains(phrases, w) {
			c.of[w]++
		}
	}
	for _, s := range sentencePattern.FindAllString(strings.Join(strings.Fields(text), " "), -1) {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, " ") {
			continue
		}
		c.sentences++
		if opener.MatchString(s) && !question.MatchString(s) {
			c.hidden++
		}
	}
}

func (c *counts) print(w io.Writer, name string) {
	if c.words == 0 {
		return
	}
	fmt.Fprintf(w, "%s\t%d", name, c.words)
	for _, p := range phrases {
		fmt.Fprintf(w, "\t%.1f", 1000*float64(c.of[p])/float64(c.words))
	}
	fmt.Fprintf(w, "\t%.1f\n", 100*float64(c.hidden)/float64(max(1, c.sentences)))
}
