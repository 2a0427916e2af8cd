// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"slices"
	"strings"
	"testing"
)

func TestOnlyCleanPartsOfTheProgramAreGivenBack(t *testing.T) {
	smaps := `00400000-00401000 r-xp 00000000 08:01 42                             /opt/my porticod
Size:               4 kB
Private_Clean:      4 kB
Private_Dirty:      0 kB
Anonymous:          0 kB
00500000-00502000 r--p 00100000 08:01 42                             /opt/my porticod
Private_Dirty:      0 kB
00600000-00601000 r--p 00200000 08:01 42                             /opt/my porticod
Private_Dirty:      4 kB
00700000-00701000 rw-p 00300000 08:01 42                             /opt/my porticod
Private_Dirty:      0 kB
00710000-00711000 r--s 00300000 08:01 42                             /opt/my porticod
Private_Dirty:      0 kB
7f0000000000-7f0000001000 r-xp 00000000 08:01 7                      /lib/libc.so
Private_Dirty:      0 kB
7f0000002000-7f0000003000 r--p 00000000 00:00 0
Private_Dirty:      0 kB
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0              [vsyscall]
Private_Dirty:      0 kB
`
	want := []mapping{{0x400000, 0x401000}, {0x500000, 0x502000}}
	if got := cleanMappings(strings.NewReader(smaps), "/opt/my porticod"); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// The test's own program goes on without its code.
func TestAProcessGoesOnWithoutItsCode(t *testing.T) {
	giveCodeBack()
	if got := strings.Repeat("a", 3); got != "aaa" {
		t.Error(got)
	}
}
