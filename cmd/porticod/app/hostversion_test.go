// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"flag"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
)

func TestHostOfAnotherVersionIsNamed(t *testing.T) {
	for host, want := range map[string]string{
		"v1.37.2": "", "v1.37.9-gke.1": "", "v1.35.4": "does not know", "v1.38.0": "only the host knows", "nonsense": "unknown",
	} {
		if got := ofAnotherVersion(host, "1.37"); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}

// TestWhatTheHostLacksIsNamed at the start, once, and is no reason not to start.
func TestWhatTheHostLacksIsNamed(t *testing.T) {
	client := fake.NewClientset()
	discovery, ok := client.Discovery().(*fakediscovery.FakeDiscovery)
	if !ok {
		t.Fatal("no fake discovery")
	}
	discovery.FakedServerVersion = &version.Info{GitVersion: "v1.31.0"}
	discovery.Resources = []*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{
		{Name: "pods"}, {Name: "pods/ephemeralcontainers"}, {Name: "pods/eviction"},
	}}}
	var said bytes.Buffer
	cfg := textlogger.NewConfig(textlogger.Output(&said))
	cfg.AddFlags(flag.NewFlagSet("", flag.ContinueOnError))
	vc := &virtualCluster{hostClient: client}
	if err := vc.checkHost(klog.NewContext(t.Context(), textlogger.NewLogger(cfg))); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"v1.31.0": true, "pods/resize": true, "pods/eviction": false} {
		if strings.Contains(said.String(), text) != want {
			t.Errorf("names %s: want %t in\n%s", text, want, said.String())
		}
	}
}
