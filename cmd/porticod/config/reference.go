// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"regexp"
	"strings"
)

// Reference returns the table of all keys, in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("| key | default | meaning |\n|---|---|---|\n")
	for _, k := range reference {
		b.WriteString("| `" + strings.ReplaceAll(k.paths, ", ", "`, `") + "` | " + k.standard + " | " + k.meaning + " |\n")
	}
	return b.String()
}

var markdownLink = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)

// plain is a text without Markdown, for places that show it as it is.
func plain(text string) string {
	return strings.ReplaceAll(markdownLink.ReplaceAllString(text, "$1"), "`", "")
}
