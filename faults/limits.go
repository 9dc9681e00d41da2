//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// limitDescriptors lowers how many descriptors this process may open.
func limitDescriptors(most uint64) error {
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: most})
}

// A hoard is what a server takes so that nothing is left for others, itself among them.
type hoard struct{ held []io.Closer }

// fill takes all descriptors that this process may open, or all ports from which an
// address can be reached.
func (h *hoard) fill(what string) error {
	for range 100_000 {
		var c io.Closer
		var err error
		if what == "descriptors" {
			c, err = os.Open(os.DevNull)
		} else {
			c, err = net.DialTimeout("tcp", what, time.Second)
		}
		if err != nil {
			return nil
		}
		h.held = append(h.held, c)
	}
	return fmt.Errorf("there is no end of %s", what)
}

func (h *hoard) empty() {
	for _, c := range h.held {
		c.Close()
	}
	h.held = nil
}

// A logFile counts what could not be written.
type logFile struct {
	w      io.Writer
	faults atomic.Int64
}

func (l *logFile) Write(b []byte) (int, error) {
	n, err := l.w.Write(b)
	if err != nil {
		l.faults.Add(1)
	}
	return n, err
}
