package clustertest

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/peercatalog"
)

// A sourceTrial is one rule put to the test.
type sourceTrial struct {
	testing.TB
	SourcePlace
	impl SourceImplementation
}

func (t *sourceTrial) peer(id, version int) peercatalog.Peer { return t.impl.Peer(id, version) }

// list is a version of the peers with these ids.
func (t *sourceTrial) list(version int, ids ...int) (peers []peercatalog.Peer) {
	for _, id := range ids {
		peers = append(peers, t.peer(id, version))
	}
	return peers
}

// load is what Load returns, which must be no error.
func (t *sourceTrial) load() []peercatalog.Peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), trialLimit)
	defer cancel()
	peers, err := t.Source.Load(ctx)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return peers
}

// expect checks what Load returns.
func (t *sourceTrial) expect(want []peercatalog.Peer) {
	t.Helper()
	if got := t.load(); !samePeers(got, want) {
		t.Errorf("Load has returned %s\nwant %s", listing(got), listing(want))
	}
}

// eventually waits until Load returns these peers.
func (t *sourceTrial) eventually(want []peercatalog.Peer) {
	t.Helper()
	var got []peercatalog.Peer
	var err error
	for deadline := time.Now().Add(trialLimit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		got, err = t.Source.Load(ctx)
		cancel()
		if err == nil && samePeers(got, want) {
			return
		}
	}
	t.Fatalf("in %v Load has not returned %s\nbut last, with the error %v, %s", trialLimit, listing(want), err, listing(got))
}

// samePeers compares two lists without regard to their order.
func samePeers(a, b []peercatalog.Peer) bool {
	sorted := func(peers []peercatalog.Peer) (s []peercatalog.Peer) {
		for _, p := range peers {
			s = append(s, p.Clone()) // an empty Extra is nil
		}
		slices.SortFunc(s, func(p, q peercatalog.Peer) int { return p.ID - q.ID })
		return s
	}
	return reflect.DeepEqual(sorted(a), sorted(b))
}

// listing is a line for each peer.
func listing(peers []peercatalog.Peer) string {
	if len(peers) == 0 {
		return "nobody"
	}
	var b strings.Builder
	for _, p := range peers {
		fmt.Fprintf(&b, "\n\t%d at %s", p.ID, p.Address)
		if p.Bind != "" || p.Observer {
			fmt.Fprintf(&b, ", bind %q, observer %v", p.Bind, p.Observer)
		}
		for _, name := range slices.Sorted(maps.Keys(p.Extra)) {
			fmt.Fprintf(&b, ", %s %s", name, p.Extra[name])
		}
		for _, k := range p.Keys() {
			fmt.Fprintf(&b, ", key %s", k)
		}
	}
	return b.String()
}

// A sourceWatcher follows the source as a node does.
type sourceWatcher struct {
	t       *sourceTrial
	changed chan struct{}
}

// watch begins to watch. It has begun when it returns, and ends with the test.
func (t *sourceTrial) watch() *sourceWatcher {
	t.Helper()
	w := &sourceWatcher{t, make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { // It ends with ctx; the cleanup waits for it.
		defer close(ended)
		for ctx.Err() == nil {
			_ = t.Source.Watch(ctx, w.told) // a reason is no fault: it is called again
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(trialLimit):
			t.Errorf("Watch has not returned in %v after the end of its context", trialLimit)
		}
	})
	w.wait("Watch has begun")
	w.told() // as a node does, who is told loads
	return w
}

// told is the callback of Watch.
func (w *sourceWatcher) told() {
	select {
	case w.changed <- struct{}{}:
	default: // a Load that is to come sees this too
	}
}

// wait waits for a call of changed.
func (w *sourceWatcher) wait(after string) {
	w.t.Helper()
	select {
	case <-w.changed:
	case <-time.After(trialLimit):
		w.t.Fatalf("after %s changed was not called in %v", after, trialLimit)
	}
}

// change makes the place list these peers, and waits until that is known.
func (w *sourceWatcher) change(want []peercatalog.Peer) {
	w.t.Helper()
	w.t.Set(want...)
	w.until(want)
}

// until loads after each call of changed, until it has these peers. What cannot be loaded is tried again.
func (w *sourceWatcher) until(want []peercatalog.Peer) {
	w.t.Helper()
	var got []peercatalog.Peer
	for {
		w.wait(fmt.Sprintf("the place has listed %s\nand Load has returned %s\n", listing(want), listing(got)))
		for {
			ctx, cancel := context.WithTimeout(context.Background(), trialLimit)
			var err error
			got, err = w.t.Source.Load(ctx)
			cancel()
			if err == nil {
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-w.t.Context().Done():
				return
			}
		}
		if samePeers(got, want) {
			return
		}
	}
}
