// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

const (
	// separator joins name, namespace and cluster in a host name.
	separator = "-x-"
	// clusterPrefix begins the host name of an object without a namespace.
	clusterPrefix = "portico-"
	// maxName is the longest host name: that of a Service, and of a label
	// value. Pods and Secrets could be longer, but one limit for all kinds
	// keeps a name valid wherever it is used.
	maxName = 63
	// keptName and hashLength make up a shortened name: 36 + "-" + 26. Such a
	// name can be mounted and referred to, and tenants choose the hashed text:
	// 26 characters are 130 bits, too many to find a virtual name whose host
	// name is that of another object.
	keptName   = 36
	hashLength = 26
	// formerKept and formerHash made up shortened names before (former.go).
	formerKept = 52
	formerHash = 10
	// keyHash is how much of a hash stands in a label or annotation key.
	keyHash = 10

	hashAlphabet = "abcdefghijklmnopqrstuvwxyz234567"
)

// hashEncoding gives lowercase letters and digits only, all of them valid at
// any place of a DNS label.
var hashEncoding = base32.NewEncoding(hashAlphabet).WithPadding(base32.NoPadding)

// Name returns the host name of a namespaced virtual object:
//
//	<name>-x-<namespace>-x-<cluster>
//
// When that is too long, or when it could also be read as the name of another
// object, its first 36 characters and a hash of the three parts take its place.
// A host name is never split to find its virtual object; the annotations of the
// host object name it, and are believed only if they lead back to it.
func (t *Translator) Name(namespace, name string) string {
	joined, plain := t.join(namespace, name)
	if plain {
		return joined
	}
	return shorten(joined, name, namespace, t.cluster.Name)
}

// join returns the three parts as one name, and whether that is the host name.
func (t *Translator) join(namespace, name string) (joined string, plain bool) {
	joined = name + separator + namespace + separator + t.cluster.Name
	return joined, len(joined) <= maxName && joinsUniquely(joined, len(name), len(name)+len(separator)+len(namespace))
}

// ServiceName returns the host name of a virtual Service. It is Name, except
// for default/kubernetes, which is the cluster's own host Service.
func (t *Translator) ServiceName(namespace, name string) string {
	if isKubernetesService(namespace, name) {
		return t.cluster.Service
	}
	return t.Name(namespace, name)
}

// ClusterName returns the host name of a cluster-scoped virtual object.
func (t *Translator) ClusterName(name string) string {
	prefixed := clusterPrefix + name
	joined, plain := t.joinCluster(prefixed)
	if plain {
		return joined
	}
	return shorten(joined, prefixed, t.cluster.HostNamespace, t.cluster.Name)
}

func (t *Translator) joinCluster(prefixed string) (joined string, plain bool) {
	joined = prefixed + separator + t.cluster.HostNamespace + separator + t.cluster.Name
	return joined, len(joined) <= maxName && joinsUniquely(joined, len(prefixed), len(prefixed)+len(separator)+len(t.cluster.HostNamespace))
}

// TokenSecretName returns the host name of the Secret that holds the tokens of
// a virtual pod. It always has a hash, and over one part more than any virtual
// object's, so that no Secret of a tenant can have the same name.
func (t *Translator) TokenSecretName(namespace, pod string) string {
	joined, _ := t.join(namespace, pod+"-token")
	return shorten(joined, "serviceaccount-token", pod, namespace, t.cluster.Name)
}

// CertificateSecretName returns the host name of the Secret that holds the
// certificates of a virtual pod, in the way of TokenSecretName.
func (t *Translator) CertificateSecretName(namespace, pod string) string {
	joined, _ := t.join(namespace, pod+"-certificate")
	return shorten(joined, "pod-certificate", pod, namespace, t.cluster.Name)
}

// TrustBundleName returns the host name of the ConfigMap that holds the trust
// anchors of b. The part after its last hyphen contains a dot. A translated
// name never has a dot there, so a tenant's ConfigMap cannot have the same
// name.
func (t *Translator) TrustBundleName(b TrustBundle) string {
	return trustBundlePrefix + t.trustBundleHash(b)[:hashLength]
}

const trustBundlePrefix = "trust-bundle."

func (t *Translator) trustBundleHash(b TrustBundle) string {
	return hash("cluster-trust-bundle", b.Name, b.SignerName, b.Selector, t.cluster.Name)
}

// ServiceVariablesName returns the host name of the ConfigMap that holds the
// variables of the Services of a virtual namespace, and for "" of that with those
// of the API server alone. It has a dot in the way of TrustBundleName.
func (t *Translator) ServiceVariablesName(namespace string) string {
	return "service-variables." + hash("service-variables", namespace, t.cluster.Name)[:hashLength]
}

// AnchorName returns the name of the host ConfigMap that owns every host object
// of the cluster. As with RootsSecretName, no translated name is like it.
func (t *Translator) AnchorName() string { return AnchorName(t.cluster.Name) }

// AnchorName is Translator.AnchorName for the cluster of a name, which comes
// before there is a Translator.
func AnchorName(cluster string) string { return cluster + ".anchor" }

// RootsSecretName returns the host name of the Secret with the keys that the
// replicas of the cluster share. No Secret of a tenant can have this name, in
// this or another cluster of the namespace: its last part has a dot, and both
// forms of a translated name end in something longer without one.
func (t *Translator) RootsSecretName() string { return t.cluster.Name + ".pki" }

// CredentialsSecretName returns the host name of the Secret with the keys of
// the cluster that rotate. As with RootsSecretName, no translated name is like
// it.
func (t *Translator) CredentialsSecretName() string { return CredentialsSecretName(t.cluster.Name) }

// CredentialsSecretName is Translator.CredentialsSecretName for the cluster of a
// name.
func CredentialsSecretName(cluster string) string { return cluster + ".credentials" }

// AccessSecretName returns the host name of the Secret with the administrator's
// kubeconfig, which automation on the host reads. A translated name of the same
// cluster is longer, or has a hash of the cluster's whole name at its end.
func (t *Translator) AccessSecretName() string { return AccessSecretName(t.cluster.Name) }

// AccessSecretName is Translator.AccessSecretName for the cluster of a name.
func AccessSecretName(cluster string) string { return "pc-" + cluster }

// joinsUniquely reports whether the separator stands in joined at first and at
// second and nowhere else. Only then can no other triple give the same string:
// besides a name or namespace that contains "-x-", also "a-x" in "b" and "a" in
// "x-b" would both read "a-x-x-b".
func joinsUniquely(joined string, first, second int) bool {
	for i := 0; ; i++ {
		j := strings.Index(joined[i:], separator)
		if j < 0 {
			return true
		}
		if i += j; i != first && i != second {
			return false
		}
	}
}

// shorten keeps the head of joined for the eye and adds a hash of the parts.
func shorten(joined string, parts ...string) string {
	return head(joined, keptName) + "-" + hash(parts...)[:hashLength]
}

// head returns up to n characters of joined, in front of a hyphen: no label
// ends in "-", nor does one begin with it, as it would behind a dot.
func head(joined string, n int) string {
	n = min(n, len(joined))
	// The API does not check all names that a pod refers to, such as those of
	// imagePullSecrets. Half a character would not come back from the host.
	for n > 0 && n < len(joined) && !utf8.RuneStart(joined[n]) {
		n--
	}
	return strings.TrimRight(joined[:n], "-.")
}

// hash digests parts, each led by its length, so that moving a character from
// one part to the next gives another hash. A caller takes as much as it needs.
func hash(parts ...string) string {
	h := sha256.New()
	var length [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(p)))
		h.Write(length[:])
		h.Write([]byte(p))
	}
	return hashEncoding.EncodeToString(h.Sum(nil))
}

func isKubernetesService(namespace, name string) bool {
	return namespace == "default" && name == "kubernetes"
}
