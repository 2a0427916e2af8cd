// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/classes"
)

const provisioner = "example.com/disk"

func storageClass(name, provisioner string) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "uid-1"}, Provisioner: provisioner}
}

// storing is a running StoragePusher between two fake clusters, with the host's
// classes shown.
type storing struct {
	t             *testing.T
	tr            *rewrite.Translator
	virtual, host *fake.Clientset
	pusher        *classes.StoragePusher
}

func startStorage(t *testing.T, limits classes.StorageLimits, virtual, host []runtime.Object) *storing {
	t.Helper()
	s := &storing{t: t, tr: translator(t, "team-a"), virtual: fake.NewClientset(virtual...), host: fake.NewClientset(host...)}
	// The fake watches without selectors, and so the copies are shown: as the
	// host's, which have a uid.
	s.host.PrependReactor("create", "storageclasses", func(action clienttesting.Action) (bool, runtime.Object, error) {
		made, err := meta.Accessor(action.(clienttesting.CreateAction).GetObject())
		if err == nil {
			made.SetUID("uid-of-" + types.UID(made.GetName()))
		}
		return false, nil, err
	})
	factory := informers.NewSharedInformerFactory(s.virtual, 0)
	shown, err := classes.New(classes.Config{
		Virtual: s.virtual, Informers: factory, Host: s.host, StorageClasses: labels.Everything(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.pusher, err = classes.NewStoragePusher(classes.PushConfig{
		Translator: s.tr, Virtual: s.virtual, Informers: factory, Host: s.host, Leader: s.host,
	}, limits, shown)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	runs := []func(context.Context) error{shown.Observe, shown.Run, s.pusher.Observe, s.pusher.Run}
	done := make(chan error, len(runs))
	for _, run := range runs {
		go func() { done <- run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range runs {
			if err := <-done; err != nil {
				t.Errorf("pusher: %v", err)
			}
		}
		factory.Shutdown()
	})
	return s
}

// eventually waits until the host class satisfies want; a nil class is one that
// does not exist.
func (s *storing) eventually(name, what string, want func(*storagev1.StorageClass) bool) {
	s.t.Helper()
	var last *storagev1.StorageClass
	err := wait.PollUntilContextTimeout(s.t.Context(), 5*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		class, err := s.host.StorageV1().StorageClasses().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			class, err = nil, nil
		}
		last = class
		return err == nil && want(class), err
	})
	if err != nil {
		s.t.Fatalf("host class %s: %s: %v; last %+v", name, what, err, last)
	}
}

func (s *storing) copies() int {
	s.t.Helper()
	list, err := s.host.StorageV1().StorageClasses().List(s.t.Context(), metav1.ListOptions{LabelSelector: s.tr.ClusterScope().String()})
	if err != nil {
		s.t.Fatal(err)
	}
	return len(list.Items)
}

func TestStorageCopiesFollowTheTenantsClasses(t *testing.T) {
	s := startStorage(t, classes.StorageLimits{Provisioners: []string{provisioner}}, []runtime.Object{storageClass("gold", provisioner)}, nil)
	ctx, client, copied := t.Context(), s.virtual.StorageV1().StorageClasses(), s.tr.ClusterName("gold")
	s.eventually(copied, "pushed", func(c *storagev1.StorageClass) bool { return c != nil && c.Provisioner == provisioner })

	class := storageClass("gold", provisioner)
	class.AllowVolumeExpansion = ptr.To(true)
	if _, err := client.Update(ctx, class, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually(copied, "changed", func(c *storagev1.StorageClass) bool { return c != nil && ptr.Deref(c.AllowVolumeExpansion, false) })
	if pushed, err := s.pusher.For(ctx, "gold"); !pushed || err != nil {
		t.Errorf("a claim of the class: pushed %t, %v", pushed, err)
	}
	if err := client.Delete(ctx, "gold", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually(copied, "gone with the tenant's", func(c *storagev1.StorageClass) bool { return c == nil })
}

// TestWhichClaimsHaveACopy: a name of the host's own stays, one that is the
// tenant's or may become it is ours, and no other class is pushed.
func TestWhichClaimsHaveACopy(t *testing.T) {
	theirs := translator(t, "team-b").StorageClassToHost(storageClass("gold", provisioner))
	secret := storageClass("secret", provisioner)
	secret.Parameters = map[string]string{"csi.storage.k8s.io/provisioner-secret-name": "operators"}
	unlisted := storageClass("unlisted", provisioner)
	unlisted.Parameters = map[string]string{"path": "/etc"}
	listed := storageClass("listed", provisioner)
	listed.Parameters = map[string]string{"type": "ssd"}
	virtual := []runtime.Object{storageClass("gold", provisioner), storageClass("hostpath", "example.com/hostpath"), secret, unlisted, listed,
		storageClass("standard", provisioner)}
	host := []runtime.Object{storageClass("hosts", provisioner), storageClass("standard", provisioner), theirs}
	s := startStorage(t, classes.StorageLimits{Parameters: []string{"type"}}, virtual, host)
	for name, want := range map[string]struct {
		pushed  bool
		refused string
	}{
		"":          {},
		"gold":      {pushed: true},
		"listed":    {pushed: true},
		"standard":  {pushed: true}, // the tenant's own, under a name of the host's
		"hosts":     {},
		"to-come":   {pushed: true},
		theirs.Name: {pushed: true}, // another cluster's copy: a name like any other
		"hostpath":  {refused: `provisioner "example.com/hostpath"`},
		"secret":    {refused: "provisioner-secret-name"},
		"unlisted":  {refused: "parameters[path]"},
	} {
		pushed, err := s.pusher.For(t.Context(), name)
		if pushed != want.pushed {
			t.Errorf("claim of class %q: pushed %t (%v)", name, pushed, err)
		}
		if want.refused == "" && err != nil || want.refused != "" && (!errors.Is(err, rewrite.ErrNoClass) || !strings.Contains(err.Error(), want.refused)) {
			t.Errorf("claim of class %q: %v, want %q", name, err, want.refused)
		}
	}
	if n := s.copies(); n != 3 {
		t.Errorf("the host has %d copies, want 3", n)
	}
	for _, class := range []*storagev1.StorageClass{storageClass("standard", provisioner), theirs} {
		if got, err := s.host.StorageV1().StorageClasses().Get(t.Context(), class.Name, metav1.GetOptions{}); err != nil || got.Labels[rewrite.LabelHostNamespace] != class.Labels[rewrite.LabelHostNamespace] {
			t.Errorf("class %s of the host: %v, %v", class.Name, got, err)
		}
	}
}

// TestNoProvisionerIsAllowed: an empty list is not the same as none.
func TestNoProvisionerIsAllowed(t *testing.T) {
	s := startStorage(t, classes.StorageLimits{Provisioners: []string{}}, []runtime.Object{storageClass("gold", provisioner)}, []runtime.Object{storageClass("hosts", provisioner)})
	if _, err := s.pusher.For(t.Context(), "gold"); !errors.Is(err, rewrite.ErrNoClass) {
		t.Errorf("a class with a provisioner that no list has: %v", err)
	}
}

// TestAttackManyStorageClasses: no quota of the host bounds objects outside of a
// namespace.
func TestAttackManyStorageClasses(t *testing.T) {
	const most, asked = 100, 1000
	s := startStorage(t, classes.StorageLimits{Provisioners: []string{provisioner}}, nil, nil)
	refused := 0
	for i := range asked {
		name := fmt.Sprintf("class-%d", i)
		if _, err := s.virtual.StorageV1().StorageClasses().Create(t.Context(), storageClass(name, provisioner), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		switch pushed, err := s.pusher.For(t.Context(), name); {
		case errors.Is(err, rewrite.ErrNoClass):
			refused++
		case err != nil || !pushed:
			t.Errorf("a claim of %s: %t, %v", name, pushed, err)
		}
	}
	if n := s.copies(); n != most || refused != asked-most {
		t.Errorf("%d classes on the host and %d claims refused, want %d and %d", n, refused, most, asked-most)
	}
}

// TestAttackWriteADangerousClass: a tenant is told at the write, with the reason;
// a class of before the rule can still be labelled.
func TestAttackWriteADangerousClass(t *testing.T) {
	limits := classes.StorageLimits{Provisioners: []string{provisioner}}
	dangerous := storageClass("gold", provisioner)
	dangerous.Parameters = map[string]string{"csi.storage.k8s.io/node-publish-secret-name": "operators"}
	labelled := dangerous.DeepCopy()
	labelled.Labels = map[string]string{"a": "b"}
	noted := storageClass("noted", provisioner)
	noted.Annotations = map[string]string{"cas.openebs.io/config": "x", "storageclass.kubernetes.io/is-default-class": "true"}
	for name, tc := range map[string]struct {
		before, after *storagev1.StorageClass
		err           string
		warnings      int
	}{
		"harmless":            {nil, storageClass("gold", provisioner), "", 0},
		"a secret":            {nil, dangerous, "names a Secret", 0},
		"made before":         {dangerous, labelled, "", 0},
		"deleted":             {dangerous, nil, "", 0},
		"another provisioner": {nil, storageClass("gold", "example.com/hostpath"), "", 1},
		"a lost annotation":   {nil, noted, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			warnings, err := limits.Judge(tc.before, tc.after)
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) || len(warnings) != tc.warnings {
				t.Errorf("got %q, %v; want %d warnings, %q", warnings, err, tc.warnings, tc.err)
			}
		})
	}
}

// TestTriedClaimBringsNoClass: a claim of a dry run makes no copy, and is judged as
// any other.
func TestTriedClaimBringsNoClass(t *testing.T) {
	virtual, hostClient := fake.NewClientset(storageClass("gold", provisioner), storageClass("evil", "evil.example")), fake.NewClientset()
	factory := informers.NewSharedInformerFactory(virtual, 0)
	shown, err := classes.New(classes.Config{Virtual: virtual, Informers: factory, Host: hostClient, StorageClasses: labels.Everything()})
	if err != nil {
		t.Fatal(err)
	}
	pusher, err := classes.NewStoragePusher(classes.PushConfig{
		Translator: translator(t, "team-a"), Virtual: virtual, Informers: factory, Host: hostClient, Leader: hostClient,
	}, classes.StorageLimits{Provisioners: []string{provisioner}}, shown)
	if err != nil {
		t.Fatal(err)
	}
	if pushed, err := pusher.Tried(t.Context(), "gold"); !pushed || err != nil {
		t.Errorf("a tried claim: pushed %t, %v", pushed, err)
	}
	if _, err := pusher.Tried(t.Context(), "evil"); !errors.Is(err, rewrite.ErrNoClass) {
		t.Errorf("a tried claim of a class that gets no copy: %v", err)
	}
	list, err := hostClient.StorageV1().StorageClasses().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("the host has %v after a dry run (%v)", list.Items, err)
	}
}
