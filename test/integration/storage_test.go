// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/utils/ptr"

	"portico.dev/portico/test/embedded"
)

// TestHostStorageClasses: claims take the classes that are offered, and no other of
// the host's.
func TestHostStorageClasses(t *testing.T) {
	h, ctx, unique := embedded.SharedHost(t), t.Context(), rand.String(6)
	offered, hidden := "offered-"+unique, "hidden-"+unique
	c := newClusterWith(t, h, fmt.Sprintf("sync: {fromHost: {storageClasses: {selector: {matchLabels: {storage-test: %q}}}}}\n", unique))
	c.hostClass(t, offered, nil)
	c.hostClass(t, hidden, nil)
	mark := fmt.Appendf(nil, `{"metadata":{"labels":{"storage-test":%q}}}`, unique)
	if _, err := h.Client.StorageV1().StorageClasses().Patch(ctx, offered, types.MergePatchType, mark, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "class of the host", func(ctx context.Context) (bool, string) {
		_, err := c.Virtual.StorageV1().StorageClasses().Get(ctx, offered, metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	c.boundClaim(t, "offered", &offered)

	// The tenant's own class, also a default one, is no way to the host's.
	if _, err := c.Virtual.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: hidden, Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: "example.com/own",
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	claims := c.Virtual.CoreV1().PersistentVolumeClaims("default")
	annotated := claimOf("annotated", nil)
	annotated.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: hidden}
	for _, claim := range []*corev1.PersistentVolumeClaim{claimOf("named", &hidden), annotated} {
		if _, err := claims.Create(ctx, claim, metav1.CreateOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "does not offer the storage class") {
			t.Errorf("claim %s: %v, want a refusal", claim.Name, err)
		}
	}
	on, err := h.Client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range on.Items {
		if class.Provisioner == "example.com/own" {
			t.Errorf("the tenant's class %s is on the host", class.Name)
		}
	}
}

// TestHostDecides: values that the host allocates, and decisions that need the
// host's objects, are as on the host itself.
func TestHostDecides(t *testing.T) {
	c := newCluster(t)
	t.Run("health check ports", c.healthCheckPorts)
	t.Run("expansion of claims", c.expansion)
}

// healthCheckPorts compares a load balancer with the traffic policy Local with the
// same Service made on the host.
func (c *cluster) healthCheckPorts(t *testing.T) {
	ctx := t.Context()
	local := corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
		Selector: map[string]string{"app": "edge"}, Ports: []corev1.ServicePort{{Port: 80}},
	}
	inside := c.Virtual.CoreV1().Services("default")
	service := func(name string, spec corev1.ServiceSpec) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: *spec.DeepCopy()}
	}
	control, err := c.Host.CoreV1().Services(c.Namespace).Create(ctx, service("control", local), metav1.CreateOptions{})
	if err != nil || control.Spec.HealthCheckNodePort == 0 {
		t.Fatalf("on the host: port %d, %v", control.Spec.HealthCheckNodePort, err)
	}
	cluster := *local.DeepCopy()
	cluster.ExternalTrafficPolicy = ""
	clusterIP := *cluster.DeepCopy()
	clusterIP.Type = corev1.ServiceTypeClusterIP
	for name, spec := range map[string]corev1.ServiceSpec{"from-cluster-ip": clusterIP, "from-load-balancer": cluster} {
		if _, err := inside.Create(ctx, service(name, spec), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	toLocal := []byte(`{"spec":{"type":"LoadBalancer","externalTrafficPolicy":"Local"}}`)
	ways := map[string]func(name string) (*corev1.Service, error){
		"created": func(name string) (*corev1.Service, error) {
			return inside.Create(ctx, service(name, local), metav1.CreateOptions{})
		},
		"from-cluster-ip": func(name string) (*corev1.Service, error) {
			return inside.Patch(ctx, name, types.MergePatchType, toLocal, metav1.PatchOptions{})
		},
		"from-load-balancer": func(name string) (*corev1.Service, error) {
			return inside.Patch(ctx, name, types.StrategicMergePatchType, toLocal, metav1.PatchOptions{})
		},
		"applied": func(name string) (*corev1.Service, error) {
			spec := corev1apply.ServiceSpec().WithType(local.Type).WithExternalTrafficPolicy(local.ExternalTrafficPolicy).
				WithPorts(corev1apply.ServicePort().WithPort(80))
			return inside.Apply(ctx, corev1apply.Service(name, "default").WithSpec(spec), metav1.ApplyOptions{FieldManager: "test", Force: true})
		},
	}
	for name, write := range ways {
		t.Run(name, func(t *testing.T) {
			virtual, err := write(name)
			if err != nil {
				t.Fatal(err)
			}
			host, err := c.Host.CoreV1().Services(c.Namespace).Get(ctx, c.HostName("default", name), metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if port := virtual.Spec.HealthCheckNodePort; port == 0 || port == 65535 || port != host.Spec.HealthCheckNodePort {
				t.Errorf("port %d inside and %d on the host", port, host.Spec.HealthCheckNodePort)
			}
			again, err := write(name)
			if name != "created" && (err != nil || again.Spec.HealthCheckNodePort != virtual.Spec.HealthCheckNodePort) {
				t.Errorf("written again: %v, port %d, was %d", err, again.Spec.HealthCheckNodePort, virtual.Spec.HealthCheckNodePort)
			}
			back, err := inside.Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"externalTrafficPolicy":"Cluster"}}`), metav1.PatchOptions{})
			if err != nil || back.Spec.HealthCheckNodePort != 0 {
				t.Errorf("back to Cluster: %v, port %d", err, back.Spec.HealthCheckNodePort)
			}
		})
	}
	// The tenant's own choice is the host's to judge.
	for reason, port := range map[string]int32{"a port that is taken": control.Spec.HealthCheckNodePort, "a port out of range": 80} {
		spec := *local.DeepCopy()
		spec.HealthCheckNodePort = port
		_, onHost := c.Host.CoreV1().Services(c.Namespace).Create(ctx, service("judged", spec), metav1.CreateOptions{})
		_, err := inside.Create(ctx, service("judged", spec), metav1.CreateOptions{})
		if onHost == nil || err == nil || apierrors.ReasonForError(err) != apierrors.ReasonForError(onHost) {
			t.Errorf("%s: %v, on the host %v", reason, err, onHost)
		}
	}
}

// hostClass makes a storage class on the host, and a volume of it that a claim
// gets.
func (c *cluster) hostClass(t *testing.T, name string, expands *bool) {
	t.Helper()
	ctx := t.Context()
	wait := storagev1.VolumeBindingImmediate
	if _, err := c.Host.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: "example.com/none", AllowVolumeExpansion: expands, VolumeBindingMode: &wait,
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Host.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-" + name},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: name, Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:            []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/tmp/none"}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		if err := c.Host.StorageV1().StorageClasses().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		if err := c.Host.CoreV1().PersistentVolumes().Delete(ctx, "pv-"+name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// boundClaim makes a claim inside, and waits until the host has bound it.
func (c *cluster) boundClaim(t *testing.T, name string, class *string) *corev1.PersistentVolumeClaim {
	t.Helper()
	claims := c.Virtual.CoreV1().PersistentVolumeClaims("default")
	if _, err := claims.Create(t.Context(), claimOf(name, class), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var bound *corev1.PersistentVolumeClaim
	embedded.Eventually(t, "claim "+name+" bound", func(ctx context.Context) (bool, string) {
		var err error
		bound, err = claims.Get(ctx, name, metav1.GetOptions{})
		return err == nil && bound.Status.Phase == corev1.ClaimBound, fmt.Sprint(bound.Status, err)
	})
	return bound
}

func claimOf(name string, class *string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		StorageClassName: class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
}

// expansion: the host decides by its own class, in upstream's words.
func (c *cluster) expansion(t *testing.T) {
	ctx, unique := t.Context(), rand.String(6)
	claims := c.Virtual.CoreV1().PersistentVolumeClaims("default")
	larger := []byte(`{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`)
	for name, expands := range map[string]*bool{"expands": ptr.To(true), "fixed": ptr.To(false)} {
		class := name + "-" + unique
		c.hostClass(t, class, expands)
		// A class that the tenant makes under that name, with the other answer,
		// decides nothing.
		if _, err := c.Virtual.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
			ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: "example.com/own", AllowVolumeExpansion: ptr.To(!*expands),
		}, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		c.boundClaim(t, name, &class)
		got, err := claims.Patch(ctx, name, types.MergePatchType, larger, metav1.PatchOptions{})
		if *expands {
			if err != nil || got.Spec.Resources.Requests.Storage().String() != "2Gi" {
				t.Errorf("%s: %v, %s", name, err, got.Spec.Resources.Requests.Storage())
			}
			continue
		}
		const upstream = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
		if want := `persistentvolumeclaims "fixed" is forbidden: ` + upstream; !apierrors.IsForbidden(err) || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", name, err, want)
		}
	}
	absent := "absent-" + unique
	if _, err := claims.Create(ctx, claimOf("pending", &absent), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := claims.Patch(ctx, "pending", types.MergePatchType, larger, metav1.PatchOptions{}); err == nil || !strings.Contains(err.Error(), "bound claims") {
		t.Errorf("a claim that is not bound: %v", err)
	}
}
