//go:build unix

package scenario

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// Tests besiege a server that has keys, over real connections, while a good peer keeps
// sending to it.

// The servers of a siege. The attacker has the key of the captured one.
const (
	siegedPid   = 0
	loyalPid    = 1
	capturedPid = 2
)

// A siege is a server with keys, a good peer of it, and what an attacker needs.
type siege struct {
	t      *testing.T
	cfg    cluster.Config
	server *cluster.Node
	reader *testcluster.Reader
	loyal  *cluster.Node
	stream *testcluster.Traffic
	life   uint64 // the incarnation of the attacker's frames
	seq    uint64 // number of the next record of the captured peer
}

func besiege(t *testing.T) *siege {
	t.Helper()
	return besiegeAt(t, testcluster.Keyed(t, testcluster.ProcessConfig(t, 3)))
}

// besiegeAt is besiege with a configuration.
func besiegeAt(t *testing.T, cfg cluster.Config) *siege {
	t.Helper()
	s := &siege{t: t, cfg: cfg, server: testcluster.Join(t, siegedPid, cfg), loyal: testcluster.Join(t, loyalPid, cfg), life: 1 + rand.Uint64()>>1, seq: 1}
	s.reader = testcluster.ReadAll(s.server)
	s.stream = testcluster.NewTraffic(s.loyal)
	s.stream.Send([]int{siegedPid}, 0, 100, time.Millisecond)
	t.Cleanup(s.stream.Halt)
	s.goesOn()
	return s
}

// goesOn waits until more of the good peer's messages have come.
func (s *siege) goesOn() {
	s.t.Helper()
	count := s.reader.Tally(loyalPid).Count
	testcluster.Eventually(s.t, "more messages of the good peer", func() bool { return s.reader.Tally(loyalPid).Count > count+5 })
}

// catchesUp waits until the server has handled what had reached it by now: until some of what the good
// peer sends each millisecond has come, of which the first may have been on its way.
func (s *siege) catchesUp() {
	s.t.Helper()
	count := s.reader.Tally(loyalPid).Count
	testcluster.Eventually(s.t, "what the good peer sends now", func() bool { return s.reader.Tally(loyalPid).Count >= count+4 })
}

// lifted checks, when an attack is over, that all of the good peer's messages came, and
// nothing was held against it.
func (s *siege) lifted() {
	s.t.Helper()
	s.goesOn()
	s.stream.Halt()
	sent := s.stream.Number(siegedPid) - 1
	testcluster.Eventually(s.t, "all of the good peer's messages", func() bool { return s.reader.Tally(loyalPid).Last() == sent })
	s.reader.Tally(loyalPid).CheckAll(s.t, "the sieged server", sent)
	if got := testcluster.StatsOf(s.server, loyalPid).Received; got.Lost != 0 || got.Restarts != 0 || len(got.Refused) != 0 {
		s.t.Errorf("of the good peer: %d lost, %d restarts, refused %v, want nothing of the kind", got.Lost, got.Restarts, got.Refused)
	}
	if got := testcluster.StatsOf(s.loyal, siegedPid).Sent.Dropped; len(got) > 0 {
		s.t.Errorf("the good peer dropped %v, want nothing", got)
	}
}

// delivered is what has come of the captured peer.
func (s *siege) delivered() int {
	got := s.reader.Tally(capturedPid)
	return got.Count + got.Others
}

// nobody stands for who is no known peer.
const nobody = -1

// refuses waits until the server has refused something of the peer, or of nobody, for
// that reason, and nothing of anybody for another.
func (s *siege) refuses(peer int, r cluster.Refusal) {
	s.t.Helper()
	var all, its map[cluster.Refusal]uint64 // of one moment
	testcluster.Eventually(s.t, fmt.Sprintf("a refusal of peer %d as %v", peer, r), func() bool {
		stats := s.server.Stats()
		all, its = stats.Received.Refused, nil
		if peer == nobody {
			its = stats.Refused
		}
		for _, p := range stats.Peers {
			if p.ID == peer {
				its = p.Received.Refused
			}
		}
		return its[r] > 0
	})
	if r != cluster.RefusedHandshake {
		all = framesRefused(all)
	}
	if len(all) != 1 || all[r] != its[r] {
		s.t.Errorf("refused %v, want only %v of peer %d", all, r, peer)
	}
}

// framesRefused is what was refused other than in ZeroMQ's handshake, where also a good
// peer that closes a connection at once leaves its mark, and where counting takes a while.
func framesRefused(by map[cluster.Refusal]uint64) map[cluster.Refusal]uint64 {
	by = maps.Clone(by)
	delete(by, cluster.RefusedHandshake)
	return by
}

// key is the key of a server of the siege.
func (s *siege) key(id int) *transport.Security { return testcluster.KeyOf(s.t, s.cfg, id) }

// dialAt connects a bare socket to an address where the server answers, as the owner of
// a key, or without one. The caller closes it.
func (s *siege) dialAt(address string, as *transport.Security) transport.Conn {
	s.t.Helper()
	return dialBare(s.t, address, as, s.cfg.Peers[siegedPid].PublicKey)
}

// dialBare connects a bare socket to an address where the server with the public key
// should answer. The caller closes it.
func dialBare(t testing.TB, address string, as *transport.Security, server string) transport.Conn {
	t.Helper()
	c, err := attackers.Dial("tcp://"+address, as, server)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dial is dialAt at the server's own address, until the end of the test.
func (s *siege) dial(as *transport.Security) transport.Conn {
	s.t.Helper()
	c := s.dialAt(s.cfg.Peers[siegedPid].Address, as)
	s.t.Cleanup(func() { c.Close(0) })
	return c
}

// header is that of the captured peer's next frame.
func (s *siege) header() wire.Header {
	return wire.Header{
		To: siegedPid, From: capturedPid, Cluster: wire.ClusterHash(s.cfg.Cluster),
		Incarnation: s.life, Start: wire.Position{Seq: s.seq}, Count: 1,
	}
}

// frame is one with a message.
func (s *siege) frame(h wire.Header, msg any) []byte {
	head := make([]byte, wire.HeaderSize)
	h.Put(head)
	return append(head, testcluster.Records(s.t, msg)...)
}

// push writes a frame, and reports whether the connection took it before d was over.
func push(t testing.TB, c transport.Conn, frame []byte, d time.Duration) bool {
	t.Helper()
	for deadline := time.Now().Add(d); ; {
		if ok, err := c.TrySend(frame, nil); ok || err != nil {
			if err != nil {
				t.Fatal(err)
			}
			return true
		}
		if err := c.Wait(deadline); errors.Is(err, transport.ErrTimeout) {
			return false
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
