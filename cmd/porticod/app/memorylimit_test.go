// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

func cgroupFiles(content map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range content {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func TestContainerLimit(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  int64 // 0 means none
	}{
		"v2, a container": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n",
		}, 512 << 20},
		"v2, no limit": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n",
		}, 0},
		"v2, a service of the machine": {map[string]string{
			"proc/self/cgroup":                                       "0::/system.slice/porticod.service\n",
			"sys/fs/cgroup/system.slice/memory.max":                  "max\n",
			"sys/fs/cgroup/system.slice/porticod.service/memory.max": "1073741824\n",
		}, 1 << 30},
		"v2, the limit above is lower": {map[string]string{
			"proc/self/cgroup":                                       "0::/system.slice/porticod.service\n",
			"sys/fs/cgroup/system.slice/memory.max":                  "268435456\n",
			"sys/fs/cgroup/system.slice/porticod.service/memory.max": "1073741824\n",
		}, 256 << 20},
		"v2, the path is not visible": {map[string]string{
			"proc/self/cgroup": "0::/../kubepods/pod1\n", "sys/fs/cgroup/memory.max": "536870912\n",
		}, 512 << 20},
		"v1": {map[string]string{
			"proc/self/cgroup":                           "12:cpu,cpuacct:/a\n5:memory:/docker/abc\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n",
		}, 256 << 20},
		"v1, no limit": {map[string]string{
			"proc/self/cgroup": "5:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0},
		"nonsense": {map[string]string{
			"proc/self/cgroup": "what\n", "sys/fs/cgroup/memory.max": "-5\n",
		}, 0},
		"no cgroups": {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := containerLimit(cgroupFiles(test.files))
			if got != test.want || ok != (test.want != 0) {
				t.Errorf("got %d (%v), want %d", got, ok, test.want)
			}
		})
	}
}

func TestMemoryLimitIsHonoured(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	fsys := cgroupFiles(map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000000000\n"})

	debug.SetMemoryLimit(math.MaxInt64)
	t.Setenv("GOMEMLIMIT", "4GiB") // as far as Go is concerned, set too late
	honourMemoryLimit(t.Context(), fsys)
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("the operator's limit was replaced by %d", got)
	}
	t.Setenv("GOMEMLIMIT", "")
	honourMemoryLimit(t.Context(), fsys)
	if got := debug.SetMemoryLimit(-1); got != 850_000_000 {
		t.Errorf("Go's limit is %d, want 85 percent of the container's", got)
	}
}
