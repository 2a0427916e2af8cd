// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// documentation ranges (RFC 5737, RFC 3849), in which no cluster has Services.
const (
	noService4 = "192.0.2.1"
	noService6 = "2001:db8::1"
)

var validRange = regexp.MustCompile(`range of valid IPs is ([0-9a-fA-F.:]+/[0-9]+)`)

// ServiceRange returns the CIDR in which the host allocates ClusterIPs, or an
// invalid prefix when the host does not reveal it. Reading the host's
// ServiceCIDRs would take a ClusterRole; the refusal of an address outside of
// them names the CIDR as well (ErrNotInRange in
// pkg/registry/core/service/ipallocator). like is an address that the host has
// allocated, for the family. Nothing is created.
func ServiceRange(ctx context.Context, client kubernetes.Interface, namespace, like string) (netip.Prefix, error) {
	probe := noService4
	if a, err := netip.ParseAddr(like); err == nil && a.Is6() {
		probe = noService6
	}
	_, err := client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "portico-range-", Namespace: namespace},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: probe,
			Ports: []corev1.ServicePort{{Port: 443, Protocol: corev1.ProtocolTCP}},
		},
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: fieldManager})
	if err == nil {
		return netip.Prefix{}, nil
	}
	said := validRange.FindStringSubmatch(err.Error())
	if said == nil {
		return netip.Prefix{}, fmt.Errorf("ask the host for its range of ClusterIPs: %w", err)
	}
	p, err := netip.ParsePrefix(said[1])
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("range of ClusterIPs: %w", err)
	}
	return p.Masked(), nil
}
