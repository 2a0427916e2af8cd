// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package walk

import (
	"fmt"
	"regexp"
	"strings"
)

// shapes are the texts of which the page has an example.
var shapes = []struct {
	text  *regexp.Regexp
	shape string
}{
	{regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b(:\d+)?`), "ADDRESS"},
	{regexp.MustCompile(`(-[bcdfghjklmnpqrstvwxz2456789]{6,10})?-[bcdfghjklmnpqrstvwxz2456789]{5}\b`), "-GENERATED"},
	{regexp.MustCompile(`\b(\d+(\.\d+)?(ms|s|m|h|d|y))+\b`), "TIME"},
	{regexp.MustCompile(`\b\d+(\.\d+)? s\b`), "TIME"},
	{regexp.MustCompile(`\s+`), " "},
}

// dots stand for any text, or as a line for any lines.
const dots = "..."

func shape(line string) string {
	line = strings.TrimSpace(line)
	for _, s := range shapes {
		line = s.text.ReplaceAllString(line, s.shape)
	}
	return line
}

// Differs says how a real output differs from the one that a page shows; "" if
// it does not.
func Differs(shown, got string) string {
	want, has := lines(shown), lines(got)
	if match(want, has) {
		return ""
	}
	return fmt.Sprintf("the page shows\n%s\nand the command printed\n%s", strings.TrimRight(shown, "\n"), strings.TrimRight(got, "\n"))
}

func lines(text string) []string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// match compares line by line. The rests after any number of lines are tried
// one after the other: outputs are short.
func match(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if strings.TrimSpace(want[0]) == dots {
		for skipped := range len(got) + 1 {
			if match(want[1:], got[skipped:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && matchLine(want[0], got[0]) && match(want[1:], got[1:])
}

func matchLine(want, got string) bool {
	parts := strings.Split(want, dots)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(shapePart(parts[i], i > 0, i < len(parts)-1))
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(shape(got))
}

// shapePart is the shape of a part of a line. Blanks next to dots stay.
func shapePart(part string, before, after bool) string {
	s := shape(part)
	if before && strings.HasPrefix(part, " ") {
		s = " " + s
	}
	if after && strings.HasSuffix(part, " ") && strings.TrimSpace(part) != "" {
		s += " "
	}
	return s
}
