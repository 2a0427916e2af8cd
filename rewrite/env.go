// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// env gives containers the variables by which they find Services. The kubelet
// would give them those of the host namespace. They come before the tenant's
// own, which may refer to them as $(NAME); a name that the tenant defines is
// the tenant's.
func (c *toHost) env(spec *corev1.PodSpec, links *bool) {
	no := false
	replace(c.overlay, "enableServiceLinks", &spec.EnableServiceLinks, &no)
	vars := c.serviceEnv(links == nil || *links)
	if len(vars) == 0 {
		return
	}
	eachContainer(spec, func(key string, ctr *corev1.Container) {
		own := c.ownEnv(ctr)
		var names []string
		env := make([]corev1.EnvVar, 0, len(vars)+len(ctr.Env))
		for _, v := range vars {
			if !own.has(v.Name) {
				env = append(env, v)
				names = append(names, v.Name)
			}
		}
		if len(names) > 0 {
			c.overlay.put(key+".env", names)
			ctr.Env = append(env, ctr.Env...)
		}
	})
}

// ownEnv are the names that the tenant gives values to: in the kubelet, too, a
// service variable is the weakest. References have their host names already.
func (c *toHost) ownEnv(ctr *corev1.Container) set {
	own := set{}
	for _, e := range ctr.Env {
		own.add(e.Name)
	}
	for _, from := range ctr.EnvFrom {
		for source, keys := range c.in.EnvKeys {
			host := c.t.Name(c.namespace, source.Name)
			if from.ConfigMapRef != nil && source.Kind == "ConfigMap" && from.ConfigMapRef.Name == host ||
				from.SecretRef != nil && source.Kind == "Secret" && from.SecretRef.Name == host {
				for _, k := range keys {
					own.add(from.Prefix + k)
				}
			}
		}
	}
	return own
}

func (c *toVirtual) env(spec *corev1.PodSpec) {
	unreplace(c.overlay, "enableServiceLinks", &spec.EnableServiceLinks)
	eachContainer(spec, func(key string, ctr *corev1.Container) {
		added := c.addedEnv(key)
		if len(added) == 0 {
			return
		}
		ctr.Env = slices.DeleteFunc(ctr.Env, func(e corev1.EnvVar) bool { return added.has(e.Name) })
		if len(ctr.Env) == 0 {
			ctr.Env = nil
		}
	})
}

// addedEnv are the names of the variables that were added to a container.
func (c *toVirtual) addedEnv(key string) set {
	var names []string
	c.overlay.get(key+".env", &names)
	added := set{}
	for _, n := range names {
		added.add(n)
	}
	return added
}

// serviceEnv returns the variables for the API server and, with links, for the
// Services of the namespace, in a fixed order and each name once.
func (c *toHost) serviceEnv(links bool) []corev1.EnvVar {
	var services []*corev1.Service
	if c.t.cluster.APIServerIP != "" {
		kubernetes := &corev1.Service{}
		kubernetes.Name = "kubernetes"
		kubernetes.Spec.ClusterIP = c.t.cluster.APIServerIP
		kubernetes.Spec.Ports = []corev1.ServicePort{{Name: "https", Protocol: corev1.ProtocolTCP, Port: c.t.cluster.APIServerPort}}
		services = append(services, kubernetes)
	}
	if links {
		inNamespace := slices.SortedFunc(slices.Values(c.in.Services), func(a, b *corev1.Service) int { return cmp.Compare(a.Name, b.Name) })
		services = append(services, inNamespace...)
	}
	var out []corev1.EnvVar
	seen := set{}
	for _, s := range services {
		for _, e := range serviceVariables(s) {
			if !seen.has(e.Name) && len(validation.IsRelaxedEnvVarName(e.Name)) == 0 {
				seen.add(e.Name)
				out = append(out, e)
			}
		}
	}
	return out
}

// serviceVariables returns the variables of one Service, as the kubelet names
// them (k8s.io/kubernetes/pkg/kubelet/envvars).
func serviceVariables(s *corev1.Service) []corev1.EnvVar {
	ip := s.Spec.ClusterIP
	if ip == "" || ip == corev1.ClusterIPNone || len(s.Spec.Ports) == 0 {
		return nil
	}
	upper := func(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }
	prefix := upper(s.Name)
	var out []corev1.EnvVar
	set := func(name, value string) { out = append(out, corev1.EnvVar{Name: name, Value: value}) }

	set(prefix+"_SERVICE_HOST", ip)
	set(prefix+"_SERVICE_PORT", strconv.Itoa(int(s.Spec.Ports[0].Port)))
	for _, p := range s.Spec.Ports {
		if p.Name != "" {
			set(prefix+"_SERVICE_PORT_"+upper(p.Name), strconv.Itoa(int(p.Port)))
		}
	}
	for i, p := range s.Spec.Ports {
		port := strconv.Itoa(int(p.Port))
		protocol := strings.ToLower(string(cmp.Or(p.Protocol, corev1.ProtocolTCP)))
		url := protocol + "://" + net.JoinHostPort(ip, port)
		if i == 0 {
			set(prefix+"_PORT", url)
		}
		link := fmt.Sprintf("%s_PORT_%s_%s", prefix, port, strings.ToUpper(protocol))
		set(link, url)
		set(link+"_PROTO", protocol)
		set(link+"_PORT", port)
		set(link+"_ADDR", ip)
	}
	return out
}
