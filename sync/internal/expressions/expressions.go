// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package expressions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"google.golang.org/protobuf/types/known/structpb"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
	"k8s.io/apiserver/pkg/cel/mutation"
	"k8s.io/apiserver/pkg/cel/mutation/dynamic"
)

// Names of the variables.
const (
	varObject   = "object"
	varOriginal = "original"
	varCluster  = "cluster"
)

// Cluster is what expressions know of the cluster.
type Cluster struct {
	Name, HostNamespace string
	// HostName is the host name of a virtual object. It may be nil for a program that
	// is only compiled.
	HostName func(namespace, name string) string
}

// Error is an expression that does not compile.
type Error struct {
	// Index counts expressions from 0; Line and Column count from 1.
	Index, Line, Column int
	Message             string
}

func (e *Error) Error() string {
	return fmt.Sprintf("rewrite[%d]: line %d, column %d: %s", e.Index, e.Line, e.Column, e.Message)
}

// Program is a list of rewrites.
type Program struct {
	cluster Cluster
	steps   []cel.Program
}

// Compile checks the expressions and makes a program of them. The error joins an
// Error for each mistake.
func Compile(expressions []string, cluster Cluster) (*Program, error) {
	env, err := environmentOf(cluster)
	if err != nil {
		return nil, fmt.Errorf("environment of CEL: %w", err)
	}
	p := &Program{cluster: cluster}
	var errs []error
	for i, text := range expressions {
		ast, issues := env.Compile(text)
		if err := issues.Err(); err != nil {
			for _, e := range issues.Errors() {
				errs = append(errs, &Error{Index: i, Line: e.Location.Line(), Column: e.Location.Column() + 1, Message: e.Message})
			}
			continue
		}
		if out := ast.OutputType(); !out.IsExactType(types.NewObjectType(mutation.ObjectTypeName)) &&
			!out.IsExactType(types.NewListType(types.NewObjectType(mutation.JSONPatchTypeName))) {
			errs = append(errs, &Error{Index: i, Line: 1, Column: 1, Message: fmt.Sprintf("gives %s, and must give Object{...} or [JSONPatch{...}]", out)})
			continue
		}
		step, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost), cel.CostLimit(celconfig.PerCallLimit),
			cel.CostTracking(&library.CostEstimator{}), cel.InterruptCheckFrequency(celconfig.CheckFrequency))
		if err != nil {
			errs = append(errs, &Error{Index: i, Line: 1, Column: 1, Message: err.Error()})
			continue
		}
		p.steps = append(p.steps, step)
	}
	return p, errors.Join(errs...)
}

// environmentOf is that of the API server for policies that change objects, with
// our variables.
func environmentOf(cluster Cluster) (*cel.Env, error) {
	set, err := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		EnvOptions: []cel.EnvOption{
			cel.Variable(varObject, cel.DynType), cel.Variable(varOriginal, cel.DynType),
			cel.Variable(varCluster, cel.MapType(cel.StringType, cel.StringType)),
			common.ResolverEnvOption(&mutation.DynamicTypeResolver{}),
			environment.UnversionedLib(library.JSONPatch),
			cel.Function("hostName", cel.Overload("portico_host_name", []*cel.Type{cel.StringType, cel.StringType}, cel.StringType,
				cel.BinaryBinding(func(namespace, name ref.Val) ref.Val {
					n, isText := namespace.(types.String)
					of, isText2 := name.(types.String)
					if !isText || !isText2 || cluster.HostName == nil {
						return types.NewErr("hostName needs a namespace and a name")
					}
					return types.String(cluster.HostName(string(n), string(of)))
				}))),
		},
	})
	if err != nil {
		return nil, err
	}
	return set.Env(environment.StoredExpressions)
}

// Rewrite returns the translated object as the expressions change it, one after
// the other. The error names the expression.
func (p *Program) Rewrite(ctx context.Context, original, translated *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	budget := int64(celconfig.RuntimeCELCostBudget)
	// Neither may be changed by a value that an expression holds.
	object, before := translated.DeepCopy(), original.DeepCopy()
	for i, step := range p.steps {
		value, details, err := step.ContextEval(ctx, map[string]any{
			varObject: object.Object, varOriginal: before.Object,
			varCluster: map[string]string{"name": p.cluster.Name, "hostNamespace": p.cluster.HostNamespace},
		})
		if err != nil {
			return nil, fmt.Errorf("rewrite[%d]: %w", i, err)
		}
		if cost := details.ActualCost(); cost != nil {
			if budget -= int64(min(*cost, celconfig.RuntimeCELCostBudget)); budget < 0 {
				return nil, fmt.Errorf("rewrite[%d]: all expressions together cost too much", i)
			}
		}
		if object, err = apply(object, value); err != nil {
			return nil, fmt.Errorf("rewrite[%d]: %w", i, err)
		}
	}
	return object, nil
}

func apply(object *unstructured.Unstructured, value ref.Val) (*unstructured.Unstructured, error) {
	switch v := value.(type) {
	case *dynamic.ObjectVal:
		return applied(object, v)
	case traits.Lister:
		return patched(object, v)
	default:
		return nil, fmt.Errorf("gives a %s", value.Type().TypeName())
	}
}

// applied merges an Object: maps field by field, and lists as a whole, because no
// schema says how to merge their elements.
func applied(object *unstructured.Unstructured, v *dynamic.ObjectVal) (*unstructured.Unstructured, error) {
	if err := v.CheckTypeNamesMatchFieldPathNames(); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(v.Value())
	if err != nil {
		return nil, err
	}
	return merged(object, raw, jsonpatch.MergePatch)
}

// patched applies a list of JSONPatch. One with a test that fails changes nothing,
// as in a MutatingAdmissionPolicy.
func patched(object *unstructured.Unstructured, list traits.Lister) (*unstructured.Unstructured, error) {
	var patch []map[string]any
	for i := list.Iterator(); i.HasNext() == types.True; {
		native, err := i.Next().ConvertToNative(reflect.TypeFor[*mutation.JSONPatchVal]())
		if err != nil {
			return nil, err
		}
		op, ok := native.(*mutation.JSONPatchVal)
		if !ok {
			return nil, fmt.Errorf("an element is a %T", native)
		}
		operation := map[string]any{"op": op.Op, "path": op.Path}
		if op.From != "" {
			operation["from"] = op.From
		}
		if op.Val != nil {
			if o, ok := op.Val.(*dynamic.ObjectVal); ok {
				if err := o.CheckTypeNamesMatchFieldPathNames(); err != nil {
					return nil, err
				}
			}
			value, err := op.Val.ConvertToNative(reflect.TypeFor[*structpb.Value]())
			if err != nil {
				return nil, fmt.Errorf("the value for %s: %w", op.Path, err)
			}
			operation["value"] = value
		}
		patch = append(patch, operation)
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	next, err := merged(object, raw, func(document, raw []byte) ([]byte, error) {
		operations, err := jsonpatch.DecodePatch(raw)
		if err != nil {
			return nil, err
		}
		return operations.Apply(document)
	})
	if errors.Is(err, jsonpatch.ErrTestFailed) {
		return object, nil
	}
	return next, err
}

func merged(object *unstructured.Unstructured, patch []byte, merge func(document, patch []byte) ([]byte, error)) (*unstructured.Unstructured, error) {
	document, err := object.MarshalJSON()
	if err != nil {
		return nil, err
	}
	changed, err := merge(document, patch)
	if err != nil {
		return nil, err
	}
	next := &unstructured.Unstructured{}
	if err := next.UnmarshalJSON(changed); err != nil {
		return nil, errors.New(strings.TrimSpace(err.Error()))
	}
	return next, nil
}
