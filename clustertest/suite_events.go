package clustertest

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
)

var eventRules = []rule{
	{
		"Events begin with how things stand",
		"A range over Events begins with one event for each other server of the catalogue, in the order of ids: up, down, or added if nothing is known of it. It ends with its context, or when the server closes.",
		testStanding,
	},
	{
		"Events tell that a server goes down and comes back",
		"Whoever reads is told that a server that was up is down, and why; that another life of it was heard; and that it is up again. Flaps counts how often it went down.",
		testComesBack,
	},
	{
		"a slow reader of Events does not miss how things stand",
		"Who does not read holds nobody up. When he does, he is told of each server what was told last, of each kind, and how many events before are skipped: at most three events for each server wait.",
		testSlowReader,
	},
	{
		"Events tell what becomes of the catalogue",
		"Whoever reads is told that a server is added to the catalogue, that its entry is another one, and that it is removed, and when that was.",
		testCatalogEvents,
	},
}

type teller interface {
	Events(ctx context.Context) iter.Seq[cluster.Event]
}

// events are those of a server, as a goroutine takes them. It does not wait for who takes them from there.
func (t *trial) events(ctx context.Context, s cluster.Server) <-chan cluster.Event {
	t.Helper()
	e := need[teller](t, s, "Events(context.Context) iter.Seq[cluster.Event]")
	all := make(chan cluster.Event, 1000)
	go func() { // It ends with the range: with the context, or as the server closes.
		defer close(all)
		for event := range e.Events(ctx) {
			select {
			case all <- event:
			case <-t.over:
				return
			}
		}
	}()
	return all
}

// event takes the next event for which is holds; what says what that is. It returns those before it, too. Each has to say when it was.
func (t *trial) event(all <-chan cluster.Event, what string, is func(cluster.Event) bool) (before []cluster.Event) {
	t.Helper()
	limit := time.After(trialLimit)
	for {
		select {
		case e, open := <-all:
			if !open {
				t.Fatalf("Events end after %v, want that %s", before, what)
			}
			if e.At.IsZero() || e.At.After(time.Now()) {
				t.Errorf("at %v Events tell that %v, and that this was at %v", time.Now(), e, e.At)
			}
			if before = append(before, e); is(e) {
				return before
			}
		case <-limit:
			t.Fatalf("in %v Events tell %v, and not that %s", trialLimit, before, what)
		}
	}
}

func isOf(peer int, kind cluster.EventKind) func(cluster.Event) bool {
	return func(e cluster.Event) bool { return e.Peer == peer && e.Kind == kind }
}

// ends checks that there are no more events.
func (t *trial) ends(all <-chan cluster.Event, when string) {
	t.Helper()
	limit := time.After(trialLimit)
	for {
		select {
		case _, open := <-all:
			if !open {
				return
			}
		case <-limit:
			t.Fatalf("%s, and a range over Events has not ended %v later", when, trialLimit)
		}
	}
}

// greet lets two servers hear of one another, by Deliver if they have that: it is confirmed at once.
func (t *trial) greet(a, b cluster.Server) {
	t.Helper()
	for _, pair := range [][2]cluster.Server{{b, a}, {a, b}} {
		from, to := pair[0], pair[1]
		if d, ok := from.(deliverer); !ok || t.deliver(context.Background(), d, &cluster.Envelope{Pid: to.Pid(), Msg: "hello"}) != nil {
			t.send(from, to.Pid(), "hello")
		}
		t.expect(to, from.Pid(), "hello")
	}
}

func testStanding(t *trial) {
	t.cfg.Peers = t.cfg.Peers[:4]
	servers := t.startAll(3) // 3 is not there
	early := t.events(context.Background(), servers[0])
	t.greet(servers[0], servers[2])
	t.event(early, "server 2 is up", isOf(2, cluster.EventUp))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	late := t.events(ctx, servers[0])
	first := t.event(late, "server 3 stands somehow", func(e cluster.Event) bool { return e.Peer == 3 })
	want := []cluster.EventKind{cluster.EventAdded, cluster.EventUp, cluster.EventAdded}
	for i, e := range first {
		if len(first) != len(want) || e.Peer != i+1 || e.Kind != want[i] {
			t.Fatalf("a range begins with %v, want that 1 is added, 2 up and 3 added", first)
		}
	}
	cancel()
	t.ends(late, "the context has ended")
	if c, ok := servers[0].(closer); ok {
		if err := t.end(0, c.Close); err != nil {
			t.Errorf("closing server 0: %v", err)
		}
		t.ends(early, "the server has closed")
		t.ends(t.events(context.Background(), servers[0]), "the server had closed before")
	}
}

func testComesBack(t *trial) {
	servers := t.startAll(2)
	need[closer](t, servers[1], "Close() error")
	all := t.events(context.Background(), servers[0])
	t.greet(servers[0], servers[1])
	up := t.event(all, "server 1 is up", isOf(1, cluster.EventUp))
	t.shut(servers[1])
	down := t.event(all, "server 1 is down", isOf(1, cluster.EventDown))
	last := down[len(down)-1]
	if last.Reason == "" {
		t.Errorf("the event %+v does not say why", last)
	}
	if before := up[len(up)-1].Flaps; last.Flaps <= before {
		t.Errorf("when server 1 went down Flaps is %d, and was %d before", last.Flaps, before)
	}
	if c, ok := servers[0].(counter); ok {
		if got := countedBy(c, 1).Flaps; got < last.Flaps {
			t.Errorf("Stats has %d flaps of server 1, and Events have told %d", got, last.Flaps)
		}
	}
	servers[1] = t.start(1)
	t.greet(servers[0], servers[1])
	seen := make(map[cluster.EventKind]cluster.Event)
	t.event(all, "server 1 has started anew, and is up", func(e cluster.Event) bool {
		if e.Peer == 1 {
			seen[e.Kind] = e
		}
		return len(seen) == 2
	})
	again, ok := seen[cluster.EventRestarted]
	if _, is := seen[cluster.EventUp]; !ok || !is {
		t.Fatalf("when server 1 has started anew Events tell %v, want that it has, and that it is up", seen)
	}
	if before := up[len(up)-1].Incarnation; again.Incarnation == 0 || again.Incarnation == before {
		t.Errorf("the incarnation of the new life is %d, and that of the last was %d", again.Incarnation, before)
	}
}

func testSlowReader(t *trial) {
	t.cfg.Peers = t.cfg.Peers[:2]
	servers := t.startAll(2)
	need[closer](t, servers[1], "Close() error")
	quick := t.events(context.Background(), servers[0])
	slow := need[teller](t, servers[0], "Events(context.Context) iter.Seq[cluster.Event]")
	reads, goOn := make(chan bool), make(chan bool)
	waits := make(chan cluster.Event, 1000)
	go func() { // It ends as the server closes.
		defer close(waits)
		first := true
		for e := range slow.Events(context.Background()) {
			if first {
				first = false
				close(reads)
				select {
				case <-goOn:
				case <-t.over:
				}
			} else {
				waits <- e
			}
		}
	}()
	select {
	case <-reads:
	case <-time.After(trialLimit):
		t.Fatalf("Events tell nothing in %v", trialLimit)
	}
	// The other, too, is there before anything happens.
	told := t.event(quick, "how server 1 stands", func(cluster.Event) bool { return true })
	t.greet(servers[0], servers[1])
	told = append(told, t.event(quick, "server 1 is up", isOf(1, cluster.EventUp))...)
	t.shut(servers[1])
	told = append(told, t.event(quick, "server 1 is down", isOf(1, cluster.EventDown))...)
	servers[1] = t.start(1)
	t.greet(servers[0], servers[1])
	told = append(told, t.event(quick, "server 1 is up", isOf(1, cluster.EventUp))...)
	t.shut(servers[1])
	told = append(told, t.event(quick, "server 1 is down", isOf(1, cluster.EventDown))...)
	close(goOn)
	got := t.event(waits, "server 1 is down", isOf(1, cluster.EventDown))
	t.moment()
	for len(waits) > 0 {
		got = append(got, <-waits)
	}
	missed := uint64(len(told) - 1 - len(got)) // the first was read
	for _, e := range told {
		missed += e.Skipped // the other reader may not have kept up either
	}
	skipped := uint64(0)
	for _, e := range got {
		skipped += e.Skipped
	}
	last := slices.IndexFunc(got, isOf(1, cluster.EventDown))
	switch {
	case len(got) > 3:
		t.Errorf("%d events have waited for who did not read, want 3 at most: %v", len(got), got)
	case slices.ContainsFunc(got[last:], isOf(1, cluster.EventUp)):
		t.Errorf("the last that is told is not that server 1 is down: %v", got)
	case skipped != missed:
		t.Errorf("%d events were told to another and not to who did not read, and he is told that he has skipped %d: %v", missed, skipped, got)
	}
}

func testCatalogEvents(t *trial) {
	all := t.cfg.Peers
	t.cfg.Peers = all[:2]
	s := t.start(0) // alone
	catalog := need[catalogued](t, s, "Catalog() *peercatalog.Catalog").Catalog()
	told := t.events(context.Background(), s)
	t.event(told, "server 1 is in the catalogue", isOf(1, cluster.EventAdded))
	other := all[2].Clone()
	other.Observer = true
	for _, step := range []struct {
		what string
		do   func() error
		want cluster.EventKind
	}{
		{"server 2 is added", func() error { return catalog.Create(all[2]) }, cluster.EventAdded},
		{"the entry of server 2 has changed", func() error { return catalog.Put(other) }, cluster.EventChanged},
		{"server 2 is removed", func() error { catalog.Remove(2); return nil }, cluster.EventRemoved},
		{"server 2 is added again", func() error { return catalog.Create(all[2]) }, cluster.EventAdded},
	} {
		began := time.Now()
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		events := t.event(told, step.what, isOf(2, step.want))
		if e := events[len(events)-1]; e.At.Before(began.Add(-trialSlack)) {
			t.Errorf("%s at %v, and Events tell that this was at %v", step.what, began, e.At)
		}
		t.moment()
	}
}
