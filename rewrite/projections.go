// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
)

// Some sources of a projected volume are composed by the kubelet, from the
// answers of its own cluster: tokens, certificates and trust anchors. A virtual
// pod wants them of the virtual cluster. So they are composed there, brought to
// the host in a Secret or ConfigMap, and the source becomes a key of that.
// While the key is missing the kubelet retries the mount, as it does when its
// own cluster does not answer.

// TokenProjection is a token that a pod asks for: a source of a projected
// volume.
type TokenProjection struct {
	Volume string
	// Key is the key of the token Secret that holds the token.
	Key string
	// Path is the file in the volume.
	Path string
	// Audience is empty for the API server's own.
	Audience string
	// ExpirationSeconds is the life the pod asked for; an hour if it did not.
	ExpirationSeconds int64
}

// TokenProjections lists the tokens that a virtual pod asks for.
func TokenProjections(v *corev1.Pod) []TokenProjection {
	var out []TokenProjection
	eachProjection(v, func(volume string, i int, s *corev1.VolumeProjection) {
		token := s.ServiceAccountToken
		if token == nil {
			return
		}
		out = append(out, TokenProjection{
			Volume: volume, Key: projectionKey(volume, i), Path: token.Path,
			Audience: token.Audience, ExpirationSeconds: ptr.Deref(token.ExpirationSeconds, 3600),
		})
	})
	return out
}

// CertificateProjection is a certificate that a pod asks for (KEP-4317).
type CertificateProjection struct {
	*corev1.PodCertificateProjection
	// Key begins the keys of the certificate Secret: see the functions below.
	Key string
}

// ChainKey is the key of the certificate chain.
func (p CertificateProjection) ChainKey() string { return p.Key + ".chain" }

// PrivateKey is the key of the private key.
func (p CertificateProjection) PrivateKey() string { return p.Key + ".key" }

// BundleKey is the key of the two in one file.
func (p CertificateProjection) BundleKey() string { return p.Key + ".bundle" }

// CertificateProjections lists the certificates that a virtual pod asks for.
func CertificateProjections(v *corev1.Pod) []CertificateProjection {
	var out []CertificateProjection
	eachProjection(v, func(volume string, i int, s *corev1.VolumeProjection) {
		if s.PodCertificate != nil {
			out = append(out, CertificateProjection{s.PodCertificate, projectionKey(volume, i)})
		}
	})
	return out
}

// TrustBundle is a question for trust anchors (KEP-3257): those of one
// ClusterTrustBundle, or of all of one signer that a selector matches.
type TrustBundle struct {
	Name string

	SignerName string
	// Selector is the canonical form of a label selector; see LabelSelector.
	Selector string
}

// nothing is a Selector that no set of labels satisfies, and no valid selector
// looks like it.
const nothing = "<nothing>"

// LabelSelector returns the selector of a question for a signer's bundles.
func (b TrustBundle) LabelSelector() (labels.Selector, error) {
	if b.Selector == nothing {
		return labels.Nothing(), nil
	}
	return labels.Parse(b.Selector)
}

// Keys of the ConfigMap of a TrustBundle.
const (
	// TrustAnchors holds them, and is missing if there is no ClusterTrustBundle
	// to take them from.
	TrustAnchors = "anchors"
	// OptionalTrustAnchors is empty then. A pod to which they are optional
	// finds an empty file.
	OptionalTrustAnchors = "anchors-or-nothing"
)

// TrustBundles lists the trust anchors that a virtual pod asks for.
func TrustBundles(v *corev1.Pod) []TrustBundle {
	var out []TrustBundle
	eachProjection(v, func(_ string, _ int, s *corev1.VolumeProjection) {
		if s.ClusterTrustBundle != nil {
			out = append(out, trustBundle(s.ClusterTrustBundle))
		}
	})
	return out
}

func trustBundle(p *corev1.ClusterTrustBundleProjection) TrustBundle {
	if p.Name != nil {
		return TrustBundle{Name: *p.Name}
	}
	b := TrustBundle{SignerName: ptr.Deref(p.SignerName, ""), Selector: nothing}
	// The door has validated it. Without one, nothing matches.
	if s, err := metav1.LabelSelectorAsSelector(p.LabelSelector); err == nil && p.LabelSelector != nil {
		b.Selector = s.String()
	}
	return b
}

func eachProjection(v *corev1.Pod, do func(volume string, i int, s *corev1.VolumeProjection)) {
	for i := range v.Spec.Volumes {
		volume := &v.Spec.Volumes[i]
		if volume.Projected == nil {
			continue
		}
		for j := range volume.Projected.Sources {
			do(volume.Name, j, &volume.Projected.Sources[j])
		}
	}
}

// projectionKey names a source by its place, which cannot change in the life of
// a pod.
func projectionKey(volume string, source int) string { return fmt.Sprintf("%s.%d", volume, source) }

// composed returns the host form of a source that the kubelet would compose,
// or nil for any other.
func (t *Translator) composed(namespace, pod, key string, s *corev1.VolumeProjection) *corev1.VolumeProjection {
	return composed(composedNames{t.TokenSecretName, t.CertificateSecretName, t.TrustBundleName}, namespace, pod, key, s)
}

// composedNames say where composed things are.
type composedNames struct {
	tokens, certificates func(namespace, pod string) string
	anchors              func(TrustBundle) string
}

func composed(at composedNames, namespace, pod, key string, s *corev1.VolumeProjection) *corev1.VolumeProjection {
	secret := func(name string, items ...corev1.KeyToPath) *corev1.VolumeProjection {
		return &corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: items,
		}}
	}
	switch {
	case s.ServiceAccountToken != nil:
		token := s.ServiceAccountToken
		return secret(at.tokens(namespace, pod), corev1.KeyToPath{Key: key, Path: token.Path, User: token.User})
	case s.PodCertificate != nil:
		p := CertificateProjection{s.PodCertificate, key}
		var items []corev1.KeyToPath
		for _, file := range []struct{ key, path string }{
			{p.BundleKey(), p.CredentialBundlePath}, {p.PrivateKey(), p.KeyPath}, {p.ChainKey(), p.CertificateChainPath},
		} {
			if file.path != "" {
				items = append(items, corev1.KeyToPath{Key: file.key, Path: file.path, User: p.User})
			}
		}
		return secret(at.certificates(namespace, pod), items...)
	case s.ClusterTrustBundle != nil:
		bundle := s.ClusterTrustBundle
		item := corev1.KeyToPath{Key: TrustAnchors, Path: bundle.Path, User: bundle.User}
		if ptr.Deref(bundle.Optional, false) {
			item.Key = OptionalTrustAnchors
		}
		return &corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: at.anchors(trustBundle(bundle))},
			Items:                []corev1.KeyToPath{item},
		}}
	}
	return nil
}

// filesOf returns the files of a composed source.
func filesOf(s *corev1.VolumeProjection) []corev1.KeyToPath {
	switch {
	case s.Secret != nil:
		return s.Secret.Items
	case s.ConfigMap != nil:
		return s.ConfigMap.Items
	}
	return nil
}

// setModes gives one mode to the files of a composed source.
func setModes(s *corev1.VolumeProjection, mode *int32) {
	files := filesOf(s)
	for i := range files {
		files[i].Mode = mode
	}
}

// ownersMode returns the mode of composed files in a pod, or nil for the volume's
// own. A kubelet gives those that it composes itself to the pod's one user or
// group, and lets no one else read them (collectData in pkg/volume/projected). It
// gives the files of a Secret to root, and with an fsGroup to that group as well.
// So a user who is not root must be able to read them as any other, unless the
// pod has an fsGroup. For one such user, and for one that the volume or the source
// names, the mode is the volume's own, which is more open than a kubelet's.
func ownersMode(spec *corev1.PodSpec) *int32 {
	ofPod := spec.SecurityContext
	if ofPod != nil && ofPod.FSGroup != nil {
		return ptr.To[int32](0o600)
	}
	allRoot := true
	eachContainer(spec, func(_ string, c *corev1.Container) {
		var user *int64
		if ofPod != nil {
			user = ofPod.RunAsUser
		}
		if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
			user = c.SecurityContext.RunAsUser
		}
		allRoot = allRoot && user != nil && *user == 0
	})
	if allRoot {
		return ptr.To[int32](0o600)
	}
	return nil
}

// projections gives composed sources their host form and remembers the others.
func (c *translation) projections(volumes []corev1.Volume, mode *int32) {
	for i := range volumes {
		volume := &volumes[i]
		if volume.Projected == nil {
			continue
		}
		asked := map[string]*corev1.VolumeProjection{}
		for j := range volume.Projected.Sources {
			source := &volume.Projected.Sources[j]
			key := projectionKey(volume.Name, j)
			if host := c.t.composed(c.namespace, c.name, key, source); host != nil {
				asked[key] = source.DeepCopy()
				*source = *host
				setModes(source, mode)
			}
		}
		if len(asked) > 0 {
			c.overlay.put(element("volumes", volume.Name)+".projections", asked)
		}
	}
}

func (c *restoration) projections(volumes []corev1.Volume) {
	for i := range volumes {
		volume := &volumes[i]
		asked := map[string]*corev1.VolumeProjection{}
		if volume.Projected == nil || !c.overlay.get(element("volumes", volume.Name)+".projections", &asked) {
			continue
		}
		for j := range volume.Projected.Sources {
			source := &volume.Projected.Sources[j]
			plain := source
			// Pods of before have no modes.
			if slices.ContainsFunc(filesOf(source), func(f corev1.KeyToPath) bool { return f.Mode != nil }) {
				plain = source.DeepCopy()
				setModes(plain, nil)
			}
			// It may stand at another place now, if the host added a source.
			here := projectionKey(volume.Name, j)
			for _, key := range append([]string{here}, slices.Sorted(maps.Keys(asked))...) {
				virtual := asked[key]
				if virtual == nil {
					continue
				}
				if apiequality.Semantic.DeepEqual(plain, c.t.composed(c.namespace, c.name, key, virtual)) ||
					apiequality.Semantic.DeepEqual(plain, c.t.formerlyComposed(c.namespace, c.name, key, virtual)) {
					*source = *virtual
					delete(asked, key)
					break
				}
			}
		}
	}
}
