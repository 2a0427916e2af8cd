// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/cmd/porticod/demo"
)

// ticksPerSecond is the unit of processor times in /proc (USER_HZ, which is 100
// on every architecture that Go runs on).
const ticksPerSecond = 100

// sample is how much porticod has used.
type sample struct {
	resident, anonymous int64         // bytes now
	processor           time.Duration // since the start
	requests            int           // to the host, since the start
	known               bool
}

// sample reads porticod's use. It is unknown where there is no /proc, and for a
// cluster that the benchmark did not start.
func (b *bench) sample() sample {
	if b.clusters == nil {
		return sample{}
	}
	pid := b.clusters.Virtual.PID()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return sample{}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return sample{}
	}
	s := sample{resident: kibibytes(string(status), "VmRSS") << 10, anonymous: kibibytes(string(status), "RssAnon") << 10, processor: processorTime(string(stat)), known: true}
	s.requests, _ = b.hostRequests() // 0 while it is not served yet
	return s
}

// kibibytes returns a field of /proc/PID/status, or 0 if it is not there.
func kibibytes(status, field string) int64 {
	for line := range strings.Lines(status) {
		if key, value, ok := strings.Cut(line, ":"); ok && key == field {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return n
		}
	}
	return 0
}

// processorTime is the sum of utime and stime of /proc/PID/stat, proc(5). The
// name of the program, before the last bracket, may have spaces.
func processorTime(stat string) time.Duration {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticksPerSecond
}

// hostRequests counts the requests about translated kinds that porticod has sent
// to its host. Watches are not among them.
func (b *bench) hostRequests() (int, error) {
	if b.metricsToken == "" {
		return 0, nil
	}
	request, err := http.NewRequest(http.MethodGet, "https://"+b.metricsAt+"/metrics", http.NoBody) //nolint:noctx // of this machine
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+b.metricsToken)
	answer, err := b.scraper.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	return sumOf(text, "portico_host_requests_total"), nil
}

// sumOf is the sum over all labels of a counter in the text format of metrics.
func sumOf(metrics []byte, counter string) int {
	total := 0.0
	for line := range bytes.Lines(metrics) {
		if bytes.HasPrefix(line, []byte(counter+"{")) {
			n, _ := strconv.ParseFloat(string(bytes.TrimSpace(line[bytes.LastIndexByte(line, ' '):])), 64)
			total += n
		}
	}
	return int(total)
}

// findMetrics reads the token of the operator's listener, and the authority that
// its certificate has.
func (b *bench) findMetrics(ctx context.Context) error {
	return await(ctx, "porticod's metrics", func(ctx context.Context) (bool, error) {
		secret, err := b.hostClient.CoreV1().Secrets(b.hostNamespace).Get(ctx, demo.ClusterName+".metrics", metav1.GetOptions{})
		if err != nil {
			return false, nil // it comes with the listener
		}
		authorities, err := b.clusters.Virtual.Authorities()
		if err != nil {
			return false, err
		}
		b.metricsToken = string(secret.Data["token"])
		b.scraper = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: authorities, ServerName: "localhost", MinVersion: tls.VersionTLS12},
		}}
		_, err = b.hostRequests()
		return err == nil, nil
	})
}
