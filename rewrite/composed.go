// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// Objects composed for a pod (projections.go) reach the host a moment after the
// pod. A kubelet that is faster reports in an Event that it lacks an object,
// which the tenant does not have, and finds it at the next try. In an ordinary
// cluster the kubelet composes it itself, and waits.

// ComposedNames are the host names of the objects composed for a virtual pod,
// each with a virtual name that describes it; see projections.go. The trust
// anchors that v asks for are among them if v is not nil.
func (t *Translator) ComposedNames(namespace, pod string, v *corev1.Pod) map[string]VirtualRef {
	tokens, certificates := VirtualRef{Namespace: namespace, Name: pod + "-token"}, VirtualRef{Namespace: namespace, Name: pod + "-certificate"}
	variables := VirtualRef{Namespace: namespace, Name: "service variables"}
	out := map[string]VirtualRef{
		t.TokenSecretName(namespace, pod): tokens, t.FormerTokenSecretName(namespace, pod): tokens,
		t.CertificateSecretName(namespace, pod): certificates, t.FormerCertificateSecretName(namespace, pod): certificates,
		t.ServiceVariablesName(namespace): variables, t.ServiceVariablesName(""): variables,
	}
	if v == nil {
		return out
	}
	for _, b := range TrustBundles(v) {
		ref := VirtualRef{Namespace: namespace, Name: "trust bundle " + cmp.Or(b.Name, "of "+b.SignerName)}
		out[t.TrustBundleName(b)], out[t.FormerTrustBundleName(b)] = ref, ref
	}
	return out
}

// ComposedToVirtual returns a kubelet's text about a volume of the virtual pod,
// with the errors about composed objects in the words that a kubelet has for
// the same trouble where it composes them itself. v is the pod, or nil if that
// has gone.
//
// Errors that every pod may meet once (the Secret of its tokens, the ConfigMap
// of its trust anchors, and their keys, are not there yet; or not any more,
// when the pod goes) are left out unless lasting is set: the kubelet has been
// saying so for long enough that something is wrong. If there is no other
// error, there is nothing to report, and the result is false. Not left out are
// a certificate that was not issued and a ClusterTrustBundle that does not
// exist: an ordinary kubelet speaks of these at once, too.
func (t *Translator) ComposedToVirtual(text, namespace, pod string, v *corev1.Pod, lasting bool) (string, bool) {
	parts := volumeErrors.FindStringSubmatch(text)
	if parts == nil {
		return text, true
	}
	head, volume, rest := parts[1], parts[2], parts[3]
	errs := []string{rest}
	if inner, ok := strings.CutPrefix(rest, "["); ok && strings.HasSuffix(inner, "]") {
		errs = strings.Split(strings.TrimSuffix(inner, "]"), ", ")
	}
	known := t.composedErrors(namespace, pod, v, volume)
	var out []string
	found := false
	for _, err := range errs {
		e, ok := known[err]
		found = found || ok
		switch {
		case !ok:
			out = append(out, err)
		case (lasting || !e.passing) && !slices.Contains(out, e.virtual):
			out = append(out, e.virtual)
		}
	}
	switch {
	case !found:
		return text, true
	case len(out) == 0:
		return "", false
	case len(out) == 1:
		return head + out[0], true
	}
	return head + "[" + strings.Join(out, ", ") + "]", true
}

// volumeErrors matches the kubelet's text when it cannot set up a volume: one
// error, or a list of them in brackets
// (k8s.io/kubernetes/pkg/volume/util/operationexecutor).
var volumeErrors = regexp.MustCompile(`(?s)^(.*? for volume "([^"]*)" : )(.*)$`)

// composedError is an error about a composed object.
type composedError struct {
	virtual string
	passing bool // every pod may meet it once
}

// Words of a kubelet that composes by itself: pkg/kubelet/token,
// pkg/kubelet/podcertificate and pkg/kubelet/clustertrustbundle.
const (
	noToken       = "failed to fetch token: it is not issued yet"
	noCertificate = "credential bundle is not issued yet"
	noAnchorsYet  = "ClusterTrustBundle informer has not yet synced"
	noneOfSigner  = "combination of signerName and labelSelector matched zero ClusterTrustBundles"
)

// composedErrors are the errors about composed objects that a kubelet can meet
// in a volume of a pod (k8s.io/kubernetes/pkg/volume/projected), by its words.
func (t *Translator) composedErrors(namespace, pod string, v *corev1.Pod, volume string) map[string]composedError {
	out := map[string]composedError{}
	missing := func(kind, name string, e composedError) {
		out[fmt.Sprintf("%s %q not found", kind, name)] = e
		e.passing = true // said by a kubelet that has done with the pod
		out[fmt.Sprintf("object %q/%q not registered", t.cluster.HostNamespace, name)] = e
	}
	missing("secret", t.TokenSecretName(namespace, pod), composedError{noToken, true})
	missing("secret", t.FormerTokenSecretName(namespace, pod), composedError{noToken, true})
	missing("secret", t.CertificateSecretName(namespace, pod), composedError{noCertificate, false})
	missing("secret", t.FormerCertificateSecretName(namespace, pod), composedError{noCertificate, false})
	if v == nil {
		return out
	}
	// A key is missing in the Secret of an earlier pod of this name.
	const noSecretKey = "references non-existent secret key: "
	for _, p := range TokenProjections(v) {
		out[noSecretKey+p.Key] = composedError{noToken, true}
	}
	for _, p := range CertificateProjections(v) {
		for _, key := range []string{p.ChainKey(), p.PrivateKey(), p.BundleKey()} {
			out[noSecretKey+key] = composedError{noCertificate, false}
		}
	}
	eachProjection(v, func(in string, _ int, s *corev1.VolumeProjection) {
		if s.ClusterTrustBundle == nil || in != volume {
			return
		}
		b := trustBundle(s.ClusterTrustBundle)
		missing("configmap", t.TrustBundleName(b), composedError{noAnchorsYet, true})
		missing("configmap", t.FormerTrustBundleName(b), composedError{noAnchorsYet, true})
		if ptr.Deref(s.ClusterTrustBundle.Optional, false) {
			return
		}
		none := noneOfSigner
		if b.Name != "" {
			none = fmt.Sprintf("while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io %q not found", b.Name)
		}
		out["configmap references non-existent config key: "+TrustAnchors] = composedError{none, false}
	})
	return out
}
