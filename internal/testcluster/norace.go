//go:build !race

package testcluster

// RaceEnabled tells tests that measure memory or time that the race detector is on.
const RaceEnabled = false
