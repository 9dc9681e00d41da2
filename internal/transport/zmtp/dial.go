package zmtp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"

	keys "github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/names"
	"github.com/abhishekg16/cluster/internal/transport"
)

// Dial implements transport.Network. A name in the endpoint is looked up after it has returned,
// and again while there is no connection; all its addresses are tried in turn.
func (Network) Dial(endpoint string, sec *transport.Security, peer string) (transport.Conn, error) {
	m, err := dialing(sec, peer)
	if err != nil {
		return nil, err
	}
	if host, port, ok := names.Split(endpoint); ok && names.IsName(host) {
		return dialName(m, host, port, names.Lookup), nil
	}
	c, ctx := newConn(m)
	network, address := split(endpoint)
	c.all.Go(func() { c.keep(ctx, target{network: network, address: address}) }) // Close ends it, and waits for it.
	return c, nil
}

// dialing makes the mechanism of each connection that is dialed.
func dialing(sec *transport.Security, peer string) (func() mechanism, error) {
	if sec == nil {
		return func() mechanism { return null{pushing} }, nil
	}
	own, err := decodeKeys(sec)
	if err != nil {
		return nil, err
	}
	server, err := keys.DecodePublic(peer)
	if err != nil {
		return nil, fmt.Errorf("the peer's public key: %w", err)
	}
	return func() mechanism { return newCurveClient(own, server) }, nil
}

// split is the network and the address of an endpoint, as package net has them.
func split(endpoint string) (network, address string) {
	if path, ok := strings.CutPrefix(endpoint, "ipc://"); ok {
		return "unix", path
	}
	return "tcp", strings.TrimPrefix(endpoint, "tcp://")
}

// A target is where a Conn connects to.
type target struct{ network, address string }

// A backoff is the pause between attempts to connect: it doubles from transport.ReconnectMin to ReconnectMax.
type backoff struct{ pause time.Duration }

// next is the pause before the next attempt, with a random part of up to a quarter: those who have lost the same peer do not
// all come back to it at the same moments.
func (b *backoff) next() time.Duration {
	b.pause = min(max(2*b.pause, transport.ReconnectMin), transport.ReconnectMax)
	return b.pause + rand.N(b.pause/4)
}

// reset makes the next pause the first.
func (b *backoff) reset() { b.pause = 0 }

// keep makes the connection, and makes it again whenever it breaks, until ctx ends.
func (c *Conn) keep(ctx context.Context, to target) {
	var pause backoff
	for ctx.Err() == nil {
		stood, err := c.connect(ctx, to)
		if ctx.Err() != nil {
			return
		}
		if stood {
			pause.reset()
		}
		c.lacks(to, stood, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause.next()):
		}
	}
}

// connect makes a connection and serves it until it ends. It reports whether it stood, and why
// not, or what its peer did wrong.
//
// To make it takes a stack of 8 KiB, which a goroutine keeps. It is made by a goroutine that ends
// then, so that each of many connections holds half of that.
func (c *Conn) connect(ctx context.Context, to target) (stood bool, err error) {
	made := make(chan opened, 1)
	go func() { made <- c.open(ctx, to) }() // It ends with ctx at the latest, and is waited for here.
	o := <-made
	if o.err != nil {
		return false, o.err
	}
	defer o.close()
	c.stands(o.session, to)
	err = o.session.serve(o.rest)
	c.broke(o.session)
	return true, err
}

// An opened connection has been through its handshake, unless there is an error.
type opened struct {
	session *session
	rest    []byte // what came behind the handshake
	close   func() // ends the connection, once nobody writes to it
	err     error
}

// open makes a connection, which ends with ctx.
func (c *Conn) open(ctx context.Context, to target) (o opened) {
	dialer := net.Dialer{Timeout: transport.ConnectTimeout, KeepAlive: -1, Control: controlDialed}
	nc, err := dialer.DialContext(ctx, to.network, to.address)
	if err != nil {
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			err = op.Err // it would repeat the address
		}
		return opened{err: err}
	}
	unhook := context.AfterFunc(ctx, func() { nc.Close() })
	forget := rememberLocal(nc)
	m := c.mechanism()
	o.close = func() {
		m.wipe()
		forget()
		unhook()
		nc.Close()
	}
	defer func() {
		if o.err != nil {
			o.close()
		}
	}()
	var peer greeting
	if peer, o.rest, err = shake(nc, m, func() {}); err != nil {
		o.err = fmt.Errorf("the handshake failed: %w", err)
		return o
	}
	o.session, o.err = newSession(c, nc, m, peer)
	return o
}

// stands makes the session what is written to.
func (c *Conn) stands(s *session, to target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.trouble = s, nil
	if c.named != nil {
		c.named.connected(to)
	}
	c.signal()
}

// broke takes in that the session has ended.
func (c *Conn) broke(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.broken = true
	c.session = nil
	c.signal()
	if c.broken != nil {
		c.broken()
	}
}

// lacks takes in that there is no connection: one has ended that stood, or none came about.
func (c *Conn) lacks(to target, stood bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.named != nil {
		c.named.failed(to, stood, err)
		return
	}
	c.trouble = nil
	if err != nil {
		c.trouble = fmt.Errorf("%s: %w", to.address, err)
	}
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
