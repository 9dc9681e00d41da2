//go:build !race

package stream

// schedulesPerRun is how many schedules TestModel runs.
const schedulesPerRun = 200_000
