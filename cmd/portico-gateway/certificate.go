// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// rereadAfter is how old a certificate in memory gets. A mounted Secret takes a
// minute to change anyway.
const rereadAfter = time.Minute

// certificate is a pair of files that something else renews.
type certificate struct {
	certFile, keyFile string
	clock             clock.PassiveClock

	mu   sync.Mutex
	pair *tls.Certificate
	read time.Time
}

func newCertificate(certFile, keyFile string, c clock.PassiveClock) (*certificate, error) {
	p := &certificate{certFile: certFile, keyFile: keyFile, clock: c}
	_, err := p.get(nil)
	return p, err
}

// get returns the pair for a handshake. While the files are no pair, it is the
// last one that was.
func (p *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pair != nil && p.clock.Since(p.read) < rereadAfter {
		return p.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	p.read = p.clock.Now()
	if err == nil {
		p.pair = &pair
	}
	if p.pair == nil {
		return nil, fmt.Errorf("read the gateway's certificate: %w", err)
	}
	if err != nil {
		klog.Background().Error(err, "The gateway's certificate could not be read again", "file", p.certFile)
	}
	return p.pair, nil
}
