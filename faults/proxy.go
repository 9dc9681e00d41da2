//go:build linux

package main

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// A proxy stands before a server, and can break what goes through it.
type proxy struct {
	target string
	l      net.Listener
	conns  sync.WaitGroup

	mu   sync.Mutex // guards what follows
	open map[*net.TCPConn]bool
	pass passing
	// opened is closed when the way passes again that is shut; nil: it passes. The
	// second is the way to the server.
	opened [2]chan struct{}
	kept   map[*net.TCPConn]chan struct{} // the same, for connections of which nothing passes
}

// A passing copies one way of one connection: up is the way to the server.
type passing func(to, from *net.TCPConn, up bool) error

// asItIs passes everything, but nothing while its way is shut.
func (p *proxy) asItIs(to, from *net.TCPConn, up bool) error {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return err
		}
		p.mu.Lock()
		for _, opened := range []chan struct{}{p.opened[btoi(up)], p.kept[from]} {
			if opened != nil {
				p.mu.Unlock()
				<-opened
				p.mu.Lock()
			}
		}
		p.mu.Unlock()
		if _, err := to.Write(b[:n]); err != nil {
			return err
		}
	}
}

// shut lets nothing pass from now on: what comes waits, and connections stand, but for
// what their ends make of it.
func (p *proxy) shut(up, down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, shut := range []bool{down, up} {
		if shut && p.opened[i] == nil {
			p.opened[i] = make(chan struct{})
		}
	}
}

// keep lets nothing pass from now on of the connections that there are; others pass.
func (p *proxy) keep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		if p.kept[c] == nil {
			p.kept[c] = make(chan struct{})
		}
	}
}

// unshut lets everything pass again.
func (p *proxy) unshut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, opened := range p.opened {
		if opened != nil {
			close(opened)
			p.opened[i] = nil
		}
	}
	for c, opened := range p.kept {
		close(opened)
		delete(p.kept, c)
	}
}

// delayed passes everything on after a while that varies by jitter, up or down, and
// keeps the order.
func delayed(base, jitter time.Duration) passing {
	return func(to, from *net.TCPConn, _ bool) error {
		type piece struct {
			bytes []byte
			due   time.Time
		}
		pieces, done := make(chan piece, 1024), make(chan struct{})
		defer close(done)
		go func() { // It ends with the connection, or with the other end's.
			defer close(pieces)
			for {
				b := make([]byte, 4<<10)
				n, err := from.Read(b)
				if err != nil {
					return
				}
				after := base - jitter + time.Duration(rand.Int64N(int64(2*jitter)+1))
				select {
				case pieces <- piece{b[:n], time.Now().Add(after)}:
				case <-done:
					return
				}
			}
		}()
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.bytes); err != nil {
				return err
			}
		}
		return io.EOF
	}
}

func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{target: target, l: l, open: make(map[*net.TCPConn]bool), kept: make(map[*net.TCPConn]chan struct{})}
	p.pass = p.asItIs
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

// change makes connections pass in another way, or as they are if that is nil. It resets
// those that there are.
func (p *proxy) change(how passing) {
	p.mu.Lock()
	if how == nil {
		how = p.asItIs
	}
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
	}
}

func (p *proxy) close() {
	p.l.Close()
	p.unshut()
	p.reset()
	p.conns.Wait()
}
