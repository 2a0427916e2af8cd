// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite/rules"
)

// Shortened names had a hash of 50 bits once, which can be searched for. Host
// objects that were made then keep their names: names cannot change, and
// neither can the mounts of a pod. They are recognized and never made: ToHost
// writes a former name only into a reference to an object that has one
// (Inputs.Former), so tenants can no longer choose a text that is hashed into
// one.
//
// The part after the last hyphen distinguishes the two forms: it has 26
// characters or 10, and no hash has a hyphen in it.

// FormerName returns the host name that a virtual object had with a hash of 50
// bits. ok is false if it had no hash: then Name has not changed.
func (t *Translator) FormerName(namespace, name string) (former string, ok bool) {
	joined, plain := t.join(namespace, name)
	if plain {
		return "", false
	}
	return formerly(joined, name, namespace, t.cluster.Name), true
}

// FormerTokenSecretName returns the former TokenSecretName.
func (t *Translator) FormerTokenSecretName(namespace, pod string) string {
	joined, _ := t.join(namespace, pod+"-token")
	return formerly(joined, "serviceaccount-token", pod, namespace, t.cluster.Name)
}

// FormerCertificateSecretName returns the former CertificateSecretName.
func (t *Translator) FormerCertificateSecretName(namespace, pod string) string {
	joined, _ := t.join(namespace, pod+"-certificate")
	return formerly(joined, "pod-certificate", pod, namespace, t.cluster.Name)
}

// FormerTrustBundleName returns the former TrustBundleName.
func (t *Translator) FormerTrustBundleName(b TrustBundle) string {
	return trustBundlePrefix + t.trustBundleHash(b)[:formerHash]
}

// FormerClusterName is FormerName for ClusterName.
func (t *Translator) FormerClusterName(name string) (former string, ok bool) {
	prefixed := clusterPrefix + name
	joined, plain := t.joinCluster(prefixed)
	if plain {
		return "", false
	}
	return formerly(joined, prefixed, t.cluster.HostNamespace, t.cluster.Name), true
}

// isClusterName is isName for objects without a namespace.
func (t *Translator) isClusterName(host, name string) bool {
	if host == t.ClusterName(name) {
		return true
	}
	former, ok := t.FormerClusterName(name)
	return ok && host == former
}

func formerly(joined string, parts ...string) string {
	return head(joined, formerKept) + "-" + hash(parts...)[:formerHash]
}

// isName reports whether a virtual object has, or had, a host name.
func (t *Translator) isName(host, namespace, name string) bool {
	if host == t.Name(namespace, name) {
		return true
	}
	former, ok := t.FormerName(namespace, name)
	return ok && host == former
}

// HostNames returns the host names that a virtual object can have: that of
// today first, and the former one if that was another.
func (t *Translator) HostNames(kind, namespace, name string) []string {
	if kind == "Service" && isKubernetesService(namespace, name) {
		return []string{t.cluster.Service}
	}
	names := []string{t.Name(namespace, name)}
	if former, ok := t.FormerName(namespace, name); ok {
		names = append(names, former)
	}
	return names
}

// Is reports whether a host object is identified as one virtual object. Its
// name alone proves nothing: a search finds two virtual names with one former
// host name, and the operator may have given an object any name.
func (t *Translator) Is(host metav1.Object, kind, namespace, name string) bool {
	if kind == "Service" && isKubernetesService(namespace, name) {
		return host.GetNamespace() == t.cluster.HostNamespace && host.GetName() == t.cluster.Service
	}
	ns, n, err := t.Identify(kind, host)
	return err == nil && ns == namespace && n == name
}

// Find returns the host object that is identified as a virtual one. get reads
// an object by its host name: that of today, and if the virtual object is not
// there, its former one. The error is the first one of get, or ErrForeign if
// another object has the name of today.
func Find[T any](t *Translator, kind, namespace, name string, get func(hostName string) (T, error)) (T, error) {
	var none T
	var missing error
	for i, hostName := range t.HostNames(kind, namespace, name) {
		found, err := get(hostName)
		if err == nil {
			m, err := meta.Accessor(found)
			if err != nil {
				return none, err
			}
			if t.Is(m, kind, namespace, name) {
				return found, nil
			}
		} else if !apierrors.IsNotFound(err) {
			return none, err
		}
		if i == 0 {
			if missing = err; err == nil {
				missing = fmt.Errorf("%w: %s %s/%s", ErrForeign, kind, t.cluster.HostNamespace, hostName)
			}
		}
	}
	return none, missing
}

// hostName returns the host name of an object that the object under translation
// refers to.
func (c *translation) hostName(kind, name string) string {
	if slices.Contains(c.in.Former, Named{Kind: kind, Name: name}) {
		if former, ok := c.t.FormerName(c.namespace, name); ok {
			return former
		}
	}
	if kind == "Service" {
		return c.t.ServiceName(c.namespace, name)
	}
	return c.t.Name(c.namespace, name)
}

// HostReference is a reference of a virtual object to one that is on the host in
// its own right: a claim. Secrets and ConfigMaps are brought there by name.
type HostReference struct {
	Named
	// Field is the rule that the reference is translated by: the kind that stands
	// in Inputs.Former.
	Field string
}

// HostReferences lists the claims that a virtual object names, each once.
func (t *Translator) HostReferences(v runtime.Object) []HostReference {
	var out []HostReference
	add := func(kind, field, name string) {
		ref := HostReference{Named: Named{Kind: kind, Name: name}, Field: field}
		if name != "" && !slices.Contains(out, ref) {
			out = append(out, ref)
		}
	}
	switch v := v.(type) {
	case *corev1.Pod:
		for _, ref := range t.PodReferences(v) {
			if ref.Kind == kindClaim {
				add(kindClaim, kindClaim, ref.Name)
			}
		}
		for _, c := range v.Spec.ResourceClaims {
			if t.cluster.ResourceClaims && c.ResourceClaimName != nil {
				add("ResourceClaim", "ResourceClaim", *c.ResourceClaimName)
			}
		}
	case *corev1.PersistentVolumeClaim:
		if s := v.Spec.DataSource; s != nil && s.Kind == kindClaim {
			add(kindClaim, "DataSource", s.Name)
		}
		if s := v.Spec.DataSourceRef; s != nil && s.Kind == kindClaim {
			add(kindClaim, "DataSource", s.Name)
		}
	}
	return out
}

const kindClaim = "PersistentVolumeClaim"

func (t *Translator) formerlyComposed(namespace, pod, key string, s *corev1.VolumeProjection) *corev1.VolumeProjection {
	return composed(composedNames{t.FormerTokenSecretName, t.FormerCertificateSecretName, t.FormerTrustBundleName}, namespace, pod, key, s)
}

// FormerMounts lists the names of Secrets and ConfigMaps in a host pod that have
// the shape of a former name.
func (t *Translator) FormerMounts(h *corev1.Pod) []string {
	out := set{}
	t.walkers[reflect.TypeFor[corev1.Pod]()].visit(h, func(l leaf) {
		if l.rule.Action == rules.Reference && (l.rule.Kind == "Secret" || l.rule.Kind == "ConfigMap") && looksFormer(l.text()) {
			out.add(l.text())
		}
	})
	return out.sorted()
}

// looksFormer reports whether a hash of the former length may be at the end of
// a name.
func looksFormer(host string) bool {
	i := strings.LastIndexAny(host, "-.")
	return i > 0 && len(host)-i-1 == formerHash && strings.Trim(host[i+1:], hashAlphabet) == ""
}
