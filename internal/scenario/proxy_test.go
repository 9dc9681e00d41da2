//go:build unix

package scenario

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/testcluster"
)

// A proxy stands between a server and those who connect to it, and knows where each
// unit of ZMTP begins: the parts of the greeting, and then frames.
type proxy struct {
	t      testing.TB
	target string
	l      net.Listener
	conns  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	rate   int        // bytes a second that pass to the server on each connection; 0: all
	change tamper
	opened int
	open   map[net.Conn]bool
	ended  chan struct{} // closed when the first connection since the latest call of tamper has ended
}

// A slowConn is read at so many bytes a second.
type slowConn struct {
	net.Conn
	rate int
	next time.Time // when more may be read
}

func (c *slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:min(len(b), c.rate/64)])
	// A sleep that takes longer makes the next one shorter, so that the rate does not depend on how busy the machine is.
	if now := time.Now(); now.Sub(c.next) > time.Second/4 {
		c.next = now
	}
	c.next = c.next.Add(time.Duration(n) * time.Second / time.Duration(c.rate))
	time.Sleep(time.Until(c.next))
	return n, err
}

// greetingParts are the sizes of what ZeroMQ writes of its greeting before it waits for
// the other side's: signature, version, and the rest.
var greetingParts = [...]int{10, 1, 53}

// firstFrame is the number of the first unit after the greeting.
const firstFrame = len(greetingParts)

// A tamper returns what is passed on of a unit, and whether that is the end of the
// connection. conn counts connections from 0; up is the way to the server.
type tamper func(conn int, up bool, i int, unit []byte) (pass []byte, end bool)

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, target: target, l: l, open: make(map[net.Conn]bool), ended: make(chan struct{})}
	p.conns.Go(p.accept) // It ends when the listener is closed; the cleanup waits for it.
	t.Cleanup(func() {
		l.Close()
		p.hangUp()
		p.conns.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.l.Addr().String() }

// tamper changes what passes from now on; nil is nothing.
func (p *proxy) tamper(change tamper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change, p.opened, p.ended = change, 0, make(chan struct{})
}

// hangUp ends all connections.
func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}

// end is closed when the first connection since the latest call of tamper has ended.
func (p *proxy) end() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *proxy) accept() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		server, err := net.DialTimeout("tcp", p.target, testcluster.Limit)
		if err != nil {
			client.Close() // the server is down
			continue
		}
		p.mu.Lock()
		n, ended := p.opened, p.ended
		rate := p.rate
		p.opened++
		p.open[client], p.open[server] = true, true
		p.mu.Unlock()
		source := client
		if rate > 0 {
			source = &slowConn{Conn: client, rate: rate}
		}
		var ways sync.WaitGroup
		over := func() { client.Close(); server.Close() }
		ways.Go(func() { defer over(); p.pass(n, true, source, server) }) // They end with the connections.
		ways.Go(func() { defer over(); p.pass(n, false, server, client) })
		p.conns.Go(func() {
			ways.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.open, client)
			delete(p.open, server)
			if n == 0 {
				close(ended)
			}
		})
	}
}

// pass passes units on until one end or the tamper has had enough.
func (p *proxy) pass(conn int, up bool, from, to net.Conn) {
	for i := 0; ; i++ {
		unit, err := readUnit(from, i)
		if err != nil {
			return
		}
		p.mu.Lock()
		change := p.change
		p.mu.Unlock()
		end := false
		if change != nil {
			unit, end = change(conn, up, i, unit)
		}
		if _, err := to.Write(unit); err != nil {
			return
		}
		if end {
			// What was written gets to the other side before the end does.
			to.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, from)
			return
		}
	}
}

// readUnit reads a part of the greeting, or a frame with its head.
func readUnit(c io.Reader, i int) ([]byte, error) {
	if i < firstFrame {
		b := make([]byte, greetingParts[i])
		_, err := io.ReadFull(c, b)
		return b, err
	}
	head := make([]byte, 2, 9)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, err
	}
	size := uint64(head[1])
	if head[0]&2 != 0 {
		head = head[:9]
		if _, err := io.ReadFull(c, head[2:]); err != nil {
			return nil, err
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	if size > 1<<20 {
		return nil, errors.New("no frame of ours is that large")
	}
	unit := append(head, make([]byte, size)...)
	_, err := io.ReadFull(c, unit[len(head):])
	return unit, err
}
