// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// shown begin the names of the families that a tenant reads: those of the API
// server's requests, authentication, admission and storage. Not in it are the
// process (go_, process_), the way to the host (rest_client_, portico_), which
// has its address, and the work of Portico's parts for all (workqueue_).
var shown = []string{
	"aggregator_", "apiextensions_", "apiserver_", "authentication_", "authorization_",
	"cardinality_enforcement_", "disabled_metrics_", "etcd_", "field_validation_", "hidden_metrics_",
	"kubernetes_", "registered_metrics_", "serviceaccount_", "watch_cache_",
}

// ForTenants serves the families of an API server out of all. It has no method
// that resets them, as upstream's handler may have.
func ForTenants(all prometheus.Gatherer) http.Handler {
	return readOnly(promhttp.HandlerFor(tenantGatherer{all}, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
}

// errGather is for the errors of measurements, whose texts may be about a family
// that is not shown. The handler writes it if there is nothing else.
var errGather = errors.New("some measurements cannot be made now")

type tenantGatherer struct{ all prometheus.Gatherer }

// Gather implements prometheus.Gatherer.
func (g tenantGatherer) Gather() ([]*dto.MetricFamily, error) {
	families, err := g.all.Gather()
	if err != nil {
		err = errGather
	}
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return !isShown(f.GetName()) }), err
}

func isShown(name string) bool {
	return slices.ContainsFunc(shown, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// readOnly refuses every method that is not a read.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "metrics can only be read")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers as an API server does.
func refuse(w http.ResponseWriter, code int32, reason metav1.StatusReason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(code))
	// The client is gone if it fails.
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	})
}
