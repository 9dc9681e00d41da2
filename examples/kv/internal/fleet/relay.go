package fleet

import (
	"net"
	"sync"
	"time"
)

// A Relay passes TCP connections on to a server, and can be shut.
type Relay struct {
	target string
	l      net.Listener
	conns  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	open   map[*net.TCPConn]bool
	opened chan struct{} // closed when the relay passes again; nil if it does
}

func newRelay(target string) (*Relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{target: target, l: l, open: make(map[*net.TCPConn]bool)}
	r.conns.Go(r.accept) // close ends it, and waits
	return r, nil
}

func (r *Relay) address() string { return r.l.Addr().String() }

func (r *Relay) accept() {
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		client := c.(*net.TCPConn)
		s, err := net.DialTimeout("tcp", r.target, time.Second)
		if err != nil {
			client.SetLinger(0)
			client.Close() // the server is down
			continue
		}
		server := s.(*net.TCPConn)
		r.mu.Lock()
		r.open[client], r.open[server] = true, true
		r.mu.Unlock()
		// They end with the connections.
		r.conns.Go(func() { r.pass(client, server) })
		r.conns.Go(func() { r.pass(server, client) })
	}
}

// pass copies one way of a connection, but nothing while the relay is shut.
func (r *Relay) pass(from, to *net.TCPConn) {
	defer r.end(from, to)
	for b := make([]byte, 64<<10); ; {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		r.mu.Lock()
		opened := r.opened
		r.mu.Unlock()
		if opened != nil {
			<-opened
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (r *Relay) end(conns ...*net.TCPConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(r.open, c)
	}
}

func (r *Relay) shut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened == nil {
		r.opened = make(chan struct{})
	}
}

func (r *Relay) unshut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened != nil {
		close(r.opened)
		r.opened = nil
	}
}

// reset breaks all connections with a reset at both ends.
func (r *Relay) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.open {
		c.SetLinger(0)
		c.Close()
	}
}

func (r *Relay) close() {
	r.l.Close()
	r.unshut()
	r.reset()
	r.conns.Wait()
}
