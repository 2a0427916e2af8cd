// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
)

// request is one that was sent, and the key that it is about.
type request struct {
	name string
	key  []byte // PEM
	sent time.Time
}

// ask sends a request for one certificate of a pod.
func (c *Controller) ask(ctx context.Context, pod *corev1.Pod, p rewrite.CertificateProjection) (*request, error) {
	account, err := c.accounts.ServiceAccounts(pod.Namespace).Get(pod.Spec.ServiceAccountName)
	if err != nil {
		return nil, err
	}
	node, err := c.nodes.Get(pod.Spec.NodeName)
	if err != nil {
		return nil, err
	}
	key, proof, err := generateKey(p.KeyType)
	if err != nil {
		return nil, err
	}
	sent, err := c.virtual.CertificatesV1().PodCertificateRequests(pod.Namespace).Create(ctx, &certificatesv1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName:    "req-",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}},
		},
		Spec: certificatesv1.PodCertificateRequestSpec{
			SignerName: p.SignerName,
			PodName:    pod.Name, PodUID: pod.UID,
			ServiceAccountName: account.Name, ServiceAccountUID: account.UID,
			NodeName: types.NodeName(node.Name), NodeUID: node.UID,
			MaxExpirationSeconds:      p.MaxExpirationSeconds,
			StubPKCS10Request:         proof,
			UnverifiedUserAnnotations: p.UserAnnotations,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("request a certificate of %s: %w", p.SignerName, err)
	}
	return &request{name: sent.Name, key: key, sent: c.clock.Now()}, nil
}

// keyTypes are those of KEP-4317.
var keyTypes = map[string]func() (crypto.Signer, error){
	"RSA3072":   func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 3072) },
	"RSA4096":   func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 4096) },
	"ECDSAP256": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
	"ECDSAP384": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) },
	"ECDSAP521": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P521(), rand.Reader) },
	"ED25519": func() (crypto.Signer, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	},
}

// generateKey returns a private key in PEM, and a PKCS#10 request without
// content that proves its possession.
func generateKey(keyType string) (keyPEM, proof []byte, err error) {
	generate, ok := keyTypes[keyType]
	if !ok {
		return nil, nil, fmt.Errorf("unknown key type %q", keyType)
	}
	key, err := generate()
	if err != nil {
		return nil, nil, fmt.Errorf("generate a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a key: %w", err)
	}
	proof, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign a request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), proof, nil
}

// verdict is how far a request has come.
type verdict int

const (
	pending verdict = iota
	issued
	refused
)

// judge reads the answer to a request. The condition has the reason of a
// refusal.
func judge(r *certificatesv1.PodCertificateRequest) (verdict, metav1.Condition) {
	for _, c := range r.Status.Conditions {
		switch c.Type {
		case certificatesv1.PodCertificateRequestConditionTypeIssued:
			return issued, c
		case certificatesv1.PodCertificateRequestConditionTypeDenied, certificatesv1.PodCertificateRequestConditionTypeFailed:
			return refused, c
		}
	}
	return pending, metav1.Condition{}
}

// fill adds one certificate to the data of a pod's Secret. Text of a signer
// between the blocks of the chain, or in their headers, does not get into the
// container.
func fill(data map[string][]byte, p rewrite.CertificateProjection, key []byte, chain string) {
	var clean bytes.Buffer
	for block, rest := pem.Decode([]byte(chain)); block != nil; block, rest = pem.Decode(rest) {
		clean.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}))
	}
	data[p.PrivateKey()] = key
	data[p.ChainKey()] = clean.Bytes()
	data[p.BundleKey()] = append(bytes.Clone(key), clean.Bytes()...)
}

// dataKeys are the keys of the Secret of a pod.
func dataKeys(projections []rewrite.CertificateProjection) []string {
	keys := make([]string, 0, 3*len(projections))
	for _, p := range projections {
		keys = append(keys, p.PrivateKey(), p.ChainKey(), p.BundleKey())
	}
	return keys
}
