// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"portico.dev/portico/cmd/portico/internal/wait"
)

// Subcommand is the hidden command that runs a background forward; its argument
// is the file.
const Subcommand = "forward-in-background"

// startLimit is how long a child has to open its port; stopLimit to end.
const (
	startLimit = 30 * time.Second
	stopLimit  = 10 * time.Second
)

// Spec is the content of the file of a background forward. The child adds who
// and where it is.
type Spec struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// Kubeconfig and HostContext lead to the host.
	Kubeconfig  string `json:"kubeconfig,omitempty"`
	HostContext string `json:"hostContext"`
	// Host is the address that they led to. Contexts of several kubeconfigs may
	// have one name.
	Host string `json:"host"`

	PID  int `json:"pid,omitempty"`
	Port int `json:"port,omitempty"`
}

// Background is a forward that outlives the command that started it.
type Background struct {
	Dir  string // of the files
	Spec Spec
}

// Dir is where the files of this user are.
func Dir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the directory for background forwards: %w", err)
	}
	return filepath.Join(dir, "portico", "forwards"), nil
}

// All returns the background forwards whose files are in a directory.
func All(dir string) ([]Background, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list background forwards: %w", err)
	}
	var all []Background
	for _, file := range files {
		if s, err := readSpec(file); err == nil {
			all = append(all, Background{Dir: dir, Spec: s})
		}
	}
	return all, nil
}

// file returns the name of the file, one for each cluster of each host.
func (b Background) file() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{b.Spec.Kubeconfig, b.Spec.HostContext, b.Spec.Host, b.Spec.Namespace, b.Spec.Name}, "\x00")))
	return filepath.Join(b.Dir, b.Spec.Name+"-"+hex.EncodeToString(sum[:6])+".json")
}

// Log returns the name of the file with the child's output.
func (b Background) Log() string { return b.file() + ".log" }

// Running returns the local port if a child serves it.
func (b Background) Running() (int, bool) {
	s, err := readSpec(b.file())
	if err != nil || s.PID == 0 {
		return 0, false
	}
	lock := b.lock()
	if free, err := lock.TryLock(); err != nil || free {
		_ = lock.Unlock() // Nothing is lost with it.
		return 0, false
	}
	return s.Port, true
}

// lock is held by the child for as long as it lives, however it ends.
func (b Background) lock() *flock.Flock { return flock.New(b.file() + ".lock") }

// Start makes sure that a child serves a local port, of any number with 0, and
// returns the port.
func (b Background) Start(ctx context.Context, executable string, port int, say func(string, ...any)) (int, error) {
	if running, ok := b.Running(); ok && (port == 0 || port == running) {
		return running, nil
	}
	if err := b.Stop(ctx); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(b.Dir, 0o700); err != nil {
		return 0, fmt.Errorf("start a background forward: %w", err)
	}
	spec := b.Spec
	spec.Port, spec.PID = port, 0
	if err := writeSpec(b.file(), spec); err != nil {
		return 0, fmt.Errorf("start a background forward: %w", err)
	}
	ended, err := b.spawn(executable)
	if err != nil {
		return 0, fmt.Errorf("start a background forward: %w", err)
	}
	var serving Spec
	err = wait.Until(ctx, wait.Options{For: "the background forward to open its port", Limit: startLimit, Say: say}, func(context.Context) (bool, error) {
		select {
		case <-ended:
			said, _ := os.ReadFile(b.Log())
			return false, fmt.Errorf("the background forward ended at once: %s", strings.TrimSpace(string(said)))
		default:
		}
		serving, err = readSpec(b.file())
		return err == nil && serving.PID != 0, nil
	})
	return serving.Port, err
}

// spawn starts the child, which belongs to no terminal.
func (b Background) spawn(executable string) (ended <-chan struct{}, err error) {
	log, err := os.OpenFile(b.Log(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := exec.Command(executable, Subcommand, b.file()) //nolint:noctx,gosec // This program itself. It outlives every context here.
	c.Stdout, c.Stderr = log, log
	detach(c)
	if err := c.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		_ = c.Wait() // It says why in its log.
		close(done)
	}()
	return done, nil
}

// Stop ends the child, if there is one.
func (b Background) Stop(ctx context.Context) error {
	if err := os.Remove(b.file()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("end a background forward: %w", err)
	}
	if _, err := os.Stat(b.lock().Path()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock := b.lock()
	err := wait.Until(ctx, wait.Options{For: "the background forward to end", Limit: stopLimit}, func(context.Context) (bool, error) {
		return lock.TryLock()
	})
	if err != nil {
		return err
	}
	return errors.Join(lock.Unlock(), removed(lock.Path()), removed(b.Log()))
}

func removed(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func readSpec(file string) (s Spec, err error) {
	content, err := os.ReadFile(file) //nolint:gosec // In a folder of the user's own, by a name that we made.
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(content, &s)
}

func writeSpec(file string, s Spec) error {
	content, err := json.Marshal(s)
	if err != nil {
		return err
	}
	next := file + ".new"
	if err := os.WriteFile(next, content, 0o600); err != nil { //nolint:gosec // In a folder of the user's own, by a name that we made.
		return err
	}
	return os.Rename(next, file) //nolint:gosec // In a folder of the user's own, by a name that we made.
}
