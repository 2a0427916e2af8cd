// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"portico.dev/portico/cmd/portico/internal/forward"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/kubeconfig"
	"portico.dev/portico/cmd/portico/internal/output"
)

// finding is one thing that doctor has looked at. Its JSON form is stable.
type finding struct {
	Check string `json:"check"`
	// Verdict is ok, warning or fault. A fault keeps portico create from working.
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`
	Advice  string `json:"advice,omitempty"`
}

const (
	fine    = "ok"
	warning = "warning"
	fault   = "fault"
)

func (a *app) newDoctor() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether virtual clusters can be made on the host",
		Long: `Check the host for the needs of a virtual cluster, and name the remedies: its
version, your rights, storage, DNS, and leftovers in the kubeconfig. -n names the
host namespace of the cluster to be. Nothing is changed.`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := output.CheckFormat(format, output.Table, output.JSON, output.YAML); err != nil {
				return err
			}
			h, err := a.open(a.host, "")
			if err != nil {
				return err
			}
			findings := a.examine(c.Context(), h)
			if format != output.Table {
				err = output.Data(a.streams.Out, format, findings)
			} else {
				a.printFindings(findings)
			}
			for _, f := range findings {
				if err == nil && f.Verdict == fault {
					err = output.WithHint(errors.New("virtual clusters cannot be made on this host as it is"), "see the advice above")
				}
			}
			return err
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "", "json or yaml")
	return c
}

func (a *app) printFindings(findings []finding) {
	for _, f := range findings {
		fmt.Fprintf(a.streams.Out, "%-8s %s: %s\n", f.Verdict, f.Check, f.Detail)
		if f.Advice != "" {
			fmt.Fprintf(a.streams.Out, "%8s %s\n", "", f.Advice)
		}
	}
}

// examine makes all checks. After one that the host does not answer, the rest
// would only say so again.
func (a *app) examine(ctx context.Context, h *host.Host) []finding {
	first := a.examineVersion(h)
	if first.Verdict == fault {
		return []finding{first}
	}
	findings := []finding{first}
	findings = append(findings, a.examineRights(ctx, h)...)
	return append(findings, a.examineStorage(ctx, h), a.examineDNS(ctx, h), a.examineContexts(h))
}

func (a *app) examineVersion(h *host.Host) finding {
	f := finding{Check: "version of the host", Verdict: fine}
	v, err := h.Client.Discovery().ServerVersion()
	if err != nil {
		f.Verdict, f.Detail, f.Advice = fault, err.Error(), "does kubectl get --raw /version work with the context "+h.Context+"?"
		return f
	}
	f.Detail = v.GitVersion
	chart, err := a.chart()
	if err != nil {
		f.Verdict, f.Detail = fault, err.Error()
		return f
	}
	oldest := strings.TrimSuffix(strings.TrimPrefix(chart.Metadata.KubeVersion, ">="), "-0")
	want, errWant := version.ParseGeneric(oldest)
	have, errHave := version.ParseGeneric(v.GitVersion)
	if errWant == nil && errHave == nil && have.LessThan(want) {
		f.Verdict, f.Advice = fault, "a host of version "+oldest+" or newer is needed"
	}
	return f
}

// rights are those that creating, entering and deleting a cluster takes.
var rights = []struct {
	verb, group, resource string
	cluster               bool // not in a namespace
	verdict, advice       string
}{
	{"create", "", "namespaces", true, warning, "name an existing namespace with -n"},
	{"create", "apps", "statefulsets", false, fault, ""},
	{"create", "", "services", false, fault, ""},
	{"create", "", "configmaps", false, fault, ""},
	{"create", "", "secrets", false, fault, ""},
	{"get", "", "secrets", false, fault, ""},
	{"create", "", "serviceaccounts", false, fault, ""},
	{"create", "rbac.authorization.k8s.io", "roles", false, fault, ""},
	{"create", "rbac.authorization.k8s.io", "rolebindings", false, fault, ""},
	{"create", "", "pods/portforward", false, warning, "expose clusters, with --expose or an Ingress, and use their address"},
	{"create", "rbac.authorization.k8s.io", "clusterroles", true, warning, "features that need rights beyond a namespace stay off: see portico create --help and docs/configuration.md"},
}

func (a *app) examineRights(ctx context.Context, h *host.Host) []finding {
	namespace := a.namespace
	if namespace == "" {
		namespace = "portico-doctor" // rights in a namespace that does not exist yet
	}
	var findings []finding
	for _, r := range rights {
		resource, sub, _ := strings.Cut(r.resource, "/")
		attributes := &authorizationv1.ResourceAttributes{Verb: r.verb, Group: r.group, Resource: resource, Subresource: sub}
		if !r.cluster {
			attributes.Namespace = namespace
		}
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: attributes}}
		answer, err := h.Client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		f := finding{Check: "right to " + r.verb + " " + r.resource, Verdict: fine, Detail: "yes"}
		switch {
		case err != nil:
			f.Verdict, f.Detail = warning, err.Error()
		case !answer.Status.Allowed:
			f.Verdict, f.Detail, f.Advice = r.verdict, "no", r.advice
			if f.Advice == "" {
				f.Advice = "ask an administrator of the host for this right in the namespace"
			}
		}
		findings = append(findings, f)
	}
	return findings
}

func (a *app) examineStorage(ctx context.Context, h *host.Host) finding {
	f := finding{Check: "default StorageClass", Verdict: warning,
		Advice: "set controlPlane.persistence.storageClass, or controlPlane.persistence.enabled=false for a cluster that may lose its data"}
	classes, err := h.Client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	for _, c := range classes.Items {
		if c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" {
			return finding{Check: f.Check, Verdict: fine, Detail: c.Name}
		}
	}
	f.Detail = "the host has none"
	return f
}

func (a *app) examineDNS(ctx context.Context, h *host.Host) finding {
	f := finding{Check: "DNS of the host", Verdict: warning, Advice: "names outside of a cluster need coredns.upstream if the host has no DNS"}
	services, err := h.Client.CoreV1().Services(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: "k8s-app=kube-dns"})
	switch {
	case err != nil:
		f.Detail = err.Error()
	case len(services.Items) == 0:
		f.Detail = "there is no Service with the label k8s-app=kube-dns in kube-system"
	default:
		return finding{Check: f.Check, Verdict: fine, Detail: services.Items[0].Name + " at " + services.Items[0].Spec.ClusterIP}
	}
	return f
}

// examineContexts looks for contexts whose forward has ended.
func (a *app) examineContexts(h *host.Host) finding {
	f := finding{Check: "contexts of the kubeconfig", Verdict: fine, Detail: "none leads nowhere"}
	c, err := h.Kubeconfig.Merged()
	dir, errDir := a.background()
	if err = errors.Join(err, errDir); err != nil {
		return finding{f.Check, warning, err.Error(), ""}
	}
	all, err := forward.All(dir)
	if err != nil {
		return finding{f.Check, warning, err.Error(), ""}
	}
	var dead []string
	for name := range c.Contexts {
		origin, ours := kubeconfig.OriginOf(c, name)
		if !ours || !origin.Forwarded {
			continue
		}
		alive := false
		for _, b := range all {
			_, running := b.Running()
			alive = alive || running && b.Spec.Name == origin.Name && b.Spec.Namespace == origin.Namespace
		}
		if !alive {
			dead = append(dead, name)
		}
	}
	if len(dead) > 0 {
		f.Verdict, f.Detail = warning, strings.Join(dead, ", ")+": the forwarded port is gone, or a terminal forwards it"
		f.Advice = a.command + " connect NAME makes it again, " + a.command + " disconnect NAME removes it"
	}
	return f
}
