// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
)

type probeOptions struct {
	server, ca string
	timeout    time.Duration
}

// newProbe is for the test of the chart: the image has no other client.
func newProbe(s Streams) *cobra.Command {
	o := probeOptions{timeout: time.Minute}
	c := &cobra.Command{
		Use:    "probe",
		Short:  "Ask a virtual cluster whether it is ready, as its clients reach it",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), o.timeout)
			defer cancel()
			answer, err := probe(ctx, o)
			if err != nil {
				return err
			}
			fmt.Fprintln(s.Err, answer)
			return nil
		},
	}
	c.Flags().StringVar(&o.server, "server", "", "address of the API, https://HOST[:PORT]")
	c.Flags().StringVar(&o.ca, "ca-file", "", "authorities of its certificate")
	c.Flags().DurationVar(&o.timeout, "timeout", o.timeout, "how long to ask until it is ready")
	for _, required := range []string{"server", "ca-file"} {
		if err := c.MarkFlagRequired(required); err != nil {
			panic(err)
		}
	}
	return c
}

// probe asks until the answer is yes, or returns the last reason why not.
func probe(ctx context.Context, o probeOptions) (string, error) {
	content, err := os.ReadFile(o.ca)
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(content) {
		return "", fmt.Errorf("%s has no certificates", o.ca)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		answer, err := ask(ctx, client, o.server+"/readyz")
		var unknown *tls.CertificateVerificationError
		if err == nil || errors.As(err, &unknown) { // waiting makes no other certificate
			return answer, err
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("not ready in time: %w", err)
		case <-ticker.C:
		}
	}
}

func ask(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, body)
	}
	return string(body), err
}
