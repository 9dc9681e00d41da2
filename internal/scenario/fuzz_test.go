//go:build unix

package scenario

import (
	"bytes"
	"runtime/debug"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A prey is a server that lives through a fuzz target, and a good peer of it.
type prey struct {
	cfg    cluster.Config
	server *cluster.Node
	good   *cluster.Node
	sent   int // by the attacker, in bytes
	base   int // memory at the start
}

// preyMemory is what the process may use whatever is sent: the caches of the runtime, of
// malloc and of the fuzzing engine.
const preyMemory = 96 << 20

func newPrey(f *testing.F, cfg cluster.Config) *prey {
	f.Helper()
	p := &prey{cfg: cfg, server: testcluster.Join(f, victimPid, cfg), good: testcluster.Join(f, goodPid, cfg)}
	p.works(f)
	debug.FreeOSMemory()
	p.base = testcluster.StatusField("VmRSS")
	return p
}

// works checks that a message of the good peer gets through, past whatever else has been
// delivered, and that memory is in proportion to what was sent.
func (p *prey) works(t testing.TB) {
	t.Helper()
	testcluster.Put(t, p.good, &cluster.Envelope{Pid: victimPid, Msg: "good"})
	for e := testcluster.Take(t, p.server); e.Pid != goodPid; {
		e = testcluster.Take(t, p.server)
	}
	most := p.base + preyMemory + 16*p.sent
	if p.base == 0 || testcluster.RaceEnabled {
		return
	}
	got := testcluster.StatusField("VmRSS")
	for range 5 { // what is free is given back in a while
		if got <= most {
			return
		}
		debug.FreeOSMemory()
		time.Sleep(20 * time.Millisecond)
		got = min(got, testcluster.StatusField("VmRSS"))
	}
	t.Errorf("%d MB are resident after %d KB were sent, and %d MB were before", got>>20, p.sent>>10, p.base>>20)
}

// counted is how much the server has taken note of, other than messages of the good peer.
func (p *prey) counted() (n uint64) {
	s := p.server.Stats()
	for _, refused := range framesRefused(s.Received.Refused) {
		n += refused
	}
	for _, peer := range s.Peers {
		if peer.ID != goodPid {
			n += peer.Received.Received + peer.Received.Lost + peer.Received.Missed + peer.Received.Restarts
		}
	}
	return n
}

// forge makes a frame of the forged peer from data: its first bytes go where an attacker
// would change the header, and the rest is the body.
func forge(h wire.Header, data []byte) []byte {
	var d [6]byte
	copy(d[:], data)
	h.Flags, h.Count = d[0]&7, uint32(d[1])
	h.Start.Seq += uint64(d[2])
	h.Start.Offset = uint32(d[3])
	h.AckIncarnation, h.Ack.Seq, h.Window = uint64(d[4]), uint64(d[4]), uint32(d[5])<<16
	frame := make([]byte, wire.HeaderSize)
	h.Put(frame)
	return append(frame, data[min(len(data), len(d)):]...)
}

// hostileSeeds are inputs for the targets that attack a server.
func hostileSeeds(t testing.TB, add func(data []byte)) {
	add(nil)
	add([]byte("GET / HTTP/1.1\r\n\r\n"))
	add(greeting("NULL"))
	add(append(greeting("NULL"), ready("PUSH")...))
	add(append(greeting("CURVE"), "\x04\xc8\x05HELLO\x01\x00"...))
	add([]byte("\x04\x05\x04PING"))
	add([]byte("\x02\x00\x00\x00\x00\x00\x04\x00\x00"))
	add([]byte("\x02\xff\xff\xff\xff\xff\xff\xff\xff"))
	add(append([]byte{0, 1, 0, 0, 0, 0}, testcluster.Records(t, "hello")...))
	add(append([]byte{wire.FlagAckNow, 3, 0, 0, 1, 1}, testcluster.Records(t, "hello", int64(7), []byte("bytes"))...))
	add(append([]byte{wire.FlagPiece, 1, 0, 0, 0, 0}, testcluster.Records(t, bytes.Repeat([]byte{1}, 100))[:50]...))
	add(append([]byte{wire.FlagPiece, 1, 1, 5, 0, 0}, "piece"...))
	add([]byte{wire.FlagAckNow, 0, 200, 0, 255, 255})
}

// FuzzServer sends arbitrary bytes to the port of a server without keys, at each stage of
// a connection. Nothing that comes may keep a good peer from being heard.
func FuzzServer(f *testing.F) {
	const stages = 5
	hostileSeeds(f, func(data []byte) {
		for stage := range uint8(stages) {
			f.Add(stage, data)
		}
	})
	cfg := testcluster.ProcessConfig(f, 3)
	cfg.Cluster, cfg.QueueBytes = "garbage", 1<<20
	p := newPrey(f, cfg)
	f.Fuzz(func(t *testing.T, stage uint8, data []byte) {
		a := newAttacker(t, cfg.Peers[victimPid].Address)
		p.sent += len(data) + 1024
		least := uint64(0)
		before := p.counted()
		switch stage % stages {
		case 0:
			a.write(data)
		case 1:
			a.write(append(greeting("NULL"), data...))
		case 2:
			a.zmtp().Write(data)
		case 3:
			a.send(data[:min(len(data), wire.MaxFrame)])
			least = 2 // it, and the mark behind it
		case 4:
			a.send(forge(a.header(), data))
			least = 1 // it may be good
		}
		p.works(t)
		testcluster.Eventually(t, "what came is counted", func() bool { return p.counted() >= before+least })
		a.hangUp()
	})
}

// FuzzServerWithKeys sends arbitrary frames to a server with keys, in the name of a peer
// that it trusts: an attacker inside the cluster.
func FuzzServerWithKeys(f *testing.F) {
	hostileSeeds(f, func(data []byte) {
		f.Add(false, data)
		f.Add(true, data)
	})
	cfg := testcluster.Keyed(f, testcluster.ProcessConfig(f, 3))
	cfg.Cluster, cfg.QueueBytes = "garbage", 1<<20
	p := newPrey(f, cfg)
	conn := dialBare(f, cfg.Peers[victimPid].Address, testcluster.KeyOf(f, cfg, forgedPid), cfg.Peers[victimPid].PublicKey)
	f.Cleanup(func() { conn.Close(0) })
	f.Fuzz(func(t *testing.T, forged bool, data []byte) {
		a := newAttacker(t, "")
		data = data[:min(len(data), wire.MaxFrame-wire.HeaderSize)]
		mark := a.header()
		mark.Cluster++
		frame, least := data, uint64(2)
		if forged {
			frame, least = forge(a.header(), data), 1
		}
		before := p.counted()
		for _, b := range [][]byte{frame, a.frame(mark)} {
			p.sent += len(b)
			if !push(t, conn, b, testcluster.Limit) {
				t.Fatal("the connection takes nothing")
			}
		}
		p.works(t)
		testcluster.Eventually(t, "what came is counted", func() bool { return p.counted() >= before+least })
		if got := p.server.Stats().Refused; len(got) > 0 {
			t.Errorf("refused %v of nobody, and whose key it was is known", got)
		}
	})
}
