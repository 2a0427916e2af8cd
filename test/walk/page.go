// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package walk

import (
	"fmt"
	"regexp"
	"strings"
)

// Step is a command of a page.
type Step struct {
	// Line of the page that it begins on.
	Line int
	// Command for a shell.
	Command string
	// Output that the page shows.
	Output string
}

// Fails says whether the command is shown to fail.
func (s Step) Fails() bool {
	return strings.HasPrefix(s.Output, "Error from server") || strings.HasPrefix(s.Output, "error: ")
}

// heredoc is the word that ends the text which a command begins.
var heredoc = regexp.MustCompile(`<<-?'?([A-Z]+)'?`)

// Steps returns the commands of a page in order. A line that begins with "$ "
// begins one; a backslash or a here-document continues it.
func Steps(page string) ([]Step, error) {
	var (
		steps   []Step
		inside  bool   // a console block
		pending string // the line that a command goes on to: any, or the end of its text
	)
	for i, line := range strings.Split(page, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			if pending != "" {
				return nil, fmt.Errorf("line %d: the command of line %d does not end", i+1, steps[len(steps)-1].Line)
			}
			inside = !inside && line == "```console"
		case !inside:
		case pending != "":
			last := &steps[len(steps)-1]
			last.Command += "\n" + line
			pending = goesOn(line, pending)
		case strings.HasPrefix(line, "$ "):
			command := strings.TrimPrefix(line, "$ ")
			steps = append(steps, Step{Line: i + 1, Command: command})
			pending = goesOn(command, "")
		case len(steps) == 0:
			return nil, fmt.Errorf("line %d: output before any command", i+1)
		default:
			last := &steps[len(steps)-1]
			last.Output += line + "\n"
		}
	}
	if inside {
		return nil, fmt.Errorf("the last block has no end")
	}
	return steps, nil
}

// goesOn says how long a command goes on after a line of it: "" if it ends,
// "\\" for one line, or the word of a here-document.
func goesOn(line, pending string) string {
	if pending != "" && pending != `\` {
		if line == pending {
			return ""
		}
		return pending
	}
	if m := heredoc.FindStringSubmatch(line); m != nil {
		return m[1]
	}
	if strings.HasSuffix(line, `\`) {
		return `\`
	}
	return ""
}
