//go:build mutants

package flaw

import (
	"os"
	"sync/atomic"
	"time"
)

// Enabled tells whether the tag is there.
const Enabled = true

var (
	broken = os.Getenv("CLUSTER_MUTANT")
	shift  atomic.Int64
)

// On reports whether the rule is broken.
func On(rule string) bool { return rule == broken }

// Now is the wall clock.
func Now() time.Time { return time.Now().Add(time.Duration(shift.Load())) }

// Shift sets the wall clock of this process forward, or back.
func Shift(by time.Duration) { shift.Add(int64(by)) }
