// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/pem"
	"maps"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"portico.dev/portico/rewrite"
)

// answer returns the data of the ConfigMap for a question.
func (c *Controller) answer(q rewrite.TrustBundle) (map[string]string, error) {
	bundles, err := c.matching(q)
	if err != nil {
		return nil, err
	}
	if len(bundles) == 0 {
		return map[string]string{rewrite.OptionalTrustAnchors: ""}, nil
	}
	text := anchors(bundles)
	return map[string]string{rewrite.TrustAnchors: text, rewrite.OptionalTrustAnchors: text}, nil
}

func (c *Controller) matching(q rewrite.TrustBundle) ([]*certificatesv1.ClusterTrustBundle, error) {
	if q.Name != "" {
		bundle, err := c.bundles.Get(q.Name)
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return []*certificatesv1.ClusterTrustBundle{bundle}, err
	}
	selector, err := q.LabelSelector()
	if err != nil {
		selector = labels.Nothing() // no pod can have asked so
	}
	all, err := c.bundles.List(selector)
	return slices.DeleteFunc(all, func(b *certificatesv1.ClusterTrustBundle) bool { return b.Spec.SignerName != q.SignerName }), err
}

// anchors puts the certificates of bundles together. Their order means nothing;
// here it does not change by chance.
func anchors(bundles []*certificatesv1.ClusterTrustBundle) string {
	unique := map[string]struct{}{}
	for _, bundle := range bundles {
		for block, rest := pem.Decode([]byte(bundle.Spec.TrustBundle)); block != nil; block, rest = pem.Decode(rest) {
			unique[string(block.Bytes)] = struct{}{}
		}
	}
	var text strings.Builder
	for _, der := range slices.Sorted(maps.Keys(unique)) {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(der)}))
	}
	return text.String()
}
