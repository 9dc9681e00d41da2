//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"
)

func init() {
	register(row{
		name:    "bandwidth-large",
		promise: "where a path is too slow for a message it is dropped and counted, and what is sent after it passes",
		fault:   "between two hosts there is 1 Mbit/s, and one of them sends large messages, with small ones before and after each",
		needs:   append([]need{tool("tc")}, needNetwork...),
		run:     bandwidthLarge,
	})
}

// largeSizes are of the messages that bandwidthLarge sends. The first has to be delivered,
// and the last is one of those that the path is too slow for.
var largeSizes = []int{100_000, 300_000, 1_000_000, 10_000_000}

// largeTime is how long small messages are sent after each.
const largeTime = 10 * time.Second

func bandwidthLarge(t *trial) error {
	const source, sink = 0, 1
	n, err := t.newNetwork(2)
	if err != nil {
		return err
	}
	if err := n.narrow(); err != nil {
		return err
	}
	small := load{Rate: 10, Size: 100}
	f, err := n.underLoad(2, small)
	if err != nil {
		return err
	}
	before, err := t.sleep(time.Second)
	if err != nil {
		return err
	}
	spans := make([]span, len(largeSizes))
	for i, size := range largeSizes {
		t.say("a message of %d bytes", size)
		a, err := f.ask(source, command{Do: "halt"})
		if err != nil {
			return err
		}
		before := a.Handed
		if err := f.load(source, load{Count: 1, Size: size}); err != nil {
			return err
		}
		err = t.await(longest, "the message was not handed over", func() (bool, error) {
			a, err := f.ask(source, command{Do: "counters"})
			return a.Handed > before, err
		})
		if err != nil {
			return err
		}
		if err := f.load(source, small); err != nil {
			return err
		}
		if spans[i], err = t.sleep(largeTime); err != nil {
			return err
		}
	}
	after, err := t.sleep(2 * time.Second)
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	t.judge(b)
	t.fail(b.traffic(5, from(source, sink), before, after)...)
	t.fail(b.traffic(5, from(sink, source), before, after)...)
	took := make(map[int]time.Duration) // by size, of what was delivered
	b.deliveries(func(r *record) { took[int(r.size)] = since(r.handed, r.at) })
	for i, size := range largeSizes {
		fate := "dropped, and counted"
		if d, ok := took[size]; ok {
			fate = fmt.Sprintf("delivered after %v", d.Round(time.Millisecond))
		}
		t.figure(fmt.Sprintf("%d kB", size/1000), "%s; of small messages beside it %s", fate, b.beside(spans[i], source, sink, small))
	}
	if first := largeSizes[0]; took[first] == 0 {
		t.fail(found(oracleConservation, "the message of %d bytes was not delivered", first))
	}
	if last := largeSizes[len(largeSizes)-1]; took[last] != 0 {
		t.fail(found(oracleVacuity, "the message of %d bytes was delivered, so the path was not slow", last))
	}
	return nil
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
