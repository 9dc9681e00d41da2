package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var sourceRules = []sourceRule{
	{
		name: "String names the source",
		text: "Logs and errors say where the servers come from.",
		run: func(t *sourceTrial) {
			if t.Source.String() == "" {
				t.Error("String is empty")
			}
		},
	},
	{
		name: "Load returns every peer with all of its fields",
		text: "Load returns all peers that there are, each as it was listed, with the program's own fields.",
		run:  func(t *sourceTrial) { t.expect(t.list(0, 0, 1, 2)) },
	},
	{
		name: "Load returns what there is now",
		text: "What Load returns is what the place lists when it is called: nothing older.",
		run: func(t *sourceTrial) {
			for version := range 5 {
				want := t.list(version, 0, 1, 2)
				t.Set(want...)
				t.expect(want)
			}
		},
	},
	{
		name: "what Load returns belongs to the caller",
		text: "The caller may change what Load has returned. It shares no memory with what others get.",
		run: func(t *sourceTrial) {
			for _, p := range t.load() {
				for _, value := range p.Extra {
					copy(value, "######")
				}
				if p.Extra != nil {
					p.Extra["added"] = json.RawMessage("1")
				}
			}
			clear(t.load())
			t.expect(t.list(0, 0, 1, 2))
		},
	},
	{
		name: "Load ends with its context",
		text: "Load blocks no longer than until its context ends. Then it returns an error, if it cannot say who there is.",
		run:  testLoadEnds,
	},
	{
		name:   "what cannot be read is an error",
		text:   "While the place cannot be read Load returns an error: no empty list, nothing of what it knew before.",
		breaks: true,
		run: func(t *sourceTrial) {
			t.expect(t.list(0, 0, 1, 2))
			t.Break()
			ctx, cancel := context.WithTimeout(context.Background(), trialLimit)
			defer cancel()
			if peers, err := t.Source.Load(ctx); err == nil {
				t.Errorf("Load has returned %v, and no error", peers)
			}
			t.Mend()
			t.eventually(t.list(0, 0, 1, 2))
		},
	},
	{
		name: "Watch begins with a call of changed",
		text: "Watch calls changed once it watches, so that a change between a Load and the Watch is not missed.",
		run: func(t *sourceTrial) {
			t.load()
			want := t.list(1, 0, 1, 2)
			t.Set(want...)
			t.watch().until(want)
		},
	},
	{
		name: "Watch tells of each change",
		text: "Watch calls changed when peers are added, are others, or are removed.",
		run: func(t *sourceTrial) {
			w := t.watch()
			for version := range 3 {
				w.change(t.list(version, 0, 1, 2))
				if !t.impl.FixedIDs {
					w.change(append(t.list(version, 0, 1, 2), t.peer(7, version)))
					w.change(t.list(version, 0, 2, 7))
				}
			}
		},
	},
	{
		name: "the last of many changes is not missed",
		text: "However quickly changes follow one another, changed is called after the last of them.",
		run: func(t *sourceTrial) {
			w := t.watch()
			for round := range 3 {
				for version := range 20 {
					t.Set(t.list(20*round+version, 0, 1, 2)...)
				}
				w.until(t.list(20*round+19, 0, 1, 2))
			}
		},
	},
	{
		name: "several may watch at once",
		text: "Several nodes may follow one Source: each is told of each change.",
		run: func(t *sourceTrial) {
			watchers := []*sourceWatcher{t.watch(), t.watch(), t.watch()}
			for version := range 3 {
				want := t.list(version+1, 0, 1, 2)
				t.Set(want...)
				for _, w := range watchers {
					w.until(want)
				}
			}
		},
	},
	{
		name: "Watch ends with its context",
		text: "Watch returns the error of its context once that has ended, and calls changed no more.",
		run:  testWatchEnds,
	},
	{
		name:   "a change while the place cannot be read is not missed",
		text:   "Where the place could not be read for a while, what changed meanwhile is told: by changed, or by Watch called again after it has returned.",
		breaks: true,
		run: func(t *sourceTrial) {
			w := t.watch()
			w.until(t.list(0, 0, 1, 2))
			for version := range 3 {
				t.Break()
				want := t.list(version+1, 0, 1, 2)
				t.Set(want...)
				time.Sleep(outage)
				t.Mend()
				w.until(want)
			}
		},
	},
}

// outage is for how long a place cannot be read where that has to be noticed.
const outage = 100 * time.Millisecond

func testLoadEnds(t *sourceTrial) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if !within(trialLimit, func() {
		if peers, err := t.Source.Load(ended); err == nil && len(peers) != 3 {
			t.Errorf("with a context that has ended Load has returned %v, and no error", peers)
		}
	}) {
		t.Fatalf("with a context that has ended Load has not returned in %v", trialLimit)
	}
	if t.Break == nil {
		return
	}
	t.Break()
	defer t.Mend()
	soon, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if !within(trialLimit, func() { _, _ = t.Source.Load(soon) }) {
		t.Errorf("Load of what cannot be read has not returned in %v, though its context ended after 50 ms", trialLimit)
	}
}

func testWatchEnds(t *sourceTrial) {
	for _, broken := range []bool{false, true} {
		if broken && t.Break == nil {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var calls atomic.Int64
		begun := make(chan struct{})
		var once sync.Once
		ended := make(chan error, 1)
		go func() { // It ends with Watch, for which the rule waits.
			ended <- t.Source.Watch(ctx, func() {
				calls.Add(1)
				once.Do(func() { close(begun) })
			})
		}()
		select {
		case <-begun:
		case <-time.After(trialLimit):
			t.Fatalf("changed was not called in %v", trialLimit)
		}
		if broken {
			t.Break()
			defer t.Mend()
		}
		cancel()
		select {
		case err := <-ended:
			if !broken && !errors.Is(err, context.Canceled) {
				t.Errorf("Watch has returned %v, want the error of its context", err)
			}
		case <-time.After(trialLimit):
			t.Fatalf("Watch has not returned in %v after the end of its context (the place is broken: %v)", trialLimit, broken)
		}
		before := calls.Load()
		t.Set(t.list(1, 0, 1, 2)...)
		time.Sleep(50 * time.Millisecond) // that something does not happen has no event to wait for
		if now := calls.Load(); now != before {
			t.Errorf("changed was called %d times after Watch had returned", now-before)
		}
	}
}
