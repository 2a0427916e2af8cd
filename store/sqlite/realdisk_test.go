// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store"
	"portico.dev/portico/store/sqlite"
)

// run runs a system tool.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// needRoot skips a test that mounts disks. Where CI is set that is a failure,
// so that a test that was not run does not count as passed.
func needRoot(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("mkfs.ext4")
	switch {
	case os.Geteuid() == 0 && err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("real disks need root and mkfs.ext4 (uid %d, %v)", os.Geteuid(), err)
	default:
		t.Skipf("SKIPPED, NOT TESTED: real disks need root and mkfs.ext4 (uid %d, %v)", os.Geteuid(), err)
	}
}

// mount mounts something on a directory of the test.
func mount(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	run(t, "mount", append(args, dir)...)
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
	})
	return dir
}

func tmpfs(t *testing.T, mib int) string {
	return mount(t, "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mib), "tmpfs")
}

// ext4 makes a disk out of a file. Without a journal, because with one a failed
// write makes the kernel give up the whole file system for good.
func ext4(t *testing.T, image string, mib int) string {
	t.Helper()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, int64(mib)<<20); err != nil {
		t.Fatal(err)
	}
	// Blocks as large as pages. With smaller ones Linux 6.18 was seen to report
	// the success of an fsync whose data the disk had refused; the error came
	// with the next one. No store can notice that.
	run(t, "mkfs.ext4", "-q", "-b", "4096", "-O", "^has_journal", image)
	return mount(t, "-o", "loop,errors=continue", image)
}

// fillDisk writes to a file until the disk has no room, except for slack bytes.
func fillDisk(t *testing.T, path string, slack int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 4096; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(info.Size() - slack); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// writeUntilRefused creates keys until one is refused, and returns those that were
// acknowledged.
func writeUntilRefused(t *testing.T, e *sqlite.Engine, size int) map[string]string {
	t.Helper()
	acked := map[string]string{}
	for n := range 1 << 20 {
		key, value := fmt.Sprintf("/k/%06d", n), fmt.Sprintf("%06d%s", n, bytes.Repeat([]byte("x"), size))
		resp, err := e.Client().Kubernetes.OptimisticPut(t.Context(), key, []byte(value), 0, etcdk8s.PutOptions{})
		if err != nil {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("write %d: %v", n, err)
			}
			t.Logf("%d writes, then: %v", n, err)
			return acked
		}
		if !resp.Succeeded {
			t.Fatalf("write %d was not the first of its key", n)
		}
		acked[key] = value
	}
	t.Fatal("the disk never failed")
	return nil
}

// stayRefused sees that a broken store stays broken, also for the smallest of
// writes, and that it goes on answering reads.
func stayRefused(t *testing.T, e *sqlite.Engine, acked map[string]string) {
	t.Helper()
	for range 4 {
		before := e.Fault()
		waitFor(t, func() bool {
			if err := e.Ready(); err == nil {
				t.Fatal("ready again")
			}
			_, err := e.Client().KV.Put(t.Context(), "/k/small", "1")
			if !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("a small write: %v", err)
			}
			return e.Fault() != before
		})
	}
	same(t, e, acked)
}

func same(t *testing.T, e *sqlite.Engine, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, contents(t, e.Client(), "/k/", 0)); diff != "" {
		t.Fatalf("not what was acknowledged (-want +got):\n%.2000s", diff)
	}
}

// recovered sees that a store whose disk is back works by itself, and that
// exactly the acknowledged writes are there, now and after a restart.
func recovered(t *testing.T, e *sqlite.Engine, dir string, acked map[string]string) {
	t.Helper()
	waitFor(t, func() bool { return e.Ready() == nil })
	same(t, e, acked)
	put(t, e.Client(), "/k/after", "1")
	acked["/k/after"] = "1"
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, sqlite.Options{Dir: dir})
	same(t, e, acked)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// A disk that is really full: nothing more is acknowledged, nothing that was is
// lost, and a few free pages do not make the store flap.
func TestDiskFull(t *testing.T) {
	needRoot(t)
	onTmpfs := func(t *testing.T) string { return tmpfs(t, 48) }
	onExt4 := func(t *testing.T) string { return ext4(t, filepath.Join(t.TempDir(), "image"), 48) }
	for name, c := range map[string]struct {
		disk  func(*testing.T) string
		slack int64 // bytes that are left
	}{
		"tmpfs, some pages left": {onTmpfs, 64 << 10},
		"ext4, nothing left":     {onExt4, 0},
		"ext4, some MiB left":    {onExt4, 2 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			root := c.disk(t)
			dir, filler := filepath.Join(root, "data"), filepath.Join(root, "filler")
			e := open(t, sqlite.Options{Dir: dir})
			put(t, e.Client(), "/k/before", "1")
			fillDisk(t, filler, c.slack)
			acked := writeUntilRefused(t, e, 100<<10)
			acked["/k/before"] = "1"
			stayRefused(t, e, acked)
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			recovered(t, e, dir, acked)
		})
	}
}

// A disk that takes a write and fails the sync, as one that is thinly
// provisioned does: the kernel forgets the pages that it could not write.
func TestDiskFailsTheSync(t *testing.T) {
	needRoot(t)
	back := tmpfs(t, 40)
	root := ext4(t, filepath.Join(back, "image"), 64)
	dir, filler := filepath.Join(root, "data"), filepath.Join(back, "filler")
	e := open(t, sqlite.Options{Dir: dir})
	fillDisk(t, filler, 0)
	acked := writeUntilRefused(t, e, 100<<10)
	if err := e.Ready(); err == nil {
		t.Error("ready on a disk that fails")
	}
	same(t, e, acked)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	recovered(t, e, dir, acked)
}

// The files of a running store become read-only, as on a disk that the kernel
// or an operator has turned so.
func TestDiskTurnsReadOnly(t *testing.T) {
	needRoot(t)
	root := ext4(t, filepath.Join(t.TempDir(), "image"), 48)
	dir := filepath.Join(root, "data")
	e := open(t, sqlite.Options{Dir: dir})
	acked := map[string]string{}
	for n := range 20 {
		key := fmt.Sprintf("/k/%d", n)
		put(t, e.Client(), key, "1")
		acked[key] = "1"
	}
	frozen := []string{filepath.Join(dir, databaseFile), filepath.Join(dir, databaseFile+"-wal"), dir}
	run(t, "chattr", append([]string{"+i"}, frozen...)...)
	thaw := func() { run(t, "chattr", append([]string{"-i"}, frozen...)...) }
	_, err := e.Client().KV.Put(t.Context(), "/k/frozen", "1")
	if !errors.Is(err, store.ErrUnavailable) {
		thaw()
		t.Fatalf("write to a frozen disk: %v", err)
	}
	stayRefused(t, e, acked)
	thaw()
	recovered(t, e, dir, acked)
}

// A store on a disk that is mounted read-only is not opened, and not touched.
func TestOpenOnReadOnlyDisk(t *testing.T) {
	needRoot(t)
	image := filepath.Join(t.TempDir(), "image")
	root := ext4(t, image, 48)
	dir := filepath.Join(root, "data")
	e := open(t, sqlite.Options{Dir: dir})
	put(t, e.Client(), "/k/a", "1")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-o", "remount,ro", root)
	e, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err == nil {
		e.Close()
		t.Fatal("opened on a read-only disk")
	}
	if !errors.Is(err, syscall.EROFS) {
		t.Errorf("the error does not say what is wrong: %v", err)
	}
	run(t, "mount", "-o", "remount,rw", root)
	recovered(t, open(t, sqlite.Options{Dir: dir}), dir, map[string]string{"/k/a": "1"})
}

// A disk that is full of the store's own history: compaction is still done, and
// is enough to get back to service.
func TestDiskFullOfHistory(t *testing.T) {
	needRoot(t)
	root := tmpfs(t, 64)
	dir, little := filepath.Join(root, "data"), filepath.Join(root, "little")
	if err := os.WriteFile(little, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	e := open(t, sqlite.Options{Dir: dir, Retention: -1})
	c, value := e.Client(), string(bytes.Repeat([]byte("x"), 100<<10))
	var last int64
	for last = put(t, c, "/k/a", "0"); ; {
		resp, err := c.KV.Put(t.Context(), "/k/a", value)
		if err != nil {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Fatal(err)
			}
			break
		}
		last = resp.Header.Revision
	}
	if err := e.Ready(); err == nil {
		t.Error("ready on a full disk")
	}
	// Until it was tried in vain, a checkpoint may be under way and take the
	// room that becomes free.
	refused := e.Fault()
	waitFor(t, func() bool { return e.Fault() != refused })
	// The compaction needs some pages itself: a little is freed, too little for
	// writes.
	if err := os.Remove(little); err != nil {
		t.Fatal(err)
	}
	var said error
	defer func() {
		if t.Failed() {
			t.Logf("last: %v", said)
		}
	}()
	waitFor(t, func() bool {
		err := e.Compact(t.Context(), last)
		said = err
		return err == nil || errors.Is(err, rpctypes.ErrCompacted)
	})
	recovered(t, e, dir, map[string]string{"/k/a": value})
}
