// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite"
)

// costly are objects as clients write them, with the managedFields that the
// door computes: the largest part of an overlay.
func costly() map[string]runtime.Object {
	managed := func(fields string) []metav1.ManagedFieldsEntry {
		return []metav1.ManagedFieldsEntry{{
			Manager: "kubectl-create", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1",
			Time: new(metav1.Unix(1_700_000_000, 0)), FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)},
		}}
	}
	const podFields = `{"f:metadata":{"f:labels":{".":{},"f:app":{},"f:pod-template-hash":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":` +
		`{".":{},"f:env":{".":{},"k:{\"name\":\"MODE\"}":{".":{},"f:name":{},"f:value":{}}},"f:image":{},"f:imagePullPolicy":{},"f:name":{},` +
		`"f:ports":{".":{},"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}},` +
		`"f:readinessProbe":{".":{},"f:failureThreshold":{},"f:httpGet":{".":{},"f:path":{},"f:port":{},"f:scheme":{}},"f:periodSeconds":{},` +
		`"f:successThreshold":{},"f:timeoutSeconds":{}},"f:resources":{".":{},"f:limits":{".":{},"f:memory":{}},"f:requests":{".":{},"f:cpu":{},` +
		`"f:memory":{}}},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{},"f:volumeMounts":{".":{},"k:{\"mountPath\":\"/etc/app\"}":` +
		`{".":{},"f:mountPath":{},"f:name":{}}}}},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},` +
		`"f:securityContext":{},"f:terminationGracePeriodSeconds":{},"f:volumes":{".":{},"k:{\"name\":\"settings\"}":{".":{},"f:configMap":` +
		`{".":{},"f:defaultMode":{},"f:name":{}},"f:name":{}}}}}`
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web-6d4cf56db6-x7k2p", GenerateName: "web-6d4cf56db6-", Namespace: "demo", UID: "pod-uid",
			Labels:          map[string]string{"app": "web", "pod-template-hash": "6d4cf56db6"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-6d4cf56db6", UID: "rs-uid", Controller: new(true)}},
			ManagedFields:   managed(podFields),
		},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "app", Image: "nginx:1", ImagePullPolicy: corev1.PullIfNotPresent,
				Env:            []corev1.EnvVar{{Name: "MODE", Value: "fast"}},
				Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
				ReadinessProbe: &corev1.Probe{PeriodSeconds: 10, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/"}}},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{"cpu": resource.MustParse("10m"), "memory": resource.MustParse("16Mi")},
				},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "settings", MountPath: "/etc/app"},
					{Name: "kube-api-access", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true},
				},
			}},
			Volumes: []corev1.Volume{
				{Name: "settings", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}},
				{Name: "kube-api-access", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(3607))}},
					{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
				}}}},
			},
			ServiceAccountName: "default", DeprecatedServiceAccount: "default", SchedulerName: "default-scheduler",
			RestartPolicy: corev1.RestartPolicyAlways, DNSPolicy: corev1.DNSClusterFirst, EnableServiceLinks: new(true),
			SecurityContext: &corev1.PodSecurityContext{}, TerminationGracePeriodSeconds: new(int64(30)),
		},
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web", Namespace: "demo", UID: "service-uid", Labels: map[string]string{"app": "web"},
			ManagedFields: managed(`{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:internalTrafficPolicy":{},"f:ports":{".":{},` +
				`"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:name":{},"f:port":{},"f:protocol":{},"f:targetPort":{}}},"f:selector":{},"f:sessionAffinity":{},"f:type":{}}}`),
		},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Type: corev1.ServiceTypeClusterIP, Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}},
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name: "data-web-0", Namespace: "demo", UID: "claim-uid", Labels: map[string]string{"app": "web"},
			Finalizers:    []string{"kubernetes.io/pvc-protection"},
			ManagedFields: managed(`{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:accessModes":{},"f:resources":{"f:requests":{".":{},"f:storage":{}}},"f:volumeMode":{}}}`),
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1Gi")}},
		},
	}
	return map[string]runtime.Object{"Pod": pod, "Service": service, "PersistentVolumeClaim": claim}
}

// changed is an update by a tenant: one label more.
func changed(v runtime.Object) runtime.Object {
	out := v.DeepCopyObject()
	m := out.(metav1.Object)
	labels := map[string]string{"touched": "yes"}
	for k, v := range m.GetLabels() {
		labels[k] = v
	}
	m.SetLabels(labels)
	return out
}

// translations are the three that a write consists of.
func translations(tb testing.TB, tr *rewrite.Translator, v runtime.Object) map[string]func() {
	in := testInputs()
	h := toHost(tb, tr, v, in)
	update := in
	update.Host, update.Seen = h, toVirtual(tb, tr, h)
	after := changed(toVirtual(tb, tr, h))
	must := func(_ runtime.Object, err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	return map[string]func(){
		"create":     func() { must(tr.ToHost(v, in)) },
		"update":     func() { must(tr.ToHost(after, update)) },
		"to virtual": func() { must(tr.ToVirtual(h)) },
	}
}

// TestTranslationsStayCheap: the door's processor time goes with allocations,
// and they are the same on every machine. The budgets have a tenth of room. A
// change that needs more raises them, and says why.
func TestTranslationsStayCheap(t *testing.T) {
	budgets := map[string]map[string]float64{
		"Pod":                   {"create": 355, "update": 600, "to virtual": 385},
		"Service":               {"create": 85, "update": 155, "to virtual": 36},
		"PersistentVolumeClaim": {"create": 90, "update": 117, "to virtual": 42},
	}
	for kind, v := range costly() {
		for name, do := range translations(t, mustNew(t, testCluster()), v) {
			if got := testing.AllocsPerRun(100, do); got > budgets[kind][name] {
				t.Errorf("%s, %s: %v allocations, and the budget is %v", kind, name, got, budgets[kind][name])
			}
		}
	}
}

// TestViewsShareNothing: an overlay that was read before is not read again, and
// no one can change it through a view that was made of it.
func TestViewsShareNothing(t *testing.T) {
	for kind, v := range costly() {
		t.Run(kind, func(t *testing.T) {
			tr := mustNew(t, testCluster())
			v := v.DeepCopyObject().(metav1.Object)
			v.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}"})
			v.SetFinalizers([]string{"example.com/tenant"})
			h := toHost(t, tr, v.(runtime.Object), testInputs())
			want := toVirtual(t, mustNew(t, testCluster()), h)
			for range 2 {
				seen, err := tr.ToVirtual(h)
				if err != nil {
					t.Fatal(err)
				}
				if d := diff(want, wireObject(t, seen)); d != "" {
					t.Fatalf("(-want +got):\n%s", d)
				}
				m := seen.(metav1.Object)
				for _, owner := range m.GetOwnerReferences() {
					*owner.Controller = false
				}
				for i := range m.GetManagedFields() {
					clear(m.GetManagedFields()[i].FieldsV1.Raw)
					m.GetManagedFields()[i].Manager = "another"
				}
				clear(m.GetAnnotations())
				clear(m.GetLabels())
				clear(m.GetFinalizers())
			}
		})
	}
}

// TestKnownOverlaysAreBounded: many objects, and large ones, do not add up.
func TestKnownOverlaysAreBounded(t *testing.T) {
	tr := mustNew(t, testCluster())
	seen := 0
	text := noise(8000)
	for i := range 300 {
		v := pod("demo", fmt.Sprint("p", i), nil)
		v.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": fmt.Sprint(i, text)}
		h := toHost(t, tr, v, rewrite.Inputs{})
		toVirtual(t, tr, h)
		if n := rewrite.KnownOverlays(tr); n > seen {
			seen = n
		}
	}
	if limit := 2 << 20; seen > limit || seen < limit/4 {
		t.Errorf("up to %d bytes are remembered, want up to %d", seen, limit)
	}
	v := pod("demo", "large", nil)
	v.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": noise(150_000)}
	before := rewrite.KnownOverlays(tr)
	toVirtual(t, tr, toHost(t, tr, v, rewrite.Inputs{}))
	if after := rewrite.KnownOverlays(tr); after != before {
		t.Errorf("a large overlay is remembered: %d bytes were, %d are", before, after)
	}
}

func BenchmarkTranslation(b *testing.B) {
	for kind, v := range costly() {
		for name, do := range translations(b, mustNew(b, testCluster()), v) {
			b.Run(kind+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					do()
				}
			})
		}
	}
}
