//go:build race

package stream

// schedulesPerRun is how many schedules TestModel runs: no goroutine shares anything here.
const schedulesPerRun = 5_000
