// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/audit"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	psadmission "k8s.io/pod-security-admission/admission"
	psconfig "k8s.io/pod-security-admission/admission/api"
	psapi "k8s.io/pod-security-admission/api"
	psmetrics "k8s.io/pod-security-admission/metrics"
	"k8s.io/pod-security-admission/policy"
)

// PodSecurity is the Pod Security Standard that every pod of a virtual cluster
// meets, with any labels of its namespace.
type PodSecurity struct {
	Level   string
	Version string
	// Namespaces, Usernames and RuntimeClasses of the virtual cluster that are
	// exempt.
	Namespaces     []string
	Usernames      []string
	RuntimeClasses []string
}

const (
	// floorPlugin is the name of the plugin of a [PodSecurity]. Upstream's
	// PodSecurity runs besides it, for the labels of the tenant, and a pod has to
	// pass both: so these can ask for more, and not for less. One plugin could not
	// choose, because two versions of two levels have no order.
	floorPlugin = "OperatorPodSecurity"

	// floorAudit is before the keys of its annotations of audit events, where
	// upstream's plugin has its own.
	floorAudit = "pod-security.portico.dev/"
)

// register adds the plugin to those that upstream runs.
func (s *PodSecurity) register(o *genericoptions.AdmissionOptions) {
	o.Plugins.Register(floorPlugin, func(io.Reader) (admission.Interface, error) { return newFloor(s) })
	o.RecommendedPluginOrder = append(o.RecommendedPluginOrder, floorPlugin)
}

// floor is upstream's admission with the operator's standard as its default,
// asked about namespaces without labels.
type floor struct {
	*admission.Handler
	checks *psadmission.Admission
	least  psapi.LevelVersion
}

func newFloor(s *PodSecurity) (*floor, error) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, fmt.Errorf("checks of Pod Security: %w", err)
	}
	f := &floor{
		Handler: admission.NewHandler(admission.Create, admission.Update),
		checks: &psadmission.Admission{
			Configuration: &psconfig.PodSecurityConfiguration{
				Defaults: psconfig.PodSecurityDefaults{
					Enforce: s.Level, EnforceVersion: s.Version,
					// As upstream has it for a namespace that only names the
					// enforced level: workloads whose pods would be refused are
					// warned of.
					Warn: s.Level, WarnVersion: s.Version,
					Audit: string(psapi.LevelPrivileged), AuditVersion: psapi.VersionLatest,
				},
				Exemptions: psconfig.PodSecurityExemptions{
					Namespaces: s.Namespaces, Usernames: s.Usernames, RuntimeClasses: s.RuntimeClasses,
				},
			},
			Evaluator:        evaluator,
			Metrics:          unmeasured{},
			PodSpecExtractor: psadmission.DefaultPodSpecExtractor{},
			NamespaceGetter:  unlabelled{},
			PodLister:        unlabelled{},
		},
	}
	if err := f.checks.CompleteConfiguration(); err != nil {
		return nil, fmt.Errorf("configure Pod Security: %w", err)
	}
	if err := f.checks.ValidateConfiguration(); err != nil {
		return nil, fmt.Errorf("configure Pod Security: %w", err)
	}
	all, errs := f.checks.PolicyToEvaluate(nil)
	f.least = all.Enforce
	return f, errs.ToAggregate()
}

// Validate implements admission.ValidationInterface.
func (f *floor) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	switch gr := a.GetResource().GroupResource(); {
	case gr == corev1.Resource("namespaces"):
		f.warnOfLess(ctx, a)
		return nil
	case !f.checks.PodSpecExtractor.HasPodSpec(gr):
		return nil
	}
	answer := f.checks.Validate(ctx, reviewed{a})
	for _, w := range answer.Warnings {
		warning.AddWarning(ctx, "", w)
	}
	for key, value := range answer.AuditAnnotations {
		audit.AddAuditAnnotation(ctx, floorAudit+key, value)
	}
	if answer.Allowed {
		return nil
	}
	refusal := admission.NewForbidden(a, errors.New("not allowed by the Pod Security Standard of the cluster"))
	var st *apierrors.StatusError
	if answer.Result == nil || !errors.As(refusal, &st) {
		return refusal
	}
	st.ErrStatus.Message, st.ErrStatus.Reason, st.ErrStatus.Code = answer.Result.Message, answer.Result.Reason, answer.Result.Code
	if answer.Result.Details != nil {
		st.ErrStatus.Details = answer.Result.Details
	}
	return st
}

// warnOfLess warns of a namespace's label that has no effect.
func (f *floor) warnOfLess(ctx context.Context, a admission.Attributes) {
	ns, ok := a.GetObject().(metav1.Object)
	if !ok || a.GetSubresource() != "" {
		return
	}
	if slices.Contains(f.checks.Configuration.Exemptions.Namespaces, a.GetName()) {
		return // upstream's plugin judges by the label alone
	}
	level, err := psapi.ParseLevel(ns.GetLabels()[psapi.EnforceLevelLabel])
	if err == nil && psapi.CompareLevels(level, f.least.Level) < 0 {
		warning.AddWarning(ctx, "", fmt.Sprintf("%s=%s has no effect: the operator of this cluster enforces PodSecurity %q in this namespace",
			psapi.EnforceLevelLabel, level, f.least.String()))
	}
}

// reviewed are attributes in the versions that upstream's checks are for.
type reviewed struct{ admission.Attributes }

func (r reviewed) GetObject() (runtime.Object, error)    { return r.v1(r.Attributes.GetObject()) }
func (r reviewed) GetOldObject() (runtime.Object, error) { return r.v1(r.Attributes.GetOldObject()) }
func (r reviewed) GetUserName() string                   { return r.GetUserInfo().GetName() }
func (r reviewed) GetOperation() admissionv1.Operation {
	return admissionv1.Operation(r.Attributes.GetOperation())
}

func (r reviewed) v1(of runtime.Object) (runtime.Object, error) {
	return legacyscheme.Scheme.ConvertToVersion(of, schema.GroupVersion{Group: r.GetResource().Group, Version: "v1"})
}

// unlabelled shows namespaces as if they had no labels. Pods are asked for only
// when labels change.
type unlabelled struct{}

func (unlabelled) GetNamespace(_ context.Context, name string) (*corev1.Namespace, error) {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil
}

func (unlabelled) ListPods(context.Context, string) ([]*corev1.Pod, error) { return nil, nil }

// unmeasured drops measurements: upstream's plugin has registered the names of
// the metrics, which count the tenant's own levels.
type unmeasured struct{}

func (unmeasured) RecordEvaluation(psmetrics.Decision, psapi.LevelVersion, psmetrics.Mode, psapi.Attributes) {
}
func (unmeasured) RecordExemption(psapi.Attributes)   {}
func (unmeasured) RecordError(bool, psapi.Attributes) {}
