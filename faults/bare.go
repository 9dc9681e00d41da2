//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/pebbe/zmq4"
)

// A barePair is what a program would write on ZeroMQ itself: a PUSH socket that connects
// to a PULL socket, here through a proxy or not.
type barePair struct {
	push, pull *zmq4.Socket // push is used by send alone, pull by the goroutine of receive
	proxy      *proxy       // nil: none
	port       string       // that push connects to
	sent       int
	receiving  sync.WaitGroup

	mu   sync.Mutex // guards what follows
	seen map[uint64]bool
	over bool
}

func newBarePair(behind bool) (*barePair, error) {
	b := &barePair{seen: make(map[uint64]bool)}
	var err error
	if b.pull, err = zmq4.NewSocket(zmq4.PULL); err != nil {
		return nil, err
	}
	b.pull.SetRcvtimeo(100 * time.Millisecond)
	if err := b.pull.Bind("tcp://127.0.0.1:*"); err != nil {
		return nil, err
	}
	endpoint, err := b.pull.GetLastEndpoint()
	if err != nil {
		return nil, err
	}
	address := endpoint[len("tcp://"):]
	if behind {
		if b.proxy, err = newProxy(address); err != nil {
			return nil, err
		}
		address = b.proxy.address()
	}
	b.port = portOf(address)
	if b.push, err = zmq4.NewSocket(zmq4.PUSH); err != nil {
		return nil, err
	}
	b.push.SetSndtimeo(5 * time.Second)
	b.push.SetLinger(0)
	b.push.SetReconnectIvl(10 * time.Millisecond) // as the library does
	if err := b.push.Connect("tcp://" + address); err != nil {
		return nil, err
	}
	b.receiving.Go(b.receive) // close ends it, and waits.
	return b, nil
}

// send sends count messages, at a rate, and then waits for the last to come.
func (b *barePair) send(ctx context.Context, count, size, rate int) {
	began := time.Now()
	message := make([]byte, size)
	for b.sent < count && ctx.Err() == nil {
		time.Sleep(tick)
		for due := min(count, int(time.Since(began).Seconds()*float64(rate))); b.sent < due; b.sent++ {
			binary.LittleEndian.PutUint64(message, uint64(b.sent))
			if _, err := b.push.SendBytes(message, 0); err != nil {
				return
			}
		}
	}
	time.Sleep(time.Second)
}

func (b *barePair) receive() {
	for {
		message, err := b.pull.RecvBytes(0)
		b.mu.Lock()
		if err == nil && len(message) >= 8 {
			b.seen[binary.LittleEndian.Uint64(message)] = true
		}
		over := b.over
		b.mu.Unlock()
		if over {
			return
		}
	}
}

// lost is how many of those that were sent have not come.
func (b *barePair) lost() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent - len(b.seen)
}

func (b *barePair) close() {
	b.mu.Lock()
	b.over = true
	b.mu.Unlock()
	b.receiving.Wait()
	if b.proxy != nil {
		b.proxy.close()
	}
	b.push.Close()
	b.pull.Close()
}
