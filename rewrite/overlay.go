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

// overlayCodec packs overlays. The pool saves the compressor's 800 KB of
// tables per write; it holds no state between uses.
type overlayCodec struct {
	writers sync.Pool
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
	if was, err := inflate(prior); err == nil && bytes.Equal(was, raw) {
		return prior, nil
	}
	s, err := c.deflate(raw)
	if err != nil || len(s) <= maxOverlay {
		return s, err
	}
	slim := *o
	slim.ManagedFields = nil
	if raw, err = json.Marshal(&slim); err != nil {
		return "", fmt.Errorf("encode overlay: %w", err)
	}
	if s, err = c.deflate(raw); err != nil {
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
	var buf bytes.Buffer
	w, _ := c.writers.Get().(*gzip.Writer)
	if w == nil {
		w = gzip.NewWriter(&buf)
	} else {
		w.Reset(&buf)
	}
	defer c.writers.Put(w)
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
	s, ok := annotations[AnnotationOverlay]
	if !ok {
		return &overlay{}, errNoOverlay
	}
	o, err := unpack(s)
	if err != nil {
		return &overlay{}, err
	}
	return o, nil
}

func unpack(s string) (*overlay, error) {
	raw, err := inflate(s)
	if err != nil {
		return nil, err
	}
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
func inflate(s string) ([]byte, error) {
	packed, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxOverlayJSON+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxOverlayJSON {
		return nil, errors.New("overlay is too large")
	}
	return raw, nil
}
