// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"portico.dev/portico/store"
)

// The write-ahead log, https://www.sqlite.org/fileformat2.html#the_write_ahead_log
const (
	walHeaderSize   = 32
	walFrameSize    = 24 // before the page
	walMagic        = 0x377f0682
	walMaxPage      = 65536
	walSumEnd       = 8 // a frame's checksum covers this much of its head, then the page
	walFrameSalts   = 8 // offsets in the head of a frame
	walFrameSum     = 16
	walHeaderSalts  = 16
	walHeaderPage   = 8
	walFrameDBPages = 4 // not 0 in the last frame of a commit
)

// checkWAL looks for damage in the write-ahead log that SQLite does not report.
//
// SQLite takes the first frame that does not match its checksum for the end of
// the log, which is right after a crash: the frames after it were never synced.
// But a damaged frame looks the same, and everything acknowledged after it
// would silently be gone. Frames are chained by their checksums, and with
// synced commits the second of two is only written when the first is on disk.
// So if two commits follow from each other behind the end, then the end is
// damage. Damage in the last two commits of a log cannot be distinguished from
// a crash that way.
//
// After a power cut with durability normal two such commits may be there
// without damage.
func checkWAL(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the write-ahead log: %w", err)
	}
	defer f.Close()
	s := walScan{in: bufio.NewReaderSize(f, 1<<20)}
	if !s.header() {
		return nil // empty, or not in use: SQLite ignores it, too
	}
	valid, lost := s.frames()
	if lost < 2 {
		return nil
	}
	return fmt.Errorf("%w: the write-ahead log is damaged after %d pages, with at least %d commits behind "+
		"(expected only after a power cut with durability normal, which opens it without them)", store.ErrCorrupt, valid, lost)
}

// walScan reads a write-ahead log from beginning to end.
type walScan struct {
	in    io.Reader
	order binary.ByteOrder
	salts [8]byte
	frame []byte
	sum   [2]uint32
}

func (s *walScan) header() bool {
	head := make([]byte, walHeaderSize)
	if _, err := io.ReadFull(s.in, head); err != nil {
		return false
	}
	magic := binary.BigEndian.Uint32(head)
	page := binary.BigEndian.Uint32(head[walHeaderPage:])
	if magic&^1 != walMagic || page == 0 || page > walMaxPage {
		return false
	}
	s.order = binary.LittleEndian
	if magic&1 != 0 {
		s.order = binary.BigEndian
	}
	copy(s.salts[:], head[walHeaderSalts:])
	s.frame = make([]byte, walFrameSize+page)
	s.add(head[:walHeaderSize-8])
	return s.sum == stored(head[walHeaderSize-8:])
}

// frames returns how many frames are valid from the start, and how many commits
// at the most follow from each other behind the first that is not.
func (s *walScan) frames() (valid, lost int) {
	intact, run := true, 0
	for {
		if _, err := io.ReadFull(s.in, s.frame); err != nil {
			return valid, lost
		}
		head := s.frame[:walFrameSize]
		ours := [8]byte(head[walFrameSalts:]) == s.salts
		s.add(head[:walSumEnd])
		s.add(s.frame[walFrameSize:])
		want := stored(head[walFrameSum:])
		linked := ours && s.sum == want
		s.sum = want // the sum that the next frame was chained to, if this one is damaged
		switch {
		case intact && linked:
			valid++
		case !linked:
			intact, run = false, 0
		case binary.BigEndian.Uint32(head[walFrameDBPages:]) != 0:
			run++
			lost = max(lost, run)
		}
	}
}

// add continues SQLite's checksum.
func (s *walScan) add(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		s.sum[0] += s.order.Uint32(b) + s.sum[1]
		s.sum[1] += s.order.Uint32(b[4:]) + s.sum[0]
	}
}

func stored(b []byte) [2]uint32 {
	return [2]uint32{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}
