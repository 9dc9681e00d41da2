//go:build unix

package scenario

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// tapped puts a proxy between the server and whoever connects to it, but for the good
// peer, which goes there directly.
func tapped(t *testing.T) (*siege, *proxy) {
	t.Helper()
	cfg := testcluster.Keyed(t, testcluster.ProcessConfig(t, 3))
	p := newProxy(t, cfg.Peers[siegedPid].Address)
	return besiegeAt(t, cfg), p
}

// message is the number of the first unit that carries a message, in CURVE.
const message = firstFrame + 2

// The units of a connection that are tampered with. What the client sends first of all
// is a frame of the captured peer.
var tampered = []struct {
	name string
	up   bool
	unit int
}{
	{"HELLO", true, firstFrame},
	{"WELCOME", false, firstFrame},
	{"INITIATE", true, firstFrame + 1},
	{"READY", false, firstFrame + 1},
	{"MESSAGE", true, message},
}

func TestCommandsThatWereTamperedWithDeliverNothing(t *testing.T) {
	t.Parallel() // it waits more than it works
	s, p := tapped(t)
	key := s.key(capturedPid)
	// How long the units are is seen once.
	var mu sync.Mutex
	seen := make(map[string]int)
	p.tamper(func(_ int, up bool, i int, unit []byte) ([]byte, bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, u := range tampered {
			if u.up == up && u.unit == i {
				seen[u.name] = len(unit)
			}
		}
		return unit, false
	})
	const brief = 100 * time.Millisecond // for what is tampered with
	attempt := func(limit time.Duration) bool {
		before := s.delivered()
		conn := s.dialAt(p.address(), key)
		// It is over when the connection has ended or the message has come. If
		// neither happens, one side waits for more than it will get.
		sent, over := false, time.After(limit)
		for waiting := true; waiting && s.delivered() == before; {
			if !sent {
				sent, _ = conn.TrySend(s.frame(s.header(), numbered(s.life, s.seq)), nil)
			}
			select {
			case <-p.end():
				waiting = false
			case <-over:
				waiting = false
			case <-time.After(200 * time.Microsecond):
			}
		}
		conn.Close(0)
		if s.delivered() == before {
			s.catchesUp() // with what came before the end
		}
		if s.delivered() > before {
			s.seq++
			return true
		}
		return false
	}
	if !attempt(testcluster.Limit) {
		t.Fatal("a connection that nobody tampers with delivers nothing")
	}
	mu.Lock()
	sizes := maps.Clone(seen)
	mu.Unlock()
	kinds := map[string]func(unit []byte, at int) ([]byte, bool){
		"flipped": func(unit []byte, at int) ([]byte, bool) {
			unit[at] ^= 1 << rand.IntN(8)
			return unit, false
		},
		"truncated": func(unit []byte, at int) ([]byte, bool) { return unit[:at], true },
	}
	for _, u := range tampered {
		for kind, change := range kinds {
			t.Run(u.name+" "+kind, func(t *testing.T) {
				whole := s.t
				s.t = t
				defer func() { s.t = whole }()
				step := 1
				if testing.Short() || kind == "truncated" {
					step = 13
				}
				passed := 0
				for at := 0; at < sizes[u.name]; at += step {
					p.tamper(func(conn int, up bool, i int, unit []byte) ([]byte, bool) {
						if conn == 0 && up == u.up && i == u.unit {
							return change(unit, at)
						}
						return unit, conn > 0 // one attempt is one connection
					})
					if attempt(brief) {
						passed++
						// ZeroMQ does not look at what pads a HELLO, nor at the
						// flags of a frame that mean nothing.
						if (u.name != "HELLO" && at > 0) || kind != "flipped" {
							t.Errorf("with byte %d %s a message was delivered", at, kind)
						}
					}
				}
				t.Logf("%d bytes, %d attempts got through", sizes[u.name], passed)
				s.goesOn()
			})
		}
	}
	p.tamper(nil)
	if !attempt(testcluster.Limit) {
		t.Error("after all that a good connection delivers nothing")
	}
	stats := s.server.Stats()
	got := framesRefused(stats.Received.Refused)
	if stats.Transport == "go" { // where messages that do not open are told of
		if got[cluster.RefusedMalformed] == 0 {
			t.Error("nothing of it was told")
		}
		delete(got, cluster.RefusedMalformed)
	}
	if len(got) > 0 {
		t.Errorf("refused %v, want nothing of it to have come so far", got)
	}
	s.reader.Tally(capturedPid).CheckOrder(t, "the sieged server")
	s.lifted()
}

// numbered is a message as traffic makes them.
func numbered(life, number uint64) []byte {
	b := bytes.Repeat([]byte{byte(number)}, 100)
	binary.LittleEndian.PutUint64(b, life)
	binary.LittleEndian.PutUint64(b[8:], number)
	return b
}

// recorded is what a client sends over one connection until its message has come.
func (s *siege) recorded(p *proxy) (units [][]byte) {
	s.t.Helper()
	var mu sync.Mutex
	p.tamper(func(_ int, up bool, _ int, unit []byte) ([]byte, bool) {
		if up {
			mu.Lock()
			defer mu.Unlock()
			units = append(units, bytes.Clone(unit))
		}
		return unit, false
	})
	conn := s.dialAt(p.address(), s.key(capturedPid))
	before := s.delivered()
	if !push(s.t, conn, s.frame(s.header(), "once"), testcluster.Limit) {
		s.t.Fatal("the owner of a listed key was not let in")
	}
	testcluster.Eventually(s.t, "the message that is recorded", func() bool { return s.delivered() == before+1 })
	conn.Close(0)
	<-p.end()
	mu.Lock()
	defer mu.Unlock()
	if len(units) <= message {
		s.t.Fatalf("%d units were recorded, want a greeting, a handshake and a message", len(units))
	}
	return units
}

func TestAReplayedConnectionDeliversNothing(t *testing.T) {
	s, p := tapped(t)
	units := s.recorded(p)
	for name, replay := range map[string][]byte{
		"all":                   bytes.Join(units, nil),
		"without the INITIATE":  bytes.Join(slices.Concat(units[:message-1], units[message:]), nil),
		"without the HELLO":     bytes.Join(slices.Concat(units[:firstFrame], units[message-1:]), nil),
		"without the handshake": bytes.Join(slices.Concat(units[:firstFrame], units[message:]), nil),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", s.cfg.Peers[siegedPid].Address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(testcluster.Limit))
			c.Write(replay)
			for b := make([]byte, 1024); err == nil; {
				_, err = c.Read(b) // the server answers, and hangs up
			}
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("the server has not hung up in %v", testcluster.Limit)
			}
		})
	}
	if got := s.delivered(); got != 1 {
		t.Errorf("%d messages were delivered, want the one that was sent", got)
	}
	s.lifted()
}

func TestReplayedFramesDeliverNothing(t *testing.T) {
	t.Parallel() // it waits more than it works
	s, p := tapped(t)
	units := s.recorded(p)
	t.Run("on the same connection", func(t *testing.T) {
		p.tamper(func(_ int, up bool, i int, unit []byte) ([]byte, bool) {
			if up && i == message {
				return append(unit, unit...), false
			}
			return unit, false
		})
		s.seq++
		conn := s.dialAt(p.address(), s.key(capturedPid))
		defer conn.Close(0)
		if !push(t, conn, s.frame(s.header(), "twice"), testcluster.Limit) {
			t.Fatal("the owner of a listed key was not let in")
		}
		testcluster.Eventually(t, "the message that is sent once", func() bool { return s.delivered() == 2 })
		testcluster.Eventually(t, "the server hangs up at the second", func() bool {
			select {
			case <-p.end():
				return true
			default:
				return false
			}
		})
	})
	t.Run("on another connection", func(t *testing.T) {
		p.tamper(func(conn int, up bool, i int, unit []byte) ([]byte, bool) {
			if up && i == message {
				return units[message], conn > 0
			}
			return unit, conn > 0
		})
		conn := s.dialAt(p.address(), s.key(capturedPid))
		defer conn.Close(0)
		push(t, conn, s.frame(s.header(), "displaced"), shutOut)
		time.Sleep(50 * time.Millisecond)
	})
	if got := s.delivered(); got != 2 {
		t.Errorf("%d messages were delivered, want the two that were sent", got)
	}
	s.lifted()
}

func TestAnEavesdropperSeesNothingOfAMessage(t *testing.T) {
	cfg := testcluster.Keyed(t, testcluster.ProcessConfig(t, 2))
	p := newProxy(t, cfg.Peers[1].Address)
	var mu sync.Mutex
	var seen []byte
	p.tamper(func(_ int, _ bool, _ int, unit []byte) ([]byte, bool) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, unit...)
		return unit, false
	})
	receiver := testcluster.Join(t, 1, cfg)
	cfg.Peers = slices.Clone(cfg.Peers)
	cfg.Peers[1].Address, cfg.Peers[1].Bind = p.address(), ""
	cfg.Cluster = ""
	const secret = "the launch code is 00000000"
	testcluster.Put(t, testcluster.Join(t, 0, cfg), &cluster.Envelope{Pid: 1, Msg: secret})
	if e := testcluster.Take(t, receiver); e.Msg != secret {
		t.Errorf("received %v", e.Msg)
	}
	mu.Lock()
	defer mu.Unlock()
	hash := make([]byte, wire.HeaderSize)
	h := wire.Header{Cluster: wire.ClusterHash("")}
	h.Put(hash)
	for what, b := range map[string][]byte{"the message": []byte("launch code"), "the name of the cluster": hash[8:16]} {
		if bytes.Contains(seen, b) {
			t.Errorf("%s is there to be read on the wire", what)
		}
	}
	if len(seen) < 500 {
		t.Errorf("only %d bytes were seen", len(seen))
	}
}
