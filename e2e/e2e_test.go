// Package e2e tests the whole program against real servers.
package e2e

import (
	"testing"

	"ratebook/e2e/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m, stopChromium, removeBinary) }
