package clustertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster"
)

var deliverRules = []rule{
	{
		"Deliver returns nil once the message is in Inbox",
		"Deliver is for who wants to know. Its nil says that the receiver, which may be the sender itself, has decoded the message and put it into its Inbox; so it waits while that is full.",
		testDeliver,
	},
	{
		"what was delivered can be taken though its server has closed",
		"A message for which Deliver has returned nil is in the receiver's Inbox, and what that holds can still be taken after Close.",
		testDeliveredStays,
	},
	{
		"Deliver tells what the receiver has refused",
		"A message that its receiver finds too large, or cannot decode, was certainly not delivered: the error is a RefusedError, and ErrTooLarge or ErrNotEncodable, and not ErrUnconfirmed. It is that of this message, and of none beside it.",
		testDeliverRefused,
	},
	{
		"Deliver tells what was certainly not delivered",
		"What is for nobody or cannot be sent, what a closed server or one whose context has ended is asked to deliver, and what is for a server that is not there never arrives, and the error says so: it is one of those of Send, and not ErrUnconfirmed.",
		testNotDelivered,
	},
	{
		"Deliver tells when nobody knows",
		"If Deliver returns before it is known what becomes of the message, since its context ends, its server closes or the receiver starts anew, the error is ErrUnconfirmed, and that of the context. What is neither nil nor ErrUnconfirmed does not arrive.",
		testUnconfirmed,
	},
	{
		"what Send and Deliver send keeps one order",
		"What one goroutine passes to Send and to Deliver, one after another, arrives in that order, each message once.",
		testDeliverOrder,
	},
	{
		"Deliver to several names those that it did not reach",
		"To all or to a group, nil means each of them. The error joins a PeerError for each server that is not known to have the message, and for no other: those that can be reached get it.",
		testDeliverSeveral,
	},
}

type deliverer interface {
	Deliver(ctx context.Context, env *cluster.Envelope) error
}

// delivers is the server with Deliver, once the others have confirmed what is delivered to them. Where servers do not confirm, the rule is skipped.
func (t *trial) delivers(from cluster.Server, to ...cluster.Server) deliverer {
	t.Helper()
	d := need[deliverer](t, from, "Deliver(context.Context, *cluster.Envelope) error")
	for _, s := range to {
		const question = "do you confirm?"
		t.eventually("a server that is there confirms", func() bool { // A SendTimeout that is short may be too short for the first question.
			err := t.deliver(context.Background(), d, &cluster.Envelope{Pid: s.Pid(), Msg: question})
			if errors.Is(err, cluster.ErrUnsupported) {
				t.skip("the servers do not confirm what is delivered to them: Deliver returns ErrUnsupported")
			} else if err != nil && !errors.Is(err, cluster.ErrTimedOut) && !errors.Is(err, cluster.ErrUnreachable) {
				t.Fatalf("Deliver to server %d, which is there: %v", s.Pid(), err)
			}
			return err == nil
		})
		t.expect(s, from.Pid(), question)
	}
	return d
}

// deliver is what Deliver returns, for which it has time enough.
func (t *trial) deliver(ctx context.Context, d deliverer, e *cluster.Envelope) (err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, trialLimit)
	defer cancel()
	if !within(trialLimit+trialSlack, func() { err = d.Deliver(ctx, e) }) {
		t.Fatalf("Deliver has not returned %v after its context ended", trialSlack)
	}
	return err
}

// spare is how many envelopes what stands between a server and its program may hold, beside Inbox.
const spare = 2

func testDeliver(t *trial) {
	const count = 20
	t.cfg.InboxSize, t.cfg.SendTimeout = 1, trialLimit
	servers := t.startAll(2)
	for _, to := range []cluster.Server{servers[1], servers[0]} {
		d := t.delivers(servers[0], to)
		var told atomic.Int64
		failed := make(chan error, 1)
		go func() { // It ends with the last message, or with the trial: then the server closes.
			defer close(failed)
			for i := range count {
				if err := d.Deliver(context.Background(), &cluster.Envelope{Pid: to.Pid(), Msg: i}); err != nil {
					failed <- err
					return
				}
				told.Add(1)
			}
		}()
		t.eventually("the Inbox is full", func() bool { return len(to.Inbox()) == 1 })
		t.moment()
		for i := range count {
			if got := int(told.Load()); got > i+1+spare {
				t.Fatalf("Deliver to server %d has returned nil for %d messages, of which %d are taken, and Inbox holds 1", to.Pid(), got, i)
			}
			t.expect(to, 0, i)
		}
		if err := <-failed; err != nil {
			t.Errorf("Deliver to server %d: %v", to.Pid(), err)
		}
		t.nothing(to)
	}
}

// moment waits a little, for what should not happen.
func (t *trial) moment() { <-time.After(20 * time.Millisecond) }

func testDeliveredStays(t *trial) {
	const count = 50
	servers := t.startAll(2)
	need[closer](t, servers[1], "Close() error")
	d := t.delivers(servers[0], servers[1])
	for i := range count {
		m := manner{size: []int{smallSize, batchSize}[i%2]}
		if err := t.deliver(context.Background(), d, &cluster.Envelope{Pid: 1, Msg: m.message(i)}); err != nil {
			t.Fatalf("Deliver: %v", err)
		}
	}
	t.shut(servers[1])
	for i := range count {
		if got := number(t.take(servers[1]).Msg); got != i {
			t.Fatalf("after Close, message %d comes instead of message %d, which was delivered", got, i)
		}
	}
}

// A trialRiddle can be encoded, and not decoded.
type trialRiddle struct{ Text string }

func (r trialRiddle) MarshalBinary() ([]byte, error) { return []byte(r.Text), nil }
func (*trialRiddle) UnmarshalBinary([]byte) error    { return errors.New("nobody can read this") }

func init() { cluster.Register("clustertest.trialRiddle", trialRiddle{}) }

func testDeliverRefused(t *trial) {
	a := t.start(0)
	t.cfg.MaxMessageBytes = 1000
	b := t.start(1)
	d := t.delivers(a, b)
	refused := func(err, want error) string {
		var refusal *cluster.RefusedError
		var peer *cluster.PeerError
		switch {
		case errors.Is(err, cluster.ErrUnconfirmed):
			return fmt.Sprintf("it is %v, and certainly was not delivered", err)
		case !errors.As(err, &refusal) || !errors.Is(err, want):
			return fmt.Sprintf("got %v, want a RefusedError that is %v", err, want)
		case !errors.As(err, &peer) || peer.Peer != 1:
			return fmt.Sprintf("%v is no PeerError of server 1", err)
		}
		return ""
	}
	messages := []struct {
		msg  any
		want error
	}{
		{make([]byte, 1001), cluster.ErrTooLarge}, {make([]byte, 50_000), cluster.ErrTooLarge}, {make([]byte, 300_000), cluster.ErrTooLarge},
		{trialRiddle{"x"}, cluster.ErrNotEncodable},
	}
	for i, m := range messages {
		if wrong := refused(t.deliver(context.Background(), d, &cluster.Envelope{Pid: 1, Msg: m.msg}), m.want); wrong != "" {
			t.Errorf("a %T that the receiver has to refuse: %s", m.msg, wrong)
		}
		if err := t.deliver(context.Background(), d, &cluster.Envelope{Pid: 1, Msg: i}); err != nil {
			t.Errorf("the message after it: %v", err)
		}
		t.expect(b, 0, i)
	}
	if err := t.deliver(context.Background(), d, &cluster.Envelope{Pid: 0, Msg: trialRiddle{"x"}}); !errors.Is(err, cluster.ErrNotEncodable) || errors.Is(err, cluster.ErrUnconfirmed) {
		t.Errorf("to oneself, what cannot be decoded: got %v, want %v", err, cluster.ErrNotEncodable)
	}
	// Many at a time, of which each is told of itself.
	const count = 30
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			e := &cluster.Envelope{Pid: 1, Msg: i}
			if i%3 == 0 {
				e.Msg = trialRiddle{"y"}
			}
			err := d.Deliver(context.Background(), e)
			if i%3 != 0 && err != nil {
				t.Errorf("one beside some that are refused: %v", err)
			} else if wrong := refused(err, cluster.ErrNotEncodable); i%3 == 0 && wrong != "" {
				t.Errorf("one of many that are refused: %s", wrong)
			}
		})
	}
	for range count - count/3 {
		t.take(b)
	}
	if !within(trialLimit, all.Wait) {
		t.Fatalf("of %d calls of Deliver not all have returned in %v", count, trialLimit)
	}
	t.nothing(b)
	t.nothing(a)
}

func testDeliverOrder(t *trial) {
	t.cfg.Peers = t.cfg.Peers[:2]
	servers := t.startAll(2)
	a := need[sender](t, servers[0], "Send(context.Context, *cluster.Envelope) error")
	d := t.delivers(servers[0], servers[1])
	manners := t.manners(servers[0], 1, []int{1})
	const rounds = 10
	failed := make(chan error, 1)
	go func() { // It ends with the last message, or with the trial: then the server closes.
		defer close(failed)
		for i := range rounds * len(manners) {
			m := manners[i%len(manners)]
			send := a.Send
			if i%4 == 3 {
				send = d.Deliver
			}
			if err := send(context.Background(), &cluster.Envelope{Pid: m.to, Msg: m.message(i)}); err != nil {
				failed <- err
				return
			}
		}
	}()
	for i := range rounds * len(manners) {
		if got := number(t.take(servers[1]).Msg); got != i {
			t.Fatalf("server 1 received message %d instead of message %d, a %s", got, i, manners[i%len(manners)].name)
		}
	}
	if err := <-failed; err != nil {
		t.Errorf("sending: %v", err)
	}
	t.nothing(servers[1])
}
