//go:build unix

package scenario

import (
	"bufio"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// An attacker speaks to the port of a server by hand.
type attacker struct {
	t       *testing.T
	address string
	victim  *testcluster.Child // the server, where that is one
	conns   []net.Conn
	rand    *rand.Rand
	life    uint64 // the incarnation of the frames that it makes
	marks   uint64 // frames that end what send has sent: they are refused as of another cluster
}

func newAttacker(t *testing.T, address string) *attacker {
	seed := rand.Uint64()
	a := &attacker{t: t, address: address, rand: rand.New(rand.NewPCG(seed, 0))}
	a.life = a.rand.Uint64()
	t.Cleanup(func() {
		a.hangUp()
		if t.Failed() {
			t.Log("seed:", seed)
		}
	})
	return a
}

func (a *attacker) hangUp() {
	for _, c := range a.conns {
		c.Close()
	}
}

// dial opens a connection that lasts until the end of the attack.
func (a *attacker) dial() net.Conn {
	a.t.Helper()
	c, err := net.DialTimeout("tcp", a.address, testcluster.Limit)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(testcluster.Limit))
	a.conns = append(a.conns, c)
	return c
}

// write writes, whatever the other side thinks of it.
func (a *attacker) write(b []byte) {
	c := a.dial()
	c.Write(b)
}

func (a *attacker) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(a.rand.Uint32())
	}
	return b
}

// greeting is that of ZMTP 3.0 with the mechanism.
func greeting(mechanism string) []byte {
	b := make([]byte, 64)
	b[0], b[9], b[10] = 0xff, 0x7f, 3
	copy(b[12:], mechanism)
	return b
}

// ready is the READY command of a socket of that type.
func ready(socketType string) []byte {
	body := "\x05READY\x0bSocket-Type" + string(binary.BigEndian.AppendUint32(nil, uint32(len(socketType)))) + socketType
	return append([]byte{4, byte(len(body))}, body...)
}

// zmtp opens a connection and shakes hands as a PUSH socket does.
func (a *attacker) zmtp() net.Conn {
	a.t.Helper()
	c := a.dial()
	if _, err := c.Write(greeting("NULL")); err != nil {
		a.t.Fatal(err)
	}
	r := bufio.NewReader(c)
	if _, err := io.ReadFull(r, make([]byte, 64)); err != nil {
		a.t.Fatalf("no greeting came: %v", err)
	}
	if _, err := c.Write(ready("PUSH")); err != nil {
		a.t.Fatal(err)
	}
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil || head[0] != 4 {
		a.t.Fatalf("no READY came: %v, %v", head, err)
	}
	if _, err := io.ReadFull(r, make([]byte, head[1])); err != nil {
		a.t.Fatalf("no READY came: %v", err)
	}
	return c
}

// parts is a ZeroMQ message of these parts as it goes over TCP.
func parts(ps ...[]byte) (b []byte) {
	for i, p := range ps {
		flags := byte(2) // the length takes 8 bytes
		if i < len(ps)-1 {
			flags |= 1 // more parts follow
		}
		b = append(b, flags)
		b = binary.BigEndian.AppendUint64(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}

// send sends frames over one ZeroMQ connection.
func (a *attacker) send(frames ...[]byte) {
	a.t.Helper()
	mark := a.header()
	mark.Cluster++
	a.marks++
	c := a.zmtp()
	for _, f := range append(frames, a.frame(mark)) {
		if _, err := c.Write(parts(f)); err != nil {
			a.t.Fatalf("after a valid handshake: %v", err)
		}
	}
}

// The servers of the garbage test.
const (
	victimPid = 0
	goodPid   = 1
	forgedPid = 2 // it does not run; the attacker uses its id
	nobodyPid = 9 // in no configuration
)

func (a *attacker) header() wire.Header {
	return wire.Header{
		To: victimPid, From: forgedPid, Cluster: wire.ClusterHash("garbage"),
		Incarnation: a.life, Start: wire.Position{Seq: 1},
	}
}

// frame is one with records of these messages.
func (a *attacker) frame(h wire.Header, messages ...any) []byte {
	a.t.Helper()
	h.Count = uint32(len(messages))
	b := make([]byte, wire.HeaderSize)
	for i, m := range messages {
		payload, kind, err := codec.Append(nil, m, codec.Limits{})
		if err != nil {
			a.t.Fatal(err)
		}
		b = append(b, record(int64(i+1), kind, payload)...)
	}
	h.Put(b)
	return b
}

func record(id int64, kind codec.Kind, payload []byte) []byte {
	b := wire.AppendRecordHeader(nil, id, uint8(kind), len(payload))
	return append(b, payload...)
}

// raw is a frame of count records with that body.
func (a *attacker) raw(h wire.Header, count int, body []byte) []byte {
	h.Count = uint32(count)
	b := make([]byte, wire.HeaderSize)
	h.Put(b)
	return append(b, body...)
}

// piece is a frame with a piece of a message of total bytes.
func (a *attacker) piece(h wire.Header, total int, data []byte) []byte {
	h.Flags |= wire.FlagPiece
	body := data
	if h.Start.Offset == 0 {
		head := wire.AppendRecordHeader(nil, 1, uint8(codec.Bytes), total)
		body = append(head, data...)
	}
	return a.raw(h, 1, body)
}
