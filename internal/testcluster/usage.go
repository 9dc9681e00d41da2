//go:build unix

package testcluster

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what a process uses. Sizes are in bytes, and 0 where there is no /proc.
type Usage struct {
	CPU                        time.Duration
	Resident, Peak             int
	Threads, Files, Goroutines int
}

// UsageNow is what this process uses.
func UsageNow() Usage {
	var u Usage
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	u.Files, u.Goroutines = OpenFiles(), runtime.NumGoroutine()
	u.Resident, u.Peak, u.Threads = StatusField("VmRSS"), StatusField("VmHWM"), StatusField("Threads")
	return u
}

// StatusField reads a number from /proc/self/status, in bytes if it is a size.
func StatusField(name string) int {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "\n"+name+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(fields[0])
	if len(fields) > 1 && fields[1] == "kB" {
		n <<= 10
	}
	return n
}
