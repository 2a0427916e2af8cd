// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	"portico.dev/portico/rewrite/rules"
)

// Cluster is everything about one virtual cluster that a translation depends
// on.
type Cluster struct {
	// Name is the virtual cluster's name, a DNS label.
	Name string
	// HostNamespace is the host namespace that holds the whole cluster.
	HostNamespace string
	// Service is the cluster's own host Service, which leads to the door. The
	// virtual default/kubernetes Service is a view of it. Defaults to Name.
	Service string
	// Owner points at the cluster's anchor (AnchorName) and stands on every host
	// object, as its controller if the object has no other: deleting the anchor
	// deletes the cluster, and no controller of the host adopts a part of it.
	// Without a name, objects are written without an owner.
	Owner metav1.OwnerReference
	// WorkloadServiceAccount is the host ServiceAccount that pods run as. It
	// must have no rights. Defaults to "default".
	WorkloadServiceAccount string

	// APIServerIP is the door as pods reach it. While it is empty, pods get
	// neither host aliases nor KUBERNETES_SERVICE_* variables for it.
	APIServerIP string
	// APIServerPort defaults to 443.
	APIServerPort int32
	// DNSIP is the address of the virtual kube-dns Service. While it is empty,
	// the DNS settings of pods are left alone.
	DNSIP string
	// DNS is set when that Service is the installation's. Otherwise it is one
	// like any other.
	DNS *DNS
	// ClusterDomain defaults to "cluster.local".
	ClusterDomain string

	// NodeSelector and Tolerations are enforced on every pod and hidden from
	// the tenant.
	NodeSelector map[string]string
	Tolerations  []corev1.Toleration
	// AllowedTolerations are the keys of taints of the host that a tenant's pods
	// may tolerate there, besides those of the system (rules.SystemTaints).
	AllowedTolerations []string
	// Schedulers are those of the host that a tenant's pods may name, besides the
	// default one. A pod that names another waits.
	Schedulers []string
	// SchedulesInside says that schedulers inside place the cluster's pods, all
	// but those that name HostScheduler or one of Schedulers. On the host these
	// pods wait for a binding.
	SchedulesInside bool
	// VolumeDrivers are those whose volumes a tenant's pods may describe
	// themselves, without a claim: rules.VolumeDrivers.
	//
	// The entry Everything in AllowedTolerations or VolumeDrivers allows all.
	VolumeDrivers []string
	// Images maps an image as the tenant wrote it to the image that is run.
	// Only exact matches count.
	Images map[string]string
	// EtcHostsImage has the program that writes the full name of a pod into its
	// /etc/hosts (cmd/portico-hosts). While it is empty, pods have a short name.
	EtcHostsImage string

	// ResourceClaims leaves pods their resource claims: ResourceClaims are
	// translated. Otherwise no pod has one on the host.
	ResourceClaims bool

	// MovedLabels and HiddenAnnotations are labels and annotations that reach the
	// host for no kind. Entries are as in rules.KeyGroup.
	MovedLabels       []string
	HiddenAnnotations []string
	// AllowedKeys are, by kind, keys that reach the host besides those that
	// rules.PassingKeys lets through, or although rules.PodKeys holds them. The
	// two lists above come first.
	AllowedKeys map[string]Keys
	// PassNodeKeys lets rules.NodeKeys of pods through.
	PassNodeKeys bool
}

// Inputs are the facts outside an object that its translation depends on.
type Inputs struct {
	// NamespaceLabels are the labels of the object's virtual namespace. Nil
	// means that they are not known, and leaves those of Host; a namespace
	// without labels has an empty map.
	NamespaceLabels map[string]string
	// Namespaces holds the labels of every virtual namespace by name. It is
	// read only for a required pod affinity term that has both namespaces and
	// a namespaceSelector, the one union that a selector cannot express.
	Namespaces map[string]map[string]string
	// HostClasses are those of a pod's classes that are the host's own. They
	// are read only when the pod is created: its classes cannot change later.
	HostClasses HostClasses
	// DeviceClasses are those of a new ResourceClaim's classes that are the
	// host's own. The claim keeps these names on the host.
	DeviceClasses []string
	// PushedStorage is the class of a claim, if it is one of the tenant's that the
	// host has a copy of (StorageClassToHost). It is read when the claim gets its
	// class; it cannot change later.
	PushedStorage string
	// ControllerPod is set if the pod that controls a new ResourceClaim is the
	// one of that name and uid. On the host, its host pod controls the claim.
	ControllerPod bool
	// ShortName leaves a new pod the /etc/hosts that the host makes, with its short
	// name: the host refuses the parts that would write the full one
	// (RefusesEtcHosts).
	ShortName bool
	// Former lists the objects of the object's namespace that are on the host
	// under their former names (FormerName). References lead to them there.
	Former []Named
	// Host is the host object that is about to be changed, as it was read, or
	// nil when the object is about to be created. Fields in which the virtual
	// object equals ToVirtual(Host) keep the value that Host has. The host object
	// that is made shares memory with it.
	Host runtime.Object
	// Seen is ToVirtual(Host), for a caller who has it, with the defaults that the
	// object to be translated has too. It must be nil for a Host whose overlay is
	// corrupt. Nil means that it is made again.
	Seen runtime.Object
}

// HostClasses are names of classes that a pod has on the host. Any other class
// is dropped.
type HostClasses struct {
	// Priority and Runtime are classes that the virtual cluster shows as the
	// host has them. Pods keep these names on the host.
	Priority, Runtime string
	// PushedPriority is a class of the tenant's that the host has a copy of
	// (PriorityClassToHost). The pod names the copy.
	PushedPriority string
}

// Named is a virtual object in the namespace of another.
type Named struct{ Kind, Name string }

// Translator translates the objects of one virtual cluster. It is safe for
// concurrent use.
type Translator struct {
	cluster Cluster // without Owner
	owner   atomic.Pointer[metav1.OwnerReference]

	keys map[string]*kindKeys

	walkers map[reflect.Type]*walker
	fields  fieldTable
	codec   overlayCodec
}

// New returns the Translator of a cluster, or all that is wrong with c.
func New(c Cluster) (*Translator, error) {
	c.Service = orDefault(c.Service, c.Name)
	c.WorkloadServiceAccount = orDefault(c.WorkloadServiceAccount, "default")
	c.ClusterDomain = orDefault(c.ClusterDomain, "cluster.local")
	if c.APIServerPort == 0 {
		c.APIServerPort = 443
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	t := &Translator{
		cluster: c.clone(),
		keys:    c.kindsOfKeys(),
		walkers: map[reflect.Type]*walker{},
		fields:  fieldTable{},
	}
	t.SetOwner(t.cluster.Owner)
	for typ, table := range tables() {
		w, err := compile(t.fields, typ, table)
		if err != nil {
			return nil, fmt.Errorf("compile the rules of %s: %w", table.Kind, err)
		}
		t.walkers[typ] = w
		if f, ok := typ.FieldByName("Spec"); ok {
			t.fields.addKept(f.Type)
		}
		if f, ok := typ.FieldByName("Status"); ok {
			t.fields.add(f.Type)
		}
	}
	return t, nil
}

// tables pairs the rule tables with the Go types that they describe.
func tables() map[reflect.Type]rules.Table {
	return map[reflect.Type]rules.Table{
		reflect.TypeFor[corev1.Pod]():                   rules.Pod,
		reflect.TypeFor[corev1.Service]():               rules.Service,
		reflect.TypeFor[corev1.PersistentVolumeClaim](): rules.PersistentVolumeClaim,
		reflect.TypeFor[resourcev1.ResourceClaim]():     rules.ResourceClaim,
	}
}

func (c *Cluster) validate() error {
	var errs []error
	label := func(field, value string) {
		for _, msg := range validation.IsDNS1123Label(value) {
			errs = append(errs, fmt.Errorf("%s: invalid value %q: %s", field, value, msg))
		}
	}
	label("name", c.Name)
	label("hostNamespace", c.HostNamespace)
	label("service", c.Service)
	if c.Owner.Name != "" && c.Owner.UID == "" {
		errs = append(errs, fmt.Errorf("owner: %q has no uid", c.Owner.Name))
	}
	if err := c.DNS.validate(); err != nil {
		errs = append(errs, err)
	}
	for k, v := range c.NodeSelector {
		for _, msg := range slices.Concat(validation.IsQualifiedName(k), validation.IsValidLabelValue(v)) {
			errs = append(errs, fmt.Errorf("nodeSelector[%s]: %s", k, msg))
		}
	}
	return errors.Join(errs...)
}

// clone makes c independent of the caller's maps and slices.
func (c Cluster) clone() Cluster {
	c.NodeSelector = maps.Clone(c.NodeSelector)
	c.Images = maps.Clone(c.Images)
	c.AllowedTolerations, c.Schedulers = slices.Clone(c.AllowedTolerations), slices.Clone(c.Schedulers)
	c.VolumeDrivers = slices.Clone(c.VolumeDrivers)
	c.DNS = c.DNS.clone()
	c.Owner = *c.Owner.DeepCopy()
	tolerations := make([]corev1.Toleration, len(c.Tolerations))
	for i := range c.Tolerations {
		c.Tolerations[i].DeepCopyInto(&tolerations[i])
	}
	c.Tolerations = tolerations
	return c
}

// Cluster returns the Cluster that the Translator was made from, with defaults
// filled in.
func (t *Translator) Cluster() Cluster {
	c := t.cluster.clone()
	c.Owner = t.Owner()
	return c
}

// Owner returns the owner of every host object of the cluster.
func (t *Translator) Owner() metav1.OwnerReference { return *t.owner.Load().DeepCopy() }

// SetOwner makes another object the owner of every object that is translated from
// here on. It is for an owner that was deleted on the host and made again.
func (t *Translator) SetOwner(r metav1.OwnerReference) { t.owner.Store(r.DeepCopy()) }

// ScopeLabels stand on every host object of this cluster, and on nothing else.
func (t *Translator) ScopeLabels() labels.Set {
	return labels.Set{LabelCluster: t.cluster.Name}
}

// ScopeSelector selects every host object of this cluster.
func (t *Translator) ScopeSelector() labels.Selector {
	return labels.SelectorFromValidatedSet(t.ScopeLabels())
}

// NamespaceSelector holds the labels that the host objects of one virtual
// namespace carry.
func (t *Translator) NamespaceSelector(namespace string) labels.Set {
	return labels.Set{LabelCluster: t.cluster.Name, LabelNamespace: namespace}
}

// ClusterScope are the labels of the host objects of this cluster that are in
// no namespace, and a selector of them.
func (t *Translator) ClusterScope() labels.Set {
	return labels.Set{LabelCluster: t.cluster.Name, LabelHostNamespace: t.cluster.HostNamespace}
}

// NamespaceLabels returns the labels that the objects of a virtual namespace
// carry on the host for the sake of namespace selectors: the namespace's own,
// under hashed keys.
func (t *Translator) NamespaceLabels(virtual map[string]string) labels.Set {
	out := make(labels.Set, len(virtual))
	for _, k := range slices.Sorted(maps.Keys(virtual)) { // two keys may have one hash
		out[namespaceLabelKey(k)] = virtual[k]
	}
	return out
}

// NamespaceLabelChanges returns the merge patch that gives a host object with
// these labels the NamespaceLabels of its virtual namespace: nil stands for a
// key to remove. It is empty when there is nothing to do.
func (t *Translator) NamespaceLabelChanges(host, namespace map[string]string) map[string]any {
	patch := map[string]any{}
	want := t.NamespaceLabels(namespace)
	for k := range host {
		if _, keep := want[k]; !keep && strings.HasPrefix(k, namespaceLabelPrefix) {
			patch[k] = nil
		}
	}
	for k, v := range want {
		if got, ok := host[k]; !ok || got != v {
			patch[k] = v
		}
	}
	return patch
}

func orDefault(s, def string) string {
	if strings.TrimSpace(s) == "" {
		return def
	}
	return s
}
