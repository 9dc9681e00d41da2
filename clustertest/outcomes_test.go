package clustertest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// A telling is a history of what server 0 passes to Deliver and to Send, for server 1 or for others.
type telling struct {
	clustertest.History
	sent []*cluster.Envelope
}

// send is told of a message for a server, or for several.
func (s *telling) send(to ...int) (number int) {
	e := &cluster.Envelope{Pid: to[0], Msg: fmt.Sprint("message ", len(s.sent)+1)}
	if len(to) > 1 {
		e.Pid = cluster.BROADCAST
	}
	s.Sent(0, e, to...)
	s.sent = append(s.sent, e)
	return len(s.sent)
}

// answer is told what Deliver returned for the message of this number, from 1.
func (s *telling) answer(number int, err error) { s.Delivered(0, s.sent[number-1], err) }

func (s *telling) deliver(err error, to ...int) { s.answer(s.send(to...), err) }

func (s *telling) take(by int, numbers ...int) {
	for _, i := range numbers {
		s.Received(by, &cluster.Envelope{Pid: 0, MsgId: s.sent[i-1].MsgId, Msg: s.sent[i-1].Msg})
	}
}

// books are those of a life of a server that has received so many messages of server 0, and missed others.
func books(life uint64, received, missed uint64) cluster.Stats {
	return cluster.Stats{Pid: 1, Incarnation: life, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Received: received, Missed: missed}}}}
}

// sentBooks are those of server 0, of so many messages written to server 1, and dropped ones.
func sentBooks(sent, dropped uint64) cluster.Stats {
	return cluster.Stats{Pid: 0, Incarnation: 1, Peers: []cluster.PeerStats{{ID: 1, Sent: cluster.SentStats{
		Accepted: sent + dropped, Sent: sent, Dropped: map[cluster.Reason]uint64{cluster.ReasonTimedOut: dropped}}}}}
}

// several is the error of Deliver for those servers of several that it did not reach.
type several []error

func (several) Error() string          { return "several" }
func (s several) Unwrap() []error      { return s }
func failedAt(id int, err error) error { return &cluster.PeerError{Peer: id, Err: err} }

func TestAHistoryHoldsWhatDeliverSaidAgainstWhatWasReceived(t *testing.T) {
	unknown := fmt.Errorf("%w: %w", cluster.ErrUnconfirmed, context.Canceled)
	refused := &cluster.RefusedError{Refusal: cluster.RefusedTooLarge}
	for _, c := range []struct {
		name   string
		happen func(s *telling)
		want   string // in the one error; "": there is none
	}{
		{"delivered and received", func(s *telling) { s.deliver(nil, 1); s.take(1, 1) }, ""},
		{"received before Deliver has returned", func(s *telling) { s.send(1); s.take(1, 1); s.answer(1, nil) }, ""},
		{"delivered and not received", func(s *telling) { s.deliver(nil, 1) }, "message 1 from 0 to 1: unkept promise"},
		{"delivered, not received, and what comes behind is", func(s *telling) { s.deliver(nil, 1); s.deliver(nil, 1); s.take(1, 2) },
			"message 1 from 0 to 1: unkept promise"},
		{"denied and not received", func(s *telling) { s.deliver(failedAt(1, cluster.ErrTimedOut), 1) }, ""},
		{"denied and received", func(s *telling) { s.deliver(failedAt(1, cluster.ErrTimedOut), 1); s.take(1, 1) }, "message 1 from 0 to 1: false denial"},
		{"refused and received", func(s *telling) { s.deliver(failedAt(1, refused), 1); s.take(1, 1) }, "false denial"},
		{"unsupported and received", func(s *telling) { s.deliver(failedAt(1, cluster.ErrUnsupported), 1); s.take(1, 1) }, "false denial"},
		{"received and denied later", func(s *telling) { s.send(1); s.take(1, 1); s.answer(1, cluster.ErrUnreachable) }, "false denial"},
		{"unknown and received", func(s *telling) { s.deliver(failedAt(1, unknown), 1); s.take(1, 1) }, ""},
		{"unknown and not received", func(s *telling) { s.deliver(failedAt(1, unknown), 1) }, ""},
		{"unknown and received twice", func(s *telling) { s.deliver(unknown, 1); s.take(1, 1, 1) }, "duplicate"},

		// Of several.
		{"to several that all have it", func(s *telling) { s.deliver(nil, 1, 2); s.take(1, 1); s.take(2, 1) }, ""},
		{"to several of which one has not", func(s *telling) { s.deliver(nil, 1, 2); s.take(1, 1) }, "from 0 to 2: unkept promise"},
		{"one of several is named", func(s *telling) { s.deliver(several{failedAt(2, refused)}, 1, 2); s.take(1, 1) }, ""},
		{"one of several is named, and has it", func(s *telling) { s.deliver(several{failedAt(2, refused)}, 1, 2); s.take(1, 1); s.take(2, 1) },
			"from 0 to 2: false denial"},
		{"one of several is named, and another has it not", func(s *telling) { s.deliver(several{failedAt(2, unknown)}, 1, 2); s.take(2, 1) },
			"from 0 to 1: unkept promise"},
		{"none of several is named", func(s *telling) { s.deliver(cluster.ErrTooLarge, 1, 2); s.take(2, 1) }, "from 0 to 2: false denial"},

		// Order.
		{"Deliver and Send in order", func(s *telling) { s.deliver(nil, 1); s.send(1); s.deliver(nil, 1); s.take(1, 1, 2, 3) }, ""},
		{"a Send behind a Deliver comes before it", func(s *telling) { s.deliver(nil, 1); s.send(1); s.take(1, 2, 1) }, "message 1 from 0 to 1: inversion"},
		{"a Deliver behind a Send comes before it", func(s *telling) { s.send(1); s.deliver(nil, 1); s.take(1, 2, 1) }, "message 1 from 0 to 1: inversion"},
		{"a Deliver comes before one that had returned", func(s *telling) { s.deliver(nil, 1); s.deliver(nil, 1); s.take(1, 2, 1) }, "message 1 from 0 to 1: inversion"},
		{"one that nobody knows of comes late", func(s *telling) { s.deliver(unknown, 1); s.deliver(nil, 1); s.take(1, 2, 1) }, "message 1 from 0 to 1: inversion"},
		{"Delivers at a time have no order", func(s *telling) {
			s.send(1)
			s.send(1)
			s.take(1, 2, 1)
			s.answer(1, nil)
			s.answer(2, nil)
		}, ""},
		{"one comes before some that had returned, and one that had not", func(s *telling) {
			s.send(1)
			s.send(1)
			s.answer(1, nil)
			s.answer(2, nil)
			s.deliver(nil, 1)
			s.take(1, 2, 3, 1)
		}, "inversion: it was sent as number 1, and number 3"},

		// Who ends.
		{"delivered to one who ends", func(s *telling) { s.deliver(nil, 1); s.deliver(nil, 1); s.take(1, 1); s.Ended(1) }, ""},
		{"delivered to one who ends, and what is behind it was received", func(s *telling) { s.deliver(nil, 1); s.deliver(nil, 1); s.take(1, 2); s.Ended(1) },
			"message 1 from 0 to 1: unkept promise"},
		{"delivered after one has ended", func(s *telling) { s.Ended(1); s.deliver(nil, 1) }, "unkept promise"},
		{"delivered to another than who ends", func(s *telling) { s.deliver(nil, 1, 2); s.take(1, 1); s.Ended(1) }, "from 0 to 2: unkept promise"},
		{"delivered to one who ends, and does more in its next life", func(s *telling) {
			s.deliver(nil, 1)
			s.Ended(1)
			s.deliver(nil, 1)
			s.take(1, 2)
		}, ""},
		{"two at a time are delivered to one who ends, and took the later one", func(s *telling) {
			s.send(1)
			s.send(1)
			s.answer(1, nil)
			s.answer(2, nil)
			s.take(1, 2)
			s.Ended(1)
		}, ""},
		{"the books of the next life say that one has ended", func(s *telling) {
			s.deliver(nil, 1)
			s.deliver(nil, 1)
			s.take(1, 1)
			first := books(7, 2, 0)
			first.InboxLen = 1
			s.Explain(first)
			s.deliver(nil, 1)
			s.take(1, 3)
			s.Explain(books(8, 1, 2))
		}, ""},
		{"the books of one who goes on", func(s *telling) {
			s.deliver(nil, 1)
			s.deliver(nil, 1)
			s.take(1, 1)
			s.Explain(books(7, 2, 0))
		}, "message 2 from 0 to 1: unkept promise"},

		// Books beside it.
		{"what was denied explains no loss of another", func(s *telling) {
			s.deliver(failedAt(1, cluster.ErrTimedOut), 1)
			s.send(1)
			s.Explain(books(7, 0, 0))
			s.Explain(sentBooks(1, 1))
		}, "unexplained loss: of 2 messages from 0 to 1, 2 did not arrive"},
		{"what is unknown and in the books explains no loss of another", func(s *telling) {
			s.deliver(unknown, 1)
			s.send(1)
			s.send(1)
			s.take(1, 3)
			s.Explain(books(7, 1, 1))
			s.Explain(sentBooks(3, 0))
		}, "unexplained loss: of 3 messages from 0 to 1, 2 did not arrive"},
		{"what is unknown at last stands in no books", func(s *telling) {
			s.send(1)
			s.take(1, 1)
			s.deliver(unknown, 1)
			s.Explain(books(7, 1, 0))
			s.Explain(sentBooks(2, 0))
		}, ""},
		{"what is unsupported stands in no books", func(s *telling) {
			s.deliver(failedAt(1, cluster.ErrUnsupported), 1)
			s.send(1)
			s.take(1, 2)
			s.Explain(books(7, 1, 0))
			s.Explain(sentBooks(1, 0))
		}, ""},
		{"a loss beside what is denied, without books", func(s *telling) { s.deliver(cluster.ErrTimedOut, 1); s.send(1) }, "unexplained loss"},

		// The test's own mistakes.
		{"Deliver without Sent", func(s *telling) { s.Delivered(0, &cluster.Envelope{Pid: 1, MsgId: 9}, nil) }, "Delivered needs a Sent"},
		{"Deliver told twice", func(s *telling) { s.deliver(nil, 1); s.take(1, 1); s.answer(1, nil) }, "the test has told of Deliver for message 1 from 0 to 1 twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s telling
			c.happen(&s)
			switch err := s.Check(); {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")):
				t.Errorf("got %v, want one error with %q in it", err, c.want)
			}
		})
	}
}

// Real servers, one of which is closed with its Inbox full and starts anew, keep what Deliver says.
func TestAHistoryOfDeliversToAServerThatStartsAnewIsRight(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.InboxSize = 4
		var h clustertest.History
		a := testcluster.Join(t, 0, cfg)
		answers := make(map[string]int)
		for life := range 5 {
			b := testcluster.Join(t, 1, cfg)
			ended := make(chan struct{})
			go func() { // It ends with its last message, which has 10 s.
				defer close(ended)
				for i := range 30 {
					e := &cluster.Envelope{Pid: 1, Msg: fmt.Sprint(life, " ", i)}
					h.Sent(0, e)
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					err := a.Deliver(ctx, e)
					h.Delivered(0, e, err)
					cancel()
					answers[fmt.Sprint(err)]++
				}
			}()
			for range 10 + 3*life {
				h.Received(1, testcluster.Take(t, b))
			}
			time.Sleep(time.Second)
			b.Close()
			h.Ended(1)
			<-ended
		}
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		if len(answers) < 3 {
			t.Errorf("Deliver has returned nothing but %v: this tests little", answers)
		}
	})
}

// What is spoiled in it is found.
func TestWhatDeliverSaidWronglyOfRealServersIsFound(t *testing.T) {
	for _, want := range []string{"unkept promise", "false denial"} {
		testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
			var h clustertest.History
			a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
			for i := range 10 {
				e := &cluster.Envelope{Pid: 1, Msg: i}
				h.Sent(0, e)
				err := a.Deliver(t.Context(), e)
				got := testcluster.Take(t, b)
				if i == 5 && want == "false denial" {
					err = cluster.ErrUnreachable
				}
				h.Delivered(0, e, err)
				if i != 5 || want == "false denial" {
					h.Received(1, got)
				}
			}
			if err := h.Check(); err == nil || !strings.HasPrefix(err.Error(), "message 6 from 0 to 1: "+want) || slices.Contains([]byte(err.Error()), '\n') {
				t.Errorf("got %v, want %q for message 6 alone", err, want)
			}
		})
	}
}
