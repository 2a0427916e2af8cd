// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/rewrite/rules"
)

// An operator may change the host object that a translation made, by a hook or a
// patch. The functions of this file say which changes would break the laws (see
// the package's doc), so that a mistake of the operator's never opens a cluster.
// They judge the change alone: fields that are as before are lawful.

// held is a field that keeps its value.
type held[T any] struct {
	path string
	of   func(T) any
}

// heldMetadata are the fields of metadata that say which object it is, who owns
// it and how it goes.
var heldMetadata = []held[metav1.Object]{
	{"name", func(m metav1.Object) any { return m.GetName() }},
	{"generateName", func(m metav1.Object) any { return m.GetGenerateName() }},
	{"namespace", func(m metav1.Object) any { return m.GetNamespace() }},
	{"uid", func(m metav1.Object) any { return m.GetUID() }},
	{"resourceVersion", func(m metav1.Object) any { return m.GetResourceVersion() }},
	{"generation", func(m metav1.Object) any { return m.GetGeneration() }},
	{"selfLink", func(m metav1.Object) any { return m.GetSelfLink() }},
	{"creationTimestamp", func(m metav1.Object) any { return m.GetCreationTimestamp() }},
	{"deletionTimestamp", func(m metav1.Object) any { return m.GetDeletionTimestamp() }},
	{"deletionGracePeriodSeconds", func(m metav1.Object) any { return m.GetDeletionGracePeriodSeconds() }},
	{"ownerReferences", func(m metav1.Object) any { return m.GetOwnerReferences() }},
	{"finalizers", func(m metav1.Object) any { return m.GetFinalizers() }},
	{"managedFields", func(m metav1.Object) any { return m.GetManagedFields() }},
}

const (
	isPorticos   = "is written by Portico and keeps its value"
	leavesScope  = "selects objects outside of this cluster: it needs a requirement on " + LabelCluster
	isNoTenants  = "is no object that the tenant's object refers to, nor one that the operator has listed"
	isCredential = "is a credential of the host" //nolint:gosec // A sentence.
)

// CheckMetadata lists the changes to the metadata of a host object, of any kind,
// that would break the laws: to its identity, its owners, or to labels and
// annotations under the reserved prefix.
func CheckMetadata(before, after metav1.Object) field.ErrorList {
	path := field.NewPath("metadata")
	errs := unheld(path, heldMetadata, before, after)
	errs = append(errs, reservedKeys(path.Child("labels"), before.GetLabels(), after.GetLabels())...)
	return append(errs, reservedKeys(path.Child("annotations"), before.GetAnnotations(), after.GetAnnotations())...)
}

// CheckChange lists the changes to a host object that would break the laws.
// before is as ToHost made it, or as the copy of an Ingress was made; after is of
// the same type. listed are objects of the host that the operator lets the
// changed object refer to, besides those that it referred to before.
func (t *Translator) CheckChange(before, after runtime.Object, listed []Reference) field.ErrorList {
	b, ok := before.(object)
	a, same := after.(object)
	if !ok || !same || reflect.TypeOf(before) != reflect.TypeOf(after) {
		return field.ErrorList{field.InternalError(field.NewPath("kind"), ErrKind)}
	}
	errs := CheckMetadata(b, a)
	spec := field.NewPath("spec")
	switch a := after.(type) {
	case *corev1.Pod:
		errs = append(errs, t.changedPod(spec, before.(*corev1.Pod), a)...)
	case *corev1.Service:
		errs = append(errs, changedSelector(spec.Child("selector"), before.(*corev1.Service).Spec.Selector, a.Spec.Selector)...)
	case *corev1.PersistentVolumeClaim:
		errs = append(errs, unheld(spec, heldClaim, before.(*corev1.PersistentVolumeClaim), a)...)
	case *networkingv1.Ingress:
		errs = append(errs, unheld(spec, heldIngress, before.(*networkingv1.Ingress), a)...)
	default:
		return field.ErrorList{field.InternalError(field.NewPath("kind"), ErrKind)}
	}
	if s, ok := reflect.TypeOf(after).Elem().FieldByName("Status"); ok &&
		!apiequality.Semantic.DeepEqual(reflect.ValueOf(before).Elem().FieldByIndex(s.Index).Interface(), reflect.ValueOf(after).Elem().FieldByIndex(s.Index).Interface()) {
		errs = append(errs, field.Forbidden(field.NewPath("status"), "is the host's"))
	}
	return append(errs, t.newReferences(before, after, listed)...)
}

// heldPod are the fields of a pod that say as whom it runs and who places it,
// and the parts that Portico adds.
var heldPod = []held[*corev1.Pod]{
	{"serviceAccountName", func(p *corev1.Pod) any { return p.Spec.ServiceAccountName }},
	{"serviceAccount", func(p *corev1.Pod) any { return p.Spec.DeprecatedServiceAccount }},
	{"automountServiceAccountToken", func(p *corev1.Pod) any { return p.Spec.AutomountServiceAccountToken }},
	{"nodeName", func(p *corev1.Pod) any { return p.Spec.NodeName }},
	{"schedulerName", func(p *corev1.Pod) any { return p.Spec.SchedulerName }},
	{"initContainers[" + EtcHostsName + "]", func(p *corev1.Pod) any { return hiddenOf(p.Spec.InitContainers) }},
	{"volumes[" + EtcHostsName + "]", func(p *corev1.Pod) any { return hiddenOf(p.Spec.Volumes) }},
}

// heldClaim are the fields of a claim that choose among volumes that others may
// have used.
var heldClaim = []held[*corev1.PersistentVolumeClaim]{
	{"volumeName", func(c *corev1.PersistentVolumeClaim) any { return c.Spec.VolumeName }},
	{"selector", func(c *corev1.PersistentVolumeClaim) any { return c.Spec.Selector }},
	{"dataSourceRef.namespace", func(c *corev1.PersistentVolumeClaim) any {
		if c.Spec.DataSourceRef == nil {
			return nil
		}
		return c.Spec.DataSourceRef.Namespace
	}},
}

// heldIngress are the backends that are no Services.
var heldIngress = []held[*networkingv1.Ingress]{
	{"backends that are resources", func(i *networkingv1.Ingress) any {
		var all []corev1.TypedLocalObjectReference
		for _, b := range backends(i) {
			if b.Resource != nil {
				all = append(all, *b.Resource)
			}
		}
		return all
	}},
}

func unheld[T any](path *field.Path, table []held[T], before, after T) (errs field.ErrorList) {
	for _, f := range table {
		if !apiequality.Semantic.DeepEqual(f.of(before), f.of(after)) {
			errs = append(errs, field.Forbidden(path.Child(f.path), isPorticos))
		}
	}
	return errs
}

// reservedKeys holds Portico's keys: none changes, comes or goes.
func reservedKeys(path *field.Path, before, after map[string]string) (errs field.ErrorList) {
	keys := maps.Clone(before)
	if keys == nil {
		keys = map[string]string{}
	}
	maps.Copy(keys, after)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		b, was := before[key]
		if a, is := after[key]; Reserved(key) && (was != is || a != b) {
			errs = append(errs, field.Forbidden(path.Key(key), isPorticos))
		}
	}
	return errs
}

// changedSelector holds the scope of a Service's selector, and that there is one.
func changedSelector(path *field.Path, before, after map[string]string) field.ErrorList {
	if (len(before) == 0) != (len(after) == 0) {
		return field.ErrorList{field.Forbidden(path, "a selector does not come or go")}
	}
	return reservedKeys(path, before, after)
}

func (t *Translator) changedPod(spec *field.Path, before, after *corev1.Pod) field.ErrorList {
	errs := unheld(spec, heldPod, before, after)
	for key, value := range t.cluster.NodeSelector {
		if after.Spec.NodeSelector[key] != value && before.Spec.NodeSelector[key] == value {
			errs = append(errs, field.Forbidden(spec.Child("nodeSelector").Key(key), "is enforced on the pods of this cluster (pods.nodeSelector)"))
		}
	}
	errs = append(errs, credentials(spec.Child("volumes"), before, after)...)
	known := selectorsOf(&before.Spec)
	for _, s := range selectorsOf(&after.Spec) {
		if !slices.ContainsFunc(known, func(k podSelector) bool { return apiequality.Semantic.DeepEqual(k.value, s.value) }) && !t.inside(s) {
			errs = append(errs, field.Forbidden(spec.Child(s.path), leavesScope))
		}
	}
	return errs
}

// credentials refuses volumes that a kubelet of the host fills for the pod's
// ServiceAccount, or a controller of the host makes. ToHost writes none.
func credentials(path *field.Path, before, after *corev1.Pod) (errs field.ErrorList) {
	had := map[string]corev1.VolumeSource{}
	for i := range before.Spec.Volumes {
		had[before.Spec.Volumes[i].Name] = before.Spec.Volumes[i].VolumeSource
	}
	for i := range after.Spec.Volumes {
		v := &after.Spec.Volumes[i]
		if was, ok := had[v.Name]; ok && apiequality.Semantic.DeepEqual(was, v.VolumeSource) {
			continue
		}
		if v.Ephemeral != nil {
			errs = append(errs, field.Forbidden(path.Key(v.Name).Child("ephemeral"), "the host would make a claim that is not this cluster's"))
		}
		if v.Projected == nil {
			continue
		}
		for j := range v.Projected.Sources {
			if s := &v.Projected.Sources[j]; s.ServiceAccountToken != nil || s.PodCertificate != nil {
				errs = append(errs, field.Forbidden(path.Key(v.Name).Child("projected", "sources").Index(j), isCredential))
			}
		}
	}
	return errs
}

// podSelector is a selector of other pods in a pod, with the words around it
// that say in which namespaces they are.
type podSelector struct {
	path       string
	value      any // the whole term
	selector   *metav1.LabelSelector
	namespaced bool // it names or selects namespaces of the host
}

// selectorsOf are the selectors of a pod on the host.
func selectorsOf(spec *corev1.PodSpec) (all []podSelector) {
	term := func(path string, t *corev1.PodAffinityTerm) {
		all = append(all, podSelector{path, *t, t.LabelSelector, len(t.Namespaces) > 0 || t.NamespaceSelector != nil})
	}
	terms := func(path string, required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		for i := range required {
			term(path+".requiredDuringSchedulingIgnoredDuringExecution", &required[i])
		}
		for i := range preferred {
			term(path+".preferredDuringSchedulingIgnoredDuringExecution", &preferred[i].PodAffinityTerm)
		}
	}
	if a := spec.Affinity; a != nil && a.PodAffinity != nil {
		terms("affinity.podAffinity", a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if a := spec.Affinity; a != nil && a.PodAntiAffinity != nil {
		terms("affinity.podAntiAffinity", a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	for i := range spec.TopologySpreadConstraints {
		s := &spec.TopologySpreadConstraints[i]
		all = append(all, podSelector{"topologySpreadConstraints", *s, s.LabelSelector, false})
	}
	return all
}

// inside reports whether a selector selects pods of this cluster only. A nil one
// selects nothing.
func (t *Translator) inside(s podSelector) bool {
	if s.selector == nil {
		return true
	}
	if s.namespaced {
		return false
	}
	return s.selector.MatchLabels[LabelCluster] == t.cluster.Name ||
		slices.ContainsFunc(s.selector.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool {
			return r.Key == LabelCluster && r.Operator == metav1.LabelSelectorOpIn && slices.Equal(r.Values, []string{t.cluster.Name})
		})
}

// newReferences refuses references that the object did not have. A host name
// that no translation wrote may be an object of the operator's, or of another
// virtual namespace.
func (t *Translator) newReferences(before, after runtime.Object, listed []Reference) (errs field.ErrorList) {
	had := map[Reference]bool{}
	for _, r := range listed {
		had[Reference{Kind: r.Kind, Name: r.Name}] = true
	}
	for _, r := range t.hostReferences(before) {
		had[r] = true
	}
	for _, r := range t.hostReferences(after) {
		if !had[r] {
			had[r] = true // once
			errs = append(errs, field.Forbidden(field.NewPath("spec"), r.Kind+" "+r.Name+" "+isNoTenants))
		}
	}
	return errs
}

// hostReferences are the objects that a host object names. One that is named in
// many places may be there more than once.
func (t *Translator) hostReferences(h runtime.Object) (all []Reference) {
	add := func(kind, name string) {
		if name != "" {
			all = append(all, Reference{Kind: kind, Name: name})
		}
	}
	if i, ok := h.(*networkingv1.Ingress); ok {
		for j := range i.Spec.TLS {
			add("Secret", i.Spec.TLS[j].SecretName)
		}
		for _, name := range IngressServices(i) {
			add("Service", name)
		}
		return all
	}
	if w := t.walkers[reflect.TypeOf(h).Elem()]; w != nil {
		w.visit(h, func(l leaf) {
			if l.rule.Action == rules.Reference {
				add(l.rule.Kind, l.text())
			}
		})
	}
	return all
}

// hiddenOf are the elements of a list that the tenant does not see.
func hiddenOf[T any](list []T) (all []T) {
	for i := range list {
		if hidden(&list[i]) {
			all = append(all, list[i])
		}
	}
	return all
}

// CheckShown lists the changes to a virtual object on its way back to the tenant
// that are more than another look: before is as ToVirtual made it, after is of
// the same type. Labels, annotations, images of containers, and messages and
// reasons of a status may differ. Everything else is acted on inside, by
// controllers, the DNS and the door.
func CheckShown(before, after runtime.Object) field.ErrorList {
	b, ok := before.(object)
	a, same := after.(object)
	if !ok || !same || reflect.TypeOf(before) != reflect.TypeOf(after) {
		return field.ErrorList{field.InternalError(field.NewPath("kind"), ErrKind)}
	}
	errs := CheckMetadata(b, a)
	if len(errs) == 0 && !apiequality.Semantic.DeepEqual(withoutLooks(before), withoutLooks(after)) {
		errs = append(errs, field.Forbidden(field.NewPath("spec"), "only labels, annotations, images, and messages and reasons of a status may be shown differently"))
	}
	return errs
}

// withoutLooks is a copy of an object without the fields that CheckShown lets
// differ.
func withoutLooks(obj runtime.Object) runtime.Object {
	obj = obj.DeepCopyObject()
	m := metaOf(obj.(object))
	m.Labels, m.Annotations = nil, nil
	switch o := obj.(type) {
	case *corev1.Pod:
		eachContainer(&o.Spec, func(_ string, c *corev1.Container) { c.Image = "" })
		eachStatus(&o.Status, func(_ string, s *corev1.ContainerStatus) {
			s.Image = ""
			for _, state := range []*corev1.ContainerState{&s.State, &s.LastTerminationState} {
				if state.Waiting != nil {
					state.Waiting.Reason, state.Waiting.Message = "", ""
				}
				if state.Terminated != nil {
					state.Terminated.Reason, state.Terminated.Message = "", ""
				}
			}
		})
		o.Status.Message, o.Status.Reason = "", ""
		for i := range o.Status.Conditions {
			o.Status.Conditions[i].Message, o.Status.Conditions[i].Reason = "", ""
		}
	case *corev1.Service:
		for i := range o.Status.Conditions {
			o.Status.Conditions[i].Message, o.Status.Conditions[i].Reason = "", ""
		}
	case *corev1.PersistentVolumeClaim:
		for i := range o.Status.Conditions {
			o.Status.Conditions[i].Message, o.Status.Conditions[i].Reason = "", ""
		}
	}
	return obj
}
