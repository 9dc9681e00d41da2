package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/keyfile"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmq"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A pinger is a server that says no more than what asks a peer for an acknowledgment.
// See docs/wire.md: a bare frame with the flag "ack now" is answered at once, whether
// or not the program there takes messages, and is itself no message.
type pinger struct {
	cluster     uint64
	id          int
	incarnation uint64
	peer        peer
	security    *transport.Security // nil: none

	listener transport.Listener // read, and closed, by hear
	heard    chan struct{}      // gets a token when the peer shows that it has heard us
	deaf     chan struct{}      // closed when hear has ended
	ending   chan struct{}      // closed to end hear

	conn transport.Conn // to the peer; nil before the first frame has left
}

func newPinger(cfg cluster.Config, path string, id, to int) (*pinger, error) {
	i, j := slices.IndexFunc(cfg.Peers, hasID(id)), slices.IndexFunc(cfg.Peers, hasID(to))
	for n, at := range map[int]int{id: i, to: j} {
		if at < 0 {
			return nil, fmt.Errorf("%s: no entry has the id %d", path, n)
		}
	}
	self := cfg.Peers[i]
	p := &pinger{
		cluster: wire.ClusterHash(cfg.Cluster),
		id:      id,
		peer:    cfg.Peers[j],
		heard:   make(chan struct{}, 1),
		deaf:    make(chan struct{}),
		ending:  make(chan struct{}),
	}
	for p.incarnation == 0 {
		var b [8]byte
		rand.Read(b[:]) // never fails
		p.incarnation = binary.LittleEndian.Uint64(b[:])
	}
	if strings.HasPrefix(p.peer.DialEndpoint(), "mem://") {
		return nil, fmt.Errorf("%s: server %d has the address %s, which is inside one process: from here nothing reaches it", path, to, p.peer.Address)
	}
	var err error
	if p.security, err = securityOf(cfg, path, self); err != nil {
		return nil, err
	}
	if p.security != nil {
		p.security.Admit = func(key string) bool { return slices.Contains(p.peer.Keys(), key) }
	}
	if p.listener, err = (zmq.Network{}).Listen(self.BindEndpoint(), p.security, nil); err != nil {
		return nil, explainJoin(fmt.Errorf("server %d cannot listen on %s: %w", id, self.BindEndpoint(), err), id)
	}
	go p.hear() // close ends it and waits for deaf.
	return p, nil
}

// securityOf returns what a server proves itself with: nil if there are no keys.
func securityOf(cfg cluster.Config, path string, self peer) (*transport.Security, error) {
	if self.PublicKey == "" {
		return nil, nil
	}
	file := cmp.Or(cfg.KeyFile, os.Getenv(keyfile.Variable), keyfile.Path(path, cfg.KeyDir, self.ID))
	secret, err := keyfile.Read(file)
	if err != nil {
		return nil, fmt.Errorf("the secret key of server %d: %w", self.ID, err)
	}
	public, err := curve.Public(secret)
	if err != nil {
		return nil, fmt.Errorf("the secret key of server %d: %s: %w", self.ID, file, err)
	}
	if !slices.Contains(self.Keys(), public) {
		return nil, fmt.Errorf("the secret key of server %d: %s: its public key is %s, and the entry of server %d has another", self.ID, file, public, self.ID)
	}
	return &transport.Security{Public: public, Secret: secret}, nil
}

func (p *pinger) close() {
	close(p.ending)
	p.listener.Interrupt()
	<-p.deaf
	if p.conn != nil {
		p.conn.Close(0)
	}
}

// hear reads what the servers send, and looks only for signs that the peer has heard
// this one.
func (p *pinger) hear() {
	defer close(p.deaf)
	defer p.listener.Close()
	for {
		head, _, err := p.listener.Recv(time.Time{})
		select {
		case <-p.ending:
			return
		default:
		}
		switch {
		case errors.Is(err, transport.ErrMalformed), errors.Is(err, transport.ErrInterrupted):
			continue
		case err != nil:
			return
		}
		h, err := wire.ParseHeader(head)
		// Whoever knows this incarnation, which was just drawn, has heard of it.
		if err != nil || int(h.From) != p.peer.ID || int(h.To) != p.id || h.Cluster != p.cluster || h.AckIncarnation != p.incarnation {
			continue
		}
		select {
		case p.heard <- struct{}{}:
		default:
		}
	}
}

// ping asks count times, and prints the answers.
func (p *pinger) ping(ctx context.Context, out io.Writer, count int, interval, wait time.Duration) error {
	fmt.Fprintf(out, "server %d at %s%s\n", p.peer.ID, p.peer.DialEndpoint(), encrypted(p.security != nil))
	var times []time.Duration
	var last error
	asked := 0
	for asked < count && ctx.Err() == nil {
		if asked > 0 {
			select {
			case <-time.After(interval):
			case <-ctx.Done():
				continue
			}
		}
		asked++
		rtt, err := p.ask(ctx, wait)
		if err != nil {
			last = err
			fmt.Fprintf(out, "%d: %v\n", asked, err)
			continue
		}
		note := ""
		if len(times) == 0 {
			note = ", with the time to connect"
		}
		times = append(times, rtt)
		fmt.Fprintf(out, "%d: answered in %v%s\n", asked, rtt.Round(time.Microsecond), note)
	}
	fmt.Fprintf(out, "%d of %d answered", len(times), asked)
	if n := len(times); n > 1 {
		slices.Sort(times[1:])
		rest := times[1:]
		fmt.Fprintf(out, "; after the first: least %v, median %v, most %v",
			rest[0].Round(time.Microsecond), rest[len(rest)/2].Round(time.Microsecond), rest[len(rest)-1].Round(time.Microsecond))
	}
	fmt.Fprintln(out)
	switch {
	case len(times) == count:
		return nil
	case asked < count && last == nil:
		return fmt.Errorf("stopped after %d of %d questions: %w", asked, count, context.Cause(ctx))
	case len(times) > 0:
		return fmt.Errorf("server %d answered %d of %d times", p.peer.ID, len(times), asked)
	}
	return fmt.Errorf("server %d does not answer: %w", p.peer.ID, last)
}

var (
	errNoConnection = errors.New("no connection: the server is not running there, or it is stopped, or it does not accept this one's key")
	errNoAnswer     = errors.New("connected, and no answer: the server cannot reach this one's address, or has another configuration, or is stopped")
)

// ask sends one frame and waits for the answer.
func (p *pinger) ask(ctx context.Context, wait time.Duration) (time.Duration, error) {
	began := time.Now()
	deadline := began.Add(wait)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	frame := make([]byte, wire.HeaderSize)
	(&wire.Header{
		Flags: wire.FlagAckNow, To: uint16(p.peer.ID), From: uint16(p.id), Cluster: p.cluster,
		Incarnation: p.incarnation, Start: wire.Position{Seq: 1}, Window: wire.InitialWindow,
	}).Put(frame)
	select {
	case <-p.heard: // late, or not for this question
	default:
	}
	if err := p.write(ctx, frame, deadline); err != nil {
		return 0, err
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-p.heard:
		return time.Since(began), nil
	case <-p.deaf:
		return 0, errors.New("cannot receive any more")
	case <-timer.C:
		return 0, errNoAnswer
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// keyInterval is how long one of the peer's two keys is tried before the other.
const keyInterval = 500 * time.Millisecond

// write sends a frame as soon as there is a connection.
func (p *pinger) write(ctx context.Context, frame []byte, deadline time.Time) error {
	keys := p.peer.Keys()
	if len(keys) == 0 {
		keys = []string{""}
	}
	for try := 0; time.Now().Before(deadline) && ctx.Err() == nil; try++ {
		if p.conn == nil {
			conn, err := zmq.Network{}.Dial(p.peer.DialEndpoint(), p.security, keys[try%len(keys)])
			if err != nil {
				return err
			}
			p.conn = conn
		}
		until := deadline
		if at := time.Now().Add(keyInterval); len(keys) > 1 && at.Before(deadline) {
			until = at
		}
		sent, err := p.tryUntil(ctx, frame, until)
		if sent || err != nil && !errors.Is(err, transport.ErrTimeout) {
			return err
		}
		if len(keys) > 1 {
			p.conn.Close(0)
			p.conn = nil
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errNoConnection
}

// tryUntil sends a frame when the connection takes it.
func (p *pinger) tryUntil(ctx context.Context, frame []byte, until time.Time) (sent bool, err error) {
	conn := p.conn
	defer context.AfterFunc(ctx, conn.Interrupt)()
	for ctx.Err() == nil {
		if sent, err := conn.TrySend(frame, nil); sent || err != nil {
			return sent, err
		}
		if err := conn.Wait(until); err != nil && !errors.Is(err, transport.ErrInterrupted) {
			return false, err
		}
	}
	return false, context.Cause(ctx)
}
