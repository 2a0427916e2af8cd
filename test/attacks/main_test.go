// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"testing"

	"portico.dev/portico/test/embedded"
)

func TestMain(m *testing.M) { embedded.Main(m) }
