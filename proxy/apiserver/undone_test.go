// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/warning"
	api "k8s.io/kubernetes/pkg/apis/core"
)

type heard []string

func (h *heard) AddWarning(_, text string) { *h = append(*h, text) }

// TestUndoneWritesAreJudged: writes of anybody but porticod are judged, in the
// versioned form, and no others.
func TestUndoneWritesAreJudged(t *testing.T) {
	node := func(taint string) *api.Node {
		n := &api.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}
		if taint != "" {
			n.Spec.Taints = []api.Taint{{Key: taint, Effect: api.TaintEffectNoSchedule}}
		}
		return n
	}
	row := Undone{
		Resource: corev1.Resource("nodes"), New: func() runtime.Object { return &corev1.Node{} },
		Judge: func(before, after runtime.Object) ([]string, error) {
			switch {
			case after == nil:
				return nil, errors.New("stays")
			case before == nil:
				return []string{"made"}, nil
			case len(after.(*corev1.Node).Spec.Taints) > 0:
				return nil, errors.New("is put back: " + after.(*corev1.Node).Spec.Taints[0].Key)
			}
			return nil, nil
		},
	}
	server := &genericapiserver.Config{AdmissionControl: admission.NewChainHandler()}
	guardUndone(server, []Undone{row})
	for reason, c := range map[string]struct {
		before, after *api.Node
		resource      string
		subresource   string
		who           string
		refused       bool
		warned        []string
	}{
		"an update that would be put back":               {before: node(""), after: node("a"), refused: true},
		"the same, of the status":                        {before: node(""), after: node("a"), subresource: "status", refused: true},
		"any other update":                               {before: node("a"), after: node("")},
		"porticod, which puts back":                      {before: node(""), after: node("a"), who: user.APIServerUser},
		"a deletion":                                     {before: node(""), refused: true},
		"a new object":                                   {after: node(""), warned: []string{"made"}},
		"a deletion of many, before each is asked about": {},
		"another kind":                                   {before: node(""), after: node("a"), resource: "pods"},
		"another subresource":                            {before: node(""), after: node("a"), subresource: "proxy"},
	} {
		t.Run(reason, func(t *testing.T) {
			op := admission.Update
			var before, after runtime.Object
			if c.before != nil {
				before = c.before
			} else {
				op = admission.Create
			}
			if c.after != nil {
				after = c.after
			} else {
				op = admission.Delete
			}
			resource, who := "nodes", "tenant"
			if c.resource != "" {
				resource = c.resource
			}
			if c.who != "" {
				who = c.who
			}
			var warned heard
			ctx := warning.WithWarningRecorder(context.WithoutCancel(t.Context()), &warned)
			err := server.AdmissionControl.(admission.ValidationInterface).Validate(ctx, admission.NewAttributesRecord(after, before,
				corev1.SchemeGroupVersion.WithKind("Node"), "", "n", corev1.SchemeGroupVersion.WithResource(resource), c.subresource, op, nil, false,
				&user.DefaultInfo{Name: who}), nil)
			if c.refused != apierrors.IsForbidden(err) || !c.refused && err != nil {
				t.Errorf("got %v, refused should be %v", err, c.refused)
			}
			if diff := cmp.Diff(c.warned, []string(warned)); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}
