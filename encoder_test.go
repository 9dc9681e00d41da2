package cluster

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/peercatalog"
)

func TestMessageIDsAreUniqueAcrossServersAndGrow(t *testing.T) {
	seen := make(map[int64]bool)
	for server := range 3 {
		ids := messageIDs{server: int64(server) * (1<<16 - 1) / 2, now: time.Now}
		last := int64(0)
		for range 20_000 { // faster than the clock counts
			id := ids.id(ids.reserve(1))
			if id <= last || seen[id] {
				t.Fatalf("server %d: id %d after %d", server, id, last)
			}
			seen[id], last = true, id
		}
	}
	ids := messageIDs{now: time.Now}
	var mu sync.Mutex
	var all sync.WaitGroup
	clear(seen)
	for range 8 {
		all.Go(func() {
			for range 1000 {
				id := ids.id(ids.reserve(1))
				mu.Lock()
				if seen[id] {
					t.Errorf("id %d comes twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

func TestMessageIDsDoNotLeadTheClockAndLagByFewMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that the clock stands still but for Sleep
		ids := messageIDs{now: time.Now}
		for range 10 {
			for range 1000 {
				ids.reserve(1)
			}
			time.Sleep(time.Second)
			lag := int64(0)
			for i := range 100 * unreadMost {
				time.Sleep(time.Millisecond)
				now := time.Now().UnixMicro()
				reading := ids.reserve(1)
				if reading > now {
					t.Fatalf("the id is of %d µs from now", reading-now)
				}
				if i >= unreadMost {
					lag = max(lag, now-reading)
				}
			}
			if most := unreadMost * time.Millisecond.Microseconds(); lag == 0 || lag > most {
				t.Errorf("ids lag %d µs behind the clock, want at most those of %d messages", lag, unreadMost)
			}
		}
	})
}

func TestIdsThatWereReservedAndNotUsedAreGivenBack(t *testing.T) {
	n := &Node{ids: messageIDs{now: time.Now}}
	n.ids.last.Store(time.Now().Add(time.Hour).UnixMicro()) // the ids run ahead of the clock
	first := n.ids.last.Load()
	var e encoder
	const turns, each = 100, 65
	last := int64(0)
	for range turns {
		for range each {
			id := e.nextID(n)
			if id <= last {
				t.Fatalf("the id %d came after %d", id, last)
			}
			last = id
			e.count++
		}
		e.close(n)
	}
	if used := n.ids.last.Load() - first; used != turns*each {
		t.Errorf("%d ids have moved the clock on by %d", turns*each, used)
	}
	other := new(encoder)
	other.count = each
	e.count = each
	taken := e.nextID(n)
	later := other.nextID(n) // e must not give back what comes before this
	e.close(n)
	if next := e.nextID(n); next <= later || later <= taken {
		t.Errorf("the ids %d, %d and %d were given out in a row", taken, later, next)
	}
}

func TestABatchThatIsLargerThanQueueBytesIsSplit(t *testing.T) {
	for _, last := range []int{outgoing.LargeBytes - 1, 60 << 10} {
		t.Run(fmt.Sprint("last ", last), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := Config{QueueBytes: minQueueBytes, Peers: []peercatalog.Peer{{ID: 0, Address: "mem://split/0"}, {ID: 1, Address: "mem://split/1"}}}
				a, err := NewFromConfig(0, cfg) // 1 is not there
				if err != nil {
					t.Fatal(err)
				}
				defer a.Close()
				enc, w := new(encoder), &outgoing.Waiting{ForRoom: true, Leave: true}
				const small = 61
				for range small {
					a.add(enc, &Envelope{1, 0, make([]byte, 1000)}, w)
				}
				a.add(enc, &Envelope{1, 0, make([]byte, last)}, w)
				if len(enc.open) != 1 {
					t.Fatalf("there are %d batches, want one", len(enc.open))
				}
				l, _ := a.link(1)
				l.Put(&enc.open[0].Batch, w)
				if s := a.Stats().Sent; s.QueueBytes > cfg.QueueBytes || s.Queued != small {
					t.Errorf("%d messages of %d bytes are queued, want %d, and %d bytes at most", s.Queued, s.QueueBytes, small, cfg.QueueBytes)
				}
			})
		})
	}
}
