package hashicorp_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

// ask sends a request in each of the two ways, and returns what becomes of it.
var ask = map[string]func(*testing.T, *hashicorp.Transport) <-chan error{
	"AppendEntries": func(t *testing.T, a *hashicorp.Transport) <-chan error {
		return result(func() error { return a.AppendEntries("1", "1", entry(1), new(raft.AppendEntriesResponse)) })
	},
	"a pipeline": func(t *testing.T, a *hashicorp.Transport) <-chan error {
		return result(push(t, pipe(t, a), 1).Error)
	},
}

// fails wants a request to fail before its deadline, which is the test's.
func fails(t *testing.T, done <-chan error, because string) {
	t.Helper()
	if err := outcome(t, done); err == nil || !strings.Contains(err.Error(), because) {
		t.Errorf("the request ended with %v, want an error that says %q", err, because)
	}
}

func TestARequestFailsWhenItsServerIsFoundDown(t *testing.T) {
	for name, begin := range ask {
		t.Run(name, func(t *testing.T) {
			a, b, nodes := pair(t, hashicorp.Config{Timeout: 2 * deadline}, hasty)
			done := begin(t, a)
			next(t, b) // and is not answered
			b.Close()
			nodes[1].Close()
			fails(t, done, "server 1 is down; it may have seen the AppendEntries")
		})
	}
}

// A reborn is a server 1 that a transport of server 0 has heard from, and that can start anew.
type reborn struct {
	a     *hashicorp.Transport
	b     *hashicorp.Transport // of the server's present life
	from  *cluster.Node        // server 0
	node  *cluster.Node
	cfg   cluster.Config
	began time.Time // the present life, unless it is the first
	heard chan error
}

func newReborn(t *testing.T) *reborn {
	r := &reborn{heard: make(chan error, 10)}
	other := func(*cluster.Envelope) { r.heard <- nil }
	a, b, nodes := pair(t, hashicorp.Config{Timeout: 2 * deadline, Other: other}, hasty, func(c *cluster.Config) { r.cfg = *c })
	r.a, r.b, r.from, r.node = a, b, nodes[0], nodes[1]
	r.speak(t)
	return r
}

// speak has the server heard.
func (r *reborn) speak(t *testing.T) {
	t.Helper()
	if err := r.node.Send(t.Context(), &cluster.Envelope{Pid: 0, Msg: "hello"}); err != nil {
		t.Fatal(err)
	}
	outcome(t, r.heard)
}

func (r *reborn) restart(t *testing.T) {
	t.Helper()
	r.b.Close()
	r.node.Close()
	r.began = time.Now()
	node, err := cluster.NewFromConfig(1, r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { node.Close() })
	r.node, r.b = node, open(t, node, hashicorp.Config{})
	r.speak(t)
}

// reached waits until the server's present life has answered server 0, so that its link is up again.
func (r *reborn) reached(t *testing.T) {
	t.Helper()
	up := func(p cluster.PeerStats) bool {
		return p.ID == 1 && p.State == cluster.LinkUp && p.LastAcknowledged.After(r.began)
	}
	for end := time.Now().Add(deadline); !slices.ContainsFunc(r.from.Stats().Peers, up); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the link to server 1 is not up in %v:\n%v", deadline, r.from.Stats())
		}
	}
}

// Also if all that happens before anybody has looked at the request for the first time.
func TestARequestFailsWhenItsServerHasStartedAnew(t *testing.T) {
	hashicorp.SetWatchInterval(t, 5*time.Second)
	for name, begin := range ask {
		t.Run(name, func(t *testing.T) {
			r := newReborn(t)
			done := begin(t, r.a)
			next(t, r.b) // and is not answered
			r.restart(t)
			fails(t, done, "server 1 has started anew; it may have seen the AppendEntries before")
		})
	}
}

func TestARequestToAServerThatHadStartedAnewBeforeIsWaitedFor(t *testing.T) {
	const interval = 20 * time.Millisecond
	hashicorp.SetWatchInterval(t, interval)
	for name, begin := range ask {
		t.Run(name, func(t *testing.T) {
			r := newReborn(t)
			for range 2 {
				r.restart(t)
				r.reached(t)
				time.Sleep(2 * interval) // what was known before that is old
				done := begin(t, r.a)
				rpc := next(t, r.b)
				time.Sleep(5 * interval)
				rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
				if err := outcome(t, done); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Raft asks for a vote once in each election, and the new life may be the one that was asked.
func TestAVoteDoesNotFailBecauseItsServerHasStartedAnew(t *testing.T) {
	const interval = 20 * time.Millisecond
	hashicorp.SetWatchInterval(t, interval)
	r := newReborn(t)
	done := vote(r.a)
	next(t, r.b) // and is not answered
	r.restart(t)
	select {
	case err := <-done: // on a slow machine it may have been down for a while
		if err == nil || !strings.Contains(err.Error(), "server 1 is down") {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(5 * interval):
		r.a.Close()
		outcome(t, done)
	}
}
