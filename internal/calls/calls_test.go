package calls

import (
	"testing"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
)

func TestACallEndsOnceAndSaysHow(t *testing.T) {
	reply := Answer{Kind: codec.Reply, Payload: []byte("x")}
	for _, c := range []struct {
		name string
		end  func(p *Peer, c *Call)
		want Outcome
	}{
		{"a reply comes", func(p *Peer, c *Call) { p.Answer(c.Number(), reply) }, Outcome{Answer: reply}},
		{"the link is down", func(p *Peer, _ *Call) { p.End(Down, 7) }, Outcome{End: Down}},
		{"the peer is another life", func(p *Peer, _ *Call) { p.End(Restarted, 8) }, Outcome{End: Restarted}},
		{"it is dropped", func(p *Peer, _ *Call) { p.Drop(stream.TimedOut, 6) }, Outcome{End: Dropped, Dropped: stream.TimedOut}},
		{"a part of it is dropped", func(p *Peer, _ *Call) { p.Tear(stream.TimedOut, 7) }, Outcome{End: Dropped, Dropped: stream.TimedOut}},
		{"it cannot be sent", func(_ *Peer, c *Call) { c.Fail(errTest) }, Outcome{End: Failed, Err: errTest}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := make(chan Outcome, 1)
			p := NewTable(^uint64(0)).Peer(3)
			call := p.Begin(out)
			call.Place(7)
			if !p.Waits() || call.To() != 3 || call.Pending() {
				t.Error("it does not wait")
			}
			c.end(p, call)
			c.want.Call = call
			got := <-out
			if got.Call != call || got.End != c.want.End || got.Dropped != c.want.Dropped || got.Err != c.want.Err || string(got.Answer.Payload) != string(c.want.Answer.Payload) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if _, ok := call.Cancel(); ok || p.Waits() || p.Answer(call.Number(), reply) || p.End(Down, 100) || p.Drop(stream.Closed, 0) || p.Tear(stream.Closed, 7) {
				t.Error("it ends once more")
			}
			call.Fail(errTest)
			if call.Place(8) || call.Pending() || len(out) > 0 || p.Waits() || p.Open() > 0 {
				t.Error("something is left of it")
			}
		})
	}
}

type testError struct{}

func (testError) Error() string { return "test" }

var errTest error = testError{}

// Who is told that its request was not queued may rely on that.
func TestARequestIsNotQueuedAfterItsCallHasEnded(t *testing.T) {
	p := NewTable(0).Peer(1)
	c := p.Begin(make(chan Outcome, 1))
	if p.Answer(c.Number(), Answer{}) {
		t.Error("a request is answered that was not sent")
	}
	if placed, ok := c.Cancel(); placed || !ok {
		t.Errorf("it ends: %v, placed: %v; want that it is not", ok, placed)
	}
	if c.Place(1) || c.Pending() || p.Waits() {
		t.Error("it is queued after that")
	}
	c = p.Begin(make(chan Outcome, 1))
	if !c.Place(2) || c.Pending() {
		t.Error("another is not queued")
	}
	if placed, ok := c.Cancel(); !placed || !ok {
		t.Errorf("it ends: %v, placed: %v; want that it is", ok, placed)
	}
}

func TestOnlyTheCallsThatAreMeantEnd(t *testing.T) {
	table := NewTable(5)
	p, other := table.Peer(1), table.Peer(2)
	if table.Peer(1) != p {
		t.Fatal("a peer is made twice")
	}
	begin := func(p *Peer, place uint64) (*Call, chan Outcome) {
		out := make(chan Outcome, 1)
		c := p.Begin(out)
		if place > 0 {
			c.Place(place)
		}
		return c, out
	}
	_, written := begin(p, 4)
	_, queued := begin(p, 5)
	new, unplaced := begin(p, 0)
	theirs, elsewhere := begin(other, 4)
	if new.Number() == theirs.Number() || !new.Pending() {
		t.Error("two calls have one number, or one is placed that was not")
	}
	if !p.End(Down, 4) || (<-written).End != Down || len(queued)+len(unplaced)+len(elsewhere) > 0 {
		t.Error("with the link, other calls end than those that were written")
	}
	if !p.Drop(stream.Closed, 4) || (<-queued).Dropped != stream.Closed || len(unplaced)+len(elsewhere) > 0 {
		t.Error("with the queue, other calls end than those that are in it")
	}
	if p.Waits() || !other.Waits() || p.Answer(theirs.Number(), Answer{}) || !other.Answer(theirs.Number(), Answer{}) {
		t.Error("one peer answers what another was asked")
	}
	if (*Peer)(nil).Waits() || (*Peer)(nil).End(Down, 9) {
		t.Error("nobody is waited for")
	}
}
