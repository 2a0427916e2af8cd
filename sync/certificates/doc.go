// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package certificates gives pods the certificates that their volumes project
// (podCertificate, KEP-4317). It does a kubelet's work for the pods of a
// virtual cluster: it makes a key, asks for a certificate with a
// PodCertificateRequest of the virtual cluster, waits for the signer, and
// renews when the signer says so. Key and certificate reach the container
// through one host Secret per pod.
//
// It is not a signer, and it decides on no request.
//
// # Invariants
//
//   - A key is made for one request, kept in memory until the certificate is
//     there, and then only in the pod's Secret.
//   - All certificates of a pod are written together. Until then the kubelet of
//     the host retries the mount.
//   - A refusal by the signer is final for the pod, as it is in the kubelet;
//     the pod has an Event that says why.
//
// # Map
//
//	certificates.go  Controller: when the Secret of a pod is written
//	request.go       keys, requests and answers
package certificates
