// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package hooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
)

// Config describes one hook.
type Config struct {
	// Name is in errors, logs and measurements.
	Name string
	// URL is where reviews are posted. Its scheme is https.
	URL string
	// CAFile has the authorities of the hook's certificate, in PEM; empty means
	// the system's. CertFile and KeyFile are our certificate; empty means none.
	// All are read again when they change.
	CAFile, CertFile, KeyFile string
	// Timeout is the longest time that a review may take.
	Timeout time.Duration
	// Ignore goes on without the hook where it cannot be asked.
	Ignore bool
	// Resources are those of the objects that are shown, such as "pods".
	Resources []string
	// Operations are those of the writes to the host that are shown. It has no
	// meaning for copies, and on the way back.
	Operations []admissionv1.Operation
	// Back shows virtual objects on their way to the tenant, and no others.
	Back bool
	// References are objects of the host that an answer may refer to.
	References []rewrite.Reference
}

// Object is one object that is shown.
type Object struct {
	// Kind and Resource are its names in the API of its side.
	Kind     schema.GroupVersionKind
	Resource schema.GroupVersionResource
	// Virtual is the name of the virtual object; a hook gets the host's name in the
	// host object.
	Virtual types.NamespacedName
	// Operation is "" for an object on its way back.
	Operation admissionv1.Operation
	// Old is the host object that an update changes; nil for all others.
	Old runtime.Object
	// DryRun says that nothing will be written.
	DryRun bool
	// User is the tenant's user who writes.
	User string
}

// Hooks are those of one virtual cluster, in order. A nil *Hooks shows nothing.
type Hooks struct {
	laws    *rewrite.Translator
	patches *patches
	toHost  []*hook
	back    []*hook
	answers *answers
}

// hook is one of them, with a client of its own.
type hook struct {
	Config
	client *http.Client
	rests  *rests
}

// New returns the hooks and patches of a cluster, nil if there are none. It
// compiles the expressions, reads the files of the configurations, and opens no
// connection.
func New(laws *rewrite.Translator, configs []Config, expressions []PatchConfig, c clock.PassiveClock) (*Hooks, error) {
	if len(configs) == 0 && len(expressions) == 0 {
		return nil, nil
	}
	registerMetrics()
	compiled, err := compile(expressions)
	if err != nil {
		return nil, err
	}
	h := &Hooks{laws: laws, patches: compiled, answers: newAnswers()}
	for _, cfg := range configs {
		// A transport of client-go follows files that change.
		client, err := rest.HTTPClientFor(&rest.Config{
			Host: cfg.URL, Timeout: cfg.Timeout,
			TLSClientConfig: rest.TLSClientConfig{CAFile: cfg.CAFile, CertFile: cfg.CertFile, KeyFile: cfg.KeyFile},
		})
		if err != nil {
			return nil, fmt.Errorf("hook %q: %w", cfg.Name, err)
		}
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		one := &hook{Config: cfg, client: client, rests: newRests(c)}
		if cfg.Back {
			h.back = append(h.back, one)
		} else {
			h.toHost = append(h.toHost, one)
		}
	}
	return h, nil
}

// ToHost patches the host object obj, which is about to be written, shows it to the
// hooks of its kind, and returns it with their changes; obj itself stays as it is. The error
// is a Status: the refusal of a hook, or 500 where one cannot be asked or its
// answer would break the laws.
func (h *Hooks) ToHost(ctx context.Context, o Object, obj runtime.Object) (runtime.Object, error) {
	if h == nil {
		return obj, nil
	}
	changed, _, err := h.show(ctx, o, obj, func(all []admissionv1.Operation) bool { return slices.Contains(all, o.Operation) })
	return changed, err
}

// show shows a host object to some of the hooks. all says that none was passed
// over.
func (h *Hooks) show(ctx context.Context, o Object, obj runtime.Object, asks func([]admissionv1.Operation) bool) (changed runtime.Object, all bool, err error) {
	all = true
	if !h.changes(o.Resource.Resource) {
		return obj, all, nil
	}
	// As it is sent: a time has no fractions of a second there.
	if obj, err = asSent(o, obj); err != nil {
		return nil, false, err
	}
	if obj, err = h.patch(ctx, o, obj, asks); err != nil {
		return nil, false, err
	}
	for _, c := range h.toHost {
		if !slices.Contains(c.Resources, o.Resource.Resource) || !asks(c.Operations) {
			continue
		}
		changed, err := c.review(ctx, o, obj)
		if err != nil {
			if c.pass(ctx, o, err) {
				all = false
				continue
			}
			return nil, false, c.status(err)
		}
		if errs := h.laws.CheckChange(obj, changed, c.References); len(errs) > 0 {
			c.count(ctx, resultUnlawful)
			klog.FromContext(ctx).Error(errs.ToAggregate(), "Hook breaks the isolation of this cluster", "hook", c.Name, "resource", o.Resource.Resource, "virtualObject", o.Virtual)
			return nil, false, unlawful("hook", c.Name, errs)
		}
		c.count(ctx, resultOf(obj, changed))
		obj = changed
	}
	return obj, all, nil
}

// changes reports whether a patch or a hook is for the host objects of a resource.
func (h *Hooks) changes(resource string) bool {
	return slices.ContainsFunc(h.patches.all, func(p compiledPatch) bool { return slices.Contains(p.Resources, resource) }) ||
		slices.ContainsFunc(h.toHost, func(c *hook) bool { return slices.Contains(c.Resources, resource) })
}

// pass counts a review that failed, and reports whether the object goes on
// without it.
func (c *hook) pass(ctx context.Context, o Object, err error) bool {
	var denied *deniedError
	if errors.As(err, &denied) {
		c.count(ctx, resultDenied)
		return false
	}
	klog.FromContext(ctx).Error(err, "Hook failed", "hook", c.Name, "resource", o.Resource.Resource, "virtualObject", o.Virtual, "ignored", c.Ignore)
	if c.Ignore {
		c.count(ctx, resultIgnored)
		return true
	}
	c.count(ctx, resultFailed)
	return false
}

// status is the answer to the tenant. The cause of a failed call is for the
// operator, in the log.
func (c *hook) status(err error) error {
	var denied *deniedError
	if errors.As(err, &denied) {
		return denied.status
	}
	return apierrors.NewInternalError(fmt.Errorf("the hook %q of this cluster's operator cannot be asked", c.Name))
}

func unlawful(what, name string, errs field.ErrorList) error {
	err := apierrors.NewInternalError(fmt.Errorf("the %s %q of this cluster's operator makes a change that is not possible: %w", what, name, errs.ToAggregate()))
	for _, e := range errs {
		err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
			Type: metav1.CauseType(e.Type), Field: e.Field, Message: e.ErrorBody(),
		})
	}
	return err
}

// count counts a review, and notes it in the audit log of the request, if there
// is one.
func (c *hook) count(ctx context.Context, result string) { count(ctx, c.Name, result) }

func count(ctx context.Context, name, result string) {
	reviews.WithLabelValues(name, result).Inc()
	audit.AddAuditAnnotation(ctx, "hooks.portico.dev/"+name, result)
}
