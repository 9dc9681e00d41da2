//go:build cgo && !nozmq && unix

package zmq

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// leave takes descriptors until no more than left can be opened, and returns what gives them back.
func leave(t testing.TB, left int) (restore func()) {
	t.Helper()
	var limits unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limits); err != nil {
		t.Fatal(err)
	}
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
	return func() {
		for _, f := range hoard {
			f.Close()
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limits); err != nil {
			t.Fatal(err)
		}
	}
}

// shortageVar is set to how many descriptors are left for the first Listen of a process.
const shortageVar = "CLUSTER_TEST_DESCRIPTORS_LEFT"

func TestTheFirstListenOfAProcessWithFewDescriptorsIsAnErrorOrWorks(t *testing.T) {
	if text := os.Getenv(shortageVar); text != "" {
		firstListen(t, text)
		return
	}
	worked, failed := 0, 0
	for left := range 24 {
		c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%d", shortageVar, left))
		out, err := c.CombinedOutput()
		switch {
		case err != nil:
			t.Errorf("with %d descriptors left the process ends with %v:\n%s", left, err, out)
		case strings.Contains(string(out), "it listens"):
			worked++
		case strings.Contains(string(out), "too many open files"):
			failed++
		default:
			t.Errorf("with %d descriptors left:\n%s", left, out)
		}
	}
	if worked == 0 || failed == 0 {
		t.Errorf("it worked %d times and failed %d times, want some of both", worked, failed)
	}
}

// firstListen says what became of a Listen, and that it works when descriptors are free again.
func firstListen(t *testing.T, text string) {
	left, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := freeEndpoint(t)
	restore := leave(t, left)
	l, err := Network{}.Listen(endpoint, nil, nil)
	restore()
	if err == nil {
		t.Log("it listens")
		l.Close()
		return
	}
	t.Log(err)
	listen(t, endpoint)
}

func TestListeningWithFewDescriptorsIsAnErrorOrWorks(t *testing.T) {
	listen(t, freeEndpoint(t)) // ZeroMQ's own threads have what they need
	worked, failed := 0, 0
	for left := range 24 {
		endpoint := freeEndpoint(t)
		restore := leave(t, left)
		l, err := Network{}.Listen(endpoint, nil, nil) // ZeroMQ might end the process here
		restore()
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
