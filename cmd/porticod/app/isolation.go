// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/proxy/apiserver"
	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/policies"
)

// podSecurity is the standard that holds for every pod, if the operator isolates
// the cluster.
func podSecurity(i *config.Isolation) *apiserver.PodSecurity {
	if !i.Enabled {
		return nil
	}
	return &apiserver.PodSecurity{
		Level:          i.PodSecurityStandard,
		Version:        i.PodSecurityVersion,
		Namespaces:     i.PodSecurityExemptions.Namespaces,
		Usernames:      i.PodSecurityExemptions.Usernames,
		RuntimeClasses: i.PodSecurityExemptions.RuntimeClasses,
	}
}

// exemptIfHosts makes find refuse pods of a runtime class that is exempt from the
// standard, unless the class is the host's. A tenant's own has no effect on the
// host, so its pods would have neither the standard nor the sandbox that stands
// for it.
func exemptIfHosts(i *config.Isolation, find hostClasses) hostClasses {
	if !i.Enabled || len(i.PodSecurityExemptions.RuntimeClasses) == 0 {
		return find
	}
	return func(ctx context.Context, pod *corev1.Pod) (rewrite.HostClasses, error) {
		of, err := find(ctx, pod)
		name := ptr.Deref(pod.Spec.RuntimeClassName, "")
		if err == nil && of.Runtime == "" && slices.Contains(i.PodSecurityExemptions.RuntimeClasses, name) {
			return of, fmt.Errorf("runtime class %q, which is exempt from the Pod Security Standard, is not the host's: %w", name, rewrite.ErrNoClass)
		}
		return of, err
	}
}

// hostClasses finds the classes that a pod has on the host.
type hostClasses func(context.Context, *corev1.Pod) (rewrite.HostClasses, error)

// networkPoliciesPart brings the tenant's policies to the host.
func (c *composition) networkPoliciesPart() (part, error) {
	if !c.config.Sync.ToHost.NetworkPolicies.Enabled {
		return part{}, nil
	}
	p, err := policies.New(policies.Config{
		Translator: c.translator, Informers: c.shared, Host: c.lead.host, Pods: c.lead.hostMetadata, Network: c.network(), Events: c.report,
	})
	if err != nil {
		return part{}, err
	}
	return part{leading: p.Run}, nil
}

// network describes the host as policies see it, where doors may come and go.
func (c *composition) network() func() rewrite.Network {
	door := rewrite.Door{Selector: c.doorOptions(c.at).DNSSelector(), APIPort: int32(c.at.Port())}
	if c.dnsSockets != nil {
		door.DNSPort = c.dnsSockets.Port()
	}
	bounds := policyBounds(&c.config.Isolation)
	return func() rewrite.Network {
		door := door
		for _, at := range c.virtualCluster.doors.Ready() {
			door.Addresses = append(door.Addresses, at.Addr())
		}
		return rewrite.Network{Door: door, Bounds: bounds}
	}
}

// policyBounds are the rules of the chart's NAME-workloads, if there is one.
func policyBounds(i *config.Isolation) *rewrite.PolicyBounds {
	if !i.Enabled || !i.NetworkPolicy.Enabled {
		return nil
	}
	out := i.NetworkPolicy.OutgoingConnections
	var b rewrite.PolicyBounds
	if out.DNS {
		rule := networkingv1.NetworkPolicyEgressRule{}
		for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
			rule.Ports = append(rule.Ports, networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: ptr.To(intstr.FromInt32(rewrite.DNSServicePort))})
		}
		b.Egress = append(b.Egress, rule)
	}
	if out.IPBlock.CIDR != "" {
		b.Egress = append(b.Egress, networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{
			{IPBlock: &networkingv1.IPBlock{CIDR: out.IPBlock.CIDR, Except: out.IPBlock.Except}},
		}})
	}
	b.Egress = append(b.Egress, i.NetworkPolicy.Workloads.Egress...)
	return &b
}
