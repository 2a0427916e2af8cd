// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// identity gives the pod the host ServiceAccount that has no rights. The
// deprecated twin of the field stays empty; the host fills it in.
func (c *toHost) identity(spec *corev1.PodSpec) {
	spec.DeprecatedServiceAccount = ""
	no := false
	replace(c.overlay, "serviceAccountName", &spec.ServiceAccountName, c.t.cluster.WorkloadServiceAccount)
	replace(c.overlay, "automountServiceAccountToken", &spec.AutomountServiceAccountToken, &no)
}

func (c *toVirtual) identity(v, host *corev1.PodSpec) {
	unreplace(c.overlay, "automountServiceAccountToken", &v.AutomountServiceAccountToken)
	unreplace(c.overlay, "serviceAccountName", &v.ServiceAccountName)
	// Every version of the API shows the two with the same value.
	if host.DeprecatedServiceAccount == "" || host.DeprecatedServiceAccount == host.ServiceAccountName {
		v.DeprecatedServiceAccount = v.ServiceAccountName
	}
}

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
	for i := range v.Spec.Volumes {
		volume := &v.Spec.Volumes[i]
		if volume.Projected == nil {
			continue
		}
		for j := range volume.Projected.Sources {
			token := volume.Projected.Sources[j].ServiceAccountToken
			if token == nil {
				continue
			}
			p := TokenProjection{
				Volume: volume.Name, Key: tokenKey(volume.Name, j), Path: token.Path,
				Audience: token.Audience, ExpirationSeconds: 3600,
			}
			if token.ExpirationSeconds != nil {
				p.ExpirationSeconds = *token.ExpirationSeconds
			}
			out = append(out, p)
		}
	}
	return out
}

// tokens makes every projected token a projected key of the pod's token
// Secret. The kubelet of the host would ask the host for one.
func (c *toHost) tokens(volumes []corev1.Volume) {
	secret := c.t.TokenSecretName(c.namespace, c.name)
	for i := range volumes {
		volume := &volumes[i]
		if volume.Projected == nil {
			continue
		}
		asked := map[string]*corev1.ServiceAccountTokenProjection{}
		for j := range volume.Projected.Sources {
			source := &volume.Projected.Sources[j]
			token := source.ServiceAccountToken
			if token == nil {
				continue
			}
			key := tokenKey(volume.Name, j)
			asked[key] = token
			*source = corev1.VolumeProjection{Secret: &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: secret},
				Items:                []corev1.KeyToPath{{Key: key, Path: token.Path, User: token.User}},
			}}
		}
		if len(asked) > 0 {
			c.overlay.put(element("volumes", volume.Name)+".tokens", asked)
		}
	}
}

func (c *toVirtual) tokens(volumes []corev1.Volume) {
	secret := c.t.TokenSecretName(c.namespace, c.name)
	for i := range volumes {
		volume := &volumes[i]
		asked := map[string]*corev1.ServiceAccountTokenProjection{}
		if volume.Projected == nil || !c.overlay.get(element("volumes", volume.Name)+".tokens", &asked) {
			continue
		}
		for j := range volume.Projected.Sources {
			s := volume.Projected.Sources[j].Secret
			if s == nil || s.Name != secret || len(s.Items) != 1 {
				continue
			}
			if token := asked[s.Items[0].Key]; token != nil {
				volume.Projected.Sources[j] = corev1.VolumeProjection{ServiceAccountToken: token}
			}
		}
	}
}

// tokenKey names a token by its place, which cannot change in the life of a
// pod.
func tokenKey(volume string, source int) string { return fmt.Sprintf("%s.%d", volume, source) }
