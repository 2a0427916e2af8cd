// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistration "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"

	"portico.dev/portico/test/embedded"
)

// A tenant leads each API that the door serves itself to a server of theirs, which
// would answer porticod's controllers: by update, by patch, by deletion and
// creation, and as porticod's own user. None is led away, and the server gets no
// connection.
func TestAttackTenantLeadsTheDoorsOwnAPIsElsewhere(t *testing.T) {
	c, ctx := embedded.NewClusterWith(t, embedded.SharedHost(t), allowLoopback), t.Context()
	server := newTrap(t, closed)
	c.CreateService("default", "mine", corev1.ServiceSpec{
		Type: corev1.ServiceTypeExternalName, ExternalName: "localhost",
	})
	elsewhere := apiregistrationv1.APIServiceSpec{
		Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "mine"}, CABundle: server.caBundle(),
		GroupPriorityMinimum: 20000, VersionPriority: 1000,
	}
	as := rest.CopyConfig(c.Config)
	as.Impersonate = rest.ImpersonationConfig{UserName: "system:apiserver", Groups: []string{"system:masters"}}
	for who, config := range map[string]*rest.Config{"the administrator": c.Config, "system:apiserver": as} {
		services := apiregistration.NewForConfigOrDie(config).APIServices()
		all, err := services.List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(all.Items) < 20 {
			t.Errorf("%d APIServices are not all that there are", len(all.Items))
		}
		for i := range all.Items {
			own := &all.Items[i]
			own.Spec = *elsewhere.DeepCopy()
			own.Spec.Group, own.Spec.Version = groupVersion(own.Name)
			if _, err := services.Update(ctx, own, metav1.UpdateOptions{}); !apierrors.IsForbidden(err) {
				t.Errorf("%s updates %s: %v, want Forbidden", who, own.Name, err)
			}
			patch := []byte(`{"spec":{"service":{"namespace":"default","name":"mine"},"insecureSkipTLSVerify":true}}`)
			if _, err := services.Patch(ctx, own.Name, types.MergePatchType, patch, metav1.PatchOptions{}); !apierrors.IsForbidden(err) {
				t.Errorf("%s patches %s: %v, want Forbidden", who, own.Name, err)
			}
		}
		const victim = "v1.apps"
		if err := services.Delete(ctx, victim, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		again := &apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: victim}, Spec: *elsewhere.DeepCopy()}
		again.Spec.Group, again.Spec.Version = groupVersion(victim)
		if _, err := services.Create(ctx, again, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("%s creates %s: %v, want Forbidden", who, victim, err)
		}
	}
	server.untouched(t)
}

// groupVersion reads the name of an APIService.
func groupVersion(name string) (group, version string) {
	for i := range name {
		if name[i] == '.' {
			return name[i+1:], name[:i]
		}
	}
	return "", name
}

// A tenant marks objects of their own as the host's, so that porticod changes or
// removes them, or shows them to others as the host's: each is refused, also for
// an object that was made without the mark.
func TestAttackTenantMarksObjectsAsTheHosts(t *testing.T) {
	c, ctx := embedded.NewCluster(t), t.Context()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Provisioner: "example.com/mine"}
	priority := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Value: 1}
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Spec: corev1.PersistentVolumeSpec{
		Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/mine"}},
	}}
	for kind, o := range map[string]struct {
		meta   *metav1.ObjectMeta
		mark   string
		create func(kubernetes.Interface) error
		path   string
	}{
		"node": {&node.ObjectMeta, "host-node", func(k kubernetes.Interface) error {
			_, err := k.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
			return err
		}, "/api/v1/nodes/mine"},
		"volume": {&volume.ObjectMeta, "host-volume", func(k kubernetes.Interface) error {
			_, err := k.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
			return err
		}, "/api/v1/persistentvolumes/mine"},
		"storage class": {&class.ObjectMeta, "host-class", func(k kubernetes.Interface) error {
			_, err := k.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
			return err
		}, "/apis/storage.k8s.io/v1/storageclasses/mine"},
		"priority class": {&priority.ObjectMeta, "host-class", func(k kubernetes.Interface) error {
			_, err := k.SchedulingV1().PriorityClasses().Create(ctx, priority, metav1.CreateOptions{})
			return err
		}, "/apis/scheduling.k8s.io/v1/priorityclasses/mine"},
	} {
		t.Run(kind, func(t *testing.T) {
			o.meta.Annotations = map[string]string{"portico.dev/" + o.mark: "uid"}
			if err := o.create(c.Virtual); !apierrors.IsForbidden(err) {
				t.Errorf("create with the mark: %v, want Forbidden", err)
			}
			o.meta.Annotations = nil
			if err := o.create(c.Virtual); err != nil {
				t.Fatal(err)
			}
			mark := fmt.Appendf(nil, `{"metadata":{"annotations":{"portico.dev/%s":"uid"}}}`, o.mark)
			raw := c.Virtual.CoreV1().RESTClient()
			if err := raw.Patch(types.MergePatchType).AbsPath(o.path).Body(mark).Do(ctx).Error(); !apierrors.IsForbidden(err) {
				t.Errorf("set the mark: %v, want Forbidden", err)
			}
			if err := raw.Delete().AbsPath(o.path).Do(context.WithoutCancel(ctx)).Error(); err != nil {
				t.Errorf("the tenant's own cannot be deleted: %v", err)
			}
		})
	}
}
