package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A watcher reads the events of a node beside the test.
type watcher struct {
	mu     sync.Mutex
	events []cluster.Event
	ended  chan struct{}
}

func watchEvents(t *testing.T, n *cluster.Node) *watcher {
	w := &watcher{ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() {
		cancel()
		<-w.ended
	})
	go func() { // The test's cleanup ends it, and waits for it.
		defer close(w.ended)
		for e := range n.Events(ctx) {
			w.mu.Lock()
			w.events = append(w.events, e)
			w.mu.Unlock()
		}
	}()
	return w
}

// all are those so far, as "1 up".
func (w *watcher) all() (told []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		told = append(told, fmt.Sprintf("%d %v", e.Peer, e.Kind))
	}
	return told
}

func (w *watcher) last() cluster.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.events[len(w.events)-1]
}

func (w *watcher) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := w.all(); !slices.Equal(got, want) {
		t.Errorf("it is told %q, want %q", got, want)
	}
}

func TestEventsBeginWithHowThingsStandAndTellWhatBecomesOfAPeer(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		early := watchEvents(t, a)
		synctest.Wait()
		early.expect(t, "1 added", "2 added")
		b := testcluster.Join(t, 1, cfg)
		testcluster.Put(t, a, &cluster.Envelope{1, 0, "hello"})
		time.Sleep(time.Second / 2)
		synctest.Wait()
		early.expect(t, "1 added", "2 added", "1 up")
		if e := early.last(); e.Incarnation != b.Stats().Incarnation || e.Reason != "" || e.Flaps != 0 {
			t.Errorf("%+v", e)
		}
		late := watchEvents(t, a)
		synctest.Wait()
		late.expect(t, "1 up", "2 added")
		b.Close()
		time.Sleep(time.Second)
		synctest.Wait()
		late.expect(t, "1 up", "2 added", "1 down")
		if e := late.last(); !strings.Contains(e.Reason, "connection broke") || e.Flaps != 1 || testcluster.StatsOf(a, 1).Flaps != 1 {
			t.Errorf("%+v", e)
		}
		b = testcluster.Join(t, 1, cfg)
		testcluster.Put(t, b, &cluster.Envelope{0, 0, "hello"})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		late.expect(t, "1 up", "2 added", "1 down", "1 restarted", "1 up")
		if e := late.last(); e.Incarnation != b.Stats().Incarnation || e.Flaps != 1 {
			t.Errorf("%+v", e)
		}
		changed, _ := a.Catalog().Get(2)
		changed.Observer = true
		if err := a.Catalog().Put(changed); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a.Catalog().Remove(1)
		synctest.Wait()
		if err := a.Catalog().Put(peercatalog.Peer{ID: 7, Address: "mem://elsewhere/7"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := late.all()[5:]; !slices.Equal(got, []string{"2 changed", "1 removed", "7 added"}) {
			t.Errorf("the catalogue's changes are told as %q", got)
		}
		if got := early.all(); !slices.Equal(got[3:], late.all()[2:]) {
			t.Errorf("one reader is told %q, another %q", got[3:], late.all()[2:])
		}
	})
}

func await[T any](t *testing.T, what string, c <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(testcluster.Limit):
		t.Fatalf("not in %v: %s", testcluster.Limit, what)
	}
	return got
}

func TestEventsEndWithTheirContextAndWithTheNode(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan string, 3)
		read := func(name string, ctx context.Context) {
			for range a.Events(ctx) {
			}
			ended <- name
		}
		go read("with its context", ctx)
		go read("with the node", t.Context())
		synctest.Wait()
		cancel()
		if got := await(t, "the first end", ended); got != "with its context" {
			t.Errorf("the first to end is the one %s", got)
		}
		go a.Close() // The test's cleanup waits for it.
		if got := await(t, "the second end", ended); got != "with the node" {
			t.Errorf("the second to end is the one %s", got)
		}
		read("after the node", t.Context())
		<-ended
	})
}

func TestASlowReaderOfEventsHoldsNobodyUpAndMissesNoLatestState(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		goOn := make(chan struct{})
		got := make(chan cluster.Event, 100)
		first := true
		go func() { // It ends with the node.
			defer close(got)
			for e := range a.Events(context.Background()) {
				got <- e
				if first {
					first = false
					<-goOn
				}
			}
		}()
		flaps := 5
		for range flaps {
			b := testcluster.Join(t, 1, cfg)
			testcluster.Put(t, a, &cluster.Envelope{1, 0, "hello"})
			time.Sleep(30 * time.Second)
			b.Close()
			time.Sleep(10 * time.Second)
		}
		close(goOn)
		synctest.Wait()
		go a.Close() // The test's cleanup waits for it.
		var told []string
		var last cluster.Event
		for e := range got {
			told, last = append(told, fmt.Sprint(e.Kind)), e
		}
		if len(told) > 4 || last.Kind != cluster.EventDown || last.Skipped != uint64(2*flaps-1) || last.Flaps != uint64(flaps) {
			t.Errorf("it is told %q, at last %+v", told, last)
		}
	})
}

func TestAPeerThatIsNeverSentToIsWatchedWhereTheProgramAsks(t *testing.T) {
	for _, watch := range []bool{false, true} {
		testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
			b := testcluster.Join(t, 1, cfg) // which sends nothing either
			cfg.Watch, cfg.WatchInterval = watch, 500*time.Millisecond
			a := testcluster.Join(t, 0, cfg)
			w := watchEvents(t, a)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if !watch {
				w.expect(t, "1 added", "2 added")
				return
			}
			w.expect(t, "1 added", "2 added", "1 up", "2 down") // 2 does not run
			b.Close()
			time.Sleep(time.Second)
			synctest.Wait()
			w.expect(t, "1 added", "2 added", "1 up", "2 down", "1 down")
			testcluster.Join(t, 2, cfg)
			time.Sleep(time.Second)
			synctest.Wait()
			w.expect(t, "1 added", "2 added", "1 up", "2 down", "1 down", "2 up")
		})
	}
}

func TestAPeerThatIsWatchedAndFallsSilentIsDownWithinFourIntervals(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.Watch, cfg.WatchInterval = true, time.Second
		a, p := testcluster.Join(t, 0, cfg), testcluster.NewFakePeer(t, 1, cfg)
		w := watchEvents(t, a)
		asked := 0
		for began := time.Now(); time.Since(began) < 10*time.Second; {
			if h, _, ok := p.Next(time.Second / 10); ok && h.Flags&wire.FlagAckNow != 0 {
				asked++
				p.Send(0, cfg, wire.Header{AckIncarnation: a.Stats().Incarnation, Ack: wire.Position{Seq: 1}}, nil)
			}
		}
		if asked < 9 || asked > 14 {
			t.Errorf("it was asked %d times in 10 s", asked)
		}
		synctest.Wait()
		began := time.Now()
		w.expect(t, "1 added", "1 up")
		for w.last().Kind == cluster.EventUp && time.Since(began) < testcluster.Limit {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		if d := time.Since(began); w.last().Kind != cluster.EventDown || d > 4*time.Second+100*time.Millisecond || d < 3*time.Second {
			t.Errorf("after %v it is %v", d, w.last())
		}
	})
}

// Making its connection afresh again and again, as for a peer that never runs, gives it no more time.
func TestAPeerThatIsWatchedAndNeverRunsIsDownHoweverLongTheInterval(t *testing.T) {
	for _, interval := range []time.Duration{time.Second, 3 * time.Second, time.Minute} {
		testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
			cfg.Watch, cfg.WatchInterval = true, interval
			w := watchEvents(t, testcluster.Join(t, 0, cfg))
			time.Sleep(4 * interval)
			synctest.Wait()
			w.expect(t, "1 added", "1 down")
		})
	}
}

// Which incarnation was heard last is known of a server that comes back, as it is that it can be reached.
func TestAPeerThatIsRemovedAndAddedAgainIsToldToBeUp(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		testcluster.Put(t, a, &cluster.Envelope{1, 0, "hello"})
		w := watchEvents(t, a)
		time.Sleep(time.Second)
		peer, _ := a.Catalog().Get(1)
		a.Catalog().Remove(1)
		synctest.Wait()
		if err := a.Catalog().Put(peer); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := w.all(); !slices.Equal(got[len(got)-3:], []string{"1 removed", "1 added", "1 up"}) {
			t.Errorf("it is told %q", got)
		}
		if e := w.last(); e.Incarnation != b.Stats().Incarnation {
			t.Errorf("the incarnation is %d, want %d", e.Incarnation, b.Stats().Incarnation)
		}
	})
}
