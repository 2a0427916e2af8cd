// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"
)

// newLoopback returns the configuration of the client by which a server reaches
// itself, and makes serving show the certificate that this client expects
// (applyTo in k8s.io/apiserver/pkg/server/options/serving_with_loopback.go).
//
// The key never leaves the process and ends with it. So the certificate has no
// end, and the server no health check that fails after its three years, as
// upstream's has.
func newLoopback(serving *genericapiserver.SecureServingInfo) (*rest.Config, error) {
	cert, key, err := selfSigned(genericapiserver.LoopbackClientServerNameOverride)
	if err != nil {
		return nil, fmt.Errorf("make the loopback certificate: %w", err)
	}
	shown, err := dynamiccertificates.NewStaticSNICertKeyContent("self-signed loopback", cert, key, genericapiserver.LoopbackClientServerNameOverride)
	if err != nil {
		return nil, fmt.Errorf("make the loopback certificate: %w", err)
	}
	// First, so that no other certificate is shown for this name.
	serving.SNICerts = append([]dynamiccertificates.SNICertKeyContentProvider{shown}, serving.SNICerts...)
	return serving.NewLoopbackClientConfig(string(uuid.NewUUID()), cert)
}

// selfSigned returns the PEM of a certificate for one DNS name that is its own
// authority, and of its key.
func selfSigned(name string) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),                       // a clock that is set back must not stop the server
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // "no end", RFC 5280 4.1.2.5
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	if keyPEM, err = keyutil.MarshalPrivateKeyToPEM(key); err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM, nil
}
