// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodeproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// summary answers /stats/summary. Decoding into the published types drops
// fields that they do not have.
func summary(ctx context.Context, s *Server, node string, params map[string]string) ([]byte, error) {
	raw, err := s.fromKubelet(ctx, node, "application/json", params, "stats", "summary")
	if err != nil {
		return nil, err
	}
	var all stats.Summary
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("decode the summary of %q: %w", node, err)
	}
	known, err := s.byHostName(node)
	if err != nil {
		return nil, err
	}
	own := stats.Summary{Node: all.Node, Pods: []stats.PodStats{}}
	if own.Node.Network != nil {
		// The names of the node's interfaces may be those of other pods.
		own.Node.Network.Interfaces = nil
	}
	for _, p := range all.Pods {
		pod := known[p.PodRef.Name]
		if pod == nil || p.PodRef.Namespace != s.cfg.Translator.Cluster().HostNamespace || p.PodRef.UID != string(pod.UID) {
			continue
		}
		p.PodRef = stats.PodReference{Namespace: pod.Namespace, Name: pod.Name, UID: p.PodRef.UID}
		p.VolumeStats = s.volumes(pod, p.VolumeStats)
		own.Pods = append(own.Pods, p)
	}
	return json.Marshal(own)
}

// volumes are those that the virtual pod has, with the claims that it names.
func (s *Server) volumes(pod *corev1.Pod, all []stats.VolumeStats) []stats.VolumeStats {
	claims := map[string]string{} // by volume
	for _, v := range pod.Spec.Volumes {
		claims[v.Name] = ""
		switch {
		case v.PersistentVolumeClaim != nil:
			claims[v.Name] = v.PersistentVolumeClaim.ClaimName
		case v.Ephemeral != nil:
			claims[v.Name] = pod.Name + "-" + v.Name
		}
	}
	var out []stats.VolumeStats
	for _, v := range all {
		claim, own := claims[v.Name]
		if !own {
			continue
		}
		if v.PVCRef != nil {
			if claim == "" || !slices.Contains(s.cfg.Translator.HostNames("PersistentVolumeClaim", pod.Namespace, claim), v.PVCRef.Name) {
				continue
			}
			v.PVCRef = &stats.PVCReference{Namespace: pod.Namespace, Name: claim}
		}
		out = append(out, v)
	}
	return out
}
