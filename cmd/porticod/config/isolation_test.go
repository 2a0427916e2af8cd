// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"portico.dev/portico/cmd/porticod/config"
)

const named = "name: a\nhost: {namespace: b}\n"

// TestQuotaAddsToTheDefault: numbers are quantities, and an empty one takes a
// default away.
func TestQuotaAddsToTheDefault(t *testing.T) {
	cfg, err := load(t, named+`isolation: {enabled: true, resourceQuota: {quota: {count/pods: 40, requests.cpu: "2.5", limits.cpu: "", services.nodeports: null, requests.nvidia.com/gpu: 1}}}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default().Isolation.ResourceQuota.Quota
	for name, amount := range map[string]config.Quantity{
		"count/pods": "40", "requests.cpu": "2.5", "limits.cpu": "", "services.nodeports": "", "requests.nvidia.com/gpu": "1",
	} {
		want[name] = amount
	}
	if diff := cmp.Diff(want, cfg.Isolation.ResourceQuota.Quota); diff != "" {
		t.Errorf("quota (-want +got):\n%s", diff)
	}
}

func TestIsolationThatMeansNothingIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ isolation, want string }{
		"a level":                {"{podSecurityStandard: strict}", "isolation.podSecurityStandard: Unsupported value"},
		"a version":              {"{podSecurityVersion: 1.37}", "isolation.podSecurityVersion"},
		"a version, in words":    {"{podSecurityVersion: newest}", "isolation.podSecurityVersion: Invalid value"},
		"a namespace":            {"{podSecurityExemptions: {namespaces: [kube_system]}}", "isolation.podSecurityExemptions.namespaces[0]"},
		"a user":                 {"{podSecurityExemptions: {usernames: ['']}}", "isolation.podSecurityExemptions.usernames[0]"},
		"a runtime class":        {"{podSecurityExemptions: {runtimeClasses: [a b]}}", "isolation.podSecurityExemptions.runtimeClasses[0]"},
		"an amount":              {"{resourceQuota: {quota: {count/pods: many}}}", "isolation.resourceQuota.quota[count/pods]"},
		"an amount below 0":      {"{limitRange: {max: {cpu: -1}}}", "isolation.limitRange.max[cpu]"},
		"a network":              {"{networkPolicy: {outgoingConnections: {ipBlock: {cidr: 10.0.0.1/8}}}}", "ipBlock.cidr"},
		"an except not in it":    {"{networkPolicy: {outgoingConnections: {ipBlock: {cidr: 10.0.0.0/8, except: [192.168.0.0/16]}}}}", "ipBlock.except[0]"},
		"an except that is all":  {"{networkPolicy: {outgoingConnections: {ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}}}", "ipBlock.except[0]"},
		"excepts of the default": {"{networkPolicy: {outgoingConnections: {ipBlock: {cidr: '::/0'}}}}", "ipBlock.except[0]"},
		"a port":                 {"{networkPolicy: {controlPlane: {ports: [70000]}}}", "isolation.networkPolicy.controlPlane.ports[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := load(t, named+"isolation: "+c.isolation+"\n", nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	dns := "coredns: {mode: deployment}\nisolation: {enabled: true, podSecurityStandard: restricted, podSecurityExemptions: {namespaces: %s}}\n"
	if _, err := load(t, named+fmt.Sprintf(dns, "[]"), nil); err == nil || !strings.Contains(err.Error(), "there would be no DNS") {
		t.Errorf("pods of the DNS that would be refused: %v", err)
	}
	if _, err := load(t, named+fmt.Sprintf(dns, "[kube-system]"), nil); err != nil {
		t.Errorf("pods of the DNS that are exempt: %v", err)
	}
	if _, err := load(t, named+"isolation: {networkPolicy: {outgoingConnections: {ipBlock: {cidr: '', except: []}}}}\n", nil); err != nil {
		t.Errorf("no way out: %v", err)
	}
}
