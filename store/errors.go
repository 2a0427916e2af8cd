// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package store

import "errors"

// Errors of opening a store. Nothing was changed on disk when one of them is
// returned.
var (
	// ErrLocked is returned when another process has the store open.
	ErrLocked = errors.New("store is in use by another process")

	// ErrForeign is returned when the file is not one of Portico's.
	ErrForeign = errors.New("file is not a portico store")

	// ErrNewerSchema is returned when the store was written by a newer Portico.
	ErrNewerSchema = errors.New("store was written by a newer version of portico")

	// ErrDenied is returned when a shared store does not accept our
	// credentials, or does not give us the rights that we need.
	ErrDenied = errors.New("store denies access")

	// ErrCorrupt is returned when the store is Portico's but damaged.
	ErrCorrupt = errors.New("store is corrupt")
)

// Errors of using a store.
var (
	// ErrUnavailable is returned, wrapping the cause, when a write could not
	// be made durable. The write did not happen; only if the process ends
	// before the disk works again may it be there after the restart.
	ErrUnavailable = errors.New("store cannot write")

	// ErrClosed is returned by operations on a store that was closed. A write
	// that was in flight has an unknown outcome.
	ErrClosed = errors.New("store is closed")
)
