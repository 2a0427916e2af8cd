// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package hooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

// PatchConfig describes one patch: an expression in CEL over a host object, in one
// of the two forms of a MutatingAdmissionPolicy (KEP-3962).
type PatchConfig struct {
	// Name is in errors, logs and measurements.
	Name string
	// Resources and Operations are as in Config.
	Resources  []string
	Operations []admissionv1.Operation
	// ApplyConfiguration gives an Object{} whose fields are merged into the object;
	// JSONPatch gives a list of JSONPatch{}. One of them is set.
	ApplyConfiguration, JSONPatch string
	// References are objects of the host that the changed object may refer to.
	References []rewrite.Reference
}

// patches are compiled expressions, in order.
type patches struct {
	all       []compiledPatch
	objects   admission.ObjectInterfaces
	converter managedfields.TypeConverter
}

type compiledPatch struct {
	PatchConfig
	patcher patch.Patcher
}

// compile compiles the expressions of patches. An error says which, where in the
// expression, and why.
func compile(configs []PatchConfig) (*patches, error) {
	if len(configs) == 0 {
		return &patches{}, nil // without the schema of every kind, and the environments of a compiler
	}
	p := &patches{objects: admission.NewObjectInterfacesFromScheme(scheme.Scheme), converter: applyconfigurations.NewTypeConverter(scheme.Scheme)}
	compiler, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		return nil, fmt.Errorf("compiler of expressions: %w", err)
	}
	options := plugincel.OptionalVariableDeclarations{HasPatchTypes: true}
	for _, cfg := range configs {
		var evaluator plugincel.MutatingEvaluator
		c := compiledPatch{PatchConfig: cfg}
		if cfg.JSONPatch != "" {
			evaluator = compiler.CompileMutatingEvaluator(&patch.JSONPatchCondition{Expression: cfg.JSONPatch}, options, environment.NewExpressions)
			c.patcher = patch.NewJSONPatcher(evaluator)
		} else {
			evaluator = compiler.CompileMutatingEvaluator(&patch.ApplyConfigurationCondition{Expression: cfg.ApplyConfiguration}, options, environment.NewExpressions)
			c.patcher = patch.NewApplyConfigurationPatcher(evaluator)
		}
		if errs := evaluator.CompilationErrors(); len(errs) > 0 {
			return nil, fmt.Errorf("patch %q: %w", cfg.Name, errors.Join(errs...))
		}
		p.all = append(p.all, c)
	}
	return p, nil
}

// patch returns a host object with the changes of the patches of its kind; the
// object itself stays as it is. The error is a Status.
func (h *Hooks) patch(ctx context.Context, o Object, obj runtime.Object, asks func([]admissionv1.Operation) bool) (runtime.Object, error) {
	for i := range h.patches.all {
		p := &h.patches.all[i]
		if !slices.Contains(p.Resources, o.Resource.Resource) || !asks(p.Operations) {
			continue
		}
		changed, err := h.patches.apply(ctx, p, o, obj)
		if err != nil {
			count(ctx, p.Name, resultFailed)
			klog.FromContext(ctx).Error(err, "Patch failed", "patch", p.Name, "resource", o.Resource.Resource, "virtualObject", o.Virtual)
			return nil, apierrors.NewInternalError(fmt.Errorf("the patch %q of this cluster's operator fails", p.Name))
		}
		if errs := h.laws.CheckChange(obj, changed, p.References); len(errs) > 0 {
			count(ctx, p.Name, resultUnlawful)
			klog.FromContext(ctx).Error(errs.ToAggregate(), "Patch breaks the isolation of this cluster", "patch", p.Name, "resource", o.Resource.Resource, "virtualObject", o.Virtual)
			return nil, unlawful("patch", p.Name, errs)
		}
		count(ctx, p.Name, resultOf(obj, changed))
		obj = changed
	}
	return obj, nil
}

func (p *patches) apply(ctx context.Context, c *compiledPatch, o Object, obj runtime.Object) (runtime.Object, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	attributes, err := admission.NewVersionedAttributes(admission.NewAttributesRecord(
		ofKind(o, obj), ofKind(o, o.Old), o.Kind, m.GetNamespace(), m.GetName(), o.Resource, "",
		admission.Operation(o.Operation), nil, o.DryRun, &user.DefaultInfo{Name: o.User},
	), o.Kind, p.objects)
	if err != nil {
		return nil, err
	}
	changed, err := c.patcher.Patch(ctx, patch.Request{
		MatchedResource: o.Resource, VersionedAttributes: attributes, ObjectInterfaces: p.objects, TypeConverter: p.converter,
	}, celconfig.RuntimeCELCostBudget)
	if err != nil {
		return nil, err
	}
	// One of the forms gives an object without a type.
	content, err := json.Marshal(changed)
	if err != nil {
		return nil, err
	}
	return decoded(obj, content)
}

// ofKind is a copy of an object with its kind, which typed objects mostly lack;
// nil stays nil.
func ofKind(o Object, obj runtime.Object) runtime.Object {
	if obj == nil {
		return nil
	}
	obj = obj.DeepCopyObject()
	obj.GetObjectKind().SetGroupVersionKind(o.Kind)
	return obj
}
