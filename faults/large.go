//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/abhishekg16/cluster/internal/transport/sockets"
)

func init() {
	for _, p := range []slowPath{
		{name: "bandwidth-large", megabits: 1, sizes: []int{certainSize, 1_000_000, 10_000_000}},
		{name: "bandwidth-large-4", megabits: 4, sizes: []int{10_000_000}},
	} {
		register(row{
			name: p.name,
			promise: "a message that a slow path takes long for arrives, and small ones beside it are delayed, not dropped: all of them, " +
				"by one connection, where their sender is on Go; on libzmq those that wait for too long may be dropped, and are counted",
			fault: fmt.Sprintf("between two hosts there are %d Mbit/s, and one of them sends large messages, with small ones before and after each", p.megabits),
			needs: append([]need{tool("tc")}, needNetwork...),
			run:   func(t *trial) error { return p.sends(t) },
		})
	}
}

// A slowPath is what large messages take.
type slowPath struct {
	name     string
	megabits int // a second
	sizes    []int
}

// certainSize is that of a message which arrives in any case.
const certainSize = 100_000

const (
	// largeMost is for how long a message is waited for, beside three times as long as its path takes.
	largeMost = 30 * time.Second
	// largeAfter is how long small messages go on after that.
	largeAfter = 3 * time.Second
)

// A largeLoad is a cluster while one of its servers sends large messages.
type largeLoad struct {
	*field
	slowPath
	source, sink int
	small        load
}

func (s slowPath) sends(t *trial) error {
	n, err := t.newNetwork(2)
	if err != nil {
		return err
	}
	if err := n.narrow(s.megabits); err != nil {
		return err
	}
	p := &largeLoad{slowPath: s, source: 0, sink: 1, small: load{Rate: 10, Size: 100}}
	if p.field, err = n.underLoad(2, p.small); err != nil {
		return err
	}
	before, err := t.sleep(time.Second)
	if err != nil {
		return err
	}
	opened, err := n.openedBy(p.source)
	if err != nil {
		return err
	}
	spans := make([]span, len(s.sizes))
	for i, size := range s.sizes {
		t.say("a message of %d bytes", size)
		if spans[i], err = p.sendLarge(size); err != nil {
			return err
		}
	}
	after, err := t.sleep(2 * time.Second)
	if err != nil {
		return err
	}
	more, err := n.openedBy(p.source)
	if err != nil {
		return err
	}
	patient := transportOf(t.transport, p.life(p.source).number) == sockets.Go
	b, err := p.finish()
	if err != nil {
		return err
	}
	t.fail(b.traffic(5, from(p.source, p.sink), before, after)...)
	t.fail(b.traffic(5, from(p.sink, p.source), before, after)...)
	t.fates(b, p, spans)
	if !patient {
		return nil
	}
	t.allDelivered(b)
	t.stayedUp(p.field)
	if more != opened {
		t.fail(found(oracleState, "the sender of large messages has opened %d more connections, and nothing was broken", more-opened))
	}
	return nil
}

// sendLarge sends a message, and small ones both ways until it has been delivered or dropped, and for a while after
// that. It returns that span.
func (p *largeLoad) sendLarge(size int) (s span, err error) {
	t := p.t
	a, err := p.ask(p.source, command{Do: "halt"})
	if err != nil {
		return s, err
	}
	handed, dropped := a.Handed, a.Counters.Peers[p.sink].dropped()
	c, err := p.counters(p.sink)
	if err != nil {
		return s, err
	}
	came := c.Peers[p.source].ReceivedBytes
	if err := p.load(p.source, load{Count: 1, Size: size}); err != nil {
		return s, err
	}
	err = t.await(longest, "the message was not handed over", func() (bool, error) {
		a, err := p.ask(p.source, command{Do: "counters"})
		return a.Handed > handed, err
	})
	if err != nil {
		return s, err
	}
	s.from = now()
	if err := p.load(p.source, p.small); err != nil {
		return s, err
	}
	most := 3*p.takes(size) + largeMost // on libzmq much is sent again
	err = t.await(most, fmt.Sprintf("a message of %d bytes was neither delivered nor dropped", size), func() (bool, error) {
		from, err := p.counters(p.source)
		if err != nil {
			return false, err
		}
		to, err := p.counters(p.sink)
		return from.Peers[p.sink].dropped() > dropped || to.Peers[p.source].ReceivedBytes >= came+uint64(size), err
	})
	if err != nil {
		return s, err
	}
	_, err = t.sleep(largeAfter)
	s.to = now()
	return s, err
}

// takes is how long the path takes for so many bytes.
func (s slowPath) takes(size int) time.Duration {
	return time.Duration(size) * 8 * time.Microsecond / time.Duration(s.megabits)
}

// fates tells what became of the large messages, and of the small ones beside each.
func (t *trial) fates(b *books, p *largeLoad, spans []span) {
	took := make(map[int]time.Duration) // by size, of what was delivered
	b.deliveries(func(r *record) { took[int(r.size)] = since(r.handed, r.at) })
	for i, size := range p.sizes {
		fate := "dropped, and counted"
		if d, ok := took[size]; ok {
			fate = fmt.Sprintf("delivered after %v", d.Round(time.Millisecond))
			if least := p.takes(size) * 9 / 10; d < least {
				t.fail(found(oracleVacuity, "the message of %d bytes took %v, and not %v: the path was not slow", size, d, least))
			}
		}
		t.figure(fmt.Sprintf("%d kB", size/1000), "%s; of small messages beside it %s", fate, b.beside(spans[i], p.source, p.sink, p.small))
	}
	if took[certainSize] == 0 && slices.Contains(p.sizes, certainSize) {
		t.fail(found(oracleConservation, "the message of %d bytes was not delivered", certainSize))
	}
}

// beside says what became of the small messages that both servers sent in the span.
func (b *books) beside(s span, source, sink int, small load) string {
	var text []string
	for _, way := range [2][2]int{{source, sink}, {sink, source}} {
		handed, delivered := 0, 0
		for _, l := range b.of(way[0]) {
			for j := range l.sent {
				r := &l.sent[j]
				handed += btoi(int(r.size) == small.Size && s.has(r.at))
			}
		}
		which := func(r *record) bool {
			return from(way[0], way[1])(r) && int(r.size) == small.Size && s.has(r.handed)
		}
		b.deliveries(func(r *record) { delivered += btoi(which(r)) })
		text = append(text, fmt.Sprintf("%d of %d (latest: %v)", delivered, handed, b.latest(which).Round(time.Millisecond)))
	}
	return strings.Join(text, " one way, ") + " the other"
}
