// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
)

// Client is the part of a typed client that reads and writes objects of a kind.
type Client[T any] = copies.Client[T]

// Pushed is a kind that the host has copies of.
type Pushed[T metav1.Object] struct {
	// Kind and Resource are its names in the API.
	Kind, Resource string
	// Client is that of one namespace, of either cluster. A kind without
	// namespaces ignores it.
	Client func(cluster kubernetes.Interface, namespace string) Client[T]
	// Informer is that of the virtual cluster, or of a view of the host.
	Informer func(informers.SharedInformerFactory) cache.SharedIndexInformer
	// ToHost returns the copy that a virtual object is to have.
	ToHost func(t *rewrite.Translator, virtual T, in rewrite.Inputs) (T, error)
	// ToVirtual returns the virtual object that a host object is the copy of, and
	// whether it is a copy of this cluster.
	ToVirtual func(t *rewrite.Translator, host T) (namespace, name string, ours bool)
	// ClusterWide is set for a kind without namespaces.
	ClusterWide bool

	Rules copies.Rules[T]
}

// Copies returns how copies are kept with a client of the host and a view of it.
func (k Pushed[T]) Copies(t *rewrite.Translator, host kubernetes.Interface, view informers.SharedInformerFactory) copies.Kind[T] {
	namespace, seen := t.Cluster().HostNamespace, k.Informer(view).GetStore()
	if k.ClusterWide {
		namespace = ""
	}
	return copies.Kind[T]{
		Client:  k.Client(host, namespace),
		Seen:    func(name string) (T, error) { return Stored[T](seen, namespace, name) },
		Removed: &copies.Removed{},
		Ours: func(host T) bool {
			_, _, ours := k.ToVirtual(t, host)
			return ours
		},
		Rules: k.Rules,
	}
}

// PushedSecrets are copied for the pods that name them.
var PushedSecrets = Pushed[*corev1.Secret]{
	Kind: "Secret", Resource: "secrets",
	Client: func(c kubernetes.Interface, namespace string) Client[*corev1.Secret] {
		return c.CoreV1().Secrets(namespace)
	},
	Informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
		return f.Core().V1().Secrets().Informer()
	},
	ToHost:    alone((*rewrite.Translator).SecretToHost),
	ToVirtual: identified[*corev1.Secret]("Secret"),
	Rules: copies.Rules[*corev1.Secret]{
		Same: hostview.Same[*corev1.Secret], SameSeen: hostview.SameSeen[*corev1.Secret], Metadata: rewrite.CopyChanges,
		// The API does not let them change (ValidateSecretUpdate).
		Fixed: func(want, host *corev1.Secret) bool {
			return ptr.Deref(host.Immutable, false) || secretType(want) != secretType(host)
		},
		Patch: func(want, host *corev1.Secret) map[string]any {
			return map[string]any{"data": hostview.Changes(want.Data, host.Data), "immutable": want.Immutable}
		},
	},
}

// PushedConfigMaps are copied for the pods that name them.
var PushedConfigMaps = Pushed[*corev1.ConfigMap]{
	Kind: "ConfigMap", Resource: "configmaps",
	Client: func(c kubernetes.Interface, namespace string) Client[*corev1.ConfigMap] {
		return c.CoreV1().ConfigMaps(namespace)
	},
	Informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
		return f.Core().V1().ConfigMaps().Informer()
	},
	ToHost:    alone((*rewrite.Translator).ConfigMapToHost),
	ToVirtual: identified[*corev1.ConfigMap]("ConfigMap"),
	Rules: copies.Rules[*corev1.ConfigMap]{
		Same: hostview.Same[*corev1.ConfigMap], SameSeen: hostview.SameSeen[*corev1.ConfigMap], Metadata: rewrite.CopyChanges,
		// The API does not let it change (ValidateConfigMapUpdate).
		Fixed: func(_, host *corev1.ConfigMap) bool { return ptr.Deref(host.Immutable, false) },
		Patch: func(want, host *corev1.ConfigMap) map[string]any {
			return map[string]any{
				"data": hostview.Changes(want.Data, host.Data), "binaryData": hostview.Changes(want.BinaryData, host.BinaryData),
				"immutable": want.Immutable,
			}
		},
	},
}

// PushedEndpointSlices are the slices of Services without a selector.
var PushedEndpointSlices = Pushed[*discoveryv1.EndpointSlice]{
	Kind: "EndpointSlice", Resource: "endpointslices",
	Client: func(c kubernetes.Interface, namespace string) Client[*discoveryv1.EndpointSlice] {
		return c.DiscoveryV1().EndpointSlices(namespace)
	},
	Informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
		return f.Discovery().V1().EndpointSlices().Informer()
	},
	ToHost:    (*rewrite.Translator).EndpointSliceToHost,
	ToVirtual: identified[*discoveryv1.EndpointSlice]("EndpointSlice"),
	Rules: copies.Rules[*discoveryv1.EndpointSlice]{
		Metadata: rewrite.CopyChanges,
		Same: func(want, host *discoveryv1.EndpointSlice) bool {
			return want.AddressType == host.AddressType &&
				apiequality.Semantic.DeepEqual(want.Endpoints, host.Endpoints) && apiequality.Semantic.DeepEqual(want.Ports, host.Ports)
		},
		// The API does not let it change (ValidateEndpointSliceUpdate).
		Fixed: func(want, host *discoveryv1.EndpointSlice) bool { return want.AddressType != host.AddressType },
		Patch: func(want, _ *discoveryv1.EndpointSlice) map[string]any {
			// Lists of a merge patch replace those that are there.
			return map[string]any{"endpoints": nonNil(want.Endpoints), "ports": nonNil(want.Ports)}
		},
	},
}

// PushedPriorityClasses are the tenant's own classes, whose copies have no value
// above limit. Pods keep the priority that they were made with when a copy is
// created again.
func PushedPriorityClasses(limit int32) Pushed[*schedulingv1.PriorityClass] {
	return Pushed[*schedulingv1.PriorityClass]{
		Kind: "PriorityClass", Resource: "priorityclasses", ClusterWide: true,
		Client:   func(c kubernetes.Interface, _ string) Client[*schedulingv1.PriorityClass] { return priorityClasses(c) },
		Informer: priorityClassInformer,
		ToHost: alone(func(t *rewrite.Translator, virtual *schedulingv1.PriorityClass) (*schedulingv1.PriorityClass, error) {
			return t.PriorityClassToHost(virtual, limit)
		}),
		ToVirtual: ofClass[*schedulingv1.PriorityClass]("PriorityClass"),
		Rules: copies.Rules[*schedulingv1.PriorityClass]{
			Same: func(want, host *schedulingv1.PriorityClass) bool {
				return frozenPriority(want, host) && want.Description == host.Description && !host.GlobalDefault
			},
			Fixed: func(want, host *schedulingv1.PriorityClass) bool { return !frozenPriority(want, host) },
			Update: func(want, host *schedulingv1.PriorityClass) *schedulingv1.PriorityClass {
				next := host.DeepCopy()
				next.Description, next.GlobalDefault = want.Description, false
				return next
			},
		},
	}
}

// PushedStorageClasses are the tenant's own classes, without the mark as default.
// Volumes stay as they were made when a copy is created again.
var PushedStorageClasses = Pushed[*storagev1.StorageClass]{
	Kind: "StorageClass", Resource: "storageclasses", ClusterWide: true,
	Client: func(c kubernetes.Interface, _ string) Client[*storagev1.StorageClass] {
		return c.StorageV1().StorageClasses()
	},
	Informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
		return f.Storage().V1().StorageClasses().Informer()
	},
	ToHost: func(t *rewrite.Translator, virtual *storagev1.StorageClass, _ rewrite.Inputs) (*storagev1.StorageClass, error) {
		return t.StorageClassToHost(virtual), nil
	},
	ToVirtual: ofClass[*storagev1.StorageClass]("StorageClass"),
	Rules: copies.Rules[*storagev1.StorageClass]{
		Same: func(want, host *storagev1.StorageClass) bool {
			return frozenStorage(want, host) && apiequality.Semantic.DeepEqual(want.MountOptions, host.MountOptions) &&
				apiequality.Semantic.DeepEqual(want.AllowVolumeExpansion, host.AllowVolumeExpansion) &&
				apiequality.Semantic.DeepEqual(want.AllowedTopologies, host.AllowedTopologies)
		},
		Fixed: func(want, host *storagev1.StorageClass) bool { return !frozenStorage(want, host) },
		Update: func(want, host *storagev1.StorageClass) *storagev1.StorageClass {
			next := host.DeepCopy()
			next.MountOptions, next.AllowVolumeExpansion, next.AllowedTopologies = want.MountOptions, want.AllowVolumeExpansion, want.AllowedTopologies
			return next
		},
	},
}

// frozenStorage compares the fields that the API lets no client change
// (ValidateStorageClassUpdate).
func frozenStorage(a, b *storagev1.StorageClass) bool {
	return PulledStorageClasses.Frozen(a, b) && apiequality.Semantic.DeepEqual(a.Parameters, b.Parameters)
}

// PushedNetworkPolicies are all of the tenant's, on a host that may change.
func PushedNetworkPolicies(network func() rewrite.Network) Pushed[*networkingv1.NetworkPolicy] {
	return Pushed[*networkingv1.NetworkPolicy]{
		Kind: "NetworkPolicy", Resource: "networkpolicies",
		Client: func(c kubernetes.Interface, namespace string) Client[*networkingv1.NetworkPolicy] {
			return c.NetworkingV1().NetworkPolicies(namespace)
		},
		Informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Networking().V1().NetworkPolicies().Informer()
		},
		ToHost: func(t *rewrite.Translator, virtual *networkingv1.NetworkPolicy, in rewrite.Inputs) (*networkingv1.NetworkPolicy, error) {
			return t.NetworkPolicyToHost(virtual, network(), in), nil
		},
		ToVirtual: identified[*networkingv1.NetworkPolicy]("NetworkPolicy"),
		Rules: copies.Rules[*networkingv1.NetworkPolicy]{
			Same: func(want, host *networkingv1.NetworkPolicy) bool {
				return apiequality.Semantic.DeepEqual(want.Spec, host.Spec)
			},
			Patch: func(want, host *networkingv1.NetworkPolicy) map[string]any {
				return map[string]any{"spec": map[string]any{
					"podSelector": selectorPatch(&want.Spec.PodSelector, &host.Spec.PodSelector),
					"ingress":     nonNil(want.Spec.Ingress), "egress": nonNil(want.Spec.Egress), "policyTypes": want.Spec.PolicyTypes,
				}}
			},
		},
	}
}

// PushedIngresses are those that the operator's policy offers.
func PushedIngresses(policy *rewrite.IngressPolicy) Pushed[*networkingv1.Ingress] {
	return Pushed[*networkingv1.Ingress]{
		Kind: "Ingress", Resource: "ingresses",
		Client: func(c kubernetes.Interface, namespace string) Client[*networkingv1.Ingress] {
			return c.NetworkingV1().Ingresses(namespace)
		},
		Informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Networking().V1().Ingresses().Informer()
		},
		ToHost: func(t *rewrite.Translator, virtual *networkingv1.Ingress, in rewrite.Inputs) (*networkingv1.Ingress, error) {
			return t.IngressToHost(virtual, policy, in), nil
		},
		ToVirtual: identified[*networkingv1.Ingress]("Ingress"),
		Rules: copies.Rules[*networkingv1.Ingress]{
			Same: func(want, host *networkingv1.Ingress) bool {
				return apiequality.Semantic.DeepEqual(want.Spec, host.Spec)
			},
			Metadata: policy.CopyChanges,
			Patch: func(want, _ *networkingv1.Ingress) map[string]any {
				return map[string]any{"spec": map[string]any{
					"ingressClassName": want.Spec.IngressClassName, "defaultBackend": backendPatch(want.Spec.DefaultBackend),
					"tls": nonNil(want.Spec.TLS), "rules": nonNil(want.Spec.Rules),
				}}
			},
		},
	}
}

// backendPatch is the merge patch to a backend, whose port has a name or a number.
func backendPatch(want *networkingv1.IngressBackend) map[string]any {
	if want == nil || want.Service == nil {
		return nil
	}
	port := map[string]any{"name": nil, "number": nil}
	if p := want.Service.Port; p.Name != "" {
		port["name"] = p.Name
	} else {
		port["number"] = p.Number
	}
	return map[string]any{"resource": nil, "service": map[string]any{"name": want.Service.Name, "port": port}}
}

// PushedPodDisruptionBudgets are all of the tenant's.
var PushedPodDisruptionBudgets = Pushed[*policyv1.PodDisruptionBudget]{
	Kind: "PodDisruptionBudget", Resource: "poddisruptionbudgets",
	Client: func(c kubernetes.Interface, namespace string) Client[*policyv1.PodDisruptionBudget] {
		return c.PolicyV1().PodDisruptionBudgets(namespace)
	},
	Informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
		return f.Policy().V1().PodDisruptionBudgets().Informer()
	},
	ToHost: alone(func(t *rewrite.Translator, virtual *policyv1.PodDisruptionBudget) (*policyv1.PodDisruptionBudget, error) {
		return t.BudgetToHost(virtual), nil
	}),
	ToVirtual: identified[*policyv1.PodDisruptionBudget]("PodDisruptionBudget"),
	Rules: copies.Rules[*policyv1.PodDisruptionBudget]{
		Same: func(want, host *policyv1.PodDisruptionBudget) bool {
			return apiequality.Semantic.DeepEqual(want.Spec, host.Spec)
		},
		Patch: func(want, host *policyv1.PodDisruptionBudget) map[string]any {
			return map[string]any{"spec": map[string]any{
				"selector": selectorPatch(want.Spec.Selector, host.Spec.Selector), "minAvailable": want.Spec.MinAvailable,
				"maxUnavailable": nil, "unhealthyPodEvictionPolicy": want.Spec.UnhealthyPodEvictionPolicy,
			}}
		},
	},
}

// selectorPatch is the merge patch from one selector to another. One that selects
// nothing is nil, and must not become empty, which selects everything.
func selectorPatch(want, host *metav1.LabelSelector) map[string]any {
	if want == nil {
		return nil
	}
	return map[string]any{
		"matchLabels": hostview.Changes(want.MatchLabels, ptr.Deref(host, metav1.LabelSelector{}).MatchLabels), "matchExpressions": nonNil(want.MatchExpressions),
	}
}

// alone is ToHost of kinds whose translation needs the object only.
func alone[T any](toHost func(*rewrite.Translator, T) (T, error)) func(*rewrite.Translator, T, rewrite.Inputs) (T, error) {
	return func(t *rewrite.Translator, virtual T, _ rewrite.Inputs) (T, error) { return toHost(t, virtual) }
}

// identified is ToVirtual of kinds in namespaces.
func identified[T metav1.Object](kind string) func(*rewrite.Translator, T) (namespace, name string, ours bool) {
	return func(t *rewrite.Translator, host T) (namespace, name string, ours bool) {
		namespace, name, err := t.Identify(kind, host)
		return namespace, name, err == nil
	}
}

// ofClass is ToVirtual of classes, which are in no namespace.
func ofClass[T metav1.Object](kind string) func(*rewrite.Translator, T) (namespace, name string, ours bool) {
	return func(t *rewrite.Translator, host T) (namespace, name string, ours bool) {
		name, ours = t.PushedClass(kind, host)
		return "", name, ours
	}
}

func secretType(s *corev1.Secret) corev1.SecretType {
	if s.Type == "" {
		return corev1.SecretTypeOpaque // as the API server defaults it
	}
	return s.Type
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
