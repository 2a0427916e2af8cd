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

// A kubelet gives containers the variables by which they find the Services of
// their namespace: here, those of the host namespace. So the host pod has
// enableServiceLinks off, and each container reads a ConfigMap that has the
// virtual Services' variables (ServiceVariables), in front of all that its
// tenant wrote. This is the rank that the variables have in a kubelet: weaker
// than the tenant's own, from anywhere, and known to them as $(NAME). The kubelet
// reads it at each start of a container, and a pod does not grow with Services
// (k8s.io/kubernetes/pkg/kubelet, makeEnvironmentVariables).
//
// The container waits for the ConfigMap: one that started without the address of
// the API server would not find it for as long as it runs.
//
// Earlier versions wrote the variables into each container, with a record of
// their names. Such pods keep them.

// env has the containers read the variables of Services.
func (c *translation) env(spec *corev1.PodSpec, links *bool) {
	no := false
	replace(c.overlay, "enableServiceLinks", &spec.EnableServiceLinks, &no)
	of := c.namespace
	if links != nil && !*links {
		if of = ""; c.t.cluster.APIServerIP == "" {
			return
		}
	}
	from := corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: c.t.ServiceVariablesName(of)},
	}}
	eachContainer(spec, func(_ string, ctr *corev1.Container) {
		ctr.EnvFrom = slices.Insert(ctr.EnvFrom, 0, *from.DeepCopy())
	})
}

func (c *restoration) env(spec *corev1.PodSpec) {
	unreplace(c.overlay, "enableServiceLinks", &spec.EnableServiceLinks)
	eachContainer(spec, func(key string, ctr *corev1.Container) {
		ctr.EnvFrom = slices.DeleteFunc(ctr.EnvFrom, func(e corev1.EnvFromSource) bool { return c.readsVariables(&e) })
		if len(ctr.EnvFrom) == 0 {
			ctr.EnvFrom = nil
		}
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

// readsVariables reports whether a source is the one that was added. No tenant
// can use its name.
func (c *restoration) readsVariables(e *corev1.EnvFromSource) bool {
	return e.ConfigMapRef != nil &&
		(e.ConfigMapRef.Name == c.t.ServiceVariablesName(c.namespace) || e.ConfigMapRef.Name == c.t.ServiceVariablesName(""))
}

// addedEnv are the names of the variables that an earlier version added to a
// container.
func (c *restoration) addedEnv(key string) set {
	var names []string
	c.overlay.get(key+".env", &names)
	added := set{}
	for _, n := range names {
		added.add(n)
	}
	return added
}

// maxServiceVariables bounds the host ConfigMap of the variables of a namespace,
// with the managedFields that the host adds, by the size of a request to an etcd.
const maxServiceVariables = 1 << 20

// ServiceVariables returns the variables of the Services of a virtual namespace,
// which is the content of its ConfigMap on the host (ServiceVariablesName).
// Those of the API server are among them. The namespace "" stands for pods that
// want no others. Services that do not fit are left out, the youngest first; left
// is their number.
func (t *Translator) ServiceVariables(namespace string, services []*corev1.Service) (data map[string]string, left int) {
	ofNamespace := slices.SortedFunc(slices.Values(services), func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	// As in a kubelet, a Service of that name in the pod's own namespace wins.
	own := func(s *corev1.Service) bool { return s.Name == "kubernetes" }
	switch i := slices.IndexFunc(ofNamespace, own); {
	case t.cluster.APIServerIP == "" || i >= 0 && namespace != "default" && len(serviceVariables(ofNamespace[i])) > 0:
	default:
		ofNamespace = slices.Insert(slices.DeleteFunc(ofNamespace, own), 0, t.apiServer())
	}
	data = map[string]string{}
	size := 0
	for i, s := range ofNamespace {
		vars := serviceVariables(s)
		for _, e := range vars {
			size += 2*len(e.Name) + len(e.Value) + 16
		}
		if size > maxServiceVariables {
			return data, len(ofNamespace) - i
		}
		for _, e := range vars {
			if _, taken := data[e.Name]; !taken && len(validation.IsConfigMapKey(e.Name)) == 0 {
				data[e.Name] = e.Value
			}
		}
	}
	return data, 0
}

// apiServer is the Service default/kubernetes as pods need it.
func (t *Translator) apiServer() *corev1.Service {
	s := &corev1.Service{}
	s.Name = "kubernetes"
	s.Spec.ClusterIP = t.cluster.APIServerIP
	s.Spec.Ports = []corev1.ServicePort{{Name: "https", Protocol: corev1.ProtocolTCP, Port: t.cluster.APIServerPort}}
	return s
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
