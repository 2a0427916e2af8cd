// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/util/dryrun"
	"k8s.io/kubernetes/pkg/apis/resource"
	controlplaneapiserver "k8s.io/kubernetes/pkg/controlplane/apiserver"
	pvcstore "k8s.io/kubernetes/pkg/registry/core/persistentvolumeclaim/storage"
	podstore "k8s.io/kubernetes/pkg/registry/core/pod/storage"
	servicestore "k8s.io/kubernetes/pkg/registry/core/service/storage"
	resourceclaimstore "k8s.io/kubernetes/pkg/registry/resource/resourceclaim/storage"

	"portico.dev/portico/proxy/host"
)

// Upstream's registry answers a dry run itself, above the storage
// (DryRunnableStorage). About a translated kind that answer would lack the
// host's defaults, and its refusals. The types here embed upstream's storage of
// these kinds, and have the storage below asked instead: the option goes, and a
// mark in the context comes in its place. Admission knows of the dry run from
// before.

// dryRuns replaces the storages of a version of a group that know translated
// kinds.
func dryRuns(storages map[string]rest.Storage) {
	for name, s := range storages {
		switch s := s.(type) {
		case *podstore.REST:
			storages[name] = &podREST{s, hostTries{s}}
		case *podstore.StatusREST:
			storages[name] = &podStatusREST{s}
		case *podstore.EphemeralContainersREST:
			storages[name] = &podEphemeralREST{s}
		case *podstore.ResizeREST:
			storages[name] = &podResizeREST{s}
		case *servicestore.REST:
			storages[name] = &serviceREST{s, hostTries{s}}
		case *servicestore.StatusREST:
			storages[name] = &serviceStatusREST{s}
		case *pvcstore.REST:
			storages[name] = &claimREST{s, hostTries{s}}
		case *pvcstore.StatusREST:
			storages[name] = &claimStatusREST{s}
		case *resourceclaimstore.REST:
			storages[name] = &resourceClaimREST{s, hostTries{s}}
		case *resourceclaimstore.StatusREST:
			storages[name] = &resourceClaimStatusREST{s}
		}
	}
}

// triesClaims is dryRuns for the group of resource claims, where these are
// translated. A storage of ours that is not the host's would make the write.
func (p *coreProvider) triesClaims(group controlplaneapiserver.RESTStorageProvider) controlplaneapiserver.RESTStorageProvider {
	if p.host == nil || !host.Translates(p.host.Translator.Cluster(), resource.Resource("resourceclaims")) {
		return group
	}
	return tried{group}
}

// tried is a group with translated kinds.
type tried struct {
	controlplaneapiserver.RESTStorageProvider
}

// NewRESTStorage implements controlplaneapiserver.RESTStorageProvider.
func (t tried) NewRESTStorage(enabled serverstorage.APIResourceConfigSource, opts generic.RESTOptionsGetter) (genericapiserver.APIGroupInfo, error) {
	info, err := t.RESTStorageProvider.NewRESTStorage(enabled, opts)
	for _, storages := range info.VersionedResourcesStorageMap {
		dryRuns(storages)
	}
	return info, err
}

// The methods of hostTries are nearer than those of upstream's Store, which is
// embedded one level deeper.
type (
	podREST struct {
		*podstore.REST
		hostTries
	}
	podStatusREST    struct{ *podstore.StatusREST }
	podEphemeralREST struct {
		*podstore.EphemeralContainersREST
	}
	podResizeREST struct{ *podstore.ResizeREST }
	serviceREST   struct {
		*servicestore.REST
		hostTries
	}
	serviceStatusREST struct{ *servicestore.StatusREST }
	claimREST         struct {
		*pvcstore.REST
		hostTries
	}
	claimStatusREST   struct{ *pvcstore.StatusREST }
	resourceClaimREST struct {
		*resourceclaimstore.REST
		hostTries
	}
	resourceClaimStatusREST struct{ *resourceclaimstore.StatusREST }
)

// through prepares a request for the storage below: options is the field of its
// options that asks for a dry run.
func through(ctx context.Context, options *[]string) context.Context {
	if !dryrun.IsDryRun(*options) {
		return ctx
	}
	*options = nil
	return host.WithDryRun(ctx)
}

// hostTries has the verbs that can be tried.
type hostTries struct{ upstream rest.StandardStorage }

// Create is that of upstream's interface for creations.
func (t hostTries) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	options = options.DeepCopy()
	ctx = through(ctx, &options.DryRun)
	return t.upstream.Create(ctx, obj, validate, options)
}

// Update implements rest.Updater.
func (t hostTries) Update(ctx context.Context, name string, objInfo rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions,
) (runtime.Object, bool, error) {
	return updateThrough(ctx, t.upstream, name, objInfo, createValidation, updateValidation, forceAllowCreate, options)
}

// Delete implements rest.GracefulDeleter.
func (t hostTries) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	options = options.DeepCopy()
	ctx = through(ctx, &options.DryRun)
	return t.upstream.Delete(ctx, name, validate, options)
}

// DeleteCollection implements rest.CollectionDeleter.
func (t hostTries) DeleteCollection(ctx context.Context, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions, list *metainternalversion.ListOptions) (runtime.Object, error) {
	options = options.DeepCopy()
	ctx = through(ctx, &options.DryRun)
	return t.upstream.DeleteCollection(ctx, validate, options, list)
}

// updateThrough is an update that tells the storage below of a dry run, and of the
// revision that the request names.
func updateThrough(ctx context.Context, upstream rest.Updater, name string, objInfo rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions,
) (runtime.Object, bool, error) {
	options = options.DeepCopy()
	ctx, note := host.WithRevision(through(ctx, &options.DryRun))
	objInfo = rest.WrapUpdatedObjectInfo(objInfo, func(_ context.Context, updated, _ runtime.Object) (runtime.Object, error) {
		note(updated)
		return updated, nil
	})
	return upstream.Update(ctx, name, objInfo, createValidation, updateValidation, forceAllowCreate, options)
}

// Update implements rest.Updater.
func (r *podStatusREST) Update(ctx context.Context, name string, objInfo rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions,
) (runtime.Object, bool, error) {
	return updateThrough(ctx, r.StatusREST, name, objInfo, createValidation, updateValidation, forceAllowCreate, options)
}

// Update implements rest.Updater.
func (r *podEphemeralREST) Update(ctx context.Context, name string, objInfo rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions,
) (runtime.Object, bool, error) {
	return updateThrough(ctx, r.EphemeralContainersREST, name, objInfo, createValidation, updateValidation, forceAllowCreate, options)
}

// Update implements rest.Updater.
func (r *podResizeREST) Update(ctx context.Context, name string, objInfo rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions,
) (runtime.Object, bool, error) {
	return updateThrough(ctx, r.ResizeREST, name, objInfo, createValidation, updateValidation, forceAllowCreate, options)
}

// Update implements rest.Updater.
func (r *serviceStatusREST) Update(ctx context.Context, name string, objInfo rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions,
) (runtime.Object, bool, error) {
	return updateThrough(ctx, r.StatusREST, name, objInfo, createValidation, updateValidation, forceAllowCreate, options)
}

// Update implements rest.Updater.
func (r *claimStatusREST) Update(ctx context.Context, name string, objInfo rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions,
) (runtime.Object, bool, error) {
	return updateThrough(ctx, r.StatusREST, name, objInfo, createValidation, updateValidation, forceAllowCreate, options)
}

// Update implements rest.Updater.
func (r *resourceClaimStatusREST) Update(ctx context.Context, name string, objInfo rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions,
) (runtime.Object, bool, error) {
	return updateThrough(ctx, r.StatusREST, name, objInfo, createValidation, updateValidation, forceAllowCreate, options)
}
