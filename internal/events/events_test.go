package events

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	epoch     = time.Unix(1000, 0)
	kindNames = [Kinds]string{Up: "up", Down: "down", Restarted: "restarted", Added: "added", Changed: "changed", Removed: "removed"}
)

func (e Event) String() string {
	text := fmt.Sprintf("%d %s", e.Peer, kindNames[e.Kind])
	if e.Skipped > 0 {
		text += fmt.Sprintf(" skipped %d", e.Skipped)
	}
	return text
}

func told(events []Event) (all []string) {
	for _, e := range events {
		all = append(all, e.String())
	}
	return all
}

func expect(t *testing.T, got []Event, want ...string) {
	t.Helper()
	if g := told(got); !slices.Equal(g, want) {
		t.Errorf("it tells %q, want %q", g, want)
	}
}

func TestDownIsToldAtOnceAndUpAfterAHoldThatDoublesPerFlap(t *testing.T) {
	var d Damper
	now := epoch
	if !d.Up(now) {
		t.Error("the first time that it is up is not told at once")
	}
	for i, want := range []time.Duration{HoldLeast, 2 * HoldLeast, 4 * HoldLeast, 8 * HoldLeast, 16 * HoldLeast, 32 * HoldLeast, HoldMost, HoldMost} {
		now = now.Add(time.Second)
		if !d.Down(now) || d.Down(now) {
			t.Fatalf("flap %d: that it is down is not told, or told twice", i)
		}
		if d.Up(now) || d.Due() != now.Add(want) || d.Overdue(now.Add(want-1)) {
			t.Fatalf("flap %d: up is told after %v, want %v", i, d.Due().Sub(now), want)
		}
		now = now.Add(want)
		if !d.Overdue(now) || d.Overdue(now) || d.Told != ToldUp {
			t.Fatalf("flap %d: up is not told when it is due, or told twice", i)
		}
		if d.Flaps != uint64(i)+1 {
			t.Errorf("%d flaps are counted, want %d", d.Flaps, i+1)
		}
	}
	now = now.Add(Steady)
	d.Down(now)
	d.Up(now)
	if got := d.Due().Sub(now); got != HoldLeast {
		t.Errorf("after it was up for %v the hold is %v, want %v", Steady, got, HoldLeast)
	}
}

func TestAPeerThatIsDownAgainWithinItsHoldIsNotToldToBeUp(t *testing.T) {
	var d Damper
	d.Up(epoch)
	d.Down(epoch)
	for i := range 5 {
		now := epoch.Add(time.Duration(i) * 100 * time.Millisecond)
		if d.Up(now) || d.Down(now.Add(50*time.Millisecond)) || d.Overdue(now.Add(time.Hour)) {
			t.Fatal("something is told")
		}
	}
	if d.Flaps != 6 || !d.Due().IsZero() {
		t.Errorf("%d flaps, due at %v", d.Flaps, d.Due())
	}
}

// Why a peer is down may be known better later. It is told once that it is down; who asks then is told the latest reason that is known.
func TestTheLatestReasonWhyAPeerIsDownIsKept(t *testing.T) {
	var b Board
	b.Add(1, epoch)
	reason := func() string { return b.Present()[0].Reason }
	if all := b.Reach(1, false, "its connection broke", epoch); len(all) != 1 || all[0].Reason != "its connection broke" {
		t.Fatalf("it tells %+v", all)
	}
	later := epoch.Add(time.Second)
	if all := b.Reach(1, false, "no route to host", later); len(all) > 0 || reason() != "no route to host" {
		t.Errorf("it tells %+v, and that it is down since %q", all, reason())
	}
	if b.Reach(1, false, "", later); reason() != "no route to host" {
		t.Errorf("nothing more is known, and it is down since %q", reason())
	}
	if all := b.Present(); !all[0].At.Equal(epoch) {
		t.Errorf("it is down since %v", all[0].At)
	}
	var up Board // it is up for too short to be told, and down again
	up.Add(1, epoch)
	up.Reach(1, true, "", epoch)
	up.Reach(1, false, "its connection broke", epoch)
	up.Reach(1, true, "", epoch)
	if up.Reach(1, false, "", later); up.Present()[0].Reason != "" {
		t.Errorf("it was up meanwhile, and is down for %q", up.Present()[0].Reason)
	}
}

func TestAPeerThatWasNeverUpIsToldToBeUpAtOnce(t *testing.T) {
	var d Damper
	if !d.Down(epoch) || !d.Up(epoch) || d.Flaps != 0 {
		t.Errorf("%+v", d)
	}
}

func TestAMailboxKeepsTheLatestOfEachClassAndCountsTheRest(t *testing.T) {
	var m Mailbox
	for _, e := range []Event{
		{Peer: 1, Kind: Up}, {Peer: 2, Kind: Up}, {Peer: 1, Kind: Down}, {Peer: 1, Kind: Restarted}, {Peer: 1, Kind: Up},
		{Peer: 3, Kind: Added}, {Peer: 3, Kind: Up}, {Peer: 3, Kind: Down}, {Peer: 3, Kind: Removed}, {Peer: 2, Kind: Changed},
	} {
		m.Put(e)
	}
	var got []Event
	for e, ok := m.Next(); ok; e, ok = m.Next() {
		got = append(got, e)
	}
	expect(t, got, "2 up", "1 restarted", "1 up skipped 2", "3 removed skipped 3", "2 changed")
	if len(m.of) != 0 {
		t.Errorf("%d are left", len(m.of))
	}
}

// A reader that reads now and then knows at the end how each peer stands, and with what was skipped how much has happened.
func TestAReaderNeverMissesTheLatestState(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var b Board
		var m Mailbox
		var put, read uint64
		link := make(map[int]Kind)
		life := make(map[int]uint64)
		listed := make(map[int]bool)
		now := epoch
		take := func(all []Event) {
			for _, e := range all {
				put++
				m.Put(e)
			}
		}
		next := func() bool {
			e, ok := m.Next()
			if !ok {
				return false
			}
			read += 1 + e.Skipped
			switch e.Kind {
			case Up, Down:
				link[e.Peer] = e.Kind
			case Restarted:
				life[e.Peer] = e.Incarnation
			case Added, Removed: // and what was known of it is known no more, but for who was heard last
				listed[e.Peer] = e.Kind == Added
				delete(link, e.Peer)
				life[e.Peer] = e.Incarnation
			}
			return true
		}
		most := 0
		for i := range uint64(200) {
			id := rng.IntN(4)
			now = now.Add(time.Duration(rng.IntN(300)) * time.Millisecond)
			take(b.Overdue(now))
			switch p := b.peers[id]; {
			case p == nil || !p.listed:
				take(b.Add(id, now))
			case rng.IntN(20) == 0:
				take(b.Remove(id, now))
			case rng.IntN(10) == 0:
				take(b.Life(id, i+1, false, now))
			default:
				take(b.Reach(id, rng.IntN(2) == 0, "", now))
			}
			most = max(most, m.pending.Len())
			for rng.IntN(3) == 0 && next() {
			}
		}
		for next() {
		}
		if put != read || most > 4*int(classes) {
			t.Fatalf("seed %d: %d events, %d read or skipped, %d pending at most", seed, put, read, most)
		}
		for id := range 4 {
			p := b.peers[id]
			if listed[id] != (p != nil && p.listed) {
				t.Fatalf("seed %d: peer %d is listed: %v", seed, id, listed[id])
			}
			if p == nil {
				continue
			}
			if k, known := link[id]; known != (p.damper.Told != Nothing) || known && (k == Up) != (p.damper.Told == ToldUp) {
				t.Fatalf("seed %d: peer %d is %v for the reader, and %v", seed, id, k, p.damper.Told)
			}
			if life[id] != p.incarnation {
				t.Fatalf("seed %d: peer %d: life %d, want %d", seed, id, life[id], p.incarnation)
			}
		}
	}
}

func TestABoardTellsWhatHappensAndHowThingsStand(t *testing.T) {
	var b Board
	now := epoch
	expect(t, b.Reach(1, true, "", now)) // before the catalogue is looked at
	expect(t, b.Life(1, 7, true, now))
	expect(t, b.Add(1, now), "1 added", "1 up")
	expect(t, b.Add(2, now), "2 added")
	expect(t, b.Present(), "1 up", "2 added")
	down := b.Reach(1, false, "it broke", now)
	expect(t, down, "1 down")
	if down[0].Reason != "it broke" || down[0].Incarnation != 7 || down[0].Flaps != 1 {
		t.Errorf("%+v", down[0])
	}
	expect(t, b.Life(1, 8, false, now), "1 restarted")
	expect(t, b.Reach(1, true, "", now))
	now = b.Due()
	expect(t, b.Overdue(now), "1 up")
	if b.Flaps(1) != 1 || b.Flaps(2) != 0 || !b.Due().IsZero() {
		t.Errorf("flaps %d and %d, due at %v", b.Flaps(1), b.Flaps(2), b.Due())
	}
	expect(t, b.Change(2, now), "2 changed")
	expect(t, b.Remove(1, now), "1 removed")
	expect(t, b.Add(1, now), "1 added") // nothing is known of it any more, but for who was heard last
	if again := b.Reach(1, true, "", now); len(again) != 1 || again[0].Incarnation != 8 || again[0].Flaps != 0 {
		t.Errorf("%+v", again)
	}
	b.Remove(2, now)
	expect(t, b.Add(2, now), "2 added")
	expect(t, b.Present(), "1 up", "2 added")
}
