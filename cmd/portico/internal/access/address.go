// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/rewrite"
)

// knock is how long a node's port is tried.
const knock = 2 * time.Second

// Address is where a cluster is reached. The zero Address means that a port has
// to be forwarded.
type Address struct {
	URL string
	// ServerName is in the certificate where the address is not.
	ServerName string
	// Proxy, if set, is the way to the address, with a token in it, and ProxyCA has
	// the authorities of its certificate.
	Proxy   string
	ProxyCA []byte
}

// Find returns the address of a cluster by its Service and its Ingress on the
// host, or by the host's gateway. While an address is being made, it returns why
// there is none yet.
func Find(ctx context.Context, client kubernetes.Interface, namespace, name string) (a Address, pending string, err error) {
	if host, err := ingressHost(ctx, client, namespace, name); err != nil || host != "" {
		return Address{URL: "https://" + host}, "", err
	}
	service, err := client.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return a, "", fmt.Errorf("read the host Service of %s: %w", name, err)
	}
	switch service.Spec.Type {
	case corev1.ServiceTypeLoadBalancer:
		for _, in := range service.Status.LoadBalancer.Ingress {
			if host := cmp.Or(in.Hostname, in.IP); host != "" {
				return Address{URL: url(host, servicePort(service))}, "", nil
			}
		}
		return a, fmt.Sprintf("the load balancer of the host has given no address to the Service %s/%s", namespace, name), nil
	case corev1.ServiceTypeNodePort:
		a, err = nodePort(ctx, client, service)
		return a, "", err
	}
	return throughGateway(ctx, client, namespace, name), "", nil
}

// throughGateway returns the way through the gateway of the host, if there is
// one that is announced (charts/portico-gateway). The name in the certificate
// is how the gateway knows the cluster.
func throughGateway(ctx context.Context, client kubernetes.Interface, namespace, name string) Address {
	// Most hosts have none. A port can always be forwarded.
	host, port, err := net.SplitHostPort(announced(ctx, client).Address)
	if err != nil || host == "" {
		return Address{}
	}
	return Address{URL: "https://" + net.JoinHostPort(host, port), ServerName: name + "." + namespace + ".svc"}
}

// ingressHost returns the host name of the chart's Ingress, if there is one.
func ingressHost(ctx context.Context, client kubernetes.Interface, namespace, name string) (string, error) {
	found, err := client.NetworkingV1().Ingresses(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/name=portico,app.kubernetes.io/instance=" + name,
	})
	if err != nil {
		return "", fmt.Errorf("look for the Ingress of %s: %w", name, err)
	}
	for _, in := range found.Items {
		// Copies of a tenant's Ingresses, which may have any label, have the
		// label of a namespace.
		if _, tenants := in.Labels[rewrite.LabelNamespace]; tenants {
			continue
		}
		for _, rule := range in.Spec.Rules {
			if rule.Host != "" {
				return rule.Host, nil
			}
		}
	}
	return "", nil
}

// nodePort returns the first node that answers.
func nodePort(ctx context.Context, client kubernetes.Interface, service *corev1.Service) (Address, error) {
	port := int32(0)
	if len(service.Spec.Ports) > 0 {
		port = service.Spec.Ports[0].NodePort
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil || port == 0 {
		return Address{}, nil //nolint:nilerr // One who may not see nodes forwards a port.
	}
	var hosts []string
	for _, kind := range []corev1.NodeAddressType{corev1.NodeExternalIP, corev1.NodeInternalIP} {
		for _, n := range nodes.Items {
			for _, a := range n.Status.Addresses {
				if a.Type == kind && !slices.Contains(hosts, a.Address) {
					hosts = append(hosts, a.Address)
				}
			}
		}
	}
	for _, host := range hosts[:min(len(hosts), 3)] {
		d := net.Dialer{Timeout: knock}
		if conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port)))); err == nil {
			_ = conn.Close()
			return Address{URL: url(host, port), ServerName: service.Name + "." + service.Namespace + ".svc"}, nil
		}
	}
	return Address{}, nil
}

func servicePort(s *corev1.Service) int32 {
	if len(s.Spec.Ports) == 0 {
		return 443
	}
	return s.Spec.Ports[0].Port
}

func url(host string, port int32) string {
	return "https://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
}
