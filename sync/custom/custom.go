// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package custom

import (
	"context"
	"sync/atomic"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/expressions"
)

type sharedInformers = informers.SharedInformerFactory

// Clients are those of one of the two clusters.
type Clients struct {
	Objects     dynamic.Interface
	Definitions apiextensions.Interface
	Core        kubernetes.Interface
}

// Rewriter changes a translated object as the operator says.
type Rewriter interface {
	Rewrite(ctx context.Context, original, translated *unstructured.Unstructured) (*unstructured.Unstructured, error)
}

// NewRewriter compiles CEL expressions, and returns nil for none. The error has
// the line and column of each mistake. A nil translator is for a check alone.
func NewRewriter(rewrites []string, t *rewrite.Translator) (Rewriter, error) {
	if len(rewrites) == 0 {
		return nil, nil
	}
	var cluster expressions.Cluster
	if t != nil {
		cluster = expressions.Cluster{Name: t.Cluster().Name, HostNamespace: t.Cluster().HostNamespace, HostName: t.Name}
	}
	p, err := expressions.Compile(rewrites, cluster)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Config says which objects are copied, and how.
type Config struct {
	Kind rewrite.CustomKind
	// Resource is the kind in URLs, such as certificates.
	Resource string
	// Versions are copied of its definition; none means all that are served. A kind
	// of Kubernetes itself has no definition, and is written in the first of them.
	Versions []string
	Builtin  bool
	// Selector chooses virtual objects. Nil means all.
	Selector labels.Selector
	// StatusBack brings the host's status inside.
	StatusBack bool
	// Rewriter is called after the rules of Kind. Nil changes nothing.
	Rewriter Rewriter

	Translator *rewrite.Translator
	// Informers are of the virtual side.
	Informers sharedInformers
	// Host writes copies, in the cluster's host namespace.
	Virtual, Host Clients
	// Events gets those about objects that the host does not have.
	Events record.EventRecorder
	// Named is called when an object begins or ceases to name Secrets and ConfigMaps.
	Named func(namespace string, refs []rewrite.Reference)
	// Most is how many copies the host has at most; 0 means a thousand.
	Most int
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// selects reports whether a virtual object is for the host.
func (c *Config) selects(v object) bool {
	return c.Selector == nil || c.Selector.Matches(labels.Set(v.GetLabels()))
}

// mostCopies bounds those that the controllers of the host work for.
const mostCopies = 1000

// Controller copies the objects of one kind to the host.
type Controller struct {
	cfg     Config
	current atomic.Pointer[objects]
	// reported is the generation of the definition whose fields were logged last.
	reported atomic.Int64
}

// New returns a controller for the kind. It looks at nothing before Run: the
// kind's definition may come later.
func New(cfg Config) *Controller {
	if cfg.Most == 0 {
		cfg.Most = mostCopies
	}
	return &Controller{cfg: cfg}
}

// Uses reports whether an object that is for the host names a Secret or ConfigMap
// of its namespace.
func (c *Controller) Uses(kind, namespace, name string) bool {
	o := c.current.Load()
	return o != nil && o.uses(kind, namespace, name)
}

// Run works until ctx ends: it brings the definition, and then the objects, again
// whenever these are to be written in another version. A ctx that ends is no error.
func (c *Controller) Run(ctx context.Context) error {
	k := &kind{
		resource: c.resource("").GroupResource(), versions: c.cfg.Versions, builtin: c.cfg.Builtin, scope: apiextensionsv1.NamespaceScoped,
		host: c.cfg.Host.Definitions, virtual: c.cfg.Virtual.Definitions, informers: c.cfg.Informers, clock: c.cfg.Clock, ready: c.ready,
	}
	return k.run(ctx, func(ctx context.Context, resource schema.GroupVersionResource) error {
		o, err := newObjects(&c.cfg, resource)
		if err != nil {
			return err
		}
		c.current.Store(o)
		return o.run(ctx)
	})
}

func (c *Controller) resource(version string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: c.cfg.Kind.Group, Version: version, Resource: c.cfg.Resource}
}

// ready says which fields of a definition keep objects inside.
func (c *Controller) ready(ctx context.Context, shown *apiextensionsv1.CustomResourceDefinition) {
	var fields []string
	for _, e := range c.cfg.Kind.Undeclared(sample(shown)) {
		fields = append(fields, e.Field)
	}
	if len(fields) > 0 && c.reported.Swap(shown.Generation) != shown.Generation {
		klog.FromContext(ctx).Info("Objects with these fields of a custom kind stay inside: they look like references, and no rule is about them",
			"definition", shown.Name, "fields", fields)
	}
}
