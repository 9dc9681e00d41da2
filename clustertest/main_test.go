package clustertest_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// long is given by make clustertest-long: the tests that try many seeds try all of them.
var long bool

func init() { flag.BoolVar(&long, "long", false, "try all seeds of the tests that try many") }

// TestMain runs the tests, and then checks that no goroutine was left behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
