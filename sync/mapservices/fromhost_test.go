// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mapservices_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/mapservices"
)

func TestHostServiceIsShown(t *testing.T) {
	f := start(t, nil, db(), dbSlice("db-1", "10.1.0.1"), dbSlice("db-2", "10.1.0.2"))
	v := f.virtual("shop/store", any1)
	want := corev1.ServiceSpec{
		Type:  corev1.ServiceTypeClusterIP,
		Ports: []corev1.ServicePort{{Name: "sql", Port: 5432, TargetPort: intstr.FromString("sql")}},
	}
	if diff := cmp.Diff(want, v.Spec); diff != "" || v.Labels["team"] != "" {
		t.Errorf("virtual Service with labels %v (-want +got):\n%s", v.Labels, diff)
	}
	for _, s := range f.leadsTo("shop/store", "10.1.0.1", "10.1.0.2") {
		e := s.Endpoints[0]
		if *s.Ports[0].Port != 15432 || *s.Ports[0].Name != "sql" || !*e.Conditions.Ready || *e.Hostname != "db-0" || s.AddressType != discoveryv1.AddressTypeIPv4 {
			t.Errorf("slice %+v", s)
		}
		if len(s.OwnerReferences) != 1 || s.OwnerReferences[0].Name != "store" || s.OwnerReferences[0].UID != v.UID {
			t.Errorf("the slice is owned by %+v", s.OwnerReferences)
		}
		if _, err := f.Translator.EndpointSliceToHost(&s, rewrite.Inputs{}); err != nil {
			t.Errorf("the slice does not go to the host: %v", err)
		}
	}
}

// Pods, nodes and names of another host namespace are nothing that a tenant
// needs to know.
func TestShownServiceTellsNoNamesOfTheHost(t *testing.T) {
	f := start(t, nil, db(), dbSlice("db-of-infra", "10.1.0.1"))
	slices := f.leadsTo("shop/store", "10.1.0.1")
	v := f.virtual("shop/store", any1)
	text, err := json.Marshal([]any{v, slices})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"infra", "of-the-host", "west"} {
		if strings.Contains(string(text), name) {
			t.Errorf("%q is in %s", name, text)
		}
	}
}

func TestShownServiceFollowsTheHost(t *testing.T) {
	f := start(t, nil, db(), dbSlice("db-1", "10.1.0.1"))
	f.leadsTo("shop/store", "10.1.0.1")

	f.updateHost(db(func(s *corev1.Service) {
		s.Spec.ClusterIP = "10.96.0.99"
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "admin", Port: 81})
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}))
	f.virtual("shop/store", func(s *corev1.Service) bool {
		return len(s.Spec.Ports) == 2 && s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP && s.Spec.ClusterIP == ""
	})
	slices := f.Host.DiscoveryV1().EndpointSlices("infra")
	if _, err := slices.Update(t.Context(), dbSlice("db-1", "10.1.0.3"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.leadsTo("shop/store", "10.1.0.3")
	if _, err := slices.Create(t.Context(), dbSlice("db-2", "10.1.0.4"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.leadsTo("shop/store", "10.1.0.3", "10.1.0.4")
	if err := slices.Delete(t.Context(), "db-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.leadsTo("shop/store", "10.1.0.4")

	f.deleteHost("infra/db")
	f.virtualGone("shop/store")
	f.leadsTo("shop/store")
	f.says(f.inside, "Service shop/store MappedServiceMissing")
	f.createHost(db())
	f.virtual("shop/store", any1)
	f.leadsTo("shop/store", "10.1.0.4")
}

func TestFormsOfHostServices(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.Service)
		want   func(*corev1.Service) bool
		leads  []string
	}{
		"headless": {
			func(s *corev1.Service) {
				s.Spec.Type, s.Spec.ClusterIP = corev1.ServiceTypeClusterIP, corev1.ClusterIPNone
			},
			func(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }, []string{"10.1.0.1"},
		},
		"ExternalName": {
			func(s *corev1.Service) {
				s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "db.example.com"}
			},
			func(s *corev1.Service) bool {
				return s.Spec.Type == corev1.ServiceTypeExternalName && s.Spec.ExternalName == "db.example.com"
			}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			// The other form comes first: the API cannot change one into the other.
			f := start(t, nil, db(), dbSlice("db-1", "10.1.0.1"))
			f.leadsTo("shop/store", "10.1.0.1")
			f.updateHost(db(tc.change))
			f.virtual("shop/store", tc.want)
			f.leadsTo("shop/store", tc.leads...)
			f.updateHost(db())
			f.virtual("shop/store", func(s *corev1.Service) bool {
				return s.Spec.Type == corev1.ServiceTypeClusterIP && s.Spec.ClusterIP == ""
			})
			f.leadsTo("shop/store", "10.1.0.1")
			var made int
			for _, w := range harness.Writes(&f.Virtual.Fake, "services") {
				if w == "create store" {
					made++
				}
			}
			if made < 3 { // more if the informer was behind
				t.Errorf("the Service was made %d times, want again for each form", made)
			}
		})
	}
}

// The name would lead to the tenant's own Service of that name, or to none.
func TestExternalNameInTheClustersDomainIsNotShown(t *testing.T) {
	f := start(t, nil, db(func(s *corev1.Service) {
		s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "Web.infra.svc.Cluster.Local."}
	}))
	f.says(f.inside, "Service shop/store MappedServiceExternalName")
	f.Stop()
	if w := harness.Writes(&f.Virtual.Fake, ""); len(w) > 0 {
		t.Errorf("the virtual cluster got %v", w)
	}
}

func TestNamespaceOfAMappingIsMade(t *testing.T) {
	f := prepare(t, nil, db())
	f.cfg.FromHost = []mapservices.FromHost{{Host: key("infra/db"), Virtual: key("new/store")}}
	f.start()
	f.virtual("new/store", any1)
	if _, err := f.Virtual.CoreV1().Namespaces().Get(t.Context(), "new", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func TestMissingHostServiceIsReportedOnceInAWhile(t *testing.T) {
	f := start(t, nil)
	f.says(f.inside, "Service shop/store MappedServiceMissing")
	f.says(f.outside, "ConfigMap team-a/vc.anchor MappedServiceMissing")
	f.Eventually("both wait", func(context.Context) (bool, any) { return f.Clock.HasWaiters(), nil })
	f.Clock.Step(29 * time.Minute)
	f.createHost(db(func(s *corev1.Service) { s.Name = "other" })) // it is looked at, and nothing is said
	f.Clock.Step(2 * time.Minute)
	f.says(f.inside, "Service shop/store MappedServiceMissing", "Service shop/store MappedServiceMissing")
}

// An Event needs its namespace, which the tenant may make later.
func TestMissingHostServiceIsReportedInANewNamespace(t *testing.T) {
	f := prepare(t, nil)
	f.cfg.FromVirtual = nil
	f.cfg.FromHost = []mapservices.FromHost{{Host: key("infra/db"), Virtual: key("new/store")}}
	logged := make(chan struct{}, 1)
	logger := funcr.New(func(_, args string) {
		if strings.Contains(args, "MappedServiceMissing") {
			logged <- struct{}{}
		}
	}, funcr.Options{})
	c, err := mapservices.New(f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.RunWith(klog.NewContext(t.Context(), logger), c.Run)
	<-logged
	if said := f.inside.all(); len(said) > 0 {
		t.Errorf("Events %q in no namespace", said)
	}
	if _, err := f.Virtual.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "new"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.says(f.inside, "Service new/store MappedServiceMissing")
	f.Stop()
	if len(logged) > 0 {
		t.Error("the log says it again")
	}
}

// A mapping without rights holds up no other, says so, and works as soon as it
// has them.
func TestMappingWithoutRights(t *testing.T) {
	f := prepare(t, nil, db(), dbSlice("db-1", "10.1.0.1"))
	f.cfg.FromHost = append(f.cfg.FromHost, mapservices.FromHost{Host: key("closed/db"), Virtual: key("shop/closed")})
	f.createHost(db(func(s *corev1.Service) { s.Namespace = "closed" }))
	open := make(chan struct{})
	f.Host.PrependReactor("list", "services", func(a clienttesting.Action) (bool, runtime.Object, error) {
		select {
		case <-open:
			return false, nil, nil
		default:
			return a.GetNamespace() == "closed", nil, apierrors.NewForbidden(corev1.Resource("services"), "db", nil)
		}
	})
	f.start()
	f.leadsTo("shop/store", "10.1.0.1")
	f.says(f.inside, "Service shop/closed MappedServiceForbidden")
	close(open)
	f.virtual("shop/closed", any1)
}

func TestServicesOfEarlierMappingsAreRemoved(t *testing.T) {
	mapped := map[string]string{mapservices.LabelFromHost: "true"}
	ours := map[string]string{rewrite.LabelCluster: harness.Cluster, rewrite.LabelComposed: "mapped-service"}
	service := func(namespace, name string, labels map[string]string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
	}
	f := prepare(t, []runtime.Object{service("shop", "earlier", mapped), service("shop", "tenants", nil)},
		service(harness.HostNamespace, "earlier", ours), service(harness.HostNamespace, "operators", nil),
		service(harness.HostNamespace, "neighbours", map[string]string{rewrite.LabelCluster: "other", rewrite.LabelComposed: "mapped-service"}))
	f.cfg.FromHost, f.cfg.FromVirtual = nil, nil // also when nothing is mapped any more
	f.start()
	f.virtualGone("shop/earlier")
	f.hostGone("earlier")
	f.Stop()
	if diff := cmp.Diff([]string{"delete earlier"}, harness.Writes(&f.Virtual.Fake, "")); diff != "" {
		t.Errorf("virtual writes (-want +got):\n%s", diff)
	}
	f.OnlyWrites("", "earlier")
}

// A tenant has a Service under the name of a mapping. It stays as it is, the
// tenant hears of it, and has the mapped one when theirs is gone.
func TestAttackServiceUnderTheNameOfAMapping(t *testing.T) {
	theirs := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "store"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "fake"}}}
	f := start(t, []runtime.Object{theirs}, db(), dbSlice("db-1", "10.1.0.1"))
	f.says(f.inside, "Service shop/store MappedServiceNameTaken")
	if w := harness.Writes(&f.Virtual.Fake, ""); len(w) > 0 {
		t.Errorf("the virtual cluster got %v", w)
	}
	if err := f.Virtual.CoreV1().Services("shop").Delete(t.Context(), "store", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.leadsTo("shop/store", "10.1.0.1")
}

// A tenant changes a mapped Service and its slices, to have the addresses of
// another host Service in them: by a selector, ports, a label and an annotation
// that look like the operator's, and addresses. All that decides where it leads
// is put right, and no other host Service is read.
func TestAttackMappedServiceIsLedElsewhere(t *testing.T) {
	f := start(t, nil, db(), dbSlice("db-1", "10.1.0.1"))
	slice := f.leadsTo("shop/store", "10.1.0.1")[0]
	v := f.virtual("shop/store", any1)
	v.Annotations = map[string]string{"mapservices.portico.dev/from": "kube-system/secret-service"}
	v.Labels["mapservices.portico.dev/service"] = "secret-service"
	v.Spec.Selector = map[string]string{"app": "mine"}
	v.Spec.Ports = []corev1.ServicePort{{Port: 443}}
	if _, err := f.Virtual.CoreV1().Services("shop").Update(t.Context(), v, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	slice.Endpoints[0].Addresses = []string{"10.1.0.66"}
	if _, err := f.Virtual.DiscoveryV1().EndpointSlices("shop").Update(t.Context(), &slice, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.virtual("shop/store", func(s *corev1.Service) bool { return s.Spec.Selector == nil && s.Spec.Ports[0].Port == 5432 })
	f.leadsTo("shop/store", "10.1.0.1")
	f.Stop()
	for _, a := range f.Host.Actions() {
		if ns := a.GetNamespace(); ns != "infra" && ns != harness.HostNamespace {
			t.Errorf("the host got %s %s in %q", a.GetVerb(), a.GetResource().Resource, ns)
		}
	}
}
