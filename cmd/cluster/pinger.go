package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/keyfile"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A pinger is a server that says no more than what asks peers for an acknowledgment.
// See docs/wire.md: a bare frame with the flag "ack now" is answered at once, whether
// or not the program there takes messages, and is itself no message.
type pinger struct {
	cluster     uint64
	id          int
	incarnation uint64
	security    *transport.Security // nil: none
	sockets     sockets.Transport
	targets     []*target

	listener transport.Listener // read, and closed, by hear
	deaf     chan struct{}      // closed when hear has ended
	ending   chan struct{}      // closed to end hear
}

// A target is a server that is asked, by one goroutine at a time.
type target struct {
	pinger *pinger
	peer   peer
	heard  chan struct{}  // gets a token when the peer shows that it has heard us
	conn   transport.Conn // to the peer; nil before the first frame has left
}

func newPinger(cfg cluster.Config, path string, id int, targets []peer) (*pinger, error) {
	self := cfg.Peers[slices.IndexFunc(cfg.Peers, hasID(id))]
	p := &pinger{
		cluster: wire.ClusterHash(cfg.Cluster),
		id:      id,
		deaf:    make(chan struct{}),
		ending:  make(chan struct{}),
	}
	for p.incarnation == 0 {
		var b [8]byte
		rand.Read(b[:]) // never fails
		p.incarnation = binary.LittleEndian.Uint64(b[:])
	}
	for _, t := range targets {
		p.targets = append(p.targets, &target{pinger: p, peer: t, heard: make(chan struct{}, 1)})
	}
	var err error
	if p.security, err = securityOf(cfg, path, self); err != nil {
		return nil, err
	}
	if p.security != nil {
		p.security.Admit = func(key string) bool {
			return slices.ContainsFunc(p.targets, func(t *target) bool { return slices.Contains(t.peer.Keys(), key) })
		}
	}
	if p.sockets, err = sockets.Choose(cfg.Transport, path); err != nil {
		return nil, err
	}
	if p.listener, err = p.sockets.Listen(self.BindEndpoint(), p.security, nil); err != nil {
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

// close is called when nobody asks any more.
func (p *pinger) close() {
	close(p.ending)
	p.listener.Interrupt()
	<-p.deaf
	for _, t := range p.targets {
		t.hangUp()
	}
}

// hear reads what the servers send, and looks only for signs that a target has heard
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
		if err != nil || int(h.To) != p.id || h.Cluster != p.cluster || h.AckIncarnation != p.incarnation {
			continue
		}
		for _, t := range p.targets {
			if int(h.From) == t.peer.ID {
				select {
				case t.heard <- struct{}{}:
				default:
				}
			}
		}
	}
}

var (
	errNoConnection = errors.New("no connection: the server is not running there, or it is stopped, or it does not accept this one's key")
	errNoAnswer     = errors.New("connected, and no answer: the server cannot reach this one's address, or has another configuration, or is stopped")
)

// ask sends one frame and waits for the answer.
func (t *target) ask(ctx context.Context, wait time.Duration) (time.Duration, error) {
	p := t.pinger
	began := time.Now()
	ctx, cancel := context.WithDeadlineCause(ctx, began.Add(wait), errNoAnswer)
	defer cancel()
	frame := make([]byte, wire.HeaderSize)
	(&wire.Header{
		Flags: wire.FlagAckNow, To: uint16(t.peer.ID), From: uint16(p.id), Cluster: p.cluster,
		Incarnation: p.incarnation, Start: wire.Position{Seq: 1}, Window: wire.InitialWindow,
	}).Put(frame)
	select {
	case <-t.heard: // late, or not for this question
	default:
	}
	if err := t.write(ctx, frame); err != nil {
		return 0, err
	}
	select {
	case <-t.heard:
		return time.Since(began), nil
	case <-p.deaf:
		return 0, errors.New("cannot receive any more")
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// routeInterval is how long one way to a peer is tried before the next: one of its
// addresses with one of its keys.
const routeInterval = 500 * time.Millisecond

// A route is a way to connect to a peer.
type route struct{ endpoint, key string }

// routes are all ways to the peer, in the order in which they are tried.
func (t *target) routes(ctx context.Context) (all []route, err error) {
	endpoints := []string{t.peer.DialEndpoint()}
	if scheme, address := splitEndpoint(endpoints[0]); scheme == "tcp" {
		addrs, err := dialAddrs(ctx, address)
		if err != nil {
			return nil, err
		}
		endpoints = nil
		for _, a := range addrs {
			endpoints = append(endpoints, "tcp://"+net.JoinHostPort(a.Addr().String(), fmt.Sprint(a.Port())))
		}
	}
	keys := t.peer.Keys()
	if len(keys) == 0 {
		keys = []string{""}
	}
	for _, e := range endpoints {
		for _, k := range keys {
			all = append(all, route{e, k})
		}
	}
	return all, nil
}

// write sends a frame as soon as there is a connection.
func (t *target) write(ctx context.Context, frame []byte) error {
	if t.conn != nil {
		err := t.send(ctx, frame)
		if err != nil {
			t.hangUp() // the next question may find another way
		}
		return err
	}
	routes, err := t.routes(ctx)
	if err != nil {
		return because(ctx, err)
	}
	for try := 0; ctx.Err() == nil; try++ {
		r := routes[try%len(routes)]
		conn, err := t.pinger.sockets.Dial(r.endpoint, t.pinger.security, r.key)
		if err != nil {
			return err
		}
		t.conn = conn
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if len(routes) > 1 {
			attempt, cancel = context.WithTimeout(ctx, routeInterval)
		}
		err = t.send(attempt, frame)
		cancel()
		if err == nil {
			return nil
		}
		t.hangUp()
		if attempt.Err() == nil {
			return err
		}
	}
	return t.unconnected(ctx)
}

// unconnected says why a frame could not be sent before ctx ended.
func (t *target) unconnected(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, errNoAnswer) {
		return err
	}
	return errNoConnection
}

// send gives a frame to the connection when that takes it.
func (t *target) send(ctx context.Context, frame []byte) error {
	defer context.AfterFunc(ctx, t.conn.Interrupt)()
	for ctx.Err() == nil {
		if sent, err := t.conn.TrySend(frame, nil); sent || err != nil {
			return err
		}
		if err := t.conn.Wait(time.Time{}); err != nil && !errors.Is(err, transport.ErrInterrupted) {
			return err
		}
	}
	return t.unconnected(ctx)
}

func (t *target) hangUp() {
	if t.conn != nil {
		t.conn.Close(0)
		t.conn = nil
	}
}
