// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"net"
	"reflect"
	"testing"
	"time"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"

	"portico.dev/portico/certs"
	"portico.dev/portico/store/sqlite"
)

// Every field that upstream sets in the configuration of a server is set in ours,
// and no other: a release that adds a step to BuildGenericConfig shows here.
func TestConfigurationsHaveUpstreamsFields(t *testing.T) {
	bundle, err := certs.EnsureBundle(t.TempDir(), certs.BundleOptions{ClusterDomain: "cluster.local"}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	backend, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	cfg := Config{
		Name: t.Name(), Backend: backend, Listener: listener, AdvertiseAddress: net.IPv4(127, 0, 0, 1), Issuer: "https://example.com",
		Files: Files{
			ClientCA: bundle.ClientCAFile, ServingCert: bundle.ServingCertFile, ServingKey: bundle.ServingKeyFile,
			FrontProxyCA: bundle.FrontProxyCAFile, FrontProxyClientCert: bundle.FrontProxyClientCertFile, FrontProxyClientKey: bundle.FrontProxyKeyFile,
			ServiceAccountKey: bundle.ServiceAccountKeyFile, ServiceAccountPublicKey: bundle.ServiceAccountPubFile,
		},
	}
	options, err := cfg.options(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := configure(options)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := app.NewConfig(options)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]*genericapiserver.Config{
		"native":           {ours.KubeAPIs.ControlPlane.Generic, theirs.KubeAPIs.ControlPlane.Generic},
		"custom resources": {&ours.ApiExtensions.GenericConfig.Config, &theirs.ApiExtensions.GenericConfig.Config},
		"aggregator":       {&ours.Aggregator.GenericConfig.Config, &theirs.Aggregator.GenericConfig.Config},
	} {
		our, their := reflect.ValueOf(*pair[0]), reflect.ValueOf(*pair[1])
		for i := range our.NumField() {
			if field := our.Type().Field(i); our.Field(i).IsZero() != their.Field(i).IsZero() {
				t.Errorf("%s: upstream sets %s: %v, we: %v", name, field.Name, !their.Field(i).IsZero(), !our.Field(i).IsZero())
			}
		}
	}
}
