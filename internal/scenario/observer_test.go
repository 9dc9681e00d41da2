//go:build linux

package scenario

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// sendEvery is how often an observer sends, and lookEvery how often it looks at its link.
const (
	sendEvery = 50 * time.Millisecond
	lookEvery = 10 * time.Millisecond
)

// An observer is a program on one of two servers. It sends messages to the other that say when they were sent, and
// notes what it sees, in times since it began. It is the same over every transport.
type observer struct {
	node *cluster.Node
	peer int
	from time.Time
	run  chan struct{} // holds a token while the program may run
	bulk chan int      // sizes of messages to send besides
	all  sync.WaitGroup

	mu   sync.Mutex // guards seen
	seen observed
}

// observed is what an observer has seen.
type observed struct {
	Outcomes map[string]int           // of Send, by class
	First    map[string]time.Duration // when each was seen first
	Links    []change                 // of the state of the link to the other
	Came     []arrival
	Books    cluster.PeerStats
}

type change struct {
	At time.Duration
	To cluster.LinkState
}

// An arrival is a message that the other had sent when it had run for Sent, or a large one.
type arrival struct {
	At, Sent time.Duration
	Large    bool
}

// observe starts an observer. It ends as the node closes.
func observe(node *cluster.Node) *observer {
	o := &observer{
		node: node, peer: 1 - node.Pid(), from: time.Now(),
		run: make(chan struct{}, 1), bulk: make(chan int, 1),
		seen: observed{Outcomes: make(map[string]int), First: make(map[string]time.Duration)},
	}
	o.run <- struct{}{}
	o.all.Go(o.send)
	o.all.Go(o.receive)
	o.all.Go(o.look)
	return o
}

// each calls f at intervals, while the program may run, until the node has closed.
func (o *observer) each(interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-o.node.Done():
			return
		}
		select {
		case <-o.run:
			o.run <- struct{}{}
			f()
		case <-o.node.Done():
			return
		}
	}
}

func (o *observer) send() {
	o.each(sendEvery, func() {
		message := make([]byte, 100)
		binary.BigEndian.PutUint64(message, uint64(time.Since(o.from)))
		o.note(o.node.Send(context.Background(), &cluster.Envelope{Pid: o.peer, Msg: message}))
		select {
		case size := <-o.bulk:
			o.note(o.node.Send(context.Background(), &cluster.Envelope{Pid: o.peer, Msg: make([]byte, size)}))
		default:
		}
	})
}

// note notes the outcome of a Send.
func (o *observer) note(err error) {
	class := "another error"
	for name, is := range map[string]error{"unreachable": cluster.ErrUnreachable, "timed out": cluster.ErrTimedOut, "closed": cluster.ErrClosed} {
		if errors.Is(err, is) {
			class = name
		}
	}
	if err == nil {
		class = "sent"
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen.Outcomes[class]++; o.seen.Outcomes[class] == 1 {
		o.seen.First[class] = time.Since(o.from)
	}
}

func (o *observer) receive() {
	for e := range o.node.Inbox() {
		message := e.Msg.([]byte)
		o.mu.Lock()
		o.seen.Came = append(o.seen.Came, arrival{time.Since(o.from), time.Duration(binary.BigEndian.Uint64(message)), len(message) > 100})
		o.mu.Unlock()
	}
}

func (o *observer) look() {
	var was cluster.LinkState
	o.each(lookEvery, func() {
		if now := testcluster.StatsOf(o.node, o.peer).State; now != was {
			was = now
			o.mu.Lock()
			o.seen.Links = append(o.seen.Links, change{time.Since(o.from), now})
			o.mu.Unlock()
		}
	})
}

// report is what was seen so far.
func (o *observer) report() observed {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.seen
	seen.Outcomes, seen.First = maps.Clone(seen.Outcomes), maps.Clone(seen.First)
	seen.Books = testcluster.StatsOf(o.node, o.peer)
	return seen
}

func init() { testcluster.Roles["observer"] = observeAsChild }

// observeAsChild is the role of a child that is an observer.
func observeAsChild() {
	var o *observer
	testcluster.Obey(func(words []string) (any, error) {
		switch words[0] {
		case "hello":
		case "start":
			cfg, pids, err := testcluster.ChildServers(slog.LevelError)
			if err != nil {
				return nil, err
			}
			node, err := cluster.NewFromConfig(pids[0], cfg)
			if err != nil {
				return nil, err
			}
			o = observe(node)
		case "bulk":
			var size int
			_, err := fmt.Sscan(words[1], &size)
			o.bulk <- size
			return nil, err
		case "report":
			return o.report(), nil
		default:
			return nil, fmt.Errorf("unknown command %q", words)
		}
		return nil, nil
	})
}
