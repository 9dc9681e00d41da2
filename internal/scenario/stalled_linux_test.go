package scenario

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// deafen makes the kernel drop whatever comes on the connections of the proxy that there are, as a path does that does
// not pass any more: nothing is acknowledged, and nothing refused. It returns how many those are.
func (p *proxy) deafen() (count int) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	for c := range p.open {
		if c.LocalAddr().String() != p.address() {
			continue // it leads to the server
		}
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			continue // it has ended
		}
		raw.Control(func(fd uintptr) {
			err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(drop)), Filter: &drop[0]})
		})
		if err != nil {
			p.t.Fatal(err)
		}
		count++
	}
	return count
}

func TestAConnectionOfWhichNothingIsAcknowledgedIsReplacedAndNothingIsLost(t *testing.T) {
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.SendTimeout = 3 * time.Second
	cfg, p := behind(t, cfg, 1)
	a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
	for _, n := range []*cluster.Node{a, b} {
		testcluster.Put(t, n, &cluster.Envelope{Pid: 1 - n.Pid(), Msg: "so that both know that the other resends"})
	}
	testcluster.Take(t, a)
	testcluster.Take(t, b)
	testcluster.Eventually(t, "both know it", func() bool {
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "again"})
		testcluster.Take(t, b)
		return a.Stats().Sent.Confirmed > 0
	})
	const rounds = 3
	least := testcluster.Limit // that a round took
	for i := range rounds {
		if p.deafen() == 0 {
			t.Fatal("there is no connection")
		}
		began := time.Now()
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, MsgId: int64(i + 1), Msg: "on its way"})
		if e := testcluster.Take(t, b); e.MsgId != int64(i+1) {
			t.Errorf("message %d comes, want %d", e.MsgId, i+1)
		}
		least = min(least, time.Since(began))
	}
	// Such a connection gives way after a third of SendTimeout. By itself the kernel gives it up after four seconds.
	if least >= cfg.SendTimeout {
		t.Errorf("each message took %v and more, want less than SendTimeout, %v", least, cfg.SendTimeout)
	}
	testcluster.Eventually(t, "all is confirmed", func() bool { s := a.Stats().Sent; return s.Confirmed+s.Unconfirmed == s.Sent })
	if s := testcluster.StatsOf(a, 1); s.Sent.DroppedTotal() != 0 || s.Sent.Resent < rounds || s.State != cluster.LinkUp {
		t.Errorf("the link is %v; %+v", s.State, s.Sent)
	}
}
