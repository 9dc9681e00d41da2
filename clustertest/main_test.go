package clustertest_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, and then checks that no goroutine was left behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
