// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// profileSeconds is how long a CPU profile is: shorter than any comparison.
const profileSeconds = 5

// profile begins a CPU profile of the running scenario, if profiles were asked
// for. The returned function waits for it and adds a heap profile. A profile that
// cannot be made is said, and costs no measurement.
func (b *bench) profile(what string, clients int) (end func()) {
	if b.profiles == "" || b.clusters == nil {
		return func() {}
	}
	name := strings.NewReplacer(" ", "-", ",", "").Replace(what)
	if clients > 0 {
		name = fmt.Sprintf("%s-%d", name, clients)
	}
	done := make(chan error, 1)
	go func() { done <- b.fetchProfile(fmt.Sprintf("profile?seconds=%d", profileSeconds), name+".cpu") }()
	return func() {
		for _, err := range []error{<-done, b.fetchProfile("heap?gc=1", name+".heap")} {
			if err != nil {
				b.say("No profile of %s: %v", what, err)
			}
		}
	}
}

func (b *bench) fetchProfile(which, name string) error {
	socket := filepath.Join(os.Getenv("PORTICO_PROFILE_DIR"), fmt.Sprintf("%d.sock", b.clusters.Virtual.PID()))
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	answer, err := client.Get("http://porticod/debug/pprof/" + which) //nolint:noctx // a socket of this machine
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, content)
	}
	return os.WriteFile(filepath.Join(b.profiles, name), content, 0o644) //nolint:gosec // for anybody to read
}
