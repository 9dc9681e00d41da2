//go:build linux && shiftable

package main

import "github.com/abhishekg16/cluster"

// shiftClock sets the clock of this process. See clock_shift.go for what it calls.
var shiftClock = cluster.ShiftClock
