//go:build unix

package scenario

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// garbageStranger is registered by the test and not by its children.
type garbageStranger struct{ A, B int }

// floodFrames is how many frames of two bytes in all make a flood. ZeroMQ takes 64
// bytes to hold each.
const floodFrames = 300_000

// leastOfFlood is how many of them are taken at least, before the connection may be ended.
const leastOfFlood = 2_000

// A garbage is one kind of it.
type garbage struct {
	name   string
	attack func(a *attacker)
	// refused is the reason that grows at the victim, by least at least; "" where
	// ZeroMQ itself keeps the garbage out.
	refused string
	least   uint64
}

var garbages = []garbage{
	{"random bytes", func(a *attacker) {
		for range 50 {
			a.write(a.bytes(1 + a.rand.IntN(4096)))
		}
	}, "", 0},
	{"half a greeting", func(a *attacker) {
		for i := range 64 {
			a.write(greeting("NULL")[:i])
		}
	}, "", 0},
	{"a greeting and then random bytes", func(a *attacker) {
		for range 50 {
			a.write(append(greeting("NULL"), a.bytes(1+a.rand.IntN(1024))...))
		}
	}, "", 0},
	{"greetings of other protocols", func(a *attacker) {
		a.write([]byte("GET / HTTP/1.1\r\nHost: cluster\r\n\r\n"))
		a.write([]byte("SSH-2.0-OpenSSH_9.9\r\n"))
		a.write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
		a.write(append([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1, 8}, a.bytes(100)...)) // ZMTP 2.0
		a.write(append([]byte{5, 0}, a.bytes(100)...))                                     // ZMTP 1.0
		for _, mechanism := range []string{"CURVE", "PLAIN", "GSSAPI", "NONSENSE", ""} {
			a.write(append(greeting(mechanism), ready("PUSH")...))
		}
	}, "", 0},
	{"sockets of other types, and broken commands", func(a *attacker) {
		for _, kind := range []string{"PULL", "PUB", "SUB", "REQ", "ROUTER", "NONSENSE", ""} {
			a.write(append(append(greeting("NULL"), ready(kind)...), parts(a.frame(a.header(), "x"))...))
		}
		for range 20 {
			a.write(append(greeting("NULL"), append([]byte{4, 40}, a.bytes(40)...)...))
			c := a.zmtp()
			c.Write(append([]byte{4, 40}, a.bytes(40)...))
			c = a.zmtp()
			c.Write([]byte("\x04\x05\x04PING")) // too short
		}
	}, "", 0},
	{"frames that are announced as oversized and not sent", func(a *attacker) {
		for _, size := range []uint64{wire.MaxFrame + 1, 1 << 32, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
			c := a.zmtp()
			c.Write(binary.BigEndian.AppendUint64([]byte{2}, size))
			c.Write(a.bytes(100))
		}
	}, "", 0},
	{"frames that are announced and not sent", func(a *attacker) {
		for range 100 {
			c := a.zmtp()
			c.Write(binary.BigEndian.AppendUint64([]byte{2}, wire.MaxFrame))
			c.Write(a.bytes(100))
		}
	}, "", 0},
	{"oversized frames", func(a *attacker) {
		for range 5 {
			c := a.zmtp()
			c.Write(parts(a.bytes(wire.MaxFrame + 1))) // ZeroMQ hangs up
		}
	}, "", 0},
	{"messages of three parts", func(a *attacker) {
		c := a.zmtp()
		f := a.frame(a.header(), "x", "y")
		for range 100 {
			c.Write(parts(f[:wire.HeaderSize], f[wire.HeaderSize:wire.HeaderSize+wire.RecordSize], f[wire.HeaderSize+wire.RecordSize:]))
			c.Write(parts(f, f, f))
		}
		c.Write(parts(slices.Repeat([][]byte{{}}, 10_000)...))
	}, "", 0},
	{"random frames", func(a *attacker) {
		for range 10 {
			var frames [][]byte
			for range 100 {
				frames = append(frames, a.bytes(a.rand.IntN(200)))
			}
			a.send(frames...)
		}
	}, "version", 900},
	{"random frames of this version", func(a *attacker) {
		var frames [][]byte
		for range 1000 {
			frames = append(frames, append([]byte{wire.Version, byte(a.rand.IntN(4))}, a.bytes(a.rand.IntN(200))...))
		}
		a.send(frames...)
	}, "malformed", 900},
	{"heartbeats among frames, and then a reset", func(a *attacker) {
		// While ZeroMQ's receive queue is full it keeps what it has read, and meets
		// the reset first.
		ping := []byte("\x04\x07\x04PING\x00\x0a")
		f := parts(a.frame(a.header()))
		f[9+8]++ // another cluster
		burst := bytes.Repeat(append(bytes.Repeat(f, 5), ping...), 400)
		for range 50 {
			c := a.zmtp()
			c.Write(burst)
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}, "cluster", 1},
	{"frames of no bytes", func(a *attacker) {
		a.send(slices.Repeat([][]byte{{}}, 100)...)
	}, "malformed", 100},
	{"a flood of frames of no bytes", func(a *attacker) {
		a.zmtp().Write(make([]byte, 2*floodFrames))
	}, "malformed", leastOfFlood},
	{"truncated frames", func(a *attacker) {
		f := a.frame(a.header(), "hello", int64(7), []byte("bytes"))
		var frames [][]byte
		for i := range f {
			frames = append(frames, f[:i])
		}
		a.send(frames...)
	}, "malformed", 64},
	{"frames with a bit flipped", func(a *attacker) {
		f := a.frame(a.header(), "hello", int64(7), []byte("bytes"))
		var frames [][]byte
		for i := range 8 * len(f) {
			flipped := slices.Clone(f)
			flipped[i/8] ^= 1 << (i % 8)
			frames = append(frames, flipped)
		}
		a.send(frames...)
	}, "cluster", 64},
	{"frames with more after the last record", func(a *attacker) {
		f := a.frame(a.header(), "hello")
		a.send(append(slices.Clone(f), 0), append(slices.Clone(f), f...))
	}, "malformed", 2},
	{"frames that announce more records than they have", func(a *attacker) {
		a.send(a.raw(a.header(), 1<<32-1, record(1, codec.Bytes, []byte("x"))))
	}, "malformed", 1},
	{"split frames without the second part", func(a *attacker) {
		head := wire.AppendRecordHeader(nil, 1, uint8(codec.Bytes), 40_000)
		f := a.raw(a.header(), 1, head)
		a.send(f)
		c := a.zmtp()
		c.Write(parts(f, nil)) // an empty second part
		c = a.zmtp()
		c.Write(parts(f, []byte("short"))) // and one that is too short
		c = a.zmtp()
		c.Write(parts(f, make([]byte, 40_000))[:9+len(f)]) // and one that never comes
	}, "malformed", 3},
	{"frames of another cluster", func(a *attacker) {
		h := a.header()
		h.Cluster = wire.ClusterHash("another")
		a.send(a.frame(h, "x"), a.frame(h, "x"))
	}, "cluster", 2},
	{"frames for another server", func(a *attacker) {
		h := a.header()
		h.To = goodPid
		a.send(a.frame(h, "x"), a.frame(h, "x"))
	}, "destination", 2},
	{"frames of an unknown sender", func(a *attacker) {
		h := a.header()
		h.From = nobodyPid
		a.send(a.frame(h, "x"), a.frame(h, "x"))
	}, "unknown sender", 2},
	{"frames that name the receiver as their sender", func(a *attacker) {
		h := a.header()
		h.From = victimPid
		a.send(a.frame(h, "x"), a.frame(h, "x"))
	}, "older incarnation", 2},
	{"frames of an older incarnation", func(a *attacker) {
		older := a.header()
		a.life++
		a.send(a.frame(older, numbered(1, 1)), a.frame(a.header(), numbered(2, 1))) // over one connection, for their order to stand
		// Until the newer one begins, the older one might have been on its way.
		a.victim.Until("messages of both incarnations", func(r *testcluster.Report) bool { return r.Tally(forgedPid).Lives() == 2 })
		a.send(a.frame(older, "z"), a.raw(older, 0, nil))
	}, "older incarnation", 2},
	{"a sequence that goes back", func(a *attacker) {
		h := a.header()
		h.Start.Seq = 5
		back := h
		back.Start.Seq = 3
		a.send(a.frame(h, "x"), a.frame(h, "x"), a.frame(back, "y", "z"))
	}, "sequence", 2},
	{"sequences far ahead", func(a *attacker) {
		var frames [][]byte
		for i := range uint64(200) {
			h := a.header()
			h.Start.Seq = 1 + i*(1<<40)
			frames = append(frames, a.frame(h, make([]byte, 30_000)))
		}
		a.send(frames...)
	}, "", 0},
	{"the first pieces of messages that never get complete", func(a *attacker) {
		var frames [][]byte
		for i := range uint64(100) {
			h := a.header()
			h.Start.Seq = 1 + i
			frames = append(frames, a.piece(h, 60<<20, []byte("piece")))
			a.life++
			frames = append(frames, a.piece(a.header(), 60<<20, []byte("piece")))
		}
		a.send(frames...)
	}, "", 0},
	{"pieces beyond the message's end", func(a *attacker) {
		h := a.header()
		next := h
		next.Start.Offset = 5
		a.send(a.piece(h, 10, []byte("piece")), a.piece(next, 0, []byte("too much")))
	}, "malformed", 1},
	{"empty pieces", func(a *attacker) {
		a.send(a.piece(a.header(), 10, nil))
	}, "malformed", 1},
	{"the first piece of a message larger than MaxMessageBytes", func(a *attacker) {
		a.send(a.piece(a.header(), wire.MaxPayload, []byte("piece")))
	}, "too large", 1},
	{"acknowledgments of what was never sent", func(a *attacker) {
		var frames [][]byte
		for range 100 {
			h := a.header()
			h.AckIncarnation, h.Ack = a.rand.Uint64(), wire.Position{Seq: a.rand.Uint64(), Offset: a.rand.Uint32()}
			h.Window, h.Flags = a.rand.Uint32(), wire.FlagAckNow
			frames = append(frames, a.raw(h, 0, nil))
		}
		a.send(frames...)
	}, "", 0},
	{"messages of a type that is not registered", func(a *attacker) {
		a.send(a.frame(a.header(), garbageStranger{1, 2}))
	}, "unregistered", 1},
	{"messages that cannot be decoded", func(a *attacker) {
		var body []byte
		for kind := range 128 {
			body = append(body, record(1, codec.Kind(kind), []byte{0xff, 0xff, 0xff})...)
			body = append(body, uint8(kind)|128, 3, 0, 0xff, 0xff, 0xff) // with a short header
		}
		a.send(a.raw(a.header(), 256, body))
	}, "undecodable", 200},
	{"short headers where none may be, and of more than there is", func(a *attacker) {
		a.send(
			a.raw(a.header(), 1, []byte{128 + uint8(codec.Nil), 0, 0}),
			a.raw(a.header(), 2, append(record(1, codec.Nil, nil), 128+uint8(codec.Nil), 0)),
			a.raw(a.header(), 2, append(record(1, codec.Nil, nil), 128+uint8(codec.Bytes), 0xff, 0xff, 1)),
		)
	}, "malformed", 3},
}

func TestGarbageOnThePortDoesNotDisturbAGoodPeer(t *testing.T) {
	cluster.Register("garbageStranger", garbageStranger{})
	cfg := testcluster.ProcessConfig(t, 3)
	cfg.Cluster, cfg.QueueBytes = "garbage", 1<<20
	n := testcluster.Join(t, goodPid, cfg)
	victim := testcluster.Spawn(t, cfg, victimPid).Start()
	s := testcluster.NewTraffic(n)
	s.Send([]int{victimPid}, 0, 100, 100*time.Microsecond)
	defer s.Halt()
	before := victim.Until("messages of the good peer", func(r *testcluster.Report) bool { return r.Tally(goodPid).Count > 100 })
	base := victim.Usage()
	whole := t
	for _, g := range garbages {
		t.Run(g.name, func(t *testing.T) {
			a := newAttacker(t, cfg.Peers[victimPid].Address)
			a.victim, victim.T = victim, t
			defer func() { victim.T = whole }()
			refused := refusedBy(before)
			g.attack(a)
			want := map[string]uint64{g.refused: refused[g.refused] + g.least}
			want["cluster"] = max(want["cluster"], refused["cluster"]) + a.marks
			// The good peer's messages pass while the connections stand, and when
			// they have been closed.
			for range 2 {
				count := before.Tally(goodPid).Count
				before = victim.Until("more of the good peer's messages, and refusals of the kind "+g.refused, func(r *testcluster.Report) bool {
					got := refusedBy(*r)
					return r.Tally(goodPid).Count > count+20 && got[g.refused] >= want[g.refused] && got["cluster"] >= want["cluster"]
				})
				a.hangUp()
			}
			grown := refusedBy(before)
			for reason, k := range refused {
				if grown[reason] -= k; grown[reason] == 0 {
					delete(grown, reason)
				}
			}
			if len(before.Tally(goodPid).Spans) > 1 {
				t.Errorf("the good peer's messages came as %v, want no gap", before.Tally(goodPid).Spans)
			}
			before.Tally(goodPid).CheckOrder(t, victim.Name)
			t.Logf("refused: %v", grown)
		})
		if t.Failed() {
			break // what follows would only say so again
		}
	}
	t.Run("more than the window allows", func(t *testing.T) {
		a := newAttacker(t, cfg.Peers[victimPid].Address)
		victim.T = t
		defer func() { victim.T = whole }()
		victim.Pace(time.Hour) // the program does not read, so that the frames pile up
		c := a.zmtp()
		for i := range uint64(4000) {
			h := a.header()
			h.Start.Seq = 1 + i
			if _, err := c.Write(parts(a.frame(h, make([]byte, 2000)))); err != nil {
				break // so many were refused that the connection was ended
			}
		}
		victim.Until("refusals of the kind window", func(r *testcluster.Report) bool { return refusedBy(*r)["window"] > 0 })
		victim.Pace(0)
	})
	s.Halt()
	sent := s.Number(victimPid) - 1
	r := victim.Until("all of the good peer's messages", func(r *testcluster.Report) bool { return r.Tally(goodPid).Last() == sent })
	r.Tally(goodPid).CheckAll(t, victim.Name, sent)
	got := r.Stats.Peer(goodPid).Received
	if got.Lost != 0 || got.Missed != 0 || got.Restarts != 0 || len(got.Refused) != 0 {
		t.Errorf("of the good peer: %d lost, %d missed, %d restarts, refused %v, want nothing of the kind", got.Lost, got.Missed, got.Restarts, got.Refused)
	}
	if d := testcluster.StatsOf(n, victimPid).Sent.Dropped; len(d) > 0 {
		t.Errorf("the good peer dropped %v, want nothing", d)
	}
	after := victim.Usage()
	t.Logf("%d MB resident before, %d MB after, %d MB at the peak; %d threads, %d descriptors",
		base.Resident>>20, after.Resident>>20, after.Peak>>20, after.Threads, after.Files)
	if most := base.Resident + 64<<20; after.Peak > most && !testcluster.RaceEnabled {
		t.Errorf("memory grew from %d MB to %d MB at the peak, want at most %d", base.Resident>>20, after.Peak>>20, most>>20)
	}
	victim.Close()
}

// refusedBy are what a server has refused, by reason, of whoever.
func refusedBy(r testcluster.Report) map[string]uint64 {
	sum := make(map[string]uint64)
	add := func(m map[string]uint64) {
		for reason, k := range m {
			sum[reason] += k
		}
	}
	add(r.Stats.Refused)
	for _, p := range r.Stats.Peers {
		add(p.Received.Refused)
	}
	return sum
}
