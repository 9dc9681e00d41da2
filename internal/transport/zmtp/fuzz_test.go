package zmtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// An oracle is a live listener that strangers say anything to. Whatever that is, a good client that
// was there before gets through on the same connection, and so does a new one; and
// the listener keeps nothing of it.
type oracle struct {
	endpoint string
	l        transport.Listener
	dial     func(testing.TB) transport.Conn // which the caller closes
	good     transport.Conn
	heap     uint64 // in use, before any stranger came
	count    int
}

// newOracle has keys if there is a server.
func newOracle(f *testing.F, server *transport.Security) *oracle {
	o := &oracle{endpoint: freeEndpoint(f)}
	o.l = listenTelling(f, o.endpoint, server, new(tally))
	o.dial = func(t testing.TB) transport.Conn {
		var self *transport.Security
		key := ""
		if server != nil {
			self, key = securityOf(t, everybody), server.Public
		}
		c, err := Network{}.Dial(o.endpoint, self, key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	o.good = o.dial(f)
	f.Cleanup(func() { o.good.Close(0) })
	o.passes(f, o.good)
	o.heap = inUse()
	return o
}

// inUse is how much of the heap is in use.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// heapMost is how much more may be in use after whatever strangers have said. Most of it is for the
// fuzzing engine, which keeps up to 100 MiB at times.
const heapMost = 256 << 20

// hears lets a stranger say something, behind what begins the connection.
func (o *oracle) hears(t testing.TB, begin string, said []byte) {
	t.Helper()
	p, err := net.DialTimeout("tcp", strings.TrimPrefix(o.endpoint, "tcp://"), limit)
	if err != nil {
		t.Fatal(err)
	}
	p.SetDeadline(time.Now().Add(limit))
	io.WriteString(p, begin) // the listener may end it at any byte
	p.Write(said)
	p.Close()
	o.passes(t, o.good)
	o.count++
	switch {
	case o.count%16 == 0:
		late := o.dial(t)
		defer late.Close(0)
		o.passes(t, late)
	case o.count%256 == 1:
		o.keepsNothing(t)
		if now := inUse(); now > o.heap+heapMost {
			t.Errorf("%d bytes are in use after %d strangers, and were %d before", now, o.count, o.heap)
		}
	}
}

// keepsNothing wants what strangers have begun to be forgotten once they have gone.
func (o *oracle) keepsNothing(t testing.TB) {
	t.Helper()
	l := o.l.(*Listener)
	for end := time.Now().Add(limit); ; {
		o.passes(t, o.good) // that is how it takes in who has gone
		l.shakes.mu.Lock()
		half := len(l.shakes.open)
		l.shakes.mu.Unlock()
		l.budget.mu.Lock()
		held := l.budget.total
		l.budget.mu.Unlock()
		if half == 0 && held == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d handshakes are not over, and %d bytes are held, though all strangers have gone", half, held)
		}
	}
}

// passes wants a frame to get from a good client to the listener.
func (o *oracle) passes(t testing.TB, c transport.Conn) {
	t.Helper()
	good := fmt.Appendf(nil, "good %d %s", o.count, strings.Repeat(".", wire.HeaderSize))
	send(t, c, good, nil)
	for end := time.Now().Add(limit); ; {
		head, _, err := o.l.Recv(end)
		if err != nil && !errors.Is(err, transport.ErrMalformed) {
			t.Fatalf("the good client does not get through: %v", err)
		}
		if bytes.Equal(head, good) {
			return
		}
	}
}

func FuzzGreeting(f *testing.F) {
	whole := string(greeting{mechanism: mechanismNull}.put())
	ready := frameOf(flagCommand, string(command(commandReady, pushing.properties())))
	for _, s := range []string{
		"", whole, whole[:10], whole[:11], whole + ready, whole + ready + frameOf(0, "x"), "GET / HTTP/1.1\r\n\r\n",
		"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01\x08\x00\x00\x00\x01x", "\x01\x00\x02\x00x",
		string(greeting{mechanism: mechanismCurve}.put()), string(greeting{mechanism: "PLAIN"}.put()),
	} {
		f.Add([]byte(s))
	}
	o := newOracle(f, nil)
	f.Fuzz(func(t *testing.T, said []byte) {
		if g, err := parseGreeting(said); err == nil {
			again, err := parseGreeting(g.put())
			if g.minor = versionMinor; err != nil || again != g {
				t.Errorf("%+v is written as what is read as %+v, %v", g, again, err)
			}
		}
		o.hears(t, "", said)
	})
}

func FuzzCommands(f *testing.F) {
	whole := string(greeting{mechanism: mechanismNull}.put())
	for _, s := range []string{
		string(command(commandReady, pushing.properties())), string(command(commandReady, pulling.properties())),
		"\x05ERROR\x03400", "\x04PING\x00\x0actx", "\x04PONGctx", "\x05READY\xff\xff\xff\xff\xff", "", "\x00", "\xff",
	} {
		f.Add([]byte(s), byte(flagCommand))
	}
	o := newOracle(f, nil)
	f.Fuzz(func(t *testing.T, body []byte, flags byte) {
		answerPing(body)
		property(body, socketType)
		frame := append(appendHeader(nil, flags, len(body)), body...)
		o.hears(t, whole, frame) // in the handshake
		ready := frameOf(flagCommand, string(command(commandReady, pushing.properties())))
		o.hears(t, whole+ready, frame) // behind it
	})
}

func FuzzFrames(f *testing.F) {
	for _, s := range []string{
		frameOf(0, "x"), frameOf(1, "x") + frameOf(0, "y"), frameOf(1, "x") + frameOf(1, "y") + frameOf(0, "z"),
		frameOf(0, strings.Repeat("x", 300)), "\x02\x00\x00\x00\x00\x00\x04\x00\x00", "\x02\xff\xff\xff\xff\xff\xff\xff\xff",
		frameOf(flagCommand, "\x04PING\x00\x01") + frameOf(0, soundFrame()), "\x08\x00", strings.Repeat("\x00\x00", 3000),
	} {
		f.Add([]byte(s), uint16(7))
	}
	o := newOracle(f, nil)
	hello := string(greeting{mechanism: mechanismNull}.put()) + frameOf(flagCommand, string(command(commandReady, pushing.properties())))
	f.Fuzz(func(t *testing.T, said []byte, size uint16) {
		// The same is found in whatever pieces it comes, and no more memory is held than a small multiple of it.
		var found [2][]string
		for i, n := range []int{len(said), int(size) + 1} {
			d := &decoder{most: wire.MaxFrame}
			all, err := decodeAll(d, string(said), func() int { return n })
			if found[i] = append(all, fmt.Sprint(err)); d.unfinished() > 2*leastBuffer+2*growth*len(said) {
				t.Errorf("%d bytes are held of %d that have come", d.unfinished(), len(said))
			}
		}
		if d := cmp.Diff(found[0], found[1]); d != "" {
			t.Errorf("in pieces of %d it is something else:\n%s", size+1, d)
		}
		o.hears(t, hello, said)
	})
}

func FuzzHandshakeWithKeys(f *testing.F) {
	server := securityOf(f, everybody)
	key, err := curve.Decode(server.Public)
	if err != nil {
		f.Fatal(err)
	}
	own, err := decodeKeys(securityOf(f, everybody))
	if err != nil {
		f.Fatal(err)
	}
	hello, err := newCurveClient(own, key).start()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hello, []byte("\x08INITIATE"))
	f.Add(hello, hello)
	f.Add(hello[:100], []byte{})
	f.Add([]byte("\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH"), []byte("\x07MESSAGE"))
	f.Add([]byte("\x05ERROR\x03400"), []byte("\x04PING\x00\x00"))
	o := newOracle(f, server)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		said := append(appendHeader(nil, flagCommand, len(first)), first...)
		said = append(appendHeader(said, flagCommand, len(second)), second...)
		o.hears(t, string(greeting{mechanism: mechanismCurve}.put()), said)
	})
}
