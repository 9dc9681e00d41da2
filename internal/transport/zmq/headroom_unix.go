//go:build cgo && !nozmq && !windows

package zmq

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// headroom returns an error if fewer descriptors are left than that. Go's network poller runs
// after it.
func headroom(descriptors int) error {
	var taken []int
	defer func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
	}()
	for len(taken) < descriptors {
		var pair [2]int
		syscall.ForkLock.RLock() // no child may get them before they are marked
		err := unix.Pipe(pair[:])
		if err == nil {
			unix.CloseOnExec(pair[0])
			unix.CloseOnExec(pair[1])
		}
		syscall.ForkLock.RUnlock()
		if err != nil {
			return os.NewSyscallError("pipe", err)
		}
		taken = append(taken, pair[:]...)
	}
	for range 4 { // for the poller and the pipe that starts it
		unix.Close(taken[len(taken)-1])
		taken = taken[:len(taken)-1]
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	r.Close()
	w.Close()
	return nil
}
