package outgoing

import (
	"testing"

	"github.com/abhishekg16/cluster/internal/stream"
)

// awaited adds a message to a parcel, and makes out a ticket for it.
func awaited(l *Link, p *parcel) (t Ticket) {
	l.queue.messages++
	l.await(&t, p, false)
	return t
}

// heard is what a ticket says of its message.
func heard(t *testing.T, k *Ticket) (f Fate, known bool) {
	t.Helper()
	for k.IsTold() {
		if f, known = k.Fate(); known {
			return f, true
		}
	}
	return f, false
}

// The messages of a parcel may be confirmed one after another. Each is told as soon as that is known.
func TestOfThoseWhoWaitForOneParcelEachIsToldWhenItsMessageIsKnown(t *testing.T) {
	l := Link{sender: new(stream.Sender)}
	p := newParcel()
	a, b, c, d, e := awaited(&l, p), awaited(&l, p), awaited(&l, p), awaited(&l, p), awaited(&l, p)
	if f := l.Leave(&c); !f.Unknown {
		t.Errorf("who leaves hears %+v", f)
	}
	check := func(name string, k *Ticket, want Fate, known bool) {
		t.Helper()
		if f, is := heard(t, k); f != want || is != known {
			t.Errorf("%s hears %+v, %v, want %+v, %v", name, f, is, want, known)
		}
	}
	l.tell(l.take(b.number, nil), false)
	check("the first", &a, Fate{}, true)
	check("the second", &b, Fate{}, false)
	check("the last", &e, Fate{}, false)
	l.tell(l.take(b.number, nil), false) // once more
	check("the second", &b, Fate{}, false)
	refused := Fate{Refused: stream.RefusedUndecodable}
	l.tell(l.take(d.number, func(uint64) Fate { return refused }), false)
	check("the second", &b, refused, true)
	check("the fourth", &d, Fate{}, false)
	late := awaited(&l, p)
	if f := l.Leave(&e); !f.Unknown { // though its ticket is of a round that is over
		t.Errorf("who leaves hears %+v", f)
	}
	check("the fourth", &d, Fate{}, false)
	l.dropWaiters(stream.TimedOut)
	check("the fourth", &d, Fate{Dropped: stream.TimedOut}, true)
	check("the one who came late", &late, Fate{Dropped: stream.TimedOut}, true)
	if f := l.Leave(&late); f.Dropped != stream.TimedOut {
		t.Errorf("who leaves when all is known hears %+v", f)
	}
	if l.Awaited() || l.waiters.first != nil || l.waiters.last != nil {
		t.Error("somebody is left")
	}
}

// Those who were just told come back with other messages: these gather as well.
func TestMessagesGatherWhenManyWereJustTold(t *testing.T) {
	l := Link{sender: new(stream.Sender)}
	p := newParcel()
	for n := range gatherLeast {
		if l.gathers() {
			t.Errorf("messages gather for %d who wait", n)
		}
		awaited(&l, p)
	}
	number := func() uint64 { return l.sender.NextNumber() + uint64(l.queue.messages) }
	l.tell(l.take(number(), nil), false)
	if !l.gathers() {
		t.Error("messages do not gather when many were told")
	}
	awaited(&l, newParcel())
	l.tell(l.take(number(), nil), false)
	if l.gathers() {
		t.Error("messages gather when one was told")
	}
}

// Those who have left do not count: nobody gathers messages, or reads the network, for them.
func TestWaitersThatHaveLeftDoNotCount(t *testing.T) {
	for name, settle := range map[string]func(*Link){
		"dropped": func(l *Link) { l.dropWaiters(stream.TimedOut) },
		"written": func(l *Link) { l.unasked(l.sender.NextNumber() + uint64(l.queue.messages)) },
	} {
		t.Run(name, func(t *testing.T) {
			l := Link{sender: new(stream.Sender)}
			put := func() Ticket { return awaited(&l, newParcel()) }
			check := func(when string, want int32, first bool) {
				t.Helper()
				if n := l.waiters.count.Load(); n != want || l.Awaited() != (want > 0) {
					t.Errorf("%s: %d count, and Awaited is %v, want %d", when, n, l.Awaited(), want)
				}
				another := put()
				if another.First() != first {
					t.Errorf("%s: First of another is %v", when, another.First())
				}
				if f := l.Leave(&another); !f.Unknown {
					t.Errorf("%s: the fate of another is %+v", when, f)
				}
			}
			leaves := put()
			stays := put()
			check("two wait", 2, false)
			l.Leave(&leaves)
			check("one has left", 1, false)
			settle(&l)
			check("it is known what became of all", 0, true)
			if !stays.IsTold() {
				t.Error("the one who has stayed is not told")
			}
		})
	}
}
