//go:build cgo && !nozmq

package wirev1

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	zmq "github.com/pebbe/zmq4"
)

// A Peer is a server of version 1 that a test plays with bare ZeroMQ sockets.
type Peer struct {
	t           testing.TB
	Cluster     string
	Pid         uint16
	Incarnation uint64
	pull        *zmq.Socket
	push        map[uint16]*zmq.Socket
	context     *zmq.Context
	Deadline    time.Time // for all frames
	Frames      [][]byte  // all that came, as it came
}

// NewPeer makes a server that does not listen yet. It ends with the test.
func NewPeer(t testing.TB, cluster string, pid uint16) *Peer {
	t.Helper()
	ctx, err := zmq.NewContext()
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{
		t: t, Cluster: cluster, Pid: pid, Incarnation: rand.Uint64() | 1, push: make(map[uint16]*zmq.Socket), context: ctx,
		Deadline: time.Now().Add(Deadline),
	}
	p.pull = p.socket(zmq.PULL)
	t.Cleanup(func() {
		p.pull.Close()
		for _, s := range p.push {
			s.Close()
		}
		if err := ctx.Term(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *Peer) socket(kind zmq.Type) *zmq.Socket {
	p.t.Helper()
	s, err := p.context.NewSocket(kind)
	if err == nil {
		err = errors.Join(s.SetLinger(0), s.SetRcvtimeo(Deadline), s.SetSndtimeo(Deadline), s.SetRcvhwm(0), s.SetImmediate(true))
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// Listen begins to listen.
func (p *Peer) Listen(address string) {
	p.t.Helper()
	if err := p.pull.Bind("tcp://" + address); err != nil {
		p.t.Fatal(err)
	}
}

// Connect connects to another server.
func (p *Peer) Connect(to uint16, address string) {
	p.t.Helper()
	p.push[to] = p.socket(zmq.PUSH)
	if err := p.push[to].Connect("tcp://" + address); err != nil {
		p.t.Fatal(err)
	}
}

// Send writes a frame as it is.
func (p *Peer) Send(to uint16, frame []byte) {
	p.t.Helper()
	if _, err := p.push[to].SendBytes(frame, 0); err != nil {
		p.t.Fatalf("server %d took no frame: %v", to, err)
	}
}

// Receive returns the next frame, which has to be right for this server. missing says
// what has not come if there is none.
func (p *Peer) Receive(missing func() string) Frame {
	p.t.Helper()
	var parts [][]byte
	err := error(syscall.EINTR)
	for errors.Is(err, syscall.EINTR) {
		left := time.Until(p.Deadline)
		if left <= 0 {
			p.t.Fatalf("not within %v: %s", Deadline, missing())
		}
		if err = p.pull.SetRcvtimeo(left); err != nil {
			p.t.Fatal(err)
		}
		parts, err = p.pull.RecvMessageBytes(0)
	}
	if zmq.AsErrno(err) == zmq.Errno(syscall.EAGAIN) {
		p.t.Fatalf("not within %v: %s", Deadline, missing())
	}
	if err != nil {
		p.t.Fatal(err)
	}
	if len(parts) > 2 {
		p.t.Fatalf("a message of %d parts", len(parts))
	}
	b := bytes.Join(parts, nil)
	p.Frames = append(p.Frames, b)
	f, err := ParseFrame(b)
	if err != nil {
		p.t.Fatalf("not a frame of version 1: %v: %x", err, b[:min(len(b), 100)])
	}
	if f.to != p.Pid || f.cluster != ClusterHash(p.Cluster) {
		p.t.Fatalf("a frame for server %d of cluster %x came to server %d of %x", f.to, f.cluster, p.Pid, ClusterHash(p.Cluster))
	}
	return f
}

// Drain reads what is there, and forgets it.
func (p *Peer) Drain() {
	p.t.Helper()
	for {
		_, err := p.pull.RecvMessageBytes(zmq.DONTWAIT)
		switch {
		case zmq.AsErrno(err) == zmq.Errno(syscall.EAGAIN):
			return
		case err != nil && !errors.Is(err, syscall.EINTR):
			p.t.Fatal(err)
		}
	}
}

// BareFrame is one that acknowledges what the stream has taken.
func (p *Peer) BareFrame(to uint16, flags byte, start Position, s *Stream) []byte {
	h := Header(p.Cluster, p.Pid, to, p.Incarnation, flags, start)
	binary.LittleEndian.PutUint64(h[32:], s.Incarnation)
	binary.LittleEndian.PutUint64(h[40:], s.Next.Number)
	binary.LittleEndian.PutUint32(h[48:], s.Next.Offset)
	return h
}

// ReadRecords reads from one server until it has sent so many records, and acknowledges
// each frame.
func (p *Peer) ReadRecords(from uint16, s *Stream, count int) {
	p.t.Helper()
	for len(s.Records) < count {
		f := p.Receive(func() string { return fmt.Sprintf("%d records, of which %d came", count, len(s.Records)) })
		if f.from != from {
			p.t.Fatalf("a frame from server %d, want one from %d", f.from, from)
		}
		if err := s.Take(f); err != nil {
			p.t.Fatalf("not as version 1 has it: %v", err)
		}
		p.Send(from, p.BareFrame(from, 0, Position{1, 0}, s))
	}
}

// ReceiveLean is Receive with fewer allocations and calls of C, for frames of one part.
func (p *Peer) ReceiveLean() Frame {
	p.t.Helper()
	b, err := p.pull.RecvBytes(0)
	for errors.Is(err, syscall.EINTR) {
		b, err = p.pull.RecvBytes(0)
	}
	if err != nil || time.Now().After(p.Deadline) {
		p.t.Fatalf("not within %v: a batch: %v", Deadline, err)
	}
	f, err := ParseFrame(b)
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}
