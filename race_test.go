//go:build race

package cluster

// raceEnabled tells tests that measure memory or time that the race detector
// is on.
const raceEnabled = true
