// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"portico.dev/portico/test/embedded"
)

const (
	fightKey = "example.com/endpoints"
	// fightLooks is how often in a row both controllers have to find their own
	// value, and fightMost how often each may write until then: once by itself, and
	// once after each of two writes of the other that it has seen.
	fightLooks = 30
	fightMost  = 3
)

// fighter is a controller that wants a value for an annotation of one object.
type fighter struct {
	objects       metadata.ResourceInterface
	name, value   string
	writes, quiet int
}

// step looks at the object and writes if the value is another one.
func (f *fighter) step(ctx context.Context) error {
	found, err := f.objects.Get(ctx, f.name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if found.Annotations[fightKey] == f.value {
		f.quiet++
		return nil
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{fightKey: f.value}}})
	if err != nil {
		return err
	}
	f.writes, f.quiet = f.writes+1, 0
	_, err = f.objects.Patch(ctx, f.name, types.MergePatchType, body, metav1.PatchOptions{})
	return err
}

// Two controllers, one inside and one on the host, want different values for one
// annotation of the same object. Each gets its own: a value that the host wrote
// belongs to the host, and the tenant's holds inside. Without that, each undoes the
// write of the other for ever.
func TestControllersOfBothSidesDoNotFight(t *testing.T) {
	h := embedded.SharedHost(t)
	c := newClusterOn(t, h)
	c.CreateNamespace("a")
	inside, err := metadata.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	outside := hostMetadata(t)
	c.CreatePod("a", embedded.Pod("pod", nil))
	c.Settled("a", "pod")
	c.CreateService("a", "service", corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}})
	var claim corev1.PersistentVolumeClaim
	if err := json.Unmarshal([]byte(`{"metadata":{"name":"claim"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}`), &claim); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Virtual.CoreV1().PersistentVolumeClaims("a").Create(t.Context(), &claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Virtual.CoreV1().Secrets("a").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "secret"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	naming := embedded.Pod("naming", nil)
	naming.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "secret"}}}}
	c.CreatePod("a", naming)
	for resource, name := range map[string]string{"pods": "pod", "services": "service", "persistentvolumeclaims": "claim", "secrets": "secret"} {
		t.Run(resource, func(t *testing.T) {
			fight(t, c, inside, outside, corev1.SchemeGroupVersion.WithResource(resource), name)
		})
	}
}

// fight lets both controllers work at the same time until both are content.
func fight(t *testing.T, c *cluster, inside, outside metadata.Interface, resource schema.GroupVersionResource, name string) {
	sides := []*fighter{
		{objects: inside.Resource(resource).Namespace("a"), name: name, value: "inside"},
		{objects: outside.Resource(resource).Namespace(c.Namespace), name: c.HostName("a", name), value: "outside"},
	}
	embedded.Eventually(t, "both controllers are content", func(ctx context.Context) (bool, string) {
		errs := make([]error, len(sides))
		var both sync.WaitGroup
		for i, side := range sides {
			both.Go(func() { errs[i] = side.step(ctx) })
		}
		both.Wait()
		state := fmt.Sprint(sides[0].writes, " writes inside, ", sides[1].writes, " on the host ", errs)
		if sides[0].writes > fightMost || sides[1].writes > fightMost {
			t.Fatalf("they fight: %s", state)
		}
		return sides[0].quiet >= fightLooks && sides[1].quiet >= fightLooks, state
	})
}
