//go:build linux

package main

import (
	"syscall"
	"time"

	"github.com/abhishekg16/cluster"
)

func init() {
	const promise = "a peer that stalls costs the others at most one SendTimeout; the sender's memory stays within QueueBytes; what was dropped is counted"
	register(row{
		name:    "pause",
		promise: promise,
		fault:   "one of five servers is stopped (SIGSTOP) for 30 s under load, and continued",
		quick:   true,
		run:     func(t *trial) error { return pause(t, load{Rate: 400, Size: 4000}) },
	}, row{
		name:    "pause-full",
		promise: promise,
		fault:   "the same, where all servers send as fast as they are taken from",
		run:     func(t *trial) error { return pause(t, load{Size: 60_000}) },
	})
}

// pause stops one of five servers. Its queue with each of the others is full before its link
// goes down, a SendTimeout later.
func pause(t *trial, work load) error {
	const victim, queue = 4, 1 << 20
	f, err := t.newField(5, func(c *cluster.Config) { c.QueueBytes = queue })
	if err != nil {
		return err
	}
	healthy := f.others(victim)
	if err := f.startUnder(work); err != nil {
		return err
	}
	if _, err := t.sleep(time.Second); err != nil { // connections are made
		return err
	}
	held, err := f.holdings(0)
	if err != nil {
		return err
	}
	before, err := t.sleep(scale(t, 8*time.Second, 3*time.Second))
	if err != nil {
		return err
	}
	t.say("server %d is stopped", victim)
	t.onEnd(func() { f.signal(victim, syscall.SIGCONT) })
	if err := f.signal(victim, syscall.SIGSTOP); err != nil {
		return err
	}
	watch := f.watch(healthy)
	during, err := t.sleep(scale(t, 30*time.Second, 5*time.Second))
	if err != nil {
		return err
	}
	peak := watch()
	t.say("server %d continues", victim)
	healed := now()
	if err := f.signal(victim, syscall.SIGCONT); err != nil {
		return err
	}
	after, err := t.sleep(scale(t, 6*time.Second, 3*time.Second))
	if err != nil {
		return err
	}
	b, err := f.finishHolding(held)
	if err != nil {
		return err
	}

	ratio, v := b.keptRate(before, during, among(healthy...))
	t.failIf(v)
	t.figure("rate of the others", "%.1f %%", 100*ratio)
	worst, vs := b.recovery(healed, time.Second, healthy, []int{victim})
	t.fail(vs...)
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	// One message more than QueueBytes is never queued, unless it is alone.
	if peak > queue {
		t.fail(found(oracleBound, "%d bytes were queued for one peer; QueueBytes is %d", peak, queue))
	}
	if peak < queue/2 {
		t.fail(found(oracleVacuity, "the queue of %d bytes was never more than %d full", queue, peak))
	}
	t.figure("most queued for one peer", "%d KiB of %d", peak>>10, queue>>10)
	t.judgeLate(b, victim, len(healthy), queue, work.Size)
	t.fail(b.traffic(1000, nil, before, after)...)
	t.fail(b.traffic(100, with(victim), before, after)...)
	return nil
}

// judgeLate holds that after a stall no more old messages are delivered to the server that was stopped, and
// by it, than were on their way, or accepted by itself, when it was.
func (t *trial) judgeLate(b *books, victim, others, queue, size int) {
	age := scale(t, 10*time.Second, 3*time.Second)
	// What was written before the link was down waits in the window, in the sockets
	// and in its inbox until it runs again; and a message may have begun to be written, and
	// another to be taken.
	window := 256<<10 + 512<<10
	to, v := b.stale(age, others*(window/size+2)+b.inbox, toward(victim))
	t.failIf(v)
	// Its own messages stood still with it: in its outbox and in its queues, and on their way.
	by, v := b.stale(age, others*((queue+window)/size+2)+b.outbox, sentBy(victim))
	t.failIf(v)
	t.figure("delivered late", "%d to that server, %d of its own", to, by)
}
