// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// writes lists the writes that a client has seen since it was asked last.
func writes(client *fake.Clientset) []string {
	var seen []string
	for _, a := range client.Actions() {
		if verb := a.GetVerb(); verb != "get" && verb != "list" {
			seen = append(seen, verb+" "+a.GetResource().Resource)
		}
	}
	client.ClearActions()
	return seen
}

func TestRolesAreMadeOnceAndFixed(t *testing.T) {
	client := fake.NewClientset()
	if err := ensureRoles(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	want := len(bootstrappolicy.ClusterRoles()) + len(bootstrappolicy.ControllerRoles()) +
		len(bootstrappolicy.ClusterRoleBindings()) + len(bootstrappolicy.ControllerRoleBindings())
	for _, roles := range bootstrappolicy.NamespaceRoles() {
		want += len(roles)
	}
	for _, bindings := range bootstrappolicy.NamespaceRoleBindings() {
		want += len(bindings)
	}
	made := slices.DeleteFunc(writes(client), func(w string) bool { return w == "create namespaces" })
	if len(made) != want {
		t.Errorf("made %d objects, want %d", len(made), want)
	}

	if err := ensureRoles(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if again := writes(client); len(again) > 0 {
		t.Errorf("with all there, it writes %q", again)
	}

	roles := client.RbacV1().ClusterRoles()
	view, err := roles.Get(t.Context(), "system:node-proxier", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rules := view.Rules
	view.Rules = append([]rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{"example.com"}, Resources: []string{"things"}}}, rules[1:]...)
	if _, err := roles.Update(t.Context(), view, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	writes(client)
	if err := ensureRoles(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if again := writes(client); !slices.Equal(again, []string{"update clusterroles"}) {
		t.Errorf("with a rule missing, it writes %q", again)
	}
	if err := ensureRoles(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if again := writes(client); len(again) > 0 {
		t.Errorf("with the rule there again, it writes %q", again)
	}
	fixed, err := roles.Get(t.Context(), view.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(fixed.Rules, func(r rbacv1.PolicyRule) bool { return slices.Equal(r.APIGroups, []string{"example.com"}) }) {
		t.Error("the rule that was added is gone")
	}
}

// A change between the list and the write is no reason to fail.
func TestRolesThatAnotherWriterMadeMeanwhile(t *testing.T) {
	client := fake.NewClientset()
	if err := ensureRoles(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	old := listedClusterRoles{client.RbacV1().ClusterRoles(), nil} // a list from before
	role := bootstrappolicy.ClusterRoles()[0]
	_, err := old.Get(t.Context(), role.Name, metav1.GetOptions{})
	if err == nil {
		t.Fatal("the empty list has a role")
	}
	calls := 0
	if err := retried(old, listedClusterRoles{client.RbacV1().ClusterRoles(), map[string]*rbacv1.ClusterRole{role.Name: &role}}, func(c listedClusterRoles) error {
		calls++
		if _, err := c.Get(t.Context(), role.Name, metav1.GetOptions{}); err == nil {
			return nil
		}
		_, err := c.Create(t.Context(), &role, metav1.CreateOptions{})
		return err
	}); err != nil || calls != 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestPriorityClassesAreMadeOnce(t *testing.T) {
	client := fake.NewClientset()
	for _, want := range []int{2, 0} {
		if err := ensurePriorityClasses(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		if made := writes(client); len(made) != want {
			t.Errorf("made %q, want %d", made, want)
		}
	}
}
