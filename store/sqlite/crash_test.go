// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store/sqlite"
)

var kills = flag.Int("kills", 5, "how often the crash test kills the writing process")

// crashDirVariable makes the test binary the writer of TestKill.
const crashDirVariable = "PORTICO_STORE_CRASH_DIR"

const crashKeys = 16

// runCrashWriter is the child process of TestKill: it writes until it is killed,
// and says on standard output what it is about to write and what was
// acknowledged. It reports whether this process is one.
func runCrashWriter() bool {
	dir := os.Getenv(crashDirVariable)
	if dir == "" {
		return false
	}
	ctx := context.Background()
	e, err := sqlite.Open(ctx, sqlite.Options{Dir: dir, Retention: 50 * time.Millisecond})
	if err != nil {
		fmt.Printf("error %v\n", err)
		return true
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...) // one write system call, not buffered
	}
	var wg sync.WaitGroup
	for key := range crashKeys {
		wg.Go(func() { crashKey(ctx, e, key, say) })
	}
	wg.Wait()
	return true
}

// crashKey writes ever larger numbers to one key, now and then deleting it.
func crashKey(ctx context.Context, e *sqlite.Engine, key int, say func(string, ...any)) {
	k := e.Client().Kubernetes
	name := fmt.Sprintf("/crash/%02d", key)
	current, err := k.Get(ctx, name, etcdk8s.GetOptions{})
	if err != nil {
		say("error %v", err)
		return
	}
	n, rev := 0, int64(0)
	if current.KV != nil {
		n, rev = number(current.KV.Value), current.KV.ModRevision
	}
	for {
		n++
		if rev != 0 && n%7 == 0 {
			say("try %d deleted %d", key, n)
			resp, err := k.OptimisticDelete(ctx, name, rev, etcdk8s.DeleteOptions{})
			if err != nil || !resp.Succeeded {
				say("error delete %v %+v", err, resp)
				return
			}
			say("ack %d deleted %d %d", key, n, resp.Revision)
			rev = 0
			continue
		}
		say("try %d is %d", key, n)
		value := strconv.Itoa(n) + " " + strings.Repeat("x", rand.IntN(3000))
		resp, err := k.OptimisticPut(ctx, name, []byte(value), rev, etcdk8s.PutOptions{})
		if err != nil || !resp.Succeeded {
			say("error put %v %+v", err, resp)
			return
		}
		rev = resp.Revision
		say("ack %d is %d %d", key, n, rev)
	}
}

func number(value []byte) int {
	head, _, _ := bytes.Cut(value, []byte(" "))
	n, err := strconv.Atoi(string(head))
	if err != nil {
		return -1
	}
	return n
}

// keyState is what the journal knows of a key.
type keyState struct {
	acked   string // "is 3" or "deleted 4"
	pending string // tried after that, not acknowledged
	rev     int64
}

// TestKill kills a writing process again and again. After each kill the store
// opens, is sound, and holds for each key what was acknowledged last or what was
// being written when the process died.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	journal := make([]keyState, crashKeys)
	for round := range *kills {
		runUntilKilled(t, dir, journal)
		report, err := sqlite.Check(t.Context(), dir)
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("round %d: %v, %q", round, err, report.Problems)
		}
		compareWithJournal(t, dir, round, journal)
		if t.Failed() {
			return
		}
	}
}

// runUntilKilled starts a writer, kills it at some moment, and takes down what
// it said.
func runUntilKilled(t *testing.T, dir string, journal []keyState) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashDirVariable+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Not by time, which says little on a loaded machine: after a number of
	// lines, and then a bit.
	lines, limit := 0, 50+rand.IntN(1500)
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		note(t, journal, scanner.Text())
		if lines++; lines == limit {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := scanner.Err(); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || lines < limit {
		t.Fatalf("the writer ended by itself after %d lines: %v", lines, err)
	}
}

func note(t *testing.T, journal []keyState, line string) {
	t.Helper()
	fields := strings.Fields(line)
	switch {
	case len(fields) == 4 && fields[0] == "try":
		key, _ := strconv.Atoi(fields[1])
		journal[key].pending = fields[2] + " " + fields[3]
	case len(fields) == 5 && fields[0] == "ack":
		key, _ := strconv.Atoi(fields[1])
		s := &journal[key]
		rev, _ := strconv.ParseInt(fields[4], 10, 64)
		if rev <= s.rev {
			t.Errorf("key %d: revision went from %d to %d", key, s.rev, rev)
		}
		*s = keyState{acked: fields[2] + " " + fields[3], rev: rev}
	case len(fields) > 0 && fields[0] == "error":
		t.Fatal(line)
	}
}

// compareWithJournal opens the store, compares, and lets the journal go on from
// what it found.
func compareWithJournal(t *testing.T, dir string, round int, journal []keyState) {
	t.Helper()
	e, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	defer e.Close()
	found := contents(t, e.Client(), "/crash/", 0)
	for key := range journal {
		s := &journal[key]
		state := "deleted"
		if value, ok := found[fmt.Sprintf("/crash/%02d", key)]; ok {
			state = fmt.Sprintf("is %d", number([]byte(value)))
		}
		if !matches(state, s.acked) && !matches(state, s.pending) {
			t.Errorf("round %d, key %d: it %s; acknowledged was %q at revision %d, in flight %q",
				round, key, state, s.acked, s.rev, s.pending)
		}
		if s.rev > e.Index().Revision() {
			t.Errorf("round %d, key %d: acknowledged revision %d is beyond the store's %d", round, key, s.rev, e.Index().Revision())
		}
		s.acked, s.pending = state, ""
	}
}

// matches compares what was found with an entry of the journal. A deleted key
// does not tell at which number it was deleted.
func matches(found, entry string) bool {
	if found == "deleted" {
		return entry == "" || strings.HasPrefix(entry, "deleted")
	}
	return found == entry
}
