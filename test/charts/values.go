// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"encoding/json"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/cmd/porticod/config"
)

// controlPlane are the values of the chart that are not porticod's. Their
// meaning is in values.yaml.
type controlPlane struct {
	Image struct {
		Repository  string   `json:"repository"`
		Tag         string   `json:"tag"`
		Digest      string   `json:"digest"`
		PullPolicy  string   `json:"pullPolicy"`
		PullSecrets []string `json:"pullSecrets"`
	} `json:"image"`
	Replicas    int            `json:"replicas"`
	Paused      bool           `json:"paused"`
	Resources   map[string]any `json:"resources"`
	Persistence persistence    `json:"persistence"`
	Etcd        struct {
		Enabled     bool           `json:"enabled"`
		Replicas    int            `json:"replicas"`
		Image       string         `json:"image"`
		Resources   map[string]any `json:"resources"`
		Persistence persistence    `json:"persistence"`
	} `json:"etcd"`
	StoreSecret string `json:"storeSecret"`
	AuditSecret string `json:"auditSecret"`
	HooksSecret string `json:"hooksSecret"`
	Service     struct {
		Type                     string            `json:"type"`
		NodePort                 int               `json:"nodePort"`
		Annotations              map[string]string `json:"annotations"`
		LoadBalancerIP           string            `json:"loadBalancerIP"`
		LoadBalancerSourceRanges []string          `json:"loadBalancerSourceRanges"`
		ExternalTrafficPolicy    string            `json:"externalTrafficPolicy"`
	} `json:"service"`
	Ingress struct {
		Enabled     bool              `json:"enabled"`
		ClassName   string            `json:"className"`
		Host        string            `json:"host"`
		Annotations map[string]string `json:"annotations"`
	} `json:"ingress"`
	Spread struct {
		Enabled           bool   `json:"enabled"`
		TopologyKey       string `json:"topologyKey"`
		WhenUnsatisfiable string `json:"whenUnsatisfiable"`
	} `json:"spread"`
	PodDisruptionBudget struct {
		Enabled bool `json:"enabled"`
	} `json:"podDisruptionBudget"`
	NetworkPolicy struct {
		Enabled bool  `json:"enabled"`
		From    []any `json:"from"`
	} `json:"networkPolicy"`
	Metrics struct {
		Enabled bool  `json:"enabled"`
		From    []any `json:"from"`
	} `json:"metrics"`
	ServiceMonitor struct {
		Enabled  bool              `json:"enabled"`
		Interval string            `json:"interval"`
		Labels   map[string]string `json:"labels"`
	} `json:"serviceMonitor"`
	PrometheusRule struct {
		Enabled bool              `json:"enabled"`
		Labels  map[string]string `json:"labels"`
	} `json:"prometheusRule"`
	Dashboard struct {
		Enabled bool              `json:"enabled"`
		Labels  map[string]string `json:"labels"`
	} `json:"dashboard"`
	NodeSelector      map[string]string   `json:"nodeSelector"`
	Tolerations       []corev1.Toleration `json:"tolerations"`
	Affinity          map[string]any      `json:"affinity"`
	PriorityClassName string              `json:"priorityClassName"`
	Annotations       map[string]string   `json:"annotations"`
	Labels            map[string]string   `json:"labels"`
}

type persistence struct {
	Enabled      bool   `json:"enabled"`
	Size         string `json:"size"`
	StorageClass string `json:"storageClass"`
	Keep         bool   `json:"keep"`
}

// fixed are the keys of portico.yaml that the chart sets.
var fixed = []string{
	"name", "dataDir", "listen", "kubeconfigPath", "replicas", "coredns.listen", "metrics.listen",
	"host.kubeconfig", "host.namespace", "host.advertiseAddress", "host.serviceName",
}

// limits are the bounds of a value that its type does not have.
var limits = map[string]map[string]any{
	"image.repository":              {"minLength": 1},
	"image.digest":                  {"pattern": "^(sha256:[0-9a-f]{64})?$"},
	"image.pullPolicy":              {"enum": []any{"Always", "IfNotPresent", "Never"}},
	"replicas":                      {"minimum": 1},
	"etcd.replicas":                 {"enum": []any{1, 3, 5, 7}},
	"etcd.image":                    {"minLength": 1},
	"service.type":                  {"enum": []any{"ClusterIP", "NodePort", "LoadBalancer"}},
	"service.nodePort":              {"minimum": 0, "maximum": 65535},
	"service.externalTrafficPolicy": {"enum": []any{"", "Cluster", "Local"}},
	"spread.whenUnsatisfiable":      {"enum": []any{"DoNotSchedule", "ScheduleAnyway"}},
}

// schema is values.schema.json.
func schema() ([]byte, error) {
	s := config.Schema(fixed...)
	s["$schema"] = config.SchemaDialect
	s["title"] = "Values of a virtual cluster"
	properties := s["properties"].(map[string]any)
	properties["controlPlane"] = config.SchemaOf(reflect.TypeFor[controlPlane](), func(path string, s map[string]any) bool {
		for rule, value := range limits[path] {
			s[rule] = value
		}
		return true
	})
	// Helm gives it to every chart.
	properties["global"] = map[string]any{"type": "object"}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	err := e.Encode(s)
	return []byte(b.String()), err
}
