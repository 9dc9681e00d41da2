package scenario

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
)

// slow lets so many bytes a second pass to the server on each connection that is made from now on. They come in segments as on a
// network, and few wait to be read: the sender's kernel sees them move one by one.
func (p *proxy) slow(rate int) {
	p.t.Helper()
	const segment = 1448
	raw, err := p.l.(*net.TCPListener).SyscallConn()
	if err != nil {
		p.t.Fatal(err)
	}
	failed := raw.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, segment),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4*segment))
	})
	if err = errors.Join(failed, err); err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = rate
}

// A piece of a large message takes twice as long as SendTimeout. On the transport in Go, where its kernel tells that it moves, it and what is behind
// it arrive, and nothing is dropped. What goes the other way is not held up.
func TestWhatMovesTowardsAPeerIsNotDroppedHoweverSlowThePathIs(t *testing.T) {
	t.Parallel()
	if chosen := os.Getenv(sockets.Variable); chosen != "" && chosen != sockets.Go {
		t.Skipf("%s is %q", sockets.Variable, chosen)
	}
	const rate, size, small = 32 << 10, 256 << 10, 10
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.Transport, cfg.SendTimeout = sockets.Go, 2*time.Second
	cfg, p := behind(t, cfg, 1)
	p.slow(rate)
	a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
	testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "first"})
	testcluster.Take(t, b)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(a.Stats())
		}
	})
	began := time.Now()
	testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: make([]byte, size)})
	for i := range small {
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, MsgId: int64(i + 1), Msg: "behind it"})
		testcluster.Put(t, b, &cluster.Envelope{Pid: 0, MsgId: int64(i + 1), Msg: "the other way"})
		if e := testcluster.Take(t, a); e.MsgId != int64(i+1) {
			t.Errorf("message %d comes the other way, want %d", e.MsgId, i+1)
		}
	}
	if got := time.Since(began); got > size/rate*time.Second {
		t.Errorf("what goes the other way has taken %v", got)
	}
	if got, _ := testcluster.Take(t, b).Msg.([]byte); len(got) != size {
		t.Fatalf("a message of %d bytes comes first, want %d", len(got), size)
	}
	if got, least := time.Since(began), size/rate*time.Second/2; got < least {
		t.Fatalf("it took %v, and not %v: the path is not slow", got, least)
	}
	for i := range small {
		if e := testcluster.Take(t, b); e.MsgId != int64(i+1) {
			t.Errorf("message %d comes behind it, want %d", e.MsgId, i+1)
		}
	}
	if s := testcluster.StatsOf(a, 1); s.Sent.DroppedTotal() != 0 || s.Flaps != 0 {
		t.Errorf("the link was down %d times; %+v", s.Flaps, s.Sent)
	}
}
