// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	page = "../../../docs/from-vcluster.md"
	// mark begins the part of the page that is written from the tables.
	mark = "<!-- From here on: go test ./cmd/portico/convert -run TestPage -update -->\n"
)

// TestPage: docs/from-vcluster.md has the tables of the code.
func TestPage(t *testing.T) {
	text, got, ok := bytes.Cut(read(t, page), []byte(mark))
	if !ok {
		t.Fatalf("%s has no tables", page)
	}
	want := keyTables()
	if *update {
		if err := os.WriteFile(page, slices.Concat(text, []byte(mark), want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/from-vcluster.md does not have the tables of the code; run: go test ./cmd/portico/convert -run TestPage -update")
	}
}

func keyTables() []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, `
## Keys

Below a key without counterpart, all keys are meant. "always" is a switch that Portico does not have, because the thing
is always on; "not needed" is a key of which no value is missed. A value that asks for nothing, such as `+"`false`"+` or an
empty list, is never reported.
`)
	for _, part := range []struct {
		title string
		rows  []row
	}{
		{"`sync`, 0.20 and later", newSyncRows},
		{"`controlPlane` but the store and the workload, 0.20 and later", newControlRows},
		{"`controlPlane.backingStore`, 0.20 and later", newStoreRows},
		{"`controlPlane.statefulSet` and `.advanced`, 0.20 and later", newWorkloadRows},
		{"All others, 0.20 and later", newClusterRows},
		{"`sync`, before 0.20", oldSyncRows},
		{"The workload, its Service and its store, before 0.20", oldWorkloadRows},
		{"All others, before 0.20", oldRows},
	} {
		fmt.Fprintf(&b, "\n### %s\n\n| vcluster | Portico | remark |\n|---|---|---|\n", part.title)
		for i := 0; i < len(part.rows); {
			r, paths := part.rows[i], []string{}
			// Neighbours of which the same is true share a line.
			for ; i < len(part.rows) && counterpart(part.rows[i]) == counterpart(r) && part.rows[i].note == r.note && (r.to == "" || len(paths) == 0); i++ {
				paths = append(paths, "`"+part.rows[i].path+"`")
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.Join(paths, ", "), counterpart(r), r.note)
		}
	}
	return b.Bytes()
}

// counterpart is the middle column of the page.
func counterpart(r row) string {
	switch {
	case r.to == r.path:
		return "the same"
	case r.to != "":
		return "`" + r.to + "`"
	case r.strict:
		return "always"
	case r.rule != nil && r.kind == "":
		return "not needed"
	}
	return "-"
}

// vclusterCommands are those of vcluster's command line tool.
var vclusterCommands = []string{
	"create", "connect", "disconnect", "list", "describe", "pause", "sleep", "resume", "wakeup", "delete", "snapshot", "restore",
	"certs", "debug", "upgrade", "convert", "version", "completion", "info", "telemetry",
	"login", "logout", "platform", "use", "add", "import", "ui", "get", "set", "token", "node", "registry",
}

// porticoCommands are those of the command line tool that the page may name.
var porticoCommands = []string{
	"create", "connect", "disconnect", "list", "describe", "status", "pause", "sleep", "wake", "resume", "delete", "upgrade", "rotate",
	"snapshot", "restore", "logs", "debug", "convert", "completion", "version", "doctor", "ui", "sync",
}

var (
	commandRow     = regexp.MustCompile("(?m)^\\| (`.*?) \\| (.*?) \\|")
	porticoCommand = regexp.MustCompile("(?:`|^)portico ([a-z]+)")
)

// TestCommandsOfThePage: each command of vcluster has a row, and each command of
// Portico that the page names exists, and is named.
func TestCommandsOfThePage(t *testing.T) {
	text, _, _ := strings.Cut(string(read(t, page)), mark)
	_, commands, _ := strings.Cut(text, "\n## Commands\n")
	commands, _, _ = strings.Cut(commands, "\n## ")
	var theirs []string
	for _, m := range commandRow.FindAllStringSubmatch(commands, -1) {
		for _, quoted := range strings.Split(m[1], ", ") {
			words := strings.Fields(strings.Trim(quoted, "`"))
			if words[0] == "vcluster" {
				words = words[1:]
			}
			theirs = append(theirs, words[0])
		}
	}
	for _, command := range vclusterCommands {
		if !slices.Contains(theirs, command) {
			t.Errorf("vcluster %s has no row", command)
		}
	}
	for _, command := range theirs {
		if !slices.Contains(vclusterCommands, command) {
			t.Errorf("the row of vcluster %s is of no command", command)
		}
	}
	named := map[string]bool{}
	for line := range strings.Lines(text) {
		for _, m := range porticoCommand.FindAllStringSubmatch(line, -1) {
			if !slices.Contains(porticoCommands, m[1]) {
				t.Errorf("the page names portico %s, which is no command", m[1])
			}
			named[m[1]] = true
		}
	}
	for _, command := range porticoCommands {
		if !named[command] {
			t.Errorf("the page does not name portico %s", command)
		}
	}
}

// TestNotesNameCommandsThatExist: also the remarks of the tables.
func TestNotesNameCommandsThatExist(t *testing.T) {
	inNote := regexp.MustCompile(`portico ([a-z]+)`)
	found := 0
	for _, form := range []Form{FormNew, FormOld} {
		for _, r := range tables[form].order {
			for _, m := range inNote.FindAllStringSubmatch(r.note, -1) {
				found++
				if !slices.Contains(porticoCommands, m[1]) {
					t.Errorf("%s: portico %s is no command", r.path, m[1])
				}
			}
		}
	}
	if found == 0 {
		t.Error("no remark names a command")
	}
}
