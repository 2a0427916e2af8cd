// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// giveCodeBack lets go of the pages of the program file that this process has
// touched. Most of them belong to the start and are not needed again; those that
// are come back from the page cache, or from the file, one by one. Without this,
// three quarters of the file stay in the memory of an idle process.
//
// It is an optimization: a system that refuses keeps the pages.
func giveCodeBack() {
	program, err := os.Executable()
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close()
	for _, m := range cleanMappings(maps, program) {
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// cleanMappings returns the parts of a file that a process has mapped, cannot
// write to and has never changed, from its smaps, proc(5). A part that the loader
// has changed before it was protected would lose the changes.
func cleanMappings(smaps io.Reader, file string) []mapping {
	var clean []mapping
	var of mapping
	candidate := false
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 6 && strings.Contains(fields[0], "-"):
			from, to, _ := strings.Cut(fields[0], "-")
			a, errA := strconv.ParseUint(from, 16, 64)
			b, errB := strconv.ParseUint(to, 16, 64)
			of = mapping{uintptr(a), uintptr(b)}
			candidate = errA == nil && errB == nil && a < b && strings.HasPrefix(fields[1], "r-") &&
				strings.HasSuffix(fields[1], "p") && strings.Join(fields[5:], " ") == file
		case candidate && len(fields) >= 2 && fields[0] == "Private_Dirty:":
			if fields[1] == "0" {
				clean = append(clean, of)
			}
			candidate = false
		}
	}
	return clean
}
