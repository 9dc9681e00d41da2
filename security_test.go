//go:build unix

package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmq"
	"github.com/abhishekg16/cluster/internal/wire"
	"github.com/abhishekg16/cluster/peercatalog"
)

// The tests of this file attack a server that has keys, over real connections, while a
// good peer keeps sending to it.

// The servers of a siege. The attacker has the key of the captured one.
const (
	siegedPid   = 0
	loyalPid    = 1
	capturedPid = 2
)

// A siege is a server with keys, a good peer of it, and what an attacker needs.
type siege struct {
	t      *testing.T
	cfg    Config
	server *Node
	reader *reader
	loyal  *Node
	stream *traffic
	life   uint64 // the incarnation of the attacker's frames
	seq    uint64 // number of the next record of the captured peer
}

func besiege(t *testing.T) *siege {
	t.Helper()
	return besiegeAt(t, keyed(t, processConfig(t, 3)))
}

// besiegeAt is besiege with a configuration.
func besiegeAt(t *testing.T, cfg Config) *siege {
	t.Helper()
	s := &siege{t: t, cfg: cfg, server: join(t, siegedPid, cfg), loyal: join(t, loyalPid, cfg), life: 1 + rand.Uint64()>>1, seq: 1}
	s.reader = readAll(s.server)
	s.stream = newTraffic(s.loyal)
	s.stream.send([]int{siegedPid}, 0, 100, time.Millisecond)
	t.Cleanup(s.stream.halt)
	s.goesOn()
	return s
}

// goesOn waits until more of the good peer's messages have come.
func (s *siege) goesOn() {
	s.t.Helper()
	count := s.reader.from(loyalPid).Count
	eventually(s.t, "more messages of the good peer", func() bool { return s.reader.from(loyalPid).Count > count+5 })
}

// lifted checks, when an attack is over, that all of the good peer's messages came, and
// nothing was held against it.
func (s *siege) lifted() {
	s.t.Helper()
	s.goesOn()
	s.stream.halt()
	sent := s.stream.number(siegedPid) - 1
	eventually(s.t, "all of the good peer's messages", func() bool { return s.reader.from(loyalPid).last() == sent })
	s.reader.from(loyalPid).checkAll(s.t, "the sieged server", sent)
	if got := statsOf(s.server, loyalPid).Received; got.Lost != 0 || got.Restarts != 0 || len(got.Refused) != 0 {
		s.t.Errorf("of the good peer: %d lost, %d restarts, refused %v, want nothing of the kind", got.Lost, got.Restarts, got.Refused)
	}
	if got := statsOf(s.loyal, siegedPid).Sent.Dropped; len(got) > 0 {
		s.t.Errorf("the good peer dropped %v, want nothing", got)
	}
}

// delivered is what has come of the captured peer.
func (s *siege) delivered() int {
	got := s.reader.from(capturedPid)
	return got.Count + got.Others
}

// refuses waits until the server has refused something of the peer, or of nobody, for
// that reason, and nothing of anybody for another.
func (s *siege) refuses(peer int, r Refusal) {
	s.t.Helper()
	of := func() map[Refusal]uint64 {
		if peer == nobody {
			return s.server.Stats().Refused
		}
		return statsOf(s.server, peer).Received.Refused
	}
	eventually(s.t, fmt.Sprintf("a refusal of peer %d as %v", peer, r), func() bool { return of()[r] > 0 })
	all := s.server.Stats().Received.Refused
	if r != RefusedHandshake {
		all = framesRefused(all)
	}
	if len(all) != 1 || all[r] != of()[r] {
		s.t.Errorf("refused %v, want only %v of peer %d", all, r, peer)
	}
}

// framesRefused is what was refused other than in ZeroMQ's handshake, where also a good
// peer that closes a connection at once leaves its mark, and where counting takes a while.
func framesRefused(by map[Refusal]uint64) map[Refusal]uint64 {
	by = maps.Clone(by)
	delete(by, RefusedHandshake)
	return by
}

// key is the key of a server, as its file has it.
func (s *siege) key(id int) *transport.Security { return keyOf(s.t, s.cfg, id) }

func keyOf(t testing.TB, cfg Config, id int) *transport.Security {
	t.Helper()
	peer := cfg.Peers[slices.IndexFunc(cfg.Peers, func(p peercatalog.Peer) bool { return p.ID == id })]
	public, secret, err := cfg.secretKey(peer)
	if err != nil {
		t.Fatal(err)
	}
	return &transport.Security{Public: public, Secret: secret}
}

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
	c, err := zmq.Network{}.Dial("tcp://"+address, as, server)
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
	return append(head, records(s.t, msg)...)
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

// shutOut is how long a connection is watched that must not be made.
const shutOut = 300 * time.Millisecond

func TestWhoHasNoListedKeyIsNotLetIn(t *testing.T) {
	t.Parallel() // it waits more than it works
	for _, c := range []struct {
		name   string
		as     func(s *siege) *transport.Security
		reason Refusal
	}{
		{"no key", func(*siege) *transport.Security { return nil }, RefusedHandshake},
		{"an unlisted key", func(s *siege) *transport.Security { return stranger(s.t) }, RefusedKey},
		{"a listed public key without its secret", func(s *siege) *transport.Security {
			return &transport.Security{Public: s.key(capturedPid).Public, Secret: stranger(s.t).Secret}
		}, RefusedHandshake},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := besiege(t)
			conn := s.dial(c.as(s))
			if push(t, conn, s.frame(s.header(), "forged"), shutOut) {
				t.Error("a frame was taken")
			}
			s.refuses(nobody, c.reason)
			if s.delivered() > 0 {
				t.Error("a message was delivered")
			}
			s.lifted()
		})
	}
}

func TestAListedKeyIsGoodForItsOwnIdAlone(t *testing.T) {
	for _, c := range []struct {
		name   string
		key    int
		spoil  func(h *wire.Header)
		reason Refusal
	}{
		{"another's id", capturedPid, func(h *wire.Header) { h.From = loyalPid }, RefusedIdentity},
		{"the receiver's own id", capturedPid, func(h *wire.Header) { h.From = siegedPid }, RefusedIdentity},
		{"an id that nobody has", capturedPid, func(h *wire.Header) { h.From = 77 }, RefusedIdentity},
		{"the receiver's own id, and key", siegedPid, func(h *wire.Header) { h.From = siegedPid }, RefusedIncarnation},
		{"another cluster's name", capturedPid, func(h *wire.Header) { h.Cluster = wire.ClusterHash("another") }, RefusedCluster},
		{"another's id in another cluster", capturedPid, func(h *wire.Header) { h.From, h.Cluster = loyalPid, 1 }, RefusedIdentity},
		{"a frame for another", capturedPid, func(h *wire.Header) { h.To = loyalPid }, RefusedDestination},
		{"a malformed frame", capturedPid, func(h *wire.Header) { h.Incarnation = 0 }, RefusedMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := besiege(t)
			conn := s.dial(s.key(c.key))
			h := s.header()
			c.spoil(&h)
			if !push(t, conn, s.frame(h, "forged"), limit) {
				t.Fatal("the owner of a listed key was not let in")
			}
			s.refuses(c.key, c.reason)
			if c.key == capturedPid {
				// The connection is as good as before for what its key may say.
				if !push(t, conn, s.frame(s.header(), "true"), limit) {
					t.Fatal("the connection is gone")
				}
				eventually(t, "the message with its own id", func() bool { return s.delivered() == 1 })
			}
			s.refuses(c.key, c.reason)
			s.lifted()
		})
	}
}

func TestMalformedMessagesAreCountedAgainstTheOwnerOfTheKey(t *testing.T) {
	s := besiege(t)
	conn := s.dial(s.key(capturedPid))
	if !push(t, conn, []byte{wire.Version + 1}, limit) {
		t.Fatal("the owner of a listed key was not let in")
	}
	s.refuses(capturedPid, RefusedVersion)
	s.lifted()
}

func TestAServerWithoutKeysDoesNotReachOneWithKeys(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := besiege(t)
	plain := s.cfg
	plain.Peers = slices.Clone(plain.Peers)
	for i := range plain.Peers {
		plain.Peers[i].PublicKey = ""
	}
	n := join(t, capturedPid, plain)
	put(t, n, &Envelope{siegedPid, 0, "in the clear"})
	put(t, n, &Envelope{BROADCAST, 0, "in the clear"})
	eventually(t, "its messages are dropped", func() bool { return statsOf(n, siegedPid).Sent.DroppedTotal() == 2 })
	if s.delivered() > 0 {
		t.Error("a message was delivered")
	}
	// Nor does anything get from the one with keys to it.
	put(t, s.server, &Envelope{capturedPid, 0, "secret"})
	eventually(t, "the message for it is dropped", func() bool { return statsOf(s.server, capturedPid).Sent.DroppedTotal() == 1 })
	for _, server := range []*Node{n, s.server} {
		eventually(t, "the refusal of the other's connection", func() bool { return server.Stats().Refused[RefusedHandshake] > 0 })
	}
	if got := n.Stats().Received; got.Received > 0 || len(framesRefused(got.Refused)) > 0 {
		t.Errorf("received %d, refused %v, want nothing to come", got.Received, got.Refused)
	}
	s.lifted()
}

func TestNothingIsSentToAListedServerAtTheAddressOfAnother(t *testing.T) {
	t.Parallel() // it waits more than it works
	cfg := keyed(t, processConfig(t, 4))
	s := besiegeAt(t, cfg)
	captured := join(t, capturedPid, cfg)
	swapped := cfg
	swapped.Peers = slices.Clone(cfg.Peers)
	swapped.Peers[loyalPid].Address, swapped.Peers[capturedPid].Address = cfg.Peers[capturedPid].Address, cfg.Peers[loyalPid].Address
	sender := join(t, 3, swapped)
	for _, id := range []int{loyalPid, capturedPid} {
		put(t, sender, &Envelope{id, 0, "for whom it is addressed to"})
	}
	for _, id := range []int{loyalPid, capturedPid} {
		eventually(t, "its messages are dropped", func() bool { return statsOf(sender, id).Sent.DroppedTotal() == 1 })
	}
	// A frame for another server would be counted.
	for _, n := range []*Node{captured, s.loyal} {
		if r := n.Stats().Received; r.Received > 0 || len(framesRefused(r.Refused)) > 0 {
			t.Errorf("server %d received %d and refused %v, want nothing to come", n.Pid(), r.Received, r.Refused)
		}
	}
	s.lifted()
}

func TestARemovedPeersKeyIsGoodForNothing(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := besiege(t)
	n := join(t, capturedPid, s.cfg)
	send := func(msg string) { t.Helper(); put(t, n, &Envelope{siegedPid, 0, msg}) }
	send("listed")
	eventually(t, "a message while it is listed", func() bool { return s.delivered() == 1 })

	// The connection stands when the peer is removed.
	was, _ := s.server.Catalog().Get(capturedPid)
	s.server.Catalog().Remove(capturedPid)
	send("removed")
	s.refuses(nobody, RefusedKey)

	// With another key it is another server for us, and the old one stays out.
	other := was
	other.PublicKey = stranger(t).Public
	if err := s.server.Catalog().Put(other); err != nil {
		t.Fatal(err)
	}
	before := s.server.Stats().Refused[RefusedKey]
	send("listed with another key")
	eventually(t, "another refusal", func() bool { return s.server.Stats().Refused[RefusedKey] > before })
	if got := s.delivered(); got != 1 {
		t.Errorf("%d messages were delivered, want the first alone", got)
	}

	// On a new connection it is refused before it can send.
	n.Close()
	conn := s.dial(s.key(capturedPid))
	if push(t, conn, s.frame(s.header(), "removed"), shutOut) {
		t.Error("the owner of a removed key was let in")
	}

	// And with its own key again it is back, as soon as it tries again.
	if err := s.server.Catalog().Put(was); err != nil {
		t.Fatal(err)
	}
	if !push(t, conn, s.frame(s.header(), "listed again"), limit) {
		t.Error("the owner of a key that is listed again was not let in")
	}
	eventually(t, "a message when it is listed again", func() bool { return s.delivered() == 2 })
	s.refuses(nobody, RefusedKey)
	s.lifted()
}

// tapped puts a proxy between the server and whoever connects to it, but for the good
// peer, which goes there directly.
func tapped(t *testing.T) (*siege, *proxy) {
	t.Helper()
	cfg := keyed(t, processConfig(t, 3))
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
	attempt := func() bool {
		before := s.delivered()
		conn := s.dialAt(p.address(), key)
		defer conn.Close(0)
		// It is over when the connection has ended or the message has come. If
		// neither happens, one side waits for more than it will get.
		sent, over := false, time.After(100*time.Millisecond)
		for {
			if !sent {
				sent, _ = conn.TrySend(s.frame(s.header(), numbered(s.life, s.seq)), nil)
			}
			ended := false
			select {
			case <-p.end():
				ended = true
				time.Sleep(2 * time.Millisecond) // what came before is delivered by then
			default:
			}
			if s.delivered() > before {
				s.seq++
				return true
			}
			if ended {
				return false
			}
			select {
			case <-over:
				return false
			case <-time.After(200 * time.Microsecond):
			}
		}
	}
	if !attempt() {
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
					if attempt() {
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
	if !attempt() {
		t.Error("after all that a good connection delivers nothing")
	}
	if got := framesRefused(s.server.Stats().Received.Refused); len(got) > 0 {
		t.Errorf("refused %v, want nothing of it to have come so far", got)
	}
	s.reader.from(capturedPid).checkOrder(t, "the sieged server")
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
	if !push(s.t, conn, s.frame(s.header(), "once"), limit) {
		s.t.Fatal("the owner of a listed key was not let in")
	}
	eventually(s.t, "the message that is recorded", func() bool { return s.delivered() == before+1 })
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
			c.SetDeadline(time.Now().Add(limit))
			c.Write(replay)
			for b := make([]byte, 1024); err == nil; {
				_, err = c.Read(b) // the server answers, and hangs up
			}
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("the server has not hung up in %v", limit)
			}
		})
	}
	if got := s.delivered(); got != 1 {
		t.Errorf("%d messages were delivered, want the one that was sent", got)
	}
	s.lifted()
}

func TestReplayedFramesDeliverNothing(t *testing.T) {
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
		if !push(t, conn, s.frame(s.header(), "twice"), limit) {
			t.Fatal("the owner of a listed key was not let in")
		}
		eventually(t, "the message that is sent once", func() bool { return s.delivered() == 2 })
		eventually(t, "the server hangs up at the second", func() bool {
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
	cfg := keyed(t, processConfig(t, 2))
	p := newProxy(t, cfg.Peers[1].Address)
	var mu sync.Mutex
	var seen []byte
	p.tamper(func(_ int, _ bool, _ int, unit []byte) ([]byte, bool) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, unit...)
		return unit, false
	})
	receiver := join(t, 1, cfg)
	cfg.Peers = slices.Clone(cfg.Peers)
	cfg.Peers[1].Address, cfg.Peers[1].Bind = p.address(), ""
	cfg.Cluster = ""
	const secret = "the launch code is 00000000"
	put(t, join(t, 0, cfg), &Envelope{1, 0, secret})
	if e := take(t, receiver); e.Msg != secret {
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
