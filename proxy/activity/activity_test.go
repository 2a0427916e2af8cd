// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package activity

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	testingclock "k8s.io/utils/clock/testing"
)

var (
	ann        = &user.DefaultInfo{Name: "ann"}
	admin      = &user.DefaultInfo{Name: "portico-admin", Groups: []string{user.SystemPrivilegedGroup}}
	loopback   = &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup}}
	stranger   = &user.DefaultInfo{Name: user.Anonymous}
	controller = &user.DefaultInfo{Name: "system:serviceaccount:kube-system:deployment-controller"}
	pod        = &user.DefaultInfo{Name: "system:serviceaccount:shop:default", Extra: bound("web")}
	systemPod  = &user.DefaultInfo{Name: "system:serviceaccount:kube-system:coredns", Extra: bound("coredns")}
	robot      = &user.DefaultInfo{Name: "system:serviceaccount:kube-system:ci", Extra: map[string][]string{user.CredentialIDKey: {"JTI=1"}}}
	old        = &user.DefaultInfo{Name: "system:serviceaccount:shop:ci"} // by the token in a Secret
)

func bound(pod string) map[string][]string {
	return map[string][]string{user.CredentialIDKey: {"JTI=1"}, "authentication.kubernetes.io/pod-name": {pod}}
}

func of(verb, group, resource, subresource string) *request.RequestInfo {
	return &request.RequestInfo{IsResourceRequest: true, Verb: verb, APIGroup: group, Resource: resource, Subresource: subresource}
}

func TestJudge(t *testing.T) {
	list := of("list", "", "pods", "")
	strict := Judge{IgnoredAgents: []string{"argocd-*", "exact"}}
	lenient := Judge{PodsKeepAwake: true}
	for name, c := range map[string]struct {
		judge Judge
		who   user.Info
		info  *request.RequestInfo
		agent string
		want  bool
	}{
		"a user reads":                               {strict, ann, list, "kubectl/v1", true},
		"the administrator writes":                   {strict, admin, of("create", "apps", "deployments", ""), "kubectl/v1", true},
		"another member of system:masters":           {strict, &user.DefaultInfo{Name: "system:admin", Groups: []string{user.SystemPrivilegedGroup}}, list, "", true},
		"a custom resource":                          {strict, ann, of("get", "example.com", "things", ""), "", true},
		"a watch stays open":                         {strict, ann, of("watch", "", "pods", ""), "kubectl/v1", false},
		"a shell begins":                             {strict, ann, of("create", "", "pods", "exec"), "kubectl/v1", true},
		"a log is followed":                          {strict, ann, of("get", "", "pods", "log"), "kubectl/v1", true},
		"discovery":                                  {strict, ann, &request.RequestInfo{Verb: "get", Path: "/apis"}, "kubectl/v1", false},
		"a probe":                                    {strict, stranger, &request.RequestInfo{Verb: "get", Path: "/readyz"}, "kube-probe/1.37", false},
		"measurements of the process":                {strict, ann, &request.RequestInfo{Verb: "get", Path: "/metrics"}, "Prometheus/3", false},
		"measurements of pods":                       {strict, ann, of("list", "metrics.k8s.io", "pods", ""), "k9s/1", false},
		"a lease is renewed":                         {strict, ann, of("update", "coordination.k8s.io", "leases", ""), "operator", false},
		"a review of rights":                         {strict, ann, of("create", "authorization.k8s.io", "selfsubjectaccessreviews", ""), "k9s/1", false},
		"an Event is written":                        {strict, ann, of("create", "", "events", ""), "operator", false},
		"Events are read":                            {strict, ann, of("list", "events.k8s.io", "events", ""), "kubectl/v1", true},
		"an ignored agent":                           {strict, ann, list, "argocd-application-controller/v3", false},
		"an ignored agent, exactly":                  {strict, ann, list, "exact", false},
		"an agent that begins like an exact one":     {strict, ann, list, "exact/v1", true},
		"an agent that only contains an ignored one": {strict, ann, list, "my-argocd-tool", true},
		"an agent that nobody ignores":               {lenient, ann, list, "argocd-application-controller/v3", true},
		"porticod itself":                            {strict, loopback, list, "porticod", false},
		"a controller of the cluster":                {lenient, controller, list, "kube-controller-manager", false},
		"a stranger":                                 {strict, stranger, list, "", false},
		"nobody":                                     {strict, nil, list, "", false},
		"a request of no kind":                       {strict, ann, nil, "", false},
		"a pod":                                      {strict, pod, list, "operator", false},
		"a pod, where pods count":                    {lenient, pod, list, "operator", true},
		"a pod of kube-system, where pods count":     {lenient, systemPod, list, "coredns", false},
		"a ServiceAccount's token, used outside":     {strict, robot, list, "ci", true},
		"a token in a Secret, used outside":          {strict, old, list, "ci", true},
	} {
		if got := c.judge.Counts(c.who, c.info, c.agent); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func ask(t *testing.T, h http.Handler, who user.Info, info *request.RequestInfo) {
	t.Helper()
	q := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	ctx := request.WithRequestInfo(request.WithUser(q.Context(), who), info)
	h.ServeHTTP(httptest.NewRecorder(), q.WithContext(ctx))
}

func TestRecorder(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c := testingclock.NewFakePassiveClock(start)
	r := NewRecorder(Judge{}, c)
	quiet := r.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))

	ask(t, quiet, loopback, of("list", "", "pods", ""))
	if who, at := r.Last(); who != "" || !at.IsZero() {
		t.Errorf("before anybody came: %q at %s", who, at)
	}
	ask(t, quiet, ann, of("list", "", "pods", ""))
	c.SetTime(start.Add(time.Hour))
	ask(t, quiet, stranger, of("list", "", "pods", ""))
	if who, at := r.Last(); who != "ann" || !at.Equal(start) {
		t.Errorf("an hour after Ann: %q at %s", who, at)
	}

	shell := r.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		c.SetTime(start.Add(5 * time.Hour))
		if who, at := r.Last(); who != "portico-admin" || !at.Equal(start.Add(5*time.Hour)) {
			t.Errorf("in a shell: %q at %s", who, at)
		}
		c.SetTime(start.Add(6 * time.Hour))
		panic(http.ErrAbortHandler)
	}))
	func() {
		defer func() { _ = recover() }()
		ask(t, shell, admin, of("create", "", "pods", "exec"))
	}()
	c.SetTime(start.Add(9 * time.Hour))
	if who, at := r.Last(); who != "portico-admin" || !at.Equal(start.Add(6*time.Hour)) {
		t.Errorf("after the shell: %q at %s", who, at)
	}
}
