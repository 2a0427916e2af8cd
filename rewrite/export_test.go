// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
)

// UnpackOverlay shows the content of an overlay annotation.
func UnpackOverlay(s string) (json.RawMessage, error) {
	o, err := decodeOverlay(map[string]string{AnnotationOverlay: s})
	if err != nil {
		return nil, err
	}
	return json.Marshal(o)
}

// PackOverlay makes an overlay annotation of any JSON.
func PackOverlay(raw string) string {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write([]byte(raw))
	w.Close()
	return base64.StdEncoding.EncodeToString(buf.Bytes())
}

// KnownOverlays is the size of the texts that a Translator remembers.
func KnownOverlays(t *Translator) int {
	n := 0
	for _, generation := range []map[string]*knownOverlay{t.codec.known.young, t.codec.known.old} {
		for s, k := range generation {
			n += len(s) + len(k.raw)
		}
	}
	return n
}

// AbsentClass ends the host names of classes that the host does not offer.
const AbsentClass = absentClass
