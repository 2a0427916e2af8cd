// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"
	clientretry "k8s.io/client-go/util/retry"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
	"k8s.io/klog/v2"
	schedulingapiv1 "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
	schedulingrest "k8s.io/kubernetes/pkg/registry/scheduling/rest"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

const (
	// bootstrapInterval and bootstrapTimeout bound the attempts to write the
	// objects that a server makes for itself; without them it ends, as upstream's.
	bootstrapInterval = 100 * time.Millisecond
	bootstrapTimeout  = 30 * time.Second

	// bootstrapWriters is how many of these objects are written at a time: the
	// store makes one transaction of those that come together.
	bootstrapWriters = 8
)

// rbacProvider is upstream's, whose hook that writes the roles waits a second
// before it begins, and then reads them one by one (EnsureRBACPolicy in
// pkg/registry/rbac/rest/storage_rbac.go). A server is not ready before.
type rbacProvider struct{ rbacrest.RESTStorageProvider }

// PostStartHook implements genericapiserver.PostStartHookProvider.
func (rbacProvider) PostStartHook() (string, genericapiserver.PostStartHookFunc, error) {
	return rbacrest.PostStartHookName, bootstrap("roles", ensureRoles), nil
}

// schedulingProvider is upstream's, with the same second before the system's
// priority classes (pkg/registry/scheduling/rest/storage_scheduling.go).
type schedulingProvider struct {
	schedulingrest.RESTStorageProvider
}

// PostStartHook implements genericapiserver.PostStartHookProvider.
func (schedulingProvider) PostStartHook() (string, genericapiserver.PostStartHookFunc, error) {
	return schedulingrest.PostStartHookName, bootstrap("system priority classes", ensurePriorityClasses), nil
}

// bootstrap returns a hook that calls ensure, at once and until it succeeds.
func bootstrap(what string, ensure func(context.Context, kubernetes.Interface) error) genericapiserver.PostStartHookFunc {
	return func(hook genericapiserver.PostStartHookContext) error {
		client, err := kubernetes.NewForConfig(hook.LoopbackClientConfig)
		if err != nil {
			return err
		}
		var last error
		err = wait.PollUntilContextTimeout(hook, bootstrapInterval, bootstrapTimeout, true, func(ctx context.Context) (bool, error) {
			if last = ensure(ctx, client); last != nil {
				klog.FromContext(ctx).V(1).Info("Not all could be written yet", "objects", what, "err", last)
			}
			return last == nil, nil
		})
		if err != nil {
			return fmt.Errorf("initialize %s: %w", what, errors.Join(err, last))
		}
		return nil
	}
}

// ensureRoles makes the roles and bindings that upstream's hook makes, and gives
// them again the rules and subjects that are missing, but for the protected ones.
// It writes nothing if nothing is missing. Upstream's copies from names of before
// 1.9 are left out: no store of ours is as old.
func ensureRoles(ctx context.Context, client kubernetes.Interface) error {
	rbac, namespaces := client.RbacV1(), client.CoreV1().Namespaces()
	roles, err := rbac.ClusterRoles().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	bindings, err := rbac.ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	listedRoles := listedClusterRoles{rbac.ClusterRoles(), byName(roles.Items)}
	listedBindings := listedClusterRoleBindings{rbac.ClusterRoleBindings(), byName(bindings.Items)}

	var work errgroup.Group
	work.SetLimit(bootstrapWriters)
	for _, role := range append(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()...) {
		work.Go(func() error {
			return reconcileRole(reconciliation.ClusterRoleRuleOwner{ClusterRole: &role},
				reconciliation.ClusterRoleModifier{Client: listedRoles}, reconciliation.ClusterRoleModifier{Client: rbac.ClusterRoles()})
		})
	}
	for _, binding := range append(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()...) {
		work.Go(func() error {
			return reconcileBinding(reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &binding},
				reconciliation.ClusterRoleBindingClientAdapter{Client: listedBindings},
				reconciliation.ClusterRoleBindingClientAdapter{Client: rbac.ClusterRoleBindings()})
		})
	}
	for _, roles := range bootstrappolicy.NamespaceRoles() {
		for _, role := range roles {
			live := reconciliation.RoleModifier{Client: rbac, NamespaceClient: namespaces}
			work.Go(func() error { return reconcileRole(reconciliation.RoleRuleOwner{Role: &role}, live, live) })
		}
	}
	for _, bindings := range bootstrappolicy.NamespaceRoleBindings() {
		for _, binding := range bindings {
			live := reconciliation.RoleBindingClientAdapter{Client: rbac, NamespaceClient: namespaces}
			work.Go(func() error {
				return reconcileBinding(reconciliation.RoleBindingAdapter{RoleBinding: &binding}, live, live)
			})
		}
	}
	return work.Wait()
}

// reconcileRole brings one role in order. listed is asked first; live is for the
// case that the list was of the past.
func reconcileRole(role reconciliation.RuleOwner, listed, live reconciliation.RuleOwnerModifier) error {
	err := retried(listed, live, func(client reconciliation.RuleOwnerModifier) error {
		_, err := (&reconciliation.ReconcileRoleOptions{Role: role, Client: client, Confirm: true}).Run()
		return err
	})
	if err != nil {
		return fmt.Errorf("role %s: %w", role.GetName(), err)
	}
	return nil
}

// reconcileBinding does the same with a binding.
func reconcileBinding(binding reconciliation.RoleBinding, listed, live reconciliation.RoleBindingModifier) error {
	err := retried(listed, live, func(client reconciliation.RoleBindingModifier) error {
		_, err := (&reconciliation.ReconcileRoleBindingOptions{RoleBinding: binding, Client: client, Confirm: true}).Run()
		return err
	})
	if err != nil {
		return fmt.Errorf("binding %s: %w", binding.GetName(), err)
	}
	return nil
}

// retried calls do with the first client, and then with the second one for as
// long as another writer is in the way.
func retried[T any](first, then T, do func(T) error) error {
	busy := func(err error) bool {
		return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsServiceUnavailable(err)
	}
	client := first
	return clientretry.OnError(clientretry.DefaultBackoff, busy, func() error {
		err := do(client)
		client = then
		return err
	})
}

// listedClusterRoles reads from a list, instead of each role by itself.
type listedClusterRoles struct {
	rbacclient.ClusterRoleInterface
	known map[string]*rbacv1.ClusterRole
}

// Get returns a copy of the role in the list.
func (l listedClusterRoles) Get(_ context.Context, name string, _ metav1.GetOptions) (*rbacv1.ClusterRole, error) {
	if role, ok := l.known[name]; ok {
		return role.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("clusterroles"), name)
}

// listedClusterRoleBindings does the same with bindings.
type listedClusterRoleBindings struct {
	rbacclient.ClusterRoleBindingInterface
	known map[string]*rbacv1.ClusterRoleBinding
}

// Get returns a copy of the binding in the list.
func (l listedClusterRoleBindings) Get(_ context.Context, name string, _ metav1.GetOptions) (*rbacv1.ClusterRoleBinding, error) {
	if binding, ok := l.known[name]; ok {
		return binding.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("clusterrolebindings"), name)
}

func byName[T any, P interface {
	*T
	metav1.Object
}](items []T) map[string]*T {
	named := make(map[string]*T, len(items))
	for i := range items {
		named[P(&items[i]).GetName()] = &items[i]
	}
	return named
}

// ensurePriorityClasses makes the priority classes of the system. Their values
// are protected by validation, so one that exists is right.
func ensurePriorityClasses(ctx context.Context, client kubernetes.Interface) error {
	classes := client.SchedulingV1().PriorityClasses()
	for _, class := range schedulingapiv1.SystemPriorityClasses() {
		_, err := classes.Get(ctx, class.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = classes.Create(ctx, class, metav1.CreateOptions{})
		}
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("priority class %s: %w", class.Name, err)
		}
	}
	return nil
}
