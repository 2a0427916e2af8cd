// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"strings"
	"testing"
	"time"

	"portico.dev/portico/certs"
)

func TestSpaceProblem(t *testing.T) {
	for _, c := range []struct {
		used, most int64
		want       string
	}{
		{0, 512 << 20, ""},
		{435 << 20, 512 << 20, ""},
		{436 << 20, 512 << 20, "The cluster's own objects have 436Mi of store.maxSize, which is 512Mi; above it, writes are refused"},
		{436<<20 + 1, 512 << 20, "The cluster's own objects have 446465Ki of store.maxSize, which is 512Mi; above it, writes are refused"},
		{600 << 20, 512 << 20, "The cluster's own objects have 600Mi of store.maxSize, which is 512Mi; above it, writes are refused"},
	} {
		if got := spaceProblem(c.used, c.most); got != c.want {
			t.Errorf("%d of %d: %q, want %q", c.used, c.most, got, c.want)
		}
	}
}

func TestCertificateProblem(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b, err := certs.EnsureBundle(t.TempDir(), certs.BundleOptions{}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if got := certificateProblem(b, now); got != "" {
		t.Errorf("of a new bundle: %q", got)
	}
	late := certificateProblem(b, now.Add(340*24*time.Hour))
	if !strings.HasPrefix(late, "Certificate ") || !strings.Contains(late, " ends at 2027-01-01T00:00:00Z and was not issued again") {
		t.Errorf("after 340 days: %q", late)
	}
	authorities := *b
	authorities.ServingCertFile, authorities.FrontProxyClientCertFile, authorities.Admin.CertPEM = b.SignerCAFile, b.SignerCAFile, b.CAPEM
	authorities.SignerCAFile = b.ServingCertFile
	if got := certificateProblem(&authorities, now.Add(340*24*time.Hour)); got != "Certificate signer-ca ends at 2027-01-01T00:00:00Z and porticod does not replace it; make a new cluster before" {
		t.Errorf("of an authority: %q", got)
	}
	b.SignerCAFile += ".gone"
	if got := certificateProblem(b, now); !strings.HasPrefix(got, "Certificate signer-ca cannot be read: ") {
		t.Errorf("without the file of an authority: %q", got)
	}
}
