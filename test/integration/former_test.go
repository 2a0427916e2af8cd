// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/test/embedded"
)

// formerCluster is a cluster whose objects of that name have the names on the host
// that an earlier version gave them.
type formerCluster struct {
	*cluster
	t           *testing.T
	tr          *rewrite.Translator
	now, former string // host names of a/longName
	token       string // former host name of its token Secret
}

// newFormerCluster makes the objects, ends porticod, gives the host objects their
// former names by hand, and starts porticod again.
func newFormerCluster(t *testing.T) *formerCluster {
	t.Helper()
	c := &formerCluster{cluster: newCluster(t), t: t}
	var err error
	if c.tr, err = rewrite.New(rewrite.Cluster{Name: c.Name, HostNamespace: c.Namespace}); err != nil {
		t.Fatal(err)
	}
	names := c.tr.HostNames("Pod", "a", longName)
	c.now, c.former, c.token = names[0], names[1], c.tr.FormerTokenSecretName("a", longName)
	c.CreateNamespace("a")
	c.makeObjects()
	c.Settled("a", longName)
	embedded.Eventually(t, "tokens of the pod", func(ctx context.Context) (bool, string) {
		_, err := c.Host.CoreV1().Secrets(c.Namespace).Get(ctx, c.tr.TokenSecretName("a", longName), metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	c.hostSlice(c.now, "192.0.2.1", c.now)
	if err := c.Process.End(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.Process = nil
	c.renameObjects()
	c.Start()
	return c
}

func (c *formerCluster) makeObjects() {
	c.t.Helper()
	ctx, core := c.t.Context(), c.Virtual.CoreV1()
	m := metav1.ObjectMeta{Name: longName}
	if _, err := core.Secrets("a").Create(ctx, &corev1.Secret{ObjectMeta: m, StringData: map[string]string{"value": "one"}}, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	if _, err := core.PersistentVolumeClaims("a").Create(ctx, newClaim(longName), metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	c.CreateService("a", longName, corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}})
	slice := &discoveryv1.EndpointSlice{ObjectMeta: m, AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}}}}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: longName}
	if _, err := c.Virtual.DiscoveryV1().EndpointSlices("a").Create(ctx, slice, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	p := embedded.Pod(longName, nil)
	p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: longName}}}}
	c.CreatePod("a", p)
}

func newClaim(name string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		StorageClassName: ptr.To("none"),
		Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
}

// unmade prepares the metadata of a host object for its creation under a name.
func unmade(m *metav1.ObjectMeta, name string) {
	m.Name, m.UID, m.ResourceVersion, m.Finalizers, m.ManagedFields = name, "", "", nil, nil
}

// typed has the methods of a typed client that are used here.
type typed[T any] interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (T, error)
	Create(ctx context.Context, obj T, o metav1.CreateOptions) (T, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, o metav1.PatchOptions, subresources ...string) (T, error)
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}

// rename makes a host object again under another name.
func rename[T any](t *testing.T, client typed[T], from string, change func(T)) T {
	t.Helper()
	obj, err := client.Get(t.Context(), from, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Patch(t.Context(), from, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.Delete(t.Context(), from, metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	change(obj)
	made, err := client.Create(t.Context(), obj, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (c *formerCluster) renameObjects() {
	c.t.Helper()
	core := c.Host.CoreV1()
	token := c.tr.TokenSecretName("a", longName)
	tokens, err := core.Secrets(c.Namespace).Get(c.t.Context(), token, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	pod := rename(c.t, core.Pods(c.Namespace), c.now, func(p *corev1.Pod) {
		unmade(&p.ObjectMeta, c.former)
		for _, from := range p.Spec.Containers[0].EnvFrom {
			if from.SecretRef != nil {
				from.SecretRef.Name = c.former
			}
		}
		for _, v := range p.Spec.Volumes {
			if v.Projected == nil {
				continue
			}
			for _, s := range v.Projected.Sources {
				if s.Secret != nil && s.Secret.Name == token {
					s.Secret.Name = c.token
				}
			}
		}
	})
	// The Secret of today's name goes with its pod.
	unmade(&tokens.ObjectMeta, c.token)
	tokens.OwnerReferences[0].Name, tokens.OwnerReferences[0].UID = pod.Name, pod.UID
	if _, err := core.Secrets(c.Namespace).Create(c.t.Context(), tokens, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	rename(c.t, core.Secrets(c.Namespace), c.now, func(s *corev1.Secret) { unmade(&s.ObjectMeta, c.former) })
	rename(c.t, core.PersistentVolumeClaims(c.Namespace), c.now, func(v *corev1.PersistentVolumeClaim) { unmade(&v.ObjectMeta, c.former) })
	rename(c.t, core.Services(c.Namespace), c.now, func(s *corev1.Service) {
		unmade(&s.ObjectMeta, c.former)
		s.Spec.ClusterIP, s.Spec.ClusterIPs = "", nil
	})
	rename(c.t, c.Host.DiscoveryV1().EndpointSlices(c.Namespace), c.now, func(s *discoveryv1.EndpointSlice) {
		unmade(&s.ObjectMeta, c.former)
		s.Labels[discoveryv1.LabelServiceName] = c.former
	})
}

// hostSlice waits until the host slice of that name has an address, and leads to
// a Service.
func (c *formerCluster) hostSlice(name, address, service string) {
	c.t.Helper()
	embedded.Eventually(c.t, "host slice "+name, func(ctx context.Context) (bool, string) {
		s, err := c.Host.DiscoveryV1().EndpointSlices(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return address == "" && apierrors.IsNotFound(err), err.Error()
		}
		return address != "" && s.Endpoints[0].Addresses[0] == address && s.Labels[discoveryv1.LabelServiceName] == service, fmt.Sprint(s)
	})
}

// hostSecret waits until a host Secret satisfies want; a nil one is not there.
func (c *formerCluster) hostSecret(name, what string, want func(*corev1.Secret) bool) {
	c.t.Helper()
	embedded.Eventually(c.t, "host Secret "+name+": "+what, func(ctx context.Context) (bool, string) {
		s, err := c.Host.CoreV1().Secrets(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			s, err = nil, nil
		}
		return err == nil && want(s), fmt.Sprint(s, err)
	})
}

// TestClusterOfAnEarlierVersionGoesOn: objects that were made with names of 50
// bits are shown and serve every verb, objects that porticod composed and
// copied for them are kept in step, new objects refer to them, and the next of
// their names have names of today.
func TestClusterOfAnEarlierVersionGoesOn(t *testing.T) {
	c := newFormerCluster(t)
	ctx, pods := t.Context(), c.Virtual.CoreV1().Pods("a")
	services, claims := c.Virtual.CoreV1().Services("a"), c.Virtual.CoreV1().PersistentVolumeClaims("a")
	host := c.Host.CoreV1()

	// Reading. The uid is that of the host object which is there now.
	onHost, err := host.Pods(c.Namespace).Get(ctx, c.former, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rv := range []string{"", "0"} {
		p, err := pods.Get(ctx, longName, metav1.GetOptions{ResourceVersion: rv})
		if err != nil || p.UID != onHost.UID {
			t.Fatalf("get at %q: uid %s (%v), want %s", rv, p.UID, err, onHost.UID)
		}
		if from := p.Spec.Containers[0].EnvFrom[0].SecretRef.Name; from != longName {
			t.Errorf("the pod names the Secret %s", from)
		}
	}
	c.Settled("a", longName)

	// Changing, by every way.
	patch := func(body string, subresources ...string) {
		t.Helper()
		if _, err := pods.Patch(ctx, longName, types.StrategicMergePatchType, []byte(body), metav1.PatchOptions{}, subresources...); err != nil {
			t.Errorf("patch %v: %v", subresources, err)
		}
	}
	patch(`{"metadata":{"labels":{"patched":"yes"},"finalizers":["example.com/held"]}}`)
	patch(`{"status":{"conditions":[{"type":"example.com/checked","status":"True"}]}}`, "status")
	patch(`{"spec":{"ephemeralContainers":[{"name":"debug","image":"busybox"}]}}`, "ephemeralcontainers")
	p, err := pods.Get(ctx, longName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Annotations = map[string]string{"updated": "yes"}
	if _, err := pods.Update(ctx, p, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) { // the host writes its status
		t.Errorf("update: %v", err)
	}
	onHost, err = host.Pods(c.Namespace).Get(ctx, c.former, metav1.GetOptions{})
	if err != nil || onHost.Labels["patched"] != "yes" || len(onHost.Spec.EphemeralContainers) != 1 {
		t.Errorf("the host pod has the labels %v and %d ephemeral containers (%v)", onHost.Labels, len(onHost.Spec.EphemeralContainers), err)
	}
	// A simulated node has no logs, but the answer must not be that there is no
	// pod.
	if _, err := pods.GetLogs(longName, &corev1.PodLogOptions{Container: "main"}).DoRaw(ctx); apierrors.IsNotFound(err) {
		t.Errorf("logs: %v", err)
	}
	for kind, err := range map[string]error{
		"service": func() error {
			_, err := services.Patch(ctx, longName, types.MergePatchType, []byte(`{"spec":{"ports":[{"port":81}]}}`), metav1.PatchOptions{})
			return err
		}(),
		"claim": func() error {
			_, err := claims.Patch(ctx, longName, types.MergePatchType, []byte(`{"metadata":{"labels":{"patched":"yes"}}}`), metav1.PatchOptions{})
			return err
		}(),
	} {
		if err != nil {
			t.Errorf("patch the %s: %v", kind, err)
		}
	}
	if s, err := host.Services(c.Namespace).Get(ctx, c.former, metav1.GetOptions{}); err != nil || s.Spec.Ports[0].Port != 81 {
		t.Errorf("the host Service: %v (%v)", s, err)
	}

	// Their names are taken.
	_, podErr := pods.Create(ctx, embedded.Pod(longName, nil), metav1.CreateOptions{})
	_, claimErr := claims.Create(ctx, newClaim(longName), metav1.CreateOptions{})
	_, serviceErr := services.Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: longName}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}, metav1.CreateOptions{})
	for _, err := range []error{podErr, claimErr, serviceErr} {
		if !apierrors.IsAlreadyExists(err) {
			t.Errorf("create: %v, want that it exists", err)
		}
	}

	// Copies and tokens are kept in step where the old objects look for them.
	if _, err := c.Virtual.CoreV1().Secrets("a").Patch(ctx, longName, types.MergePatchType, []byte(`{"stringData":{"value":"two"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.hostSecret(c.former, "the new value", func(s *corev1.Secret) bool { return s != nil && string(s.Data["value"]) == "two" })
	if err := host.Secrets(c.Namespace).Delete(ctx, c.token, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.hostSecret(c.token, "tokens again", func(s *corev1.Secret) bool {
		return s != nil && s.OwnerReferences[0].Name == c.former && s.OwnerReferences[0].UID == onHost.UID
	})
	if _, err := c.Virtual.DiscoveryV1().EndpointSlices("a").Patch(ctx, longName, types.MergePatchType, []byte(`{"endpoints":[{"addresses":["192.0.2.2"]}]}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.hostSlice(c.former, "192.0.2.2", c.former)
	c.hostSlice(c.now, "", "")

	// A new pod gets the claim that is there, and the Secret by the name of today.
	next := embedded.Pod("next", nil)
	next.Spec.Volumes = []corev1.Volume{
		{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: longName}}},
		{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: longName}}},
	}
	c.CreatePod("a", next)
	volumes := c.HostPod("a", "next").Spec.Volumes
	if got := volumes[0].PersistentVolumeClaim.ClaimName; got != c.former {
		t.Errorf("the new pod has the claim %s, want %s", got, c.former)
	}
	if got := volumes[1].Secret.SecretName; got != c.now {
		t.Errorf("the new pod has the Secret %s, want %s", got, c.now)
	}
	if err := pods.Delete(ctx, "next", metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}); err != nil {
		t.Fatal(err)
	}

	c.deleteAll()
	c.CreatePod("a", embedded.Pod(longName, nil))
	if _, err := host.Pods(c.Namespace).Get(ctx, c.now, metav1.GetOptions{}); err != nil {
		t.Errorf("the next pod of the name: %v", err)
	}
	if _, err := claims.Create(ctx, newClaim(longName), metav1.CreateOptions{}); err != nil {
		t.Errorf("the next claim of the name: %v", err)
	}
}

// deleteAll deletes the objects through the virtual API, and waits until nothing
// on the host has a former name.
func (c *formerCluster) deleteAll() {
	c.t.Helper()
	ctx, core := c.t.Context(), c.Virtual.CoreV1()
	now := metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}
	if err := core.Pods("a").Delete(ctx, longName, now); err != nil {
		c.t.Error(err)
	}
	// The tenant's finalizer holds it on both sides.
	if p, err := core.Pods("a").Get(ctx, longName, metav1.GetOptions{}); err != nil || p.DeletionTimestamp == nil {
		c.t.Errorf("held pod: %v", err)
	}
	if _, err := core.Pods("a").Patch(ctx, longName, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil && !apierrors.IsNotFound(err) {
		c.t.Error(err)
	}
	for _, err := range []error{
		core.PersistentVolumeClaims("a").Delete(ctx, longName, now), core.Services("a").Delete(ctx, longName, now),
		core.Secrets("a").Delete(ctx, longName, now),
	} {
		if err != nil {
			c.t.Error(err)
		}
	}
	embedded.Eventually(c.t, "nothing with a former name", func(ctx context.Context) (bool, string) {
		var left []string
		note := func(kind string, err error) {
			if !apierrors.IsNotFound(err) {
				left = append(left, fmt.Sprint(kind, err))
			}
		}
		_, err := c.Host.CoreV1().Pods(c.Namespace).Get(ctx, c.former, metav1.GetOptions{})
		note("pod", err)
		_, err = c.Host.CoreV1().Services(c.Namespace).Get(ctx, c.former, metav1.GetOptions{})
		note("service", err)
		_, err = c.Host.CoreV1().PersistentVolumeClaims(c.Namespace).Get(ctx, c.former, metav1.GetOptions{})
		note("claim", err)
		_, err = c.Host.CoreV1().Secrets(c.Namespace).Get(ctx, c.former, metav1.GetOptions{})
		note("secret", err)
		_, err = c.Host.DiscoveryV1().EndpointSlices(c.Namespace).Get(ctx, c.former, metav1.GetOptions{})
		note("slice", err)
		return len(left) == 0, strings.Join(left, " ")
	})
}
