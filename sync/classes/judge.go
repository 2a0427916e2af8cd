// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"

	"portico.dev/portico/sync/kinds"
)

var errMark = fmt.Errorf("the annotation %s marks classes of the host, and only porticod sets it", AnnotationHost)

// Judge refuses a tenant's write to a shown class that would have no effect. A new
// class has nothing before, a deleted one nothing after.
func Judge[T kinds.Object](pulled kinds.Pulled[T], before, after T) error {
	var none T
	switch {
	case before == none || !mirrored(before):
		if after != none && mirrored(after) {
			return errMark
		}
		return nil
	case after == none:
		return fmt.Errorf("the %s is the host's, and is shown for as long as the host offers it; make one under another name", pulled.Noun)
	case before.GetAnnotations()[AnnotationHost] != after.GetAnnotations()[AnnotationHost]:
		return errMark
	}
	changed := !equality.Semantic.DeepEqual(before.GetLabels(), after.GetLabels())
	for _, key := range pulled.Annotations {
		changed = changed || before.GetAnnotations()[key] != after.GetAnnotations()[key]
	}
	was := after.DeepCopyObject().(T)
	pulled.Fill(was, before)
	if changed || !equality.Semantic.DeepEqual(was, after) {
		return fmt.Errorf("the %s is the host's, and is as there: but for annotations of one's own, it cannot be changed; make one under another name", pulled.Noun)
	}
	return nil
}
