// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package child

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// tailBytes is how much of a log's end an error shows at most.
const tailBytes = 4 << 10

// Spec describes the process to start.
type Spec struct {
	// Name is the name of the process in messages, e.g. "host cluster".
	Name string
	// Executable is the program's path.
	Executable string
	Args       []string
	// Env is added to the parent's environment.
	Env []string
	// Log is the file that takes the output; it is truncated.
	Log string
}

// Process is a started child.
type Process struct {
	spec    Spec
	process *os.Process
	ended   chan struct{}
	err     error // valid once ended is closed
	stopped bool  // Stop was called; only its caller's goroutine uses it
}

// Error is returned when a child fails.
type Error struct {
	// Name is the child's.
	Name string
	// Log is the file with its whole output, Tail that file's end.
	Log, Tail string
	// Err is the cause.
	Err error
}

func (e *Error) Error() string { return e.Name + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// PrintLog writes the end of a failed child's log, if err is about a child and
// its log has a line.
func PrintLog(to io.Writer, err error) {
	var failed *Error
	if errors.As(err, &failed) && failed.Tail != "" {
		fmt.Fprintf(to, "--- end of %s\n%s---\n", failed.Log, failed.Tail)
	}
}

// ErrEnded is returned when a child ended that should have gone on.
var ErrEnded = errors.New("ended unexpectedly")

// Start starts a child. It leads a process group of its own, so that a
// terminal's Ctrl-C reaches the parent alone and the parent decides the order
// in which children end.
func Start(spec Spec) (*Process, error) {
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: open its log: %w", spec.Name, err)
	}
	cmd := exec.Command(spec.Executable, spec.Args...) //nolint:noctx // the caller's own program; it is ended by Stop, in order
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = sysProcAttr()

	p := &Process{spec: spec, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer log.Close()
		// The kernel's "parent died" signal is about the thread that started
		// the child (golang.org/issue/27505), so that thread must stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.process = cmd.Process
		started <- nil
		p.err = cmd.Wait()
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return p, nil
}

// PID is the child's process id.
func (p *Process) PID() int { return p.process.Pid }

// Ended is closed when the child has ended and was waited for.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Err says why the child ended, as an *Error. Only for a child whose Ended
// channel is closed and that was not stopped.
func (p *Process) Err() error {
	if p.err == nil {
		return p.fail(fmt.Errorf("%w, with success", ErrEnded))
	}
	return p.fail(fmt.Errorf("%w: %w", ErrEnded, p.err))
}

// Stop asks the child to end (SIGTERM), waits for it, and kills it when it is
// still there after grace. The error is about a child that did not end well;
// it has ended in any case. Stopping a child twice, or one that is gone, is
// no error.
func (p *Process) Stop(grace time.Duration) error {
	select {
	case <-p.ended:
		if p.stopped {
			return nil
		}
		p.stopped = true
		return p.Err()
	default:
	}
	p.stopped = true
	// An error here means that it ended in between: then Wait has its status.
	_ = p.process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		_ = p.process.Kill()
		<-p.ended
		return p.fail(fmt.Errorf("did not end within %s of being asked to and was killed", grace))
	}
	if p.err != nil {
		return p.fail(fmt.Errorf("did not end cleanly: %w", p.err))
	}
	return nil
}

// Kill ends the child without a chance to clean up, as a crash would.
func (p *Process) Kill() {
	p.stopped = true
	_ = p.process.Kill()
	<-p.ended
}

func (p *Process) fail(err error) error {
	return &Error{Name: p.spec.Name, Log: p.spec.Log, Tail: tail(p.spec.Log), Err: err}
}

// tail returns the last whole lines of a file, or nothing if it can't be read.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	start := max(0, size-tailBytes)
	text := make([]byte, size-start)
	if _, err := f.ReadAt(text, start); err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	if start > 0 {
		if _, rest, found := bytes.Cut(text, []byte("\n")); found {
			text = rest
		}
	}
	return string(text)
}
