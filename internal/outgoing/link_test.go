package outgoing

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster/internal/calls"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A slowConn takes everything, and closes only when it is interrupted.
type slowConn struct{ closing, interrupted chan struct{} }

func (c *slowConn) TrySend(_, _ []byte) (bool, error) { return true, nil }
func (c *slowConn) Wait(time.Time) error              { return nil }
func (c *slowConn) Interrupt()                        { c.interrupted <- struct{}{} }

func (c *slowConn) Close(time.Duration) error {
	close(c.closing)
	<-c.interrupted
	return nil
}

func TestOnlyACutEndsTheFlushOfAClosingLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLink(&Config{
			Policy:    stream.Policy{Patience: time.Second},
			Log:       slog.New(slog.DiscardHandler),
			Linger:    func() time.Duration { return time.Second },
			Encrypts:  func(int) bool { return false },
			StateName: func(stream.Standing) string { return "" },
		}, 1)
		conn := &slowConn{make(chan struct{}), make(chan struct{}, 10)}
		l.conn = conn
		l.io.Lock()
		ended := make(chan struct{})
		go func() { // It ends with the link.
			defer close(ended)
			l.end()
		}()
		<-conn.closing
		l.PeerBegan("", false) // a new life of the peer was heard
		l.Redirect("mem://elsewhere", nil)
		synctest.Wait()
		select {
		case <-ended:
			t.Error("the flush ended though nobody had cut it short")
		default:
			l.Abandon()
			<-ended
		}
	})
}

// An openConn takes everything.
type openConn struct{}

func (openConn) TrySend(_, _ []byte) (bool, error) { return true, nil }
func (openConn) Wait(time.Time) error              { return nil }
func (openConn) Interrupt()                        {}
func (openConn) Close(time.Duration) error         { return nil }

func TestAPeerThatIsRemovedWhileItIsDialledIsUnknown(t *testing.T) {
	for name, failure := range map[string]error{"it is reached": nil, "it is not": errors.New("no sockets")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dialing, removed := make(chan struct{}), make(chan struct{})
				l := NewLink(&Config{
					Policy:     stream.Policy{Patience: time.Second},
					QueueBytes: 1 << 20,
					Log:        slog.New(slog.DiscardHandler),
					Linger:     func() time.Duration { return time.Second },
					Encrypts:   func(int) bool { return false },
					StateName:  func(stream.Standing) string { return "" },
					Dial: func(int, Target) (transport.Conn, error) {
						close(dialing)
						<-removed
						if failure != nil {
							return nil, failure
						}
						return openConn{}, nil
					},
				}, 1)
				l.Redirect("mem://somewhere", nil)
				l.Start()
				defer func() {
					l.Abandon()
					<-l.Finished()
				}()
				<-dialing
				l.Redirect("", nil)
				close(removed)
				synctest.Wait()
				var b Batch
				b.Reset()
				if err := b.Append(1, "text", &codec.Limits{Bytes: 1 << 10}); err != nil {
					t.Fatal(err)
				}
				if why := l.Put(&b, &Waiting{}); why != stream.UnknownPeer || l.Stats().State != stream.StandsIdle {
					t.Errorf("a message is dropped for reason %d, in state %d; want %d, %d", why, l.Stats().State, stream.UnknownPeer, stream.Idle)
				}
			})
		})
	}
}

// A slowWriter takes everything, but takes its time with each frame after the first few.
type slowWriter struct {
	openConn
	quick  int           // frames that it takes at once
	gate   chan struct{} // holds the others back, until it is closed
	frames int
}

func (c *slowWriter) TrySend(_, _ []byte) (bool, error) {
	if c.frames++; c.frames > c.quick {
		<-c.gate
	}
	return true, nil
}

func TestMessagesThatComeFasterThanTheyAreWrittenGather(t *testing.T) {
	for _, c := range []struct {
		name        string
		pause       time.Duration
		quick       int // more frames than these would be written by the sender, for which the test would wait for ever
		least, most int // frames
	}{
		{"in a row", 0, 1 + inARowMost, 2, 1 + inARowMost + 2},
		{"now and then", pressingTime, messages, messages, messages},
	} {
		t.Run(c.name, func(t *testing.T) {
			hung := time.AfterFunc(time.Minute, func() { panic("the sender writes, and waits, where messages should gather") })
			defer hung.Stop()
			synctest.Test(t, func(t *testing.T) {
				conn := &slowWriter{quick: c.quick, gate: make(chan struct{})}
				l := NewLink(&Config{
					Policy:     stream.Policy{Patience: time.Second},
					QueueBytes: 1 << 20,
					Log:        slog.New(slog.DiscardHandler),
					Linger:     func() time.Duration { return time.Second },
					Encrypts:   func(int) bool { return false },
					StateName:  func(stream.Standing) string { return "" },
					Dial:       func(int, Target) (transport.Conn, error) { return conn, nil },
				}, 1)
				l.Redirect("mem://somewhere", nil)
				l.Start()
				synctest.Wait()
				for i := range int64(messages) {
					time.Sleep(c.pause)
					var b Batch
					b.Reset()
					if err := b.Append(1+i, "text", &codec.Limits{Bytes: 1 << 10, Cost: 1 << 10}); err != nil {
						t.Fatal(err)
					}
					if why := l.Put(&b, &Waiting{}); why != 0 {
						t.Fatalf("dropped for reason %d", why)
					}
				}
				close(conn.gate)
				synctest.Wait()
				if n := conn.frames; n < c.least || n > c.most {
					t.Errorf("%d messages left in %d frames, want %d to %d", messages, n, c.least, c.most)
				}
				if s := l.Stats(); s.Sent != messages {
					t.Errorf("%d messages were sent, want %d", s.Sent, messages)
				}
				l.Abandon()
				<-l.Finished()
			})
		})
	}
}

const messages = 100

// newTestLink makes a link over conn, which is started, and ends with the test.
func newTestLink(t *testing.T, c Config, conn transport.Conn) *Link {
	c.Policy, c.QueueBytes = stream.Policy{Patience: time.Second}, 1<<20
	c.Log = slog.New(slog.DiscardHandler)
	c.Linger = func() time.Duration { return time.Second }
	c.Encrypts = func(int) bool { return false }
	c.StateName = func(stream.Standing) string { return "" }
	c.Dial = func(int, Target) (transport.Conn, error) { return conn, nil }
	l := NewLink(&c, 1)
	l.Redirect("mem://somewhere", nil)
	l.Start()
	t.Cleanup(func() {
		l.Abandon()
		<-l.Finished()
	})
	return l
}

// Who has been told that its request was not queued may rely on that.
func TestARequestWhoseCallHasEndedIsNotQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &slowWriter{quick: 1 << 30}
		table := calls.NewTable(0)
		l := newTestLink(t, Config{Self: stream.Self{Incarnation: 7, Knows: wire.CapCalls}, Calls: table.Peer, Woke: func() {}}, conn)
		synctest.Wait()
		h := wire.Header{Incarnation: 9, Start: wire.Position{Seq: 1}}
		h.Announce(wire.CapCalls)
		l.Acked(&h, nil, time.Now())
		for _, ended := range []bool{true, false} {
			c := table.Peer(1).Begin(make(chan calls.Outcome, 1))
			if ended {
				c.Cancel()
			}
			var b Batch
			b.Reset()
			if err := b.AppendPart(1, Part{Kind: codec.Request, Number: c.Number()}, "x", &codec.Limits{}); err != nil {
				t.Fatal(err)
			}
			if why := l.Put(&b, &Waiting{Call: c}); why != 0 || (b.Count() > 0) != ended {
				t.Errorf("ended: %v: dropped for %d, and %d are left", ended, why, b.Count())
			}
		}
		synctest.Wait()
		if s := l.Stats(); s.Accepted != 1 || s.Sent != 1 {
			t.Errorf("%d messages were accepted, %d sent; want the one whose call had not ended", s.Accepted, s.Sent)
		}
	})
}

// Who reads the network does not write to it for a peer that it refuses something of.
func TestWhatIsPutAsideIsWrittenByTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &slowWriter{gate: make(chan struct{})}
		l := newTestLink(t, Config{}, conn)
		synctest.Wait()
		put := make(chan struct{})
		go func() { // It ends at once, or when the gate opens.
			defer close(put)
			var b Batch
			b.Reset()
			if err := b.AppendPart(1, Part{Kind: codec.Failure}, "x", &codec.Limits{}); err != nil {
				t.Error(err)
			}
			l.Put(&b, &Waiting{Aside: true})
		}()
		synctest.Wait()
		select {
		case <-put:
		default:
			t.Error("Put writes to the connection")
		}
		close(conn.gate)
		<-put
	})
}

// A fullConn takes nothing.
type fullConn struct {
	openConn
	wake chan struct{}
}

func (c fullConn) TrySend(_, _ []byte) (bool, error) { return false, nil }

func (c fullConn) Wait(deadline time.Time) error {
	select {
	case <-c.wake:
		return transport.ErrInterrupted
	case <-time.After(time.Until(deadline)):
		return transport.ErrTimeout
	}
}

func (c fullConn) Interrupt() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// That a request was refused is told also where messages would have to wait, and that is bounded as well.
func TestARefusalFindsRoomInAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestLink(t, Config{}, fullConn{wake: make(chan struct{}, 1)})
		put := func(text string, p Part, w Waiting) stream.Reason {
			var b Batch
			b.Reset()
			if err := b.AppendPart(1, p, text, &codec.Limits{}); err != nil {
				t.Fatal(err)
			}
			return l.Put(&b, &w)
		}
		bytes := func() int { return int(l.Stats().QueueBytes) }
		for _, text := range []string{strings.Repeat("x", 20<<10), ""} {
			for put(text, Part{Kind: codec.Reply}, Waiting{}) == 0 {
			}
		}
		full, refusals := bytes(), 0
		for ; put("why", Part{Kind: codec.Failure}, Waiting{Aside: true}) == 0; refusals++ {
		}
		if all := bytes(); refusals < 1000 || all > l.cfg.QueueBytes+asideBytes {
			t.Errorf("%d refusals are queued beside %d bytes, and take %d with them", refusals, full, all)
		}
	})
}

// A link whose goroutine has ended, since there is no such peer, begins again when there is, also where a sender had queued something as it ended,
// and drives the link after that.
func TestALinkThatHasEndedBeginsAgainThoughASenderDroveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		l := NewLink(&Config{
			Policy:     stream.Policy{Patience: time.Second},
			QueueBytes: 1 << 20,
			Log:        slog.New(slog.DiscardHandler),
			Linger:     func() time.Duration { return 0 },
			Encrypts:   func(int) bool { return false },
			Stands:     func(int, stream.Standing, error) {},
			Trouble:    func(int, error) {},
			StateName:  func(stream.Standing) string { return "" },
			Dial: func(int, Target) (transport.Conn, error) {
				dials++
				return nil, errors.New("nobody is there")
			},
		}, 1)
		l.Start()
		synctest.Wait() // it has ended
		l.io.Lock()
		l.drive(true, driveMost)
		l.io.Unlock()
		l.Redirect("mem://somewhere", nil)
		synctest.Wait()
		if dials == 0 {
			t.Error("nobody connects to a peer that is back")
		}
		l.Abandon()
		<-l.Finished()
	})
}
