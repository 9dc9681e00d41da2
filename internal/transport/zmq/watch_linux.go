//go:build cgo && !nozmq

package zmq

import (
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

const (
	// watchInterval is how often the connections of the process are looked at.
	watchInterval = 250 * time.Millisecond
	// watchTells is how many times in a row it is told that one has ended: ZeroMQ may notice later.
	watchTells = 8
)

// A watched connection is one whose end is to be told. ZeroMQ does not say it, unless a monitor follows each socket, and to ask each socket
// wakes a thread for each. So one goroutine of the process asks the kernel about all of them.
type watched struct {
	endpoint string
	broke    func()
	stood    bool
	missed   int // looks in a row at which it stood no more
}

var watches struct {
	mu      sync.Mutex // guards what follows
	all     map[*watched]bool
	running bool
}

// Watch implements transport.Watch.
func (c *Conn) Watch(broke func()) {
	ws := &watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.all == nil {
		ws.all = make(map[*watched]bool)
	}
	c.watched = &watched{endpoint: c.endpoint, broke: broke}
	ws.all[c.watched] = true
	if !ws.running {
		ws.running = true
		go watchAll() // It ends when no connection is left.
	}
}

// unwatch ends it.
func (c *Conn) unwatch() {
	ws := &watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.all, c.watched)
}

func watchAll() {
	for tick := time.NewTicker(watchInterval); ; <-tick.C {
		ended, more := look()
		for _, broke := range ended {
			broke()
		}
		if !more {
			tick.Stop()
			return
		}
	}
}

// look returns what to call for the connections that have ended, and whether there are any to look at again.
func look() (ended []func(), more bool) {
	ws := &watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		if transport.Connected(w.endpoint) {
			w.stood, w.missed = true, 0
		} else if w.missed++; w.stood && w.missed <= watchTells {
			ended = append(ended, w.broke)
		}
	}
	ws.running = len(ws.all) > 0
	return ended, ws.running
}
