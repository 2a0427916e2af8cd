// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite"
)

// changedOnHost are one host object of each kind that hooks and patches see.
func changedOnHost(t *testing.T) map[string]runtime.Object {
	t.Helper()
	tr := mustNew(t, testCluster())
	meta := metav1.ObjectMeta{Namespace: "demo", Name: "web", Labels: map[string]string{"app": "web"}}
	pod, err := tr.PodToHost(&corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{
		Subdomain:  "all",
		Containers: []corev1.Container{{Name: "app", Image: "nginx:1", EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "mine"}}}}}},
		Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			TopologyKey: "kubernetes.io/hostname", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		}}}},
	}}, testInputs())
	if err != nil {
		t.Fatal(err)
	}
	service, err := tr.ServiceToHost(&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}}}, testInputs())
	if err != nil {
		t.Fatal(err)
	}
	claim, err := tr.PersistentVolumeClaimToHost(&corev1.PersistentVolumeClaim{ObjectMeta: meta, Spec: corev1.PersistentVolumeClaimSpec{
		DataSourceRef: &corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: "old"},
	}}, testInputs())
	if err != nil {
		t.Fatal(err)
	}
	ingress := tr.IngressToHost(&networkingv1.Ingress{ObjectMeta: meta, Spec: networkingv1.IngressSpec{
		TLS: []networkingv1.IngressTLS{{SecretName: "tls"}},
		DefaultBackend: &networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80}},
		},
	}}, &rewrite.IngressPolicy{Hosts: []string{"*"}}, rewrite.Inputs{})
	return map[string]runtime.Object{"pod": pod, "service": service, "claim": claim, "ingress": ingress}
}

func onPod(change func(*corev1.Pod)) func(runtime.Object) {
	return func(o runtime.Object) { change(o.(*corev1.Pod)) }
}

func asMeta(o runtime.Object) metav1.Object { return o.(metav1.Object) }

// secretVolume adds a volume with a Secret of that name.
func secretVolume(name string) func(runtime.Object) {
	return onPod(func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "more", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}})
	})
}

func antiAffinity(term corev1.PodAffinityTerm) func(runtime.Object) {
	return onPod(func(p *corev1.Pod) {
		terms := &p.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		*terms = append(*terms, term)
	})
}

var ofTheCluster = &metav1.LabelSelector{MatchLabels: map[string]string{rewrite.LabelCluster: "my-vcluster"}}

// lawful are changes that an operator may make.
var lawful = []struct {
	reason, kind string
	change       func(runtime.Object)
}{
	{"a label is added", "pod", func(o runtime.Object) { asMeta(o).GetLabels()["cost"] = "7" }},
	{"an annotation is added", "service", func(o runtime.Object) { asMeta(o).GetAnnotations()["lb"] = "internal" }},
	{"an image is another", "pod", onPod(func(p *corev1.Pod) { p.Spec.Containers[0].Image = "mirror/nginx" })},
	{"a runtime is chosen", "pod", onPod(func(p *corev1.Pod) { p.Spec.RuntimeClassName = ptr("gvisor") })},
	{"a container is added", "pod", onPod(func(p *corev1.Pod) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "side", Image: "x"})
	})},
	{"a listed Secret is mounted", "pod", secretVolume("operators")},
	{"pods of the cluster are kept apart", "pod", antiAffinity(corev1.PodAffinityTerm{TopologyKey: "zone", LabelSelector: ofTheCluster})},
	{"a selector is narrower", "service", func(o runtime.Object) { o.(*corev1.Service).Spec.Selector["track"] = "stable" }},
	{"a type of Service is another", "service", func(o runtime.Object) { o.(*corev1.Service).Spec.Type = corev1.ServiceTypeNodePort }},
	{"a class of storage is another", "claim", func(o runtime.Object) { o.(*corev1.PersistentVolumeClaim).Spec.StorageClassName = ptr("fast") }},
	{"a class of Ingress is another", "ingress", func(o runtime.Object) { o.(*networkingv1.Ingress).Spec.IngressClassName = ptr("nginx") }},
}

// unlawful are changes that would break the isolation of clusters.
var unlawful = []struct {
	reason, kind string
	change       func(runtime.Object)
	says         string
}{
	{"the name", "pod", func(o runtime.Object) { asMeta(o).SetName("other") }, "metadata.name"},
	{"the namespace", "service", func(o runtime.Object) { asMeta(o).SetNamespace("kube-system") }, "metadata.namespace"},
	{"the owner", "claim", func(o runtime.Object) { asMeta(o).SetOwnerReferences(nil) }, "metadata.ownerReferences"},
	{"a finalizer", "pod", func(o runtime.Object) { asMeta(o).SetFinalizers([]string{"x.example/hold"}) }, "metadata.finalizers"},
	{"the label of the cluster goes", "pod", func(o runtime.Object) { delete(asMeta(o).GetLabels(), rewrite.LabelCluster) }, "metadata.labels[portico.dev/cluster]"},
	{"the label of the namespace is another", "pod", func(o runtime.Object) { asMeta(o).GetLabels()[rewrite.LabelNamespace] = "kube-system" }, "metadata.labels[portico.dev/namespace]"},
	{"all labels go", "ingress", func(o runtime.Object) { asMeta(o).SetLabels(nil) }, "metadata.labels[portico.dev/cluster]"},
	{"a reserved label comes", "service", func(o runtime.Object) { asMeta(o).GetLabels()[rewrite.LabelComposed] = "token" }, "metadata.labels[portico.dev/composed]"},
	{"the overlay goes", "pod", func(o runtime.Object) { delete(asMeta(o).GetAnnotations(), rewrite.AnnotationOverlay) }, "metadata.annotations[portico.dev/overlay]"},
	{"the service account", "pod", onPod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "admin" }), "spec.serviceAccountName"},
	{"its old field", "pod", onPod(func(p *corev1.Pod) { p.Spec.DeprecatedServiceAccount = "admin" }), "spec.serviceAccount:"},
	{"its token is mounted", "pod", onPod(func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = ptr(true) }), "spec.automountServiceAccountToken"},
	{"its token is projected", "pod", onPod(func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "t", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}}},
		}}})
	}), "spec.volumes[t].projected.sources[0]"},
	{"a claim is made by the host", "pod", onPod(func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "e", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}})
	}), "spec.volumes[e].ephemeral"},
	{"the node", "pod", onPod(func(p *corev1.Pod) { p.Spec.NodeName = "n1" }), "spec.nodeName"},
	{"the scheduler", "pod", onPod(func(p *corev1.Pod) { p.Spec.SchedulerName = "mine" }), "spec.schedulerName"},
	{"the enforced nodes", "pod", onPod(func(p *corev1.Pod) { delete(p.Spec.NodeSelector, "pool") }), "spec.nodeSelector[pool]"},
	{"the hidden container", "pod", onPod(func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "evil" }), "spec.initContainers[" + rewrite.EtcHostsName + "]"},
	{"a Secret that is not listed", "pod", secretVolume("others"), "Secret others"},
	{"a listed name of another kind", "pod", onPod(func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "c", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "operators"}}})
	}), "PersistentVolumeClaim operators"},
	{"a term without the scope", "pod", antiAffinity(corev1.PodAffinityTerm{TopologyKey: "zone", LabelSelector: &metav1.LabelSelector{}}), "spec.affinity.podAntiAffinity"},
	{"a term of another cluster", "pod", antiAffinity(corev1.PodAffinityTerm{TopologyKey: "zone", LabelSelector: &metav1.LabelSelector{
		MatchLabels: map[string]string{rewrite.LabelCluster: "theirs"},
	}}), "spec.affinity.podAntiAffinity"},
	{"a term of all namespaces", "pod", antiAffinity(corev1.PodAffinityTerm{TopologyKey: "zone", LabelSelector: ofTheCluster, NamespaceSelector: &metav1.LabelSelector{}}), "spec.affinity.podAntiAffinity"},
	{"the scope goes from a term", "pod", onPod(func(p *corev1.Pod) {
		p.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].LabelSelector.MatchExpressions = nil
	}), "spec.affinity.podAntiAffinity"},
	{"a constraint without the scope", "pod", onPod(func(p *corev1.Pod) {
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: &metav1.LabelSelector{}}}
	}), "spec.topologySpreadConstraints"},
	{"the status", "pod", onPod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }), "status"},
	{"the scope of a selector goes", "service", func(o runtime.Object) { delete(o.(*corev1.Service).Spec.Selector, rewrite.LabelNamespace) }, "spec.selector[portico.dev/namespace]"},
	{"the selector is of another cluster", "service", func(o runtime.Object) { o.(*corev1.Service).Spec.Selector[rewrite.LabelCluster] = "theirs" }, "spec.selector[portico.dev/cluster]"},
	{"the selector goes", "service", func(o runtime.Object) { o.(*corev1.Service).Spec.Selector = nil }, "spec.selector"},
	{"the volume", "claim", func(o runtime.Object) { o.(*corev1.PersistentVolumeClaim).Spec.VolumeName = "pv-of-another" }, "spec.volumeName"},
	{"the volumes to choose from", "claim", func(o runtime.Object) { o.(*corev1.PersistentVolumeClaim).Spec.Selector = &metav1.LabelSelector{} }, "spec.selector"},
	{"the source", "claim", func(o runtime.Object) { o.(*corev1.PersistentVolumeClaim).Spec.DataSourceRef.Name = "theirs" }, "theirs"},
	{"the namespace of the source", "claim", func(o runtime.Object) {
		o.(*corev1.PersistentVolumeClaim).Spec.DataSourceRef.Namespace = ptr("theirs")
	}, "spec.dataSourceRef.namespace"},
	{"the backend", "ingress", func(o runtime.Object) { o.(*networkingv1.Ingress).Spec.DefaultBackend.Service.Name = "theirs" }, "Service theirs"},
	{"the certificate", "ingress", func(o runtime.Object) { o.(*networkingv1.Ingress).Spec.TLS[0].SecretName = "theirs" }, "Secret theirs"},
	{"a backend that is no Service", "ingress", func(o runtime.Object) {
		o.(*networkingv1.Ingress).Spec.DefaultBackend.Resource = &corev1.TypedLocalObjectReference{Kind: "Bucket", Name: "theirs"}
	}, "backends that are resources"},
}

// The operator's Secret may be mounted.
var listed = []rewrite.Reference{{Kind: "Secret", Name: "operators"}}

func TestLawfulChanges(t *testing.T) {
	for _, tc := range lawful {
		t.Run(tc.reason, func(t *testing.T) {
			before := changedOnHost(t)[tc.kind]
			after := before.DeepCopyObject()
			tc.change(after)
			if errs := mustNew(t, testCluster()).CheckChange(before, after, listed); len(errs) > 0 {
				t.Errorf("refused: %v", errs.ToAggregate())
			}
		})
	}
}

// Attack: the answer of a hook, or a patch, takes an object out of its cluster.
// Each such change is refused, by the name of the field.
func TestAttackUnlawfulChanges(t *testing.T) {
	for _, tc := range unlawful {
		t.Run(tc.reason, func(t *testing.T) {
			before := changedOnHost(t)[tc.kind]
			after := before.DeepCopyObject()
			tc.change(after)
			errs := mustNew(t, testCluster()).CheckChange(before, after, listed)
			if len(errs) == 0 {
				t.Fatal("the change is taken for lawful")
			}
			if text := errs.ToAggregate().Error(); !strings.Contains(text, tc.says) {
				t.Errorf("the refusal is %q, and does not say %q", text, tc.says)
			}
		})
	}
}

// An object may not turn into another kind, and no kind that nobody thought
// about is lawful.
func TestAttackChangeOfAnotherKind(t *testing.T) {
	tr, all := mustNew(t, testCluster()), changedOnHost(t)
	for _, pair := range [][2]runtime.Object{{all["pod"], all["service"]}, {&corev1.Secret{}, &corev1.Secret{}}, {&corev1.PodList{}, &corev1.PodList{}}} {
		if errs := tr.CheckChange(pair[0], pair[1], nil); len(errs) == 0 {
			t.Errorf("a change of %T to %T is taken for lawful", pair[0], pair[1])
		}
	}
}

func TestCheckShown(t *testing.T) {
	base := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web", UID: "u", ResourceVersion: "7"},
		Spec: corev1.PodSpec{NodeName: "n1", ServiceAccountName: "default", Containers: []corev1.Container{
			{Name: "app", Image: "mirror/nginx"},
		}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", ContainerStatuses: []corev1.ContainerStatus{
			{Name: "app", Image: "mirror/nginx", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "from mirror"}}},
		}},
	}
	for _, tc := range []struct {
		reason string
		change func(*corev1.Pod)
		ok     bool
	}{
		{"nothing", func(*corev1.Pod) {}, true},
		{"labels", func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }, true},
		{"images", func(p *corev1.Pod) {
			p.Spec.Containers[0].Image, p.Status.ContainerStatuses[0].Image = "nginx", "nginx"
			p.Status.ContainerStatuses[0].State.Waiting.Message = "cannot be pulled"
		}, true},
		{"a reserved annotation", func(p *corev1.Pod) { p.Annotations = map[string]string{rewrite.AnnotationKind: "Pod"} }, false},
		{"the uid", func(p *corev1.Pod) { p.UID = "other" }, false},
		{"the address, which the door dials", func(p *corev1.Pod) { p.Status.PodIP = "169.254.169.254" }, false},
		{"the phase", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, false},
		{"the node", func(p *corev1.Pod) { p.Spec.NodeName = "n2" }, false},
		{"the service account", func(p *corev1.Pod) { p.Spec.ServiceAccountName = "admin" }, false},
		{"the state of a container", func(p *corev1.Pod) { p.Status.ContainerStatuses[0].State.Waiting = nil }, false},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			after := base.DeepCopy()
			tc.change(after)
			if errs := rewrite.CheckShown(base, after); (len(errs) == 0) != tc.ok {
				t.Errorf("got %v", errs)
			}
		})
	}
	if errs := rewrite.CheckShown(base, &corev1.Service{}); len(errs) == 0 {
		t.Error("a Service passes for a Pod")
	}
}
