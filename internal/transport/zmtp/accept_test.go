package zmtp

import (
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A short listener has no descriptor for the first connections.
type short struct {
	net.Listener
	failures atomic.Int32
}

func (s *short) Accept() (net.Conn, error) {
	if s.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return s.Listener.Accept()
}

func TestWhereNoDescriptorIsLeftAcceptingIsTriedAgain(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &short{Listener: nl}
	s.failures.Store(3)
	in, err := newReceiver()
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(in, nil)
	began := time.Now()
	l.start(s, nil)
	defer l.Close()
	send(t, dial(t, "tcp://"+nl.Addr().String()), []byte("x"), nil)
	if head, _, err := l.Recv(time.Now().Add(limit)); err != nil || string(head) != "x" {
		t.Errorf("got %q, %v", head, err)
	}
	if took := time.Since(began); took < 3*acceptPause {
		t.Errorf("it was tried again without a pause: 3 failures took %v", took)
	}
}
