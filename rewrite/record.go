// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

// A record is the note of one pass about one field. Its key is the path of that
// field below the spec, with list elements by name, such as
// "containers[app].image": keep.go finds by it the records of a field that the
// tenant did not change.

// put stores a record.
func (o *overlay) put(key string, record any) {
	raw, err := json.Marshal(record)
	if err != nil {
		o.fail(key, err)
		return
	}
	if o.Records == nil {
		o.Records = map[string]json.RawMessage{}
	}
	o.Records[key] = raw
}

// get loads a record and reports whether there was one. One that cannot be read
// is forgotten, so that it is not handed on to the next overlay.
func (o *overlay) get(key string, record any) bool {
	raw, ok := o.Records[key]
	if !ok {
		return false
	}
	if err := json.Unmarshal(raw, record); err != nil {
		o.fail(key, err)
		o.Records = maps.Clone(o.Records) // others may have this map
		delete(o.Records, key)
		return false
	}
	return true
}

func (o *overlay) fail(key string, err error) {
	if o.err == nil {
		o.err = fmt.Errorf("record %s: %w", key, err)
	}
}

// adopt replaces the records of a field, and of everything below it, by those
// of prior.
func (o *overlay) adopt(prior *overlay, field string) {
	for key := range o.Records {
		if below(key, field) {
			delete(o.Records, key)
		}
	}
	for key, raw := range prior.Records {
		if !below(key, field) {
			continue
		}
		if o.Records == nil {
			o.Records = map[string]json.RawMessage{}
		}
		o.Records[key] = raw
	}
}

// adoptAll is adopt for every field of a struct.
func (o *overlay) adoptAll(prior *overlay, fields *structFields) {
	ofField := func(key string, _ json.RawMessage) bool {
		name := key
		if end := strings.IndexAny(key, ".["); end >= 0 {
			name = key[:end]
		}
		_, ok := fields.json[name]
		return ok
	}
	maps.DeleteFunc(o.Records, ofField)
	for key, raw := range prior.Records {
		if !ofField(key, raw) {
			continue
		}
		if o.Records == nil {
			o.Records = make(map[string]json.RawMessage, len(prior.Records))
		}
		o.Records[key] = raw
	}
}

func below(key, field string) bool {
	rest, ok := strings.CutPrefix(key, field)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// replaced is the record of a field that is replaced as a whole.
type replaced[T any] struct {
	Virtual T `json:"virtual"`
	Host    T `json:"host"`
}

// replace gives a field its host value and remembers both.
func replace[T any](o *overlay, key string, field *T, host T) {
	if apiequality.Semantic.DeepEqual(*field, host) {
		return
	}
	o.put(key, replaced[T]{Virtual: *field, Host: host})
	*field = host
}

// unreplace shows the tenant's value while the host has the one written.
func unreplace[T any](o *overlay, key string, field *T) {
	var r replaced[T]
	if o.get(key, &r) && apiequality.Semantic.DeepEqual(*field, r.Host) {
		*field = r.Virtual
	}
}

// drop empties a field that has no meaning on the host and remembers it.
func drop[T any](o *overlay, key string, field *T) {
	var zero T
	if apiequality.Semantic.DeepEqual(*field, zero) {
		return
	}
	o.put(key, *field)
	*field = zero
}

// undrop shows the tenant's value instead of any that the host filled in.
func undrop[T any](o *overlay, key string, field *T) {
	var virtual T
	if o.get(key, &virtual) {
		*field = virtual
	}
}
