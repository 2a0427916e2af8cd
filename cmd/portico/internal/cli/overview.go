// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/cmd/portico/internal/access"
	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/inpod"
	"portico.dev/portico/cmd/portico/internal/release"
	"portico.dev/portico/cmd/portico/internal/wait"
	"portico.dev/portico/rewrite"
)

// overview is all there is to say of a cluster. Its JSON form is stable.
type overview struct {
	cluster.Cluster
	// Problem says why the cluster does not serve.
	Problem string `json:"problem,omitempty"`
	// Address is empty where a port has to be forwarded.
	Address     string `json:"address,omitempty"`
	Credentials bool   `json:"credentials"`

	Release *releaseView `json:"release,omitempty"`
	Pods    []podView    `json:"pods"`
	Claims  []string     `json:"claims"`
	Tenants int          `json:"workloadPods"`
	// Conditions are the troubles that porticod itself reports now.
	Conditions []warningView `json:"conditions"`
	Events     []warningView `json:"warnings"`

	replicas []corev1.Pod // Pods as the host has them
}

type releaseView struct {
	Revision int            `json:"revision"`
	Status   string         `json:"status"`
	Updated  time.Time      `json:"updated"`
	Chart    string         `json:"chart"`
	Values   map[string]any `json:"values"`
}

type podView struct {
	Name     string `json:"name"`
	Node     string `json:"node,omitempty"`
	Image    string `json:"image"`
	Ready    bool   `json:"ready"`
	Restarts int32  `json:"restarts"`
	Problem  string `json:"problem,omitempty"`
}

type warningView struct {
	Object  string    `json:"object"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Seen    time.Time `json:"seen"`
	Count   int32     `json:"count"`
}

// lastWarnings is the number of warnings that are shown.
const lastWarnings = 10

// overview looks at everything of a cluster. Parts that one may not read are
// left out.
func (a *app) overview(ctx context.Context, h *host.Host, c *cluster.Cluster) (*overview, error) {
	o := &overview{Cluster: a.seen(h, []cluster.Cluster{*c})[0], Pods: []podView{}, Claims: []string{}, Events: []warningView{}}
	pods, err := inpod.List(ctx, h.Client, c.Namespace, c.Name)
	if err != nil {
		return nil, err
	}
	o.replicas = pods
	for i := range pods {
		o.Pods = append(o.Pods, viewPod(&pods[i]))
	}
	if !c.Settled() && c.State != cluster.Paused && c.State != cluster.Sleeping {
		o.Problem = wait.Pods(h.Client, c.Namespace, cluster.DoorPods(c.Name), c.Name)(ctx)
	}
	if address, pending, err := access.Find(ctx, h.Client, c.Namespace, c.Name); err == nil {
		o.Address = address.URL
		o.Problem = cmp.Or(o.Problem, pending)
	}
	if _, there, err := access.Administrator(ctx, h.Client, c.Namespace, c.Name); err == nil {
		o.Credentials = there
	}
	if claims, err := cluster.Data(ctx, h.Client, c.Namespace, c.Name); err == nil {
		o.Claims = append(o.Claims, claims...)
	}
	if n, err := cluster.TenantPods(ctx, h.Client, c.Namespace, c.Name); err == nil {
		o.Tenants = n
	}
	if o.Release, err = a.viewRelease(h, c); err != nil {
		return nil, err
	}
	o.Conditions = conditions(ctx, h, c)
	o.Events = append(o.Events, a.warnings(ctx, h, c, pods)...)
	return o, nil
}

func (a *app) viewRelease(h *host.Host, c *cluster.Cluster) (*releaseView, error) {
	releases, err := a.releases(h, c.Namespace)
	if err != nil {
		return nil, err
	}
	history, err := releases.History(c.Name)
	if err != nil || len(history) == 0 {
		return nil, nil //nolint:nilerr // One who may not read Helm's records sees the rest.
	}
	newest := history[len(history)-1]
	v := &releaseView{Revision: newest.Version, Status: newest.Info.Status.String(), Updated: newest.Info.LastDeployed, Values: newest.Config}
	if newest.Chart != nil && newest.Chart.Metadata != nil {
		v.Chart = newest.Chart.Metadata.Name + "-" + newest.Chart.Metadata.Version
	}
	if d := release.Deployed(history); d != nil {
		v.Values = d.Config
	}
	return v, nil
}

func viewPod(p *corev1.Pod) podView {
	v := podView{Name: p.Name, Node: p.Spec.NodeName, Ready: wait.Ready(p)}
	for _, c := range p.Spec.Containers {
		if c.Name == cluster.Container {
			v.Image = c.Image
		}
	}
	for _, s := range p.Status.ContainerStatuses {
		v.Restarts += s.RestartCount
	}
	if !v.Ready {
		v.Problem, _ = wait.Problem(p)
	}
	return v
}

func viewEvent(e corev1.Event) warningView {
	return warningView{
		Object: e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name, Reason: e.Reason, Message: e.Message, Seen: wait.Seen(e), Count: max(e.Count, 1),
	}
}

// warnings returns the newest warnings about the workload and its pods.
func (a *app) warnings(ctx context.Context, h *host.Host, c *cluster.Cluster, pods []corev1.Pod) []warningView {
	events, err := h.Client.CoreV1().Events(c.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=" + corev1.EventTypeWarning})
	if err != nil {
		return nil
	}
	ours := func(name string) bool {
		return name == c.Name || slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Name == name })
	}
	var found []warningView
	for _, e := range events.Items {
		if e.Type != corev1.EventTypeWarning || !ours(e.InvolvedObject.Name) {
			continue
		}
		found = append(found, viewEvent(e))
	}
	slices.SortFunc(found, func(a, b warningView) int { return b.Seen.Compare(a.Seen) })
	return found[:min(len(found), lastWarnings)]
}

// conditions returns the troubles that porticod reports now: the reasons whose
// last Event about the anchor is a warning.
func conditions(ctx context.Context, h *host.Host, c *cluster.Cluster) []warningView {
	found := []warningView{}
	events, err := h.Client.CoreV1().Events(c.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + rewrite.AnchorName(c.Name)})
	if err != nil {
		return found
	}
	last := map[string]corev1.Event{}
	for _, e := range events.Items {
		if e.InvolvedObject.Name != rewrite.AnchorName(c.Name) {
			continue
		}
		if before, ok := last[e.Reason]; !ok || !wait.Seen(e).Before(wait.Seen(before)) {
			last[e.Reason] = e
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(last)) {
		if e := last[reason]; e.Type == corev1.EventTypeWarning {
			found = append(found, viewEvent(e))
		}
	}
	return found
}

// look finds a cluster and looks at everything of it.
func (a *app) look(ctx context.Context, name string) (*host.Host, *overview, error) {
	h, c, err := a.find(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	o, err := a.overview(ctx, h, c)
	return h, o, err
}
