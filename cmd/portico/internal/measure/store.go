// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/cmd/portico/internal/access"
	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/forward"
	"portico.dev/portico/cmd/portico/internal/host"
)

// portName is the port of porticod's own measurements in its pods; the chart
// gives it one with controlPlane.metrics.enabled.
const portName = "metrics"

// most is the most bytes of measurements that are read.
const most = 16 << 20

// Store is the size of a store in bytes. Limit is 0 where there is none.
type Store struct{ Used, Limit int64 }

// Port returns the port of porticod's own measurements in a pod, or 0.
func Port(pod *corev1.Pod) int {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if c.Name == cluster.Container && p.Name == portName {
				return int(p.ContainerPort)
			}
		}
	}
	return 0
}

// StoreOf asks porticod for the size of its store, through a forwarded port, with
// the token in the host Secret NAME.metrics.
func StoreOf(ctx context.Context, h *host.Host, namespace, name string, port int) (Store, error) {
	secret, err := h.Client.CoreV1().Secrets(namespace).Get(ctx, name+".metrics", metav1.GetOptions{})
	if err != nil {
		return Store{}, fmt.Errorf("read the token for measurements of %s: %w", name, err)
	}
	credentials, there, err := access.Administrator(ctx, h.Client, namespace, name)
	if err != nil {
		return Store{}, err
	}
	if !there {
		return Store{}, fmt.Errorf("measure the store of %s: it has no credentials yet", name)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silent := func(string, ...any) {}
	listener, err := forward.Listen(ctx, 0, port, forward.ToPod(h.REST, h.Client, namespace, name), silent)
	if err != nil {
		return Store{}, err
	}
	go func() { _ = listener.Serve(ctx) }() // The request fails if it does.
	url := fmt.Sprintf("https://127.0.0.1:%d/metrics", listener.Port())
	return ask(ctx, url, name+"."+namespace+".svc", credentials.CA, string(secret.Data["token"]))
}

// ask reads measurements from a listener of porticod, whose certificate has a
// name.
func ask(ctx context.Context, url, name string, authority []byte, token string) (Store, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return Store{}, errors.New("measure a store: the certificate of the authority cannot be read")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Store{}, fmt.Errorf("measure a store: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return Store{}, fmt.Errorf("measure a store: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return Store{}, fmt.Errorf("measure a store: porticod answers %s", answer.Status)
	}
	return parse(io.LimitReader(answer.Body, most))
}

func parse(text io.Reader) (Store, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return Store{}, fmt.Errorf("measure a store: %w", err)
	}
	gauge := func(name string) (int64, bool) {
		metrics := families[name].GetMetric()
		if len(metrics) != 1 {
			return 0, false
		}
		return int64(metrics[0].GetGauge().GetValue()), true
	}
	used, there := gauge("portico_store_used_bytes")
	if !there {
		return Store{}, errors.New("measure a store: porticod does not say its size")
	}
	limit, _ := gauge("portico_store_limit_bytes")
	return Store{Used: used, Limit: limit}, nil
}
