// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build profile

package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	runtimepprof "runtime/pprof"
	"strconv"
	"time"
)

// startProfile is how long the CPU profile of the start is.
const startProfile = 4 * time.Second

// init serves the profiles of this process on the socket PID.sock in
// $PORTICO_PROFILE_DIR, for bench, and writes that of its start to PID.start.cpu
// there. Only a build with the tag profile has
// it: profiles hold stacks and, with the heap's, the tenant's traffic in numbers.
func init() {
	dir := os.Getenv("PORTICO_PROFILE_DIR")
	if dir == "" {
		return
	}
	l, err := net.Listen("unix", filepath.Join(dir, strconv.Itoa(os.Getpid())+".sock")) //nolint:noctx // it lives as long as the process
	if err != nil {
		fmt.Fprintln(os.Stderr, "no profiles:", err)
		return
	}
	if f, err := os.Create(filepath.Join(dir, strconv.Itoa(os.Getpid())+".start.cpu")); err == nil && runtimepprof.StartCPUProfile(f) == nil {
		time.AfterFunc(startProfile, func() {
			runtimepprof.StopCPUProfile()
			_ = f.Close() // a profile that is cut off is seen by its reader
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
}
