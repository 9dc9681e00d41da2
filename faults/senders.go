//go:build linux

package main

import "time"

func init() {
	register(row{
		name:    "senders",
		promise: "nothing is lost between servers that live, and no sender is held up for long",
		fault:   "50 goroutines put 20,000 messages each into one Outbox, as fast as they are taken",
		quick:   true,
		run:     senders,
	})
}

// longest is how long anything may take in a cluster in which all servers live.
const longest = 5 * time.Second

func senders(t *trial) error {
	const streams = 50
	each := scale(t, 20_000, 2_000)
	f, err := t.newField(2, nil)
	if err != nil {
		return err
	}
	if err := f.startAll(); err != nil {
		return err
	}
	t.say("%d goroutines send %d messages each", streams, each)
	began := now()
	if err := f.load(0, load{Size: 100, Streams: streams, Count: each}); err != nil {
		return err
	}
	var a answer
	err = t.await(2*time.Minute, "not all messages were handed over", func() (bool, error) {
		a, err = f.ask(0, command{Do: "counters"})
		return a.Handed == streams*uint64(each), err
	})
	if err != nil {
		return err
	}
	took := since(began, now())
	b, err := f.finish()
	if err != nil {
		return err
	}
	if x := b.balance(0, 1); x.delivered != streams*each {
		t.fail(found(oracleConservation, "from 0 to 1 %v; all were to be delivered", &x))
	}
	if a.Blocked > longest {
		t.fail(found(oracleHang, "handing one message over took %v", a.Blocked))
	}
	t.figure("delivered", "%d of %d, handed over in %v", b.received, streams*each, took.Round(100*time.Millisecond))
	t.figure("longest wait of a sender", "%v", a.Blocked.Round(time.Millisecond))
	return nil
}
