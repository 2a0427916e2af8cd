// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

// Annotations and labels on the host.
const (
	// AnnotationCreatedFor is on a namespace that was made for one cluster, and
	// says for which.
	AnnotationCreatedFor = rewrite.Prefix + "created-for"

	labelApp     = "app.kubernetes.io/name"
	labelVersion = "app.kubernetes.io/version"
	appName      = "portico"
)

// Container is the container of porticod in its pods.
const Container = "porticod"

// maxName is the most that porticod takes.
const maxName = 40

// CheckName refuses a text that cannot be the name of a virtual cluster.
func CheckName(name string) error {
	if problems := validation.IsDNS1035Label(name); len(problems) > 0 {
		return output.Misuse(output.WithHint(fmt.Errorf("name %q: %s", name, strings.Join(problems, "; ")), "take one such as my-cluster"))
	}
	if len(name) > maxName {
		return output.Misuse(output.WithHint(fmt.Errorf("name %q: it has %d characters, and may have %d", name, len(name), maxName),
			"take a shorter one: it is part of every name on the host"))
	}
	return nil
}

// Namespace is the host namespace of a cluster for which none is named.
func Namespace(name string) string { return "portico-" + name }

// Secret is the host Secret with the administrator's kubeconfig.
func Secret(name string) string { return "pc-" + name }

// DoorPods selects the pods of porticod.
func DoorPods(name string) string { return door.LabelDoor + "=" + name }
