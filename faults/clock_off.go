//go:build linux && !shiftable

package main

import "time"

// shiftClock is nil: the clock of this process cannot be set.
var shiftClock func(by time.Duration)
