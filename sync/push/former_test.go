// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"

	"portico.dev/portico/rewrite"
)

const longName = "a-name-that-needs-the-hash-rule-on-the-host-because-it-is-so-long"

// formerCopy is the copy of a Secret that an earlier version made.
func formerCopy(t *testing.T, name, value string) *corev1.Secret {
	t.Helper()
	tr := translator(t, "vc")
	h, err := tr.SecretToHost(secret("default", name, value))
	if err != nil {
		t.Fatal(err)
	}
	h.Name, _ = tr.FormerName("default", name)
	h.UID = "former-uid"
	return h
}

func longPod(name string) *corev1.Pod {
	p := pod("default", name)
	p.Spec.Containers[0].EnvFrom[0].SecretRef.Name = longName
	return p
}

// heldBy waits until a host Secret has a value; "" means that there is none.
func (h *harness) heldBy(hostName, want string, step time.Duration) {
	h.t.Helper()
	got := "not looked at"
	err := wait.PollUntilContextTimeout(h.t.Context(), 5*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		h.clock.Step(step)
		s, err := h.host.CoreV1().Secrets(hostNamespace).Get(ctx, hostName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			got = ""
			return want == "", nil
		}
		if err != nil {
			return false, err
		}
		got = string(s.Data["value"])
		return got == want, nil
	})
	if err != nil {
		h.t.Fatalf("host Secret %s holds %q, want %q", hostName, got, want)
	}
}

// A pod of an earlier version mounts the copy under its former name. It is kept
// in step there, next to the one that new pods mount, and goes with the last
// pod, or with the virtual Secret.
func TestFormerCopyIsKeptInStep(t *testing.T) {
	former := formerCopy(t, longName, "s1")
	for end, last := range map[string]func(h *harness) error{
		"the pod goes": func(h *harness) error {
			return h.virtual.CoreV1().Pods("default").Delete(t.Context(), "before", metav1.DeleteOptions{})
		},
		"the Secret goes": func(h *harness) error {
			return h.virtual.CoreV1().Secrets("default").Delete(t.Context(), longName, metav1.DeleteOptions{})
		},
	} {
		t.Run(end, func(t *testing.T) {
			h := newHarness(t, []runtime.Object{secret("default", longName, "s1"), longPod("before")}, []runtime.Object{former.DeepCopy()})
			h.eventually("Secret", "default", longName, "s1", 0)
			if _, err := h.virtual.CoreV1().Secrets("default").Update(t.Context(), secret("default", longName, "s2"), metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			h.heldBy(former.Name, "s2", 0)
			h.eventually("Secret", "default", longName, "s2", 0)
			if err := last(h); err != nil {
				t.Fatal(err)
			}
			h.heldBy(former.Name, "", time.Second)
			h.eventually("Secret", "default", longName, "", time.Second)
		})
	}
}

// A copy that lay on the host while no replica ran, and that no pod names any
// more, is removed under either name.
func TestFormerCopyWithoutAPodIsRemoved(t *testing.T) {
	former := formerCopy(t, longName, "s1")
	h := newHarness(t, []runtime.Object{secret("default", longName, "s1")}, []runtime.Object{former})
	h.heldBy(former.Name, "", time.Second)
}

// Nothing new has a former name.
func TestFormerCopyIsNeverMade(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", longName, "s1"), longPod("new")}, nil)
	h.eventually("Secret", "default", longName, "s1", 0)
	h.settled()
	name, _ := h.translator.FormerName("default", longName)
	h.heldBy(name, "", 0)
}

// TestAttackPodMountsWhatTheOperatorHas: a tenant names a Secret that does not
// exist inside, and whose host name is that of a Secret of the operator. The
// pod would get the operator's: it is refused, in virtual names, and nothing is
// touched.
func TestAttackPodMountsWhatTheOperatorHas(t *testing.T) {
	for reason, change := range map[string]func(*corev1.Secret){
		"without labels":                    func(s *corev1.Secret) { s.Labels, s.Annotations = nil, nil },
		"with the labels of another object": func(s *corev1.Secret) { s.Annotations[rewrite.AnnotationName] = "another" },
	} {
		t.Run(reason, func(t *testing.T) {
			there := formerCopy(t, longName, "the host's")
			there.Name = translator(t, "vc").Name("default", longName)
			change(there)
			h := newHarness(t, nil, []runtime.Object{there})
			h.settled() // the view has it
			_, err := h.controller.Ensure(t.Context(), "default", []rewrite.Reference{{Kind: "Secret", Name: longName}})
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), longName) || strings.Contains(err.Error(), there.Name) {
				t.Errorf("the pod ends with %v", err)
			}
			h.heldBy(there.Name, "the host's", 0)
		})
	}
}

// TestAttackFormerCopyOfAnother: a tenant who searches finds two Secrets with
// one former name. A change of one does not change the mounts of pods of the
// other, and an operator's Secret of the name is not touched.
func TestAttackFormerCopyOfAnother(t *testing.T) {
	name, _ := translator(t, "vc").FormerName("default", longName)
	another := formerCopy(t, longName+"-2", "another's")
	another.Name = name
	operators := secret(hostNamespace, name, "the host's")
	for reason, there := range map[string]*corev1.Secret{"another virtual Secret's": another, "the operator's": operators} {
		t.Run(reason, func(t *testing.T) {
			h := newHarness(t, []runtime.Object{secret("default", longName, "s1"), longPod("p")}, []runtime.Object{there.DeepCopy()})
			h.eventually("Secret", "default", longName, "s1", 0)
			if _, err := h.virtual.CoreV1().Secrets("default").Update(t.Context(), secret("default", longName, "s2"), metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			h.eventually("Secret", "default", longName, "s2", 0)
			if err := h.virtual.CoreV1().Secrets("default").Delete(t.Context(), longName, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			h.eventually("Secret", "default", longName, "", 0)
			h.settled()
			h.heldBy(name, string(there.Data["value"]), 0)
		})
	}
}
