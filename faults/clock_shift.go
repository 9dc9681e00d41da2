//go:build linux

package main

import "context"

// shiftable makes the library's clock one that this process can set.
var shiftable = []edit{
	{"server.go", "now: time.Now}", "now: shiftedClock}"},
	{"shifted_clock.go", "", `package cluster

import (
	"sync/atomic"
	"time"
)

var clockShift atomic.Int64

func shiftedClock() time.Time { return time.Now().Add(time.Duration(clockShift.Load())) }

// ShiftClock sets the clock of this process forward, or back.
func ShiftClock(by time.Duration) { clockShift.Add(int64(by)) }
`},
}

// buildShiftable builds this program with a clock that can be set.
func buildShiftable(ctx context.Context, dir string) (exe string, err error) {
	return buildEdited(ctx, dir, "faults-shiftable", "shiftable", shiftable)
}
