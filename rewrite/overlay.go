// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	overlayVersion = 1
	// maxOverlay bounds the annotation. The host refuses an object whose
	// annotations exceed 256 KiB together; managedFields, the largest part and
	// the only one that can be computed again, are dropped before it comes to
	// that.
	maxOverlay = 200 << 10
	// maxOverlayJSON bounds the JSON that is unpacked from an annotation.
	maxOverlayJSON = 16 << 20
)

// overlay holds the parts of a virtual object that its host object cannot show:
// those that are virtual only, and those that undo a translation.
type overlay struct {
	Version int `json:"v"`

	GenerateName    string                      `json:"generateName,omitempty"`
	OwnerReferences []metav1.OwnerReference     `json:"ownerReferences,omitempty"`
	Finalizers      []string                    `json:"finalizers,omitempty"`
	Annotations     map[string]string           `json:"annotations,omitempty"`
	OwnLabels       map[string]string           `json:"ownLabels,omitempty"`
	ManagedFields   []metav1.ManagedFieldsEntry `json:"managedFields,omitempty"`

	// Names are the virtual names that the object refers to. The host name of
	// each is computed, and wherever the host object has it, it is turned back.
	Names []string `json:"names,omitempty"`
	// Labels are the label keys, anywhere in the object, that have another
	// name on the host.
	Labels []string `json:"labels,omitempty"`
	// Keys are annotation keys of the downward API that have another name on
	// the host.
	Keys []string `json:"keys,omitempty"`

	// Passed lists the labels and annotations of the host object that are the
	// tenant's. Old overlays do not have it.
	Passed *passed `json:"passed,omitempty"`

	// Records hold the passes' notes, by the field that they changed.
	Records map[string]json.RawMessage `json:"records,omitempty"`

	// err is the first record that could not be written or read.
	err error
}

// passed are digests, by key, of the tenant's labels and annotations that were
// given to the host under their own keys.
type passed struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// overlayCodec packs and unpacks overlays. The pools save the compressor's 300 KB
// of tables per write, and 40 KB per read; they hold no state between uses. No
// result depends on what is in known.
//
// Overlays are packed for speed, which makes the ordinary one a tenth larger: the
// tables of a better compression are 800 KB, to be emptied for every write.
type overlayCodec struct {
	writers, readers sync.Pool
	known            overlayCache
}

// encode packs o as base64(gzip(JSON)). The bytes depend on o alone. prior is
// the annotation that the host object has; it stays if it says the same, so
// that an update which changes nothing is seen to change nothing even after a
// new release compresses differently.
func (c *overlayCodec) encode(o *overlay, prior string) (string, error) {
	if o.err != nil {
		return "", o.err
	}
	o.Version = overlayVersion
	raw, err := json.Marshal(o)
	if err != nil {
		return "", fmt.Errorf("encode overlay: %w", err)
	}
	if was, err := c.content(prior); err == nil && bytes.Equal(was.raw, raw) {
		return prior, nil
	}
	s, err := c.deflate(raw)
	if err == nil && len(s) > maxOverlay {
		s, err = deflateSmall(raw)
	}
	if err != nil {
		return "", err
	}
	if len(s) <= maxOverlay {
		c.known.add(s, raw) // which the host's answer has
		return s, nil
	}
	slim := *o
	slim.ManagedFields = nil
	if raw, err = json.Marshal(&slim); err != nil {
		return "", fmt.Errorf("encode overlay: %w", err)
	}
	if s, err = deflateSmall(raw); err != nil {
		return "", err
	}
	if len(s) > maxOverlay {
		return "", apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
			"the parts of this object that are not on the host (owner references, finalizers, labels and annotations that do not pass, "+
				"originals of translated fields) take %d bytes; at most %d can be stored", len(s), maxOverlay))
	}
	return s, nil
}

// deflate packs the JSON of an overlay.
func (c *overlayCodec) deflate(raw []byte) (string, error) {
	w, _ := c.writers.Get().(*gzip.Writer)
	if w == nil {
		var err error
		if w, err = gzip.NewWriterLevel(io.Discard, gzip.BestSpeed); err != nil {
			return "", fmt.Errorf("compress overlay: %w", err)
		}
	}
	defer c.writers.Put(w)
	return packWith(w, raw)
}

// deflateSmall is deflate for an overlay that may be too large.
func deflateSmall(raw []byte) (string, error) {
	w, err := gzip.NewWriterLevel(io.Discard, gzip.BestCompression)
	if err != nil {
		return "", fmt.Errorf("compress overlay: %w", err)
	}
	return packWith(w, raw)
}

func packWith(w *gzip.Writer, raw []byte) (string, error) {
	var buf bytes.Buffer
	buf.Grow(512 + len(raw)/2)
	w.Reset(&buf)
	if _, err := w.Write(raw); err != nil {
		return "", fmt.Errorf("compress overlay: %w", err)
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("compress overlay: %w", err)
	}
	return base64.StdEncoding.EncodeToString(buf.Bytes()), nil
}

// decodeOverlay unpacks the overlay among the annotations of a host object. The
// overlay that it returns can be used in any case; with an error it is empty.
func decodeOverlay(annotations map[string]string) (*overlay, error) {
	return new(overlayCodec).decode(annotations)
}

// decode is decodeOverlay for an overlay that may be known. Others have the same
// maps and lists, so nothing in it may be changed or given away.
func (c *overlayCodec) decode(annotations map[string]string) (*overlay, error) {
	s, ok := annotations[AnnotationOverlay]
	if !ok {
		return &overlay{}, errNoOverlay
	}
	known, err := c.content(s)
	if err != nil {
		return &overlay{}, err
	}
	o, err := known.decode()
	if err != nil {
		return &overlay{}, err
	}
	return o, nil
}

// content returns the content of an annotation.
func (c *overlayCodec) content(s string) (*knownOverlay, error) {
	if known := c.known.get(s); known != nil {
		return known, nil
	}
	raw, err := c.inflate(s)
	if err != nil {
		return nil, err
	}
	return c.known.add(s, raw), nil
}

// unpack reads the JSON of an overlay.
func unpack(raw []byte) (*overlay, error) {
	o := &overlay{}
	if err := json.Unmarshal(raw, o); err != nil {
		return nil, err
	}
	if o.Version != overlayVersion {
		return nil, fmt.Errorf("overlay has version %d, and this porticod reads version %d", o.Version, overlayVersion)
	}
	return o, nil
}

// inflate undoes deflate.
func (c *overlayCodec) inflate(s string) ([]byte, error) {
	packed, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, err
	}
	r, _ := c.readers.Get().(*gzip.Reader)
	if r == nil {
		r = new(gzip.Reader)
	}
	defer c.readers.Put(r)
	if err := r.Reset(bytes.NewReader(packed)); err != nil {
		return nil, err
	}
	var raw bytes.Buffer
	raw.Grow(4 * len(packed)) // about as well as overlays compress
	if _, err := raw.ReadFrom(io.LimitReader(r, maxOverlayJSON+1)); err != nil {
		return nil, err
	}
	if raw.Len() > maxOverlayJSON {
		return nil, errors.New("overlay is too large")
	}
	return raw.Bytes(), nil
}
