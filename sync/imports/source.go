// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package imports

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
)

// rootCA is the ConfigMap with the authority of a cluster, which each namespace has.
const rootCA = "kube-root-ca.crt"

// Source is one object of the host that is shown, or all of a host namespace. The
// names are empty for all; the virtual ones are then those of the host.
type Source struct {
	Host, Virtual types.NamespacedName
}

// all reports whether a source is a whole namespace.
func (s Source) all() bool { return s.Host.Name == "" }

// of returns the name of the host object that a virtual one would show.
func (s Source) of(virtual types.NamespacedName) (name string, ok bool) {
	switch {
	case virtual.Namespace != s.Virtual.Namespace:
		return "", false
	case s.all():
		return virtual.Name, true
	}
	return s.Host.Name, virtual.Name == s.Virtual.Name
}

// shownAs returns the virtual object that would show a host object of the source.
func (s Source) shownAs(hostName string) types.NamespacedName {
	if s.all() {
		return types.NamespacedName{Namespace: s.Virtual.Namespace, Name: hostName}
	}
	return s.Virtual
}

// showable reports whether a host object may be shown at all. Objects of any virtual
// cluster have its label: its keys, the tokens of its pods, and the copies of what
// its tenant has.
func showable(host metav1.Object) bool {
	if _, of := host.GetLabels()[rewrite.LabelCluster]; of || host.GetName() == rootCA {
		return false
	}
	secret, ok := host.(*corev1.Secret)
	return !ok || secret.Type != corev1.SecretTypeServiceAccountToken && secret.Type != corev1.SecretTypeBootstrapToken
}
