// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/streaming/pkg/httpstream"
)

// TestMain is the child of a background forward, too. Its pod answers with the
// line that it gets.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == Subcommand {
		say := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
		err := Serve(context.Background(), os.Args[2], func(s Spec) (Dial, error) {
			if s.Name == "broken" {
				return nil, errors.New("no such context")
			}
			return func(context.Context) (httpstream.Connection, error) { return newPod(false), nil }, nil
		}, say)
		if err != nil {
			say("error: %v", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// pod is the far end of a port forward: it sends back the bytes that it gets.
type pod struct {
	closed chan bool
	broken bool
	gone   atomic.Bool // its kubelet says so, of each stream
}

func newPod(broken bool) *pod { return &pod{closed: make(chan bool), broken: broken} }

func (p *pod) CreateStream(h http.Header) (httpstream.Stream, error) {
	if p.broken {
		return nil, errors.New("the pod is gone")
	}
	near, far := net.Pipe()
	if h.Get(corev1.StreamType) == corev1.StreamTypeError {
		if p.gone.Load() {
			far.Close()
			return failure{stream{near}, strings.NewReader("the sandbox is gone")}, nil
		}
		far.Close()
		return stream{near}, nil
	}
	if p.gone.Load() {
		far.Close()
		return stream{near}, nil
	}
	go func() {
		io.Copy(far, far) // The test sees the missing bytes.
		far.Close()
	}()
	return stream{near}, nil
}

// failure is the words of a kubelet.
type failure struct {
	stream
	text *strings.Reader
}

func (f failure) Read(b []byte) (int, error) { return f.text.Read(b) }

func (p *pod) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}
func (p *pod) CloseChan() <-chan bool             { return p.closed }
func (p *pod) SetIdleTimeout(time.Duration)       {}
func (p *pod) RemoveStreams(...httpstream.Stream) {}

type stream struct{ net.Conn }

func (s stream) Reset() error       { return s.Close() }
func (stream) Headers() http.Header { return nil }
func (stream) Identifier() uint32   { return 0 }

// echo sends a line through a local port and returns the answer.
func echo(t *testing.T, port int) (string, error) {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	fmt.Fprintln(conn, "hello")
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

func TestAListenerGoesOnWithAnotherPod(t *testing.T) {
	var dials atomic.Int32
	first := newPod(false)
	dial := func(context.Context) (httpstream.Connection, error) {
		switch dials.Add(1) {
		case 1:
			return first, nil
		case 2:
			return newPod(true), nil // it is gone before it says so
		}
		return newPod(false), nil
	}
	l, err := Listen(t.Context(), 0, PodPort, dial, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- l.Serve(ctx) }()
	for i, want := range []int32{1, 1, 3, 3} {
		if i == 2 {
			first.Close()
		}
		if got, err := echo(t, l.Port()); err != nil || got != "hello" {
			t.Errorf("connection %d: %q, %v", i, got, err)
		}
		if got := dials.Load(); got != want {
			t.Errorf("connection %d: %d dials, want %d", i, got, want)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if _, err := echo(t, l.Port()); err == nil {
		t.Error("the port is open after the end")
	}
}

// TestAListenerLeavesAPodOfWhichItsKubeletSaysThatItIsGone: the connection to the
// host stays open then, and each stream fails.
func TestAListenerLeavesAPodOfWhichItsKubeletSaysThatItIsGone(t *testing.T) {
	var dials atomic.Int32
	first := newPod(false)
	l, err := Listen(t.Context(), 0, PodPort, func(context.Context) (httpstream.Connection, error) {
		if dials.Add(1) == 1 {
			return first, nil
		}
		return newPod(false), nil
	}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- l.Serve(ctx) }()
	if got, err := echo(t, l.Port()); err != nil || got != "hello" {
		t.Fatalf("before: %q, %v", got, err)
	}
	first.gone.Store(true)
	if got, err := echo(t, l.Port()); err == nil {
		t.Errorf("a pod that is gone has answered %q", got)
	}
	<-first.CloseChan() // once nothing is on it
	if got, err := echo(t, l.Port()); err != nil || got != "hello" || dials.Load() != 2 {
		t.Errorf("after: %q, %v, %d dials", got, err, dials.Load())
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestChooseWantsAReadyPodThatStays(t *testing.T) {
	ready := corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	now := metav1.Now()
	pods := []corev1.Pod{
		{ObjectMeta: metav1.ObjectMeta{Name: "starting"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "ending", DeletionTimestamp: &now}, Status: ready},
		{ObjectMeta: metav1.ObjectMeta{Name: "ready"}, Status: ready},
	}
	if got := choose(pods); got != "ready" {
		t.Errorf("chose %q", got)
	}
	if got := choose(pods[:2]); got != "" {
		t.Errorf("chose %q, want none", got)
	}
}

func background(t *testing.T, name string) Background {
	t.Helper()
	b := Background{Dir: filepath.Join(t.TempDir(), "forwards"), Spec: Spec{Name: name, Namespace: "ns", HostContext: "host", Host: "https://host"}}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func start(t *testing.T, b Background, port int) int {
	t.Helper()
	port, err := b.Start(t.Context(), os.Args[0], port, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := echo(t, port); err != nil || got != "hello" {
		t.Fatalf("through the forward: %q, %v", got, err)
	}
	return port
}

func TestABackgroundForwardServesUntilItIsStopped(t *testing.T) {
	b := background(t, "vc")
	port := start(t, b, 0)
	if again := start(t, b, 0); again != port {
		t.Errorf("the second start gave the port %d, want %d", again, port)
	}
	all, err := All(b.Dir)
	if err != nil || len(all) != 1 || all[0].file() != b.file() {
		t.Errorf("all forwards: %+v, %v", all, err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, running := b.Running(); running {
		t.Error("it runs after its end")
	}
	if _, err := echo(t, port); err == nil {
		t.Error("the port is open after the end")
	}
	if left, err := filepath.Glob(filepath.Join(b.Dir, "*")); err != nil || len(left) != 0 {
		t.Errorf("files left behind: %v, %v", left, err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Errorf("stop again: %v", err)
	}
}

func TestAKilledBackgroundForwardIsStartedAgain(t *testing.T) {
	b := background(t, "vc")
	port := start(t, b, 0)
	spec, err := readSpec(b.file())
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(spec.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	lock := b.lock()
	if _, err := lock.TryLockContext(t.Context(), 10*time.Millisecond); err != nil { // it has ended then
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, running := b.Running(); running {
		t.Error("a killed forward counts as running")
	}
	if again := start(t, b, port); again != port {
		t.Errorf("the port is %d now, want %d as asked for", again, port)
	}
}

func TestAForwardThatCannotStartSaysWhy(t *testing.T) {
	b := background(t, "broken")
	_, err := b.Start(t.Context(), os.Args[0], 0, t.Logf)
	if err == nil || !strings.Contains(err.Error(), "no such context") {
		t.Errorf("error %v, want that of the child", err)
	}
}

func TestClustersOfOneNameOnTwoHostsHaveTwoForwards(t *testing.T) {
	b := background(t, "vc")
	other := b
	other.Spec.Host = "https://other" // a context of the same name in another kubeconfig
	if b.file() == other.file() {
		t.Error("both have one file")
	}
}
