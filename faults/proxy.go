//go:build linux

package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A proxy stands before a server, and can break what goes through it.
type proxy struct {
	target string
	l      net.Listener
	conns  sync.WaitGroup
	resets atomic.Int64 // connections that were reset

	mu   sync.Mutex // guards what follows
	open map[*net.TCPConn]bool
	pass passing
}

// A passing copies one way of one connection: up is the way to the server.
type passing func(to, from *net.TCPConn, up bool) error

func asItIs(to, from *net.TCPConn, _ bool) error {
	_, err := io.Copy(to, from)
	return err
}

func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{target: target, l: l, open: make(map[*net.TCPConn]bool), pass: asItIs}
	p.conns.Go(p.accept) // close ends it, and waits.
	return p, nil
}

// behind puts a proxy before each of the servers, for those that connect to it.
func (f *field) behind(ids ...int) (map[int]*proxy, error) {
	proxies := make(map[int]*proxy)
	for _, id := range ids {
		address := f.servers[id].cfg.Peers[id].Address
		p, err := newProxy(address)
		if err != nil {
			return nil, err
		}
		f.t.onEnd(p.close)
		for _, plan := range f.servers {
			plan.cfg.Peers[id].Address, plan.cfg.Peers[id].Bind = p.address(), address
		}
		proxies[id] = p
	}
	return proxies, nil
}

func (p *proxy) address() string { return p.l.Addr().String() }

// change makes connections pass in another way: it resets those that there are.
func (p *proxy) change(how passing) {
	p.mu.Lock()
	p.pass = how
	p.mu.Unlock()
	p.reset()
}

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		client := c.(*net.TCPConn)
		s, err := net.DialTimeout("tcp", p.target, time.Second)
		if err != nil {
			client.SetLinger(0)
			client.Close() // the server is down
			continue
		}
		server := s.(*net.TCPConn)
		p.mu.Lock()
		p.open[client], p.open[server] = true, true
		pass := p.pass
		p.mu.Unlock()
		over := func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, c := range []*net.TCPConn{client, server} {
				c.Close()
				delete(p.open, c)
			}
		}
		// They end with the connections.
		p.conns.Go(func() { defer over(); pass(server, client, true) })
		p.conns.Go(func() { defer over(); pass(client, server, false) })
	}
}

// reset breaks all connections with a reset at both ends: what is on its way is gone.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.SetLinger(0)
		c.Close()
		p.resets.Add(1)
	}
}

func (p *proxy) close() {
	p.l.Close()
	p.reset()
	p.conns.Wait()
}
