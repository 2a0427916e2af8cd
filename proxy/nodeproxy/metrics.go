// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodeproxy

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// ofTheNode are the metrics without a pod that are shown, and the beginnings of
// the names of more.
var (
	ofTheNode         = []string{"cadvisor_version_info", "container_scrape_error", "resource_scrape_error", "scrape_error"}
	ofTheNodePrefixes = []string{"machine_", "node_"}
)

// metricsAt asks for metrics in Prometheus' text format.
func metricsAt(segments ...string) func(context.Context, *Server, string, map[string]string) ([]byte, error) {
	return func(ctx context.Context, s *Server, node string, _ map[string]string) ([]byte, error) {
		raw, err := s.fromKubelet(ctx, node, "text/plain", nil, segments...)
		if err != nil {
			return nil, err
		}
		known, err := s.byHostName(node)
		if err != nil {
			return nil, err
		}
		return s.filterMetrics(raw, known)
	}
}

// filterMetrics shows the series about known pods, under their virtual names,
// and those about the node as a whole.
func (s *Server) filterMetrics(raw []byte, known map[string]*corev1.Pod) ([]byte, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("parse metrics: %w", err)
	}
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(families)) {
		family := families[name]
		family.Metric = slices.DeleteFunc(family.Metric, func(m *dto.Metric) bool { return !s.show(name, m, known) })
		if len(family.Metric) == 0 {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&out, family); err != nil {
			return nil, fmt.Errorf("write metrics: %w", err)
		}
	}
	return out.Bytes(), nil
}

// show says whether a series is shown, and gives it its virtual names.
func (s *Server) show(metric string, m *dto.Metric, known map[string]*corev1.Pod) bool {
	pod, namespace := label(m, "pod"), label(m, "namespace")
	if pod.GetValue() == "" {
		return namespace.GetValue() == "" && nodeWide(metric, m)
	}
	virtual := known[pod.GetValue()]
	if virtual == nil || namespace.GetValue() != s.cfg.Translator.Cluster().HostNamespace {
		return false
	}
	if uid := label(m, "pod_uid"); uid != nil && uid.GetValue() != string(virtual.UID) {
		return false
	}
	pod.Value, namespace.Value = ptr.To(virtual.Name), ptr.To(virtual.Namespace)
	return true
}

// nodeWide are series about the whole machine: of a list, or of the root
// control group, but not by interface, because those are the other pods'.
func nodeWide(metric string, m *dto.Metric) bool {
	if id := label(m, "id"); id != nil {
		return id.GetValue() == "/" && label(m, "interface") == nil
	}
	return slices.Contains(ofTheNode, metric) ||
		slices.ContainsFunc(ofTheNodePrefixes, func(p string) bool { return strings.HasPrefix(metric, p) })
}

func label(m *dto.Metric, name string) *dto.LabelPair {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l
		}
	}
	return nil
}
