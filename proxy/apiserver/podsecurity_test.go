// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/kubernetes/pkg/apis/apps"
	"k8s.io/kubernetes/pkg/apis/core"
)

// said are the warnings of a request.
type said []string

func (s *said) AddWarning(_, text string) { *s = append(*s, text) }

// asked returns the answer of a plugin to a request, and its warnings.
func asked(t *testing.T, s PodSecurity, resource, subresource, by string, obj, old runtime.Object) (said, error) {
	t.Helper()
	f, err := newFloor(&s)
	if err != nil {
		t.Fatal(err)
	}
	group, kind := "", "Pod"
	if resource == "deployments" {
		group, kind = "apps", "Deployment"
	}
	op := admission.Create
	if old != nil {
		op = admission.Update
	}
	var warnings said
	m := obj.(metav1.Object)
	err = f.Validate(warning.WithWarningRecorder(context.Background(), &warnings), admission.NewAttributesRecord(obj, old,
		schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind}, m.GetNamespace(), m.GetName(),
		schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}, subresource, op, nil, false, &user.DefaultInfo{Name: by}), nil)
	return warnings, err
}

func TestFloorOfPodSecurity(t *testing.T) {
	plain := &core.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}, Spec: core.PodSpec{Containers: []core.Container{{Name: "c", Image: "i"}}}}
	with := func(change func(*core.Pod)) *core.Pod {
		p := plain.DeepCopy()
		change(p)
		return p
	}
	network := with(func(p *core.Pod) { p.Spec.HostNetwork = true })
	privileged, class := true, "gvisor"
	debugged := with(func(p *core.Pod) {
		p.Spec.EphemeralContainers = []core.EphemeralContainer{{EphemeralContainerCommon: core.EphemeralContainerCommon{
			Name: "d", SecurityContext: &core.SecurityContext{Privileged: &privileged},
		}}}
	})
	baseline := PodSecurity{Level: "baseline", Version: "latest"}
	for name, c := range map[string]struct {
		standard    PodSecurity
		subresource string
		by          string
		pod, old    *core.Pod
		refused     string // "" if it is admitted
	}{
		"a plain pod":            {standard: baseline, pod: plain},
		"the host's network":     {standard: baseline, pod: network, refused: `pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`},
		"a debug container":      {standard: baseline, subresource: "ephemeralcontainers", pod: debugged, old: plain, refused: `violates PodSecurity "baseline:latest": privileged`},
		"a status":               {standard: baseline, subresource: "status", pod: network, old: network},
		"an update of labels":    {standard: baseline, pod: with(func(p *core.Pod) { *p = *network.DeepCopy(); p.Labels = map[string]string{"a": "b"} }), old: network},
		"restricted":             {standard: PodSecurity{Level: "restricted", Version: "v1.30"}, pod: plain, refused: `violates PodSecurity "restricted:v1.30": allowPrivilegeEscalation`},
		"privileged":             {standard: PodSecurity{Level: "privileged", Version: "latest"}, pod: network},
		"an exempt namespace":    {standard: PodSecurity{Level: "baseline", Version: "latest", Namespaces: []string{"a"}}, pod: network},
		"another namespace":      {standard: PodSecurity{Level: "baseline", Version: "latest", Namespaces: []string{"b"}}, pod: network, refused: "violates PodSecurity"},
		"an exempt user":         {standard: PodSecurity{Level: "baseline", Version: "latest", Usernames: []string{"ops"}}, by: "ops", pod: network},
		"an exempt class":        {standard: PodSecurity{Level: "baseline", Version: "latest", RuntimeClasses: []string{class}}, pod: with(func(p *core.Pod) { *p = *network.DeepCopy(); p.Spec.RuntimeClassName = &class })},
		"no class, exempt class": {standard: PodSecurity{Level: "baseline", Version: "latest", RuntimeClasses: []string{class}}, pod: network, refused: "violates PodSecurity"},
	} {
		t.Run(name, func(t *testing.T) {
			var old runtime.Object
			if c.old != nil {
				old = c.old
			}
			warnings, err := asked(t, c.standard, "pods", c.subresource, c.by, c.pod, old)
			if c.refused == "" && err != nil || c.refused != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("got %v, want %q", err, c.refused)
			}
			if len(warnings) != 0 {
				t.Errorf("warnings %q", warnings)
			}
		})
	}
}

// A workload is made, as upstream does it, and its user reads that its pods will
// not be.
func TestFloorOfPodSecurityWarnsOfWorkloads(t *testing.T) {
	d := &apps.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "d"}}
	d.Spec.Template.Spec = core.PodSpec{HostPID: true, Containers: []core.Container{{Name: "c", Image: "i"}}}
	warnings, err := asked(t, PodSecurity{Level: "baseline", Version: "latest"}, "deployments", "", "", d, nil)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], `would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)`) {
		t.Errorf("%v, warnings %q", err, warnings)
	}
}

func TestFloorOfPodSecurityWarnsOfLabelsBelowIt(t *testing.T) {
	for level, want := range map[string]bool{"": false, "restricted": false, "baseline": false, "privileged": true, "none": false} {
		ns := &core.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"pod-security.kubernetes.io/enforce": level}}}
		warnings, err := asked(t, PodSecurity{Level: "baseline", Version: "latest"}, "namespaces", "", "", ns, nil)
		if err != nil || (len(warnings) == 1) != want {
			t.Errorf("%q: %v, warnings %q", level, err, warnings)
		}
	}
}

func TestFloorOfPodSecurityWarnsOfNoLabelsWhereItIsExempt(t *testing.T) {
	for exempt, want := range map[string]bool{"a": false, "b": true} {
		ns := &core.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}}}
		warnings, err := asked(t, PodSecurity{Level: "baseline", Version: "latest", Namespaces: []string{exempt}}, "namespaces", "", "", ns, nil)
		if err != nil || (len(warnings) == 1) != want {
			t.Errorf("%q is exempt: %v, warnings %q", exempt, err, warnings)
		}
	}
}

func TestFloorOfPodSecurityIsALevel(t *testing.T) {
	for _, s := range []PodSecurity{{Level: "strict", Version: "latest"}, {Level: "baseline", Version: "1.2"}} {
		if _, err := newFloor(&s); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
}
