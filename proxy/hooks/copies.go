// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package hooks

import (
	"bytes"
	"context"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/lru"
)

// mostAnswers bounds the memory of answers; the least used one goes first.
const mostAnswers = 4096

// answers remembers the last answer about each object, and the object that it was
// about. A copy is computed again whenever anything of it is seen to change, and
// an object is shown again whenever it is read: without the memory each would be
// a review, and a hook whose answers differ would have copies written for ever.
type answers struct{ last *lru.Cache }

type answer struct{ about, given []byte }

func newAnswers() *answers { return &answers{lru.New(mostAnswers)} }

// to returns the answer to a question, if it is remembered.
func (a *answers) to(key string, about []byte) (given []byte, ok bool) {
	v, ok := a.last.Get(key)
	if !ok {
		return nil, false
	}
	was, ok := v.(answer)
	return was.given, ok && bytes.Equal(was.about, about)
}

func (a *answers) keep(key string, about, given []byte) {
	a.last.Add(key, answer{about, given})
}

// Copy is ToHost for a copy that is computed as a whole each time, whatever the
// host has: every hook of the kind is asked, as if the copy were made now. The
// same copy has the same answer as long as this process remembers it.
func (h *Hooks) Copy(ctx context.Context, o Object, obj runtime.Object) (runtime.Object, error) {
	if h == nil {
		return obj, nil
	}
	before, err := asJSON(o, obj)
	if err != nil {
		return nil, err
	}
	key := "copy/" + o.Resource.Resource + "/" + o.Virtual.String()
	if after, ok := h.answers.to(key, before); ok {
		return decoded(obj, after)
	}
	changed, all, err := h.show(ctx, o, obj, func([]admissionv1.Operation) bool { return true })
	if err != nil || !all {
		return changed, err
	}
	after, err := asJSON(o, changed)
	if err != nil {
		return nil, err
	}
	h.answers.keep(key, before, after)
	return changed, nil
}
