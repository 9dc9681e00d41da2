package outgoing

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/transport"
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
				if why := l.Put(&b, Waiting{}); why != stream.UnknownPeer || l.Stats().State != stream.StandsIdle {
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
					if why := l.Put(&b, Waiting{}); why != 0 {
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
