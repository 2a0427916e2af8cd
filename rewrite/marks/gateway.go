// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package marks

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"portico.dev/portico/rewrite"
)

// GatewayName is the name of the ConfigMap in kube-public in which the gateway of
// a host is announced (charts/portico-gateway).
const GatewayName = "portico-gateway"

// Audiences of tokens for the gateway. The host's API takes none of them.
const (
	// GatewayAudience is that of tokens of people: they wake a cluster that sleeps.
	GatewayAudience = rewrite.Prefix + "gateway"
	// GatewayAudienceNoWake is that of tokens of programs that come again by
	// themselves.
	GatewayAudienceNoWake = rewrite.Prefix + "gateway-no-wake"
)

// GatewayAccountSuffix ends the name of the host ServiceAccount whose tokens lead
// to a cluster. No tenant can make it: their ServiceAccounts are inside.
const GatewayAccountSuffix = ".gateway"

// GatewayAccount returns the name of this account.
func GatewayAccount(cluster string) string { return cluster + GatewayAccountSuffix }

// Gateway is what is announced of one.
type Gateway struct {
	// Address is HOST:PORT, and empty where people are to know it themselves.
	Address string
	// Domains are suffixes of cluster names besides svc.
	Domains []string
	// Connect says that it takes CONNECT requests.
	Connect bool
	// CA has the authorities of its own certificate, in PEM. Empty: the usual ones.
	CA string
}

// mostDomains bounds the names that an announcement adds to a certificate.
const mostDomains = 8

// GatewayOf reads the data of the ConfigMap. Domains that are none are left out.
func GatewayOf(data map[string]string) Gateway {
	g := Gateway{Address: data["address"], Connect: data["connect"] == "true", CA: data["ca.crt"]}
	for _, d := range strings.Fields(data["domains"]) {
		if d = strings.Trim(d, "."); len(validation.IsDNS1123Subdomain(d)) == 0 && len(g.Domains) < mostDomains {
			g.Domains = append(g.Domains, d)
		}
	}
	return g
}

// Names returns the names below the gateway's domains that lead to a cluster.
func (g Gateway) Names(cluster, namespace string) []string {
	var names []string
	for _, d := range g.Domains {
		if name := cluster + "." + namespace + "." + d; len(validation.IsDNS1123Subdomain(name)) == 0 {
			names = append(names, name)
		}
	}
	return names
}
