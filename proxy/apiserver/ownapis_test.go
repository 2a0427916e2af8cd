// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorfake "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/fake"
)

// nativePaths is a native server of which only the paths are of interest.
type nativePaths struct {
	genericapiserver.DelegationTarget
	paths []string
}

func (n nativePaths) ListedPaths() []string { return n.paths }

func newOwnAPIs(metrics bool, led func() []string) *ownAPIs {
	o := &ownAPIs{}
	o.note(nativePaths{paths: []string{"/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/apis/metrics.k8s.io/v1beta1", "/healthz"}}, led)
	o.metrics.Store(metrics)
	return o
}

func TestOwnAPIsAreTheDiscoverableOnes(t *testing.T) {
	names := slices.Sorted(maps.Keys(newOwnAPIs(true, nil).native))
	if diff := cmp.Diff([]string{"v1.", "v1.apps"}, names); diff != "" {
		t.Errorf("own APIs (-want +got):\n%s", diff)
	}
}

func TestNoServerReplacesAnOwnAPI(t *testing.T) {
	elsewhere := &apiregistration.ServiceReference{Namespace: "default", Name: "mine"}
	for reason, c := range map[string]struct {
		group, version string
		service        *apiregistration.ServiceReference
		metrics        bool // served from the host's
		refusal        string
	}{
		"an API of Kubernetes":              {group: "apps", version: "v1", service: elsewhere, refusal: "apps/v1 is served by the API server of this virtual cluster"},
		"the core API":                      {version: "v1", service: elsewhere, refusal: "v1 is served by"},
		"metrics of the host":               {group: "metrics.k8s.io", version: "v1beta1", service: elsewhere, metrics: true, refusal: "integrations.metricsServer.enabled"},
		"metrics that the host has not":     {group: "metrics.k8s.io", version: "v1beta1", service: elsewhere},
		"a version that nobody serves":      {group: "apps", version: "v2", service: elsewhere},
		"an API of the tenant's":            {group: "wardle.example.com", version: "v1", service: elsewhere},
		"an APIService that leads here":     {group: "apps", version: "v1"},
		"metrics that lead here, as ours":   {group: "metrics.k8s.io", version: "v1beta1", metrics: true},
		"custom metrics, another API group": {group: "custom.metrics.k8s.io", version: "v1beta1", service: elsewhere, metrics: true},
	} {
		t.Run(reason, func(t *testing.T) {
			service := &apiregistration.APIService{
				ObjectMeta: metav1.ObjectMeta{Name: c.version + "." + c.group},
				Spec:       apiregistration.APIServiceSpec{Group: c.group, Version: c.version, Service: c.service},
			}
			for _, op := range []admission.Operation{admission.Create, admission.Update} {
				o := newOwnAPIs(c.metrics, nil)
				if !o.Handles(op) {
					t.Fatalf("%s is not asked about", op)
				}
				err := o.Validate(t.Context(), admission.NewAttributesRecord(service, nil, apiregistrationv1.SchemeGroupVersion.WithKind("APIService"),
					"", service.Name, apiregistrationv1.SchemeGroupVersion.WithResource("apiservices"), "", op, nil, false, nil), nil)
				switch {
				case c.refusal == "" && err != nil:
					t.Errorf("%s: %v", op, err)
				case c.refusal != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.refusal)):
					t.Errorf("%s: %v, want Forbidden with %q", op, err, c.refusal)
				}
			}
		})
	}
}

// An APIService of a cluster of before leads here again, and an Event says so;
// those of the tenant's own APIs are left alone.
func TestAPIServicesOfBeforeArePutBack(t *testing.T) {
	led := func(group, version string) *apiregistrationv1.APIService {
		return &apiregistrationv1.APIService{
			ObjectMeta: metav1.ObjectMeta{Name: version + "." + group, UID: "1"},
			Spec: apiregistrationv1.APIServiceSpec{
				Group: group, Version: version, GroupPriorityMinimum: 1, VersionPriority: 1, InsecureSkipTLSVerify: true,
				Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "mine"},
			},
		}
	}
	services := aggregatorfake.NewSimpleClientset(led("apps", "v1"), led("metrics.k8s.io", "v1beta1"), led("wardle.example.com", "v1")).ApiregistrationV1().APIServices()
	events := fake.NewClientset()
	// An aggregator as upstream's: it leads where the APIServices say.
	o := newOwnAPIs(true, func() (paths []string) {
		list, err := services.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Error(err)
			return nil
		}
		for _, s := range list.Items {
			paths = append(paths, "/apis/"+s.Spec.Group+"/"+s.Spec.Version)
		}
		return paths
	})
	if err := o.putAllBack(t.Context(), events, services); err != nil {
		t.Fatal(err)
	}
	if err := o.putBack(t.Context(), events, services, metricsService()); err != nil {
		t.Fatal(err)
	}
	// A second replica finds nothing to do.
	if err := o.putBack(t.Context(), events, services, metricsService()); err != nil {
		t.Fatal(err)
	}
	want := map[string]apiregistrationv1.APIServiceSpec{
		"v1.apps":                {Group: "apps", Version: "v1", GroupPriorityMinimum: 17800, VersionPriority: 15},
		"v1beta1.metrics.k8s.io": newMetricsService().Spec,
		"v1.wardle.example.com":  led("wardle.example.com", "v1").Spec,
	}
	list, err := services.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]apiregistrationv1.APIServiceSpec{}
	for _, s := range list.Items {
		got[s.Name] = s.Spec
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("APIServices (-want +got):\n%s", diff)
	}
	reported, err := events.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var about []string
	for _, e := range reported.Items {
		about = append(about, e.InvolvedObject.Name+" "+e.Reason)
	}
	slices.Sort(about)
	if diff := cmp.Diff([]string{"v1.apps APIServicePutBack", "v1beta1.metrics.k8s.io APIServicePutBack"}, about); diff != "" {
		t.Errorf("Events (-want +got):\n%s", diff)
	}
}
