// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// hidden reports whether an element of a list, given as a pointer to it, is
// none that the tenant sees.
func hidden(element any) bool {
	switch e := element.(type) {
	case *corev1.Container:
		return e.Name == EtcHostsName
	case *corev1.Volume:
		return e.Name == EtcHostsName
	case *corev1.VolumeMount:
		return e.Name == EtcHostsName
	case *corev1.ContainerStatus:
		return e.Name == EtcHostsName
	case *corev1.VolumeMountStatus:
		return e.Name == EtcHostsName
	}
	return false
}

// visibleElements are the elements of a list of structs that the tenant sees.
func visibleElements(list reflect.Value) []reflect.Value {
	var out []reflect.Value
	for i := range list.Len() {
		if e := list.Index(i); !hidden(e.Addr().Interface()) {
			out = append(out, e)
		}
	}
	return out
}

// visible are the elements of a list that the tenant sees.
func visible[T any](list []T) []T {
	list = slices.DeleteFunc(list, func(e T) bool { return hidden(&e) })
	if len(list) == 0 {
		return nil
	}
	return list
}

// carry puts the hidden elements of a host list into list, each at the place
// that it has there.
func carry[T any](list, host []T) []T {
	for i := range host {
		if hidden(&host[i]) {
			list = slices.Insert(list, min(i, len(list)), host[i])
		}
	}
	return list
}
