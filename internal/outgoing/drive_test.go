package outgoing

import (
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// A hookedConn takes everything, and does something else while it takes the first frame after that was set.
type hookedConn struct {
	openConn
	hook   func()
	frames int
}

func (c *hookedConn) TrySend(_, _ []byte) (bool, error) {
	c.frames++
	if hook := c.hook; hook != nil {
		c.hook = nil
		hook()
	}
	return true, nil
}

// Who has written a lone message mostly need not decide what comes next. Where something does, it is done all the same.
func TestWhoWritesALoneMessageLeavesNothingToDo(t *testing.T) {
	const soon = 10 * time.Millisecond // before the sender wants to look again
	h := wire.Header{
		Flags: wire.FlagResend, Incarnation: 9, Start: wire.Position{Seq: 1}, AckIncarnation: 7, Ack: wire.Position{Seq: 1},
		Window: 1 << 20, Resend: wire.Resend{Kept: wire.Position{Seq: 1}, Wanted: wire.Position{Seq: 1}, Held: wire.Position{Seq: 1}},
	}
	for _, c := range []struct {
		name   string
		until  time.Duration // for which run sleeps; 0: for ever
		during func(l *Link) // while the message is being written
		frames int
		wakes  bool // run
	}{
		{"nothing comes", soon, func(*Link) {}, 1, false},
		{"run sleeps for too long", time.Hour, func(*Link) {}, 1, true},
		{"run sleeps for ever", 0, func(*Link) {}, 1, true},
		{"another message comes", soon, func(l *Link) { puts(t, l, Waiting{}) }, 2, false},
		{"an urgent message comes", soon, func(l *Link) { puts(t, l, Waiting{Urgent: true}) }, 2, false},
		{"the peer misses the frame before", soon, func(l *Link) {
			h := h
			h.Held.Seq = 2
			l.Acked(&h, nil, time.Now())
		}, 2, true},
		{"the connection is found to have ended", soon, func(l *Link) {
			l.broke.Store(true)
			l.wakeUp()
		}, 1, true},
		{"the peer is somewhere else", soon, func(l *Link) { l.Redirect("mem://elsewhere", nil) }, 1, true},
		{"the link is to end", soon, func(l *Link) { l.Finish() }, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := new(hookedConn)
			l := meetUrgent(conn, nil)
			puts(t, l, Waiting{})
			writesAll(l)
			l.Acked(&h, nil, time.Now())
			writesAll(l)
			l.activity, l.until = sleeping, time.Now().Add(c.until)
			if c.until == 0 {
				l.until = time.Time{}
			}
			select {
			case <-l.wake:
			default:
			}
			conn.frames, conn.hook = 0, func() { c.during(l) }
			puts(t, l, Waiting{})
			wakes := len(l.wake) > 0
			if conn.frames != c.frames || wakes != c.wakes {
				t.Errorf("%d frames were written, and the goroutine is woken: %v; want %d, %v", conn.frames, wakes, c.frames, c.wakes)
			}
			if !l.queue.empty() || l.current != nil {
				t.Error("not all is written")
			}
			if c.until == soon && !c.wakes && l.activity != sleeping {
				t.Errorf("nobody is about to write the next message: the link's activity is %d", l.activity)
			}
		})
	}
}
