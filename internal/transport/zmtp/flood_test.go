package zmtp

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/flood"
	"github.com/abhishekg16/cluster/internal/wire"
)

// soundFrame is a frame without records.
func soundFrame() string {
	b := make([]byte, wire.HeaderSize)
	h := wire.Header{Incarnation: 1, Start: wire.Position{Seq: 1}}
	h.Put(b)
	return string(b)
}

// receiveUntil receives until done is closed, whatever comes.
func receiveUntil(t testing.TB, l transport.Listener, done <-chan struct{}, take func(head []byte)) {
	t.Helper()
	for end := time.Now().Add(limit); ; {
		head, _, err := l.Recv(time.Now().Add(10 * time.Millisecond))
		switch {
		case err == nil:
			take(head)
		case !errors.Is(err, transport.ErrTimeout) && !errors.Is(err, transport.ErrMalformed):
			t.Fatal(err)
		}
		select {
		case <-done:
			return
		default:
			if time.Now().After(end) {
				t.Fatalf("the connection has not ended, or the message has not come, within %v", limit)
			}
		}
	}
}

func TestWhoFloodsAListenerIsCutOff(t *testing.T) {
	long := strings.Repeat("x", wire.HeaderSize+1)
	for name, c := range map[string]struct {
		message string
		ipc     bool
	}{
		"messages of one byte":          {message: frameOf(0, "x")},
		"messages of one byte over ipc": {message: frameOf(0, "x"), ipc: true},
		"empty messages":                {message: frameOf(0, "")},
		"messages of two parts":         {message: frameOf(1, "x") + frameOf(0, "x")},
		"messages of three parts":       {message: frameOf(1, "x") + frameOf(1, "x") + frameOf(0, "x")},
		"frames of three parts":         {message: frameOf(1, long) + frameOf(1, "x") + frameOf(0, "x")},
		"frames that the node refuses":  {message: frameOf(0, long)},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := freeEndpoint(t)
			if c.ipc {
				endpoint = ipcEndpoint(t)
			}
			l := listen(t, endpoint)
			good, bad := dial(t, endpoint), push(t, endpoint)
			first := []byte("the first of a good peer, which is no flood " + strings.Repeat(".", wire.HeaderSize))
			send(t, good, first, nil)
			ended := make(chan struct{})
			go func() { // It ends with the connection.
				defer close(ended)
				batch := []byte(strings.Repeat(c.message, 64<<10/len(c.message)))
				for err := error(nil); err == nil; {
					_, err = bad.Write(batch)
				}
			}()
			receiveUntil(t, l, ended, func(head []byte) {
				if len(head) <= len(long) {
					transport.Refused(l) // as the node does
				}
			})
			// Nobody else has noticed.
			last := []byte("the last of a good peer, which has the same connection " + strings.Repeat(".", wire.HeaderSize))
			if ok, err := good.TrySend(last, nil); !ok || err != nil {
				t.Fatalf("a good peer's connection was ended, too: %v, %v", ok, err)
			}
			came := make(chan struct{})
			receiveUntil(t, l, came, func(head []byte) {
				if bytes.Equal(head, last) {
					close(came)
				}
			})
		})
	}
}

// An endInput is the input of a stream of which it is only of interest whether it was ended.
type endInput struct{ ended bool }

func (*endInput) reply([]byte) bool { return true }
func (*endInput) unread() bool      { return false }
func (e *endInput) end()            { e.ended = true }

func TestFramesWithoutRecordsAreAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no time passes
		var l Listener
		frame := found{kind: isMessage, head: []byte(soundFrame())}
		split := found{kind: isMessage, head: frame.head, tail: []byte("x")}
		for range 1 << 18 {
			if l.isFlood(split) {
				t.Fatal("frames with something behind their header are a flood")
			}
		}
		for range 1 << 18 {
			if l.isFlood(frame) {
				return
			}
		}
		t.Error("they are none")
	})
}

func TestEachMessageThatNoPeerSendsIsHandedOnOrCounted(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := listen(t, endpoint)
	const count = flood.HandedOn + 500
	push(t, endpoint).write(strings.Repeat(frameOf(0, "x"), count))
	whole, told := 0, 0
	for whole+told < count {
		_, _, err := l.Recv(time.Now().Add(limit))
		var m *transport.Malformed
		switch {
		case err == nil:
			whole++
			transport.Refused(l)
		case errors.As(err, &m):
			told += m.Count
		default:
			t.Fatalf("%d were handed on and %d counted, of %d: %v", whole, told, count, err)
		}
	}
	if whole+told != count || whole < flood.HandedOn {
		t.Errorf("%d were handed on and %d counted, want %d together, and the first %d handed on", whole, told, count, flood.HandedOn)
	}
}

func TestToPassOverAMessageAllocatesNothing(t *testing.T) {
	s := newStream("", nil, "")
	batch := []byte(strings.Repeat(frameOf(0, "x")+frameOf(1, "xy")+frameOf(0, "zz"), 1000))
	if got := testing.AllocsPerRun(10, func() {
		for b := batch; len(b) > 0; {
			f, rest, ok := s.find(b, wire.HeaderSize, 500)
			if !ok || f.passed == 0 {
				t.Fatalf("%d were passed over, %v", f.passed, ok)
			}
			b = rest
		}
	}); got > 0 {
		t.Errorf("%v allocations", got)
	}
}
