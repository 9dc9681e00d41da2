package testcluster

import (
	"errors"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/mem"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A FakePeer is a server played by the test, frame by frame.
type FakePeer struct {
	t           testing.TB
	id          int
	cluster     string
	Incarnation uint64
	Listener    transport.Listener
}

// NewFakePeer listens as the server id of cfg.
func NewFakePeer(t testing.TB, id int, cfg cluster.Config) *FakePeer {
	t.Helper()
	l, err := mem.Default.Listen(cfg.Peers[id].DialEndpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &FakePeer{t: t, id: id, cluster: cfg.Cluster, Incarnation: 77, Listener: l}
	t.Cleanup(func() { p.Listener.Close() })
	return p
}

// Next is the next frame that comes within d, or false.
func (p *FakePeer) Next(d time.Duration) (wire.Header, []byte, bool) {
	p.t.Helper()
	head, tail, err := p.Listener.Recv(time.Now().Add(d))
	if errors.Is(err, transport.ErrTimeout) {
		return wire.Header{}, nil, false
	}
	if err != nil {
		p.t.Fatal(err)
	}
	h, err := wire.ParseHeader(head)
	if err != nil {
		p.t.Fatal(err)
	}
	return h, wire.Join(head[h.Size():], tail), true
}

// Send sends a frame to the server to of cfg; the header is completed.
func (p *FakePeer) Send(to int, cfg cluster.Config, h wire.Header, body []byte) {
	p.t.Helper()
	conn, err := mem.Default.Dial(cfg.Peers[to].DialEndpoint(), nil, "")
	if err != nil {
		p.t.Fatal(err)
	}
	h.To, h.From = uint16(to), uint16(p.id)
	h.Cluster = wire.ClusterHash(p.cluster)
	h.Incarnation = p.Incarnation
	if h.Start.Seq == 0 {
		h.Start.Seq = 1
	}
	if h.Window == 0 {
		h.Window = wire.InitialWindow
	}
	head := make([]byte, h.Size())
	h.Put(head)
	if ok, err := conn.TrySend(append(head, body...), nil); err != nil || !ok {
		p.t.Fatalf("cannot send to %d: %v", to, err)
	}
}

// Records makes the body of a frame with these messages.
func Records(t testing.TB, msgs ...any) []byte {
	t.Helper()
	var body []byte
	for i, m := range msgs {
		payload, kind, err := codec.Append(nil, m, codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		head := wire.AppendRecordHeader(nil, int64(i+1), uint8(kind), len(payload))
		body = append(append(body, head...), payload...)
	}
	return body
}
