// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"k8s.io/klog/v2"
)

const (
	// heapShare is how much of the container's memory Go may use before it
	// collects harder, in percent. The rest is for memory that Go does not
	// count: the pages of SQLite, the program itself, and the kernel's buffers
	// of sockets.
	heapShare = 85

	// noLimit is from where on a number of cgroup v1 means no limit: it is the
	// highest multiple of a page.
	noLimit = math.MaxInt64 - 1<<16
)

// honourMemoryLimit gives the garbage collector the container's memory limit,
// unless the operator did with GOMEMLIMIT. Without it, a heap that is garbage
// for a third would be the end of a process that has room for its live data.
func honourMemoryLimit(ctx context.Context, root fs.FS) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit, ok := containerLimit(root)
	if !ok {
		return
	}
	heap := limit / 100 * heapShare
	debug.SetMemoryLimit(heap)
	klog.FromContext(ctx).V(1).Info("Memory is limited", "limit", limit, "goLimit", heap)
}

// containerLimit reads the memory limit of this process's cgroup from the file
// system of a machine: the lowest of the cgroup's own and those above it, as far
// as they can be seen. A container sees its own as the root.
func containerLimit(root fs.FS) (bytes int64, ok bool) {
	v2, v1 := ownCgroups(root)
	for _, at := range []struct{ mount, file, cgroup string }{
		{"sys/fs/cgroup", "memory.max", v2},
		{"sys/fs/cgroup/memory", "memory.limit_in_bytes", v1},
	} {
		for dir := path.Clean("/" + at.cgroup); ; dir = path.Dir(dir) {
			if n, found := readLimit(root, path.Join(at.mount, dir, at.file)); found && (!ok || n < bytes) {
				bytes, ok = n, true
			}
			if dir == "/" {
				break
			}
		}
	}
	return bytes, ok
}

// ownCgroups returns the paths of this process's cgroups, v2's and that of v1's
// memory controller. Each is empty if there is none.
func ownCgroups(root fs.FS) (v2, v1 string) {
	content, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(content)) {
		// hierarchy:controllers:path, cgroups(7)
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		if fields[0] == "0" && fields[1] == "" {
			v2 = fields[2]
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			if controller == "memory" {
				v1 = fields[2]
			}
		}
	}
	return v2, v1
}

func readLimit(root fs.FS, name string) (int64, bool) {
	content, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64) // v2 says "max" for none
	if err != nil || n <= 0 || n >= noLimit {
		return 0, false
	}
	return n, true
}
