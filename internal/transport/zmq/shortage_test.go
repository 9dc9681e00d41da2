//go:build unix

package zmq

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListeningWithFewDescriptorsIsAnErrorOrWorks(t *testing.T) {
	var limits unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limits); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limits)
	listen(t, freeEndpoint(t)) // ZeroMQ's own threads have what they need
	worked, failed := 0, 0
	for left := range 24 {
		endpoint := freeEndpoint(t)
		first, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		few := limits
		few.Cur = uint64(first.Fd()) + 64
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
			t.Fatal(err)
		}
		hoard := []*os.File{first}
		for {
			f, err := os.Open(os.DevNull)
			if err != nil {
				break
			}
			hoard = append(hoard, f)
		}
		for range left {
			hoard[len(hoard)-1].Close()
			hoard = hoard[:len(hoard)-1]
		}
		l, err := Network{}.Listen(endpoint, nil, nil) // ZeroMQ might end the process here
		for _, f := range hoard {
			f.Close()
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limits); err != nil {
			t.Fatal(err)
		}
		switch {
		case err == nil:
			worked++
			l.Close()
		case errors.Is(err, syscall.EMFILE):
			failed++
		default:
			t.Errorf("with %d descriptors left: %v, want %v", left, err, syscall.EMFILE)
		}
	}
	if worked == 0 || failed == 0 {
		t.Errorf("it worked %d times and failed %d times, want some of both", worked, failed)
	}
}
