// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/tls"
	"fmt"

	"sigs.k8s.io/yaml"
)

// belong reports whether a key is that of a certificate.
func belong(certPEM, keyPEM []byte) bool {
	_, err := tls.X509KeyPair(certPEM, keyPEM)
	return err == nil
}

// The part of a kubeconfig (k8s.io/client-go/tools/clientcmd/api/v1) that is
// written here. Byte slices become base64, as the format has it.
type kubeconfig struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	CurrentContext string         `json:"current-context"`
	Clusters       []namedCluster `json:"clusters"`
	Users          []namedUser    `json:"users"`
	Contexts       []namedContext `json:"contexts"`
}

type namedCluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server string `json:"server"`
		CA     []byte `json:"certificate-authority-data"`
	} `json:"cluster"`
}

type namedUser struct {
	Name string `json:"name"`
	User struct {
		Cert []byte `json:"client-certificate-data"`
		Key  []byte `json:"client-key-data"`
	} `json:"user"`
}

type namedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
}

// Kubeconfig returns a kubeconfig with one cluster, one user with a client
// certificate, and one context, all called name.
func Kubeconfig(name, server string, caPEM []byte, user KeyPair) ([]byte, error) {
	c := kubeconfig{
		APIVersion: "v1", Kind: "Config", CurrentContext: name,
		Clusters: make([]namedCluster, 1), Users: make([]namedUser, 1), Contexts: make([]namedContext, 1),
	}
	c.Clusters[0].Name = name
	c.Clusters[0].Cluster.Server, c.Clusters[0].Cluster.CA = server, caPEM
	c.Users[0].Name = name
	c.Users[0].User.Cert, c.Users[0].User.Key = user.CertPEM, user.KeyPEM
	c.Contexts[0].Name = name
	c.Contexts[0].Context.Cluster, c.Contexts[0].Context.User = name, name
	out, err := yaml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode kubeconfig of %s: %w", name, err)
	}
	return out, nil
}

// WriteKubeconfig replaces the kubeconfig at path, readable by its owner only.
func WriteKubeconfig(path string, content []byte) error { return writeFile(path, content) }
