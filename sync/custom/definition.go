// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package custom

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/sync/internal/queue"
)

// LabelFromHost marks virtual objects that show one of the host: definitions,
// Secrets that the host made, and objects of a kind that is shown.
const LabelFromHost = "custom.portico.dev/from-host"

// errTenants is that the tenant has a definition of the kind already.
var errTenants = errors.New("the virtual cluster has a definition of its own under this name: delete it, with its objects, to have the host's")

// definition keeps the definition of a kind inside as it is on the host.
type definition struct {
	name     string
	versions []string // that are copied; none means all
	scope    apiextensionsv1.ResourceScope
	host     apiextensions.Interface
	virtual  apiextensions.Interface
	// ready is called with the shown definition, whenever it is in step.
	ready func(ctx context.Context, shown *apiextensionsv1.CustomResourceDefinition)

	hostView, virtualView cache.SharedIndexInformer
	loop                  *queue.Loop[string]
}

func (d *definition) start(c clock.WithTicker) error {
	d.hostView, d.virtualView = d.view(d.host), d.view(d.virtual)
	d.loop = queue.NewLoop("definitions", c, d.reconcile)
	touch := queue.Each(func(*apiextensionsv1.CustomResourceDefinition) { d.loop.Add(d.name) })
	return errors.Join(queue.Listen(d.loop, "definitions of the host", d.hostView, touch), queue.Listen(d.loop, "definitions", d.virtualView, touch))
}

func (d *definition) run(ctx context.Context, informers sharedInformers) error {
	var running sync.WaitGroup
	defer running.Wait()
	for _, view := range []cache.SharedIndexInformer{d.hostView, d.virtualView} {
		running.Go(func() { view.RunWithContext(ctx) })
	}
	d.loop.Add(d.name)
	return d.loop.Run(ctx, 1, informers)
}

// view watches the one definition, which is all that porticod may see on the host.
func (d *definition) view(c apiextensions.Interface) cache.SharedIndexInformer {
	one := fields.OneTermEqualSelector(metav1.ObjectNameField, d.name).String()
	all := c.ApiextensionsV1().CustomResourceDefinitions()
	return cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = one
			return all.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = one
			return all.Watch(ctx, o)
		},
	}, &apiextensionsv1.CustomResourceDefinition{}, 0, cache.Indexers{})
}

func (d *definition) of(view cache.SharedIndexInformer) *apiextensionsv1.CustomResourceDefinition {
	obj, _, _ := view.GetStore().GetByKey(d.name)
	found, _ := obj.(*apiextensionsv1.CustomResourceDefinition)
	return found
}

func (d *definition) reconcile(ctx context.Context, _ string) (time.Duration, error) {
	host, shown := d.of(d.hostView), d.of(d.virtualView)
	if host == nil {
		klog.FromContext(ctx).Info("The host does not define a kind of sync.custom", "definition", d.name)
		return time.Minute, nil
	}
	want, err := definitionToVirtual(host, d.versions, d.scope)
	if err != nil {
		return 0, fmt.Errorf("definition %s of the host: %w", d.name, err)
	}
	definitions := d.virtual.ApiextensionsV1().CustomResourceDefinitions()
	switch {
	case shown == nil:
		if _, err := definitions.Create(ctx, want, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return 0, fmt.Errorf("create definition %s: %w", d.name, err)
		}
		return 0, nil // the event comes
	case shown.Labels[LabelFromHost] != "true":
		return time.Minute, errTenants
	case shown.DeletionTimestamp != nil:
		return 0, nil
	}
	next := follow(shown, want)
	if !equality.Semantic.DeepEqual(next.Spec, shown.Spec) || next.Labels[LabelFromHost] != shown.Labels[LabelFromHost] {
		if _, err := definitions.Update(ctx, next, metav1.UpdateOptions{}); err != nil {
			return 0, fmt.Errorf("update definition %s: %w", d.name, err)
		}
		return 0, nil
	}
	if slices.ContainsFunc(shown.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	}) {
		d.ready(ctx, shown)
	}
	return 0, nil
}

// follow is the shown definition as want. Versions that objects are stored in stay,
// not served: the API does not let them go.
func follow(shown, want *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinition {
	next := shown.DeepCopy()
	next.Spec = *want.Spec.DeepCopy()
	next.Labels[LabelFromHost] = "true"
	for _, old := range shown.Spec.Versions {
		there := slices.ContainsFunc(next.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Name == old.Name })
		if !there && slices.Contains(shown.Status.StoredVersions, old.Name) {
			old.Served, old.Storage = false, false
			next.Spec.Versions = append(next.Spec.Versions, *old.DeepCopy())
		}
	}
	return next
}

func storageVersion(d *apiextensionsv1.CustomResourceDefinition) string {
	for _, v := range d.Spec.Versions {
		if v.Storage {
			return v.Name
		}
	}
	return ""
}

// definitionToVirtual is the definition that a virtual cluster gets of one of the
// host: the chosen served versions, with all that they say. A webhook of the host
// cannot convert between versions of the tenant's, so there may be but one then.
func definitionToVirtual(host *apiextensionsv1.CustomResourceDefinition, chosen []string, scope apiextensionsv1.ResourceScope) (*apiextensionsv1.CustomResourceDefinition, error) {
	if host.Spec.Scope != scope {
		return nil, fmt.Errorf("its scope is %s, and the configuration says %s", host.Spec.Scope, scope)
	}
	out := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: host.Name, Labels: map[string]string{LabelFromHost: "true"}},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: host.Spec.Group, Names: *host.Spec.Names.DeepCopy(), Scope: host.Spec.Scope,
			PreserveUnknownFields: host.Spec.PreserveUnknownFields,
			Conversion:            &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter},
		},
	}
	// Groups of Kubernetes need it (KEP-1111).
	if approved, ok := host.Annotations[apiextensionsv1.KubeAPIApprovedAnnotation]; ok {
		out.Annotations = map[string]string{apiextensionsv1.KubeAPIApprovedAnnotation: approved}
	}
	stored := -1
	for _, v := range host.Spec.Versions {
		if !v.Served || len(chosen) > 0 && !slices.Contains(chosen, v.Name) {
			continue
		}
		if v.Storage {
			stored = len(out.Spec.Versions)
		}
		v.Storage = false
		out.Spec.Versions = append(out.Spec.Versions, *v.DeepCopy())
	}
	for _, name := range chosen {
		if !slices.ContainsFunc(out.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Name == name }) {
			return nil, fmt.Errorf("version %s is not served", name)
		}
	}
	switch c := host.Spec.Conversion; {
	case len(out.Spec.Versions) == 0:
		return nil, errors.New("no version is served")
	case c != nil && c.Strategy != apiextensionsv1.NoneConverter && len(out.Spec.Versions) > 1:
		return nil, fmt.Errorf("a webhook of the host converts between its versions, which it cannot for a tenant: choose one of %s with versions", versionNames(out))
	case stored < 0 && len(out.Spec.Versions) > 1:
		return nil, fmt.Errorf("the version that the host stores is not served or not among %s", versionNames(out))
	}
	out.Spec.Versions[max(stored, 0)].Storage = true
	return out, nil
}

func versionNames(d *apiextensionsv1.CustomResourceDefinition) string {
	var names []string
	for _, v := range d.Spec.Versions {
		names = append(names, v.Name)
	}
	return strings.Join(names, ", ")
}

// sample is a content with every field of the version that objects are stored in.
func sample(d *apiextensionsv1.CustomResourceDefinition) map[string]any {
	for i := range d.Spec.Versions {
		if v := &d.Spec.Versions[i]; v.Storage && v.Schema != nil && v.Schema.OpenAPIV3Schema != nil {
			out, _ := sampleOf(v.Schema.OpenAPIV3Schema).(map[string]any)
			for _, key := range []string{"apiVersion", "kind", "metadata", "status"} {
				delete(out, key)
			}
			return out
		}
	}
	return nil
}

// sampleOf is a value with every field of a schema.
func sampleOf(s *apiextensionsv1.JSONSchemaProps) any {
	switch s.Type {
	case "object":
		out := map[string]any{}
		for key := range s.Properties {
			below := s.Properties[key]
			out[key] = sampleOf(&below)
		}
		if more := s.AdditionalProperties; more != nil && more.Schema != nil {
			out["*"] = sampleOf(more.Schema)
		}
		return out
	case "array":
		if s.Items != nil && s.Items.Schema != nil {
			return []any{sampleOf(s.Items.Schema)}
		}
		return []any{}
	case "boolean":
		return true
	case "integer", "number":
		return int64(1)
	default:
		return "text"
	}
}
