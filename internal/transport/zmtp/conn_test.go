package zmtp

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	keys "github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/transport"
)

func TestAPeerThatRestartsIsSentToAgainAndNothingGoesToItsFormerLife(t *testing.T) {
	endpoint := freeEndpoint(t)
	c := dial(t, endpoint)
	for life := range 20 {
		l, err := Network{}.Listen(endpoint, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		// What is taken goes to the peer that listens now, though nobody was told that the one before
		// has ended.
		want := string(rune('a' + life))
		send(t, c, []byte(want), nil)
		head, _, err := l.Recv(time.Now().Add(limit))
		if err != nil || string(head) != want {
			t.Fatalf("life %d received %q, %v", life, head, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestASilentPeerIsLeftAfterFourSeconds(t *testing.T) {
	t.Parallel() // it waits more than it works
	for _, c := range []struct {
		name  string
		minor byte
		left  bool
	}{{"of version 3.1", 1, true}, {"of version 3.0, which need not answer", 0, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			endpoint := freeEndpoint(t)
			l := pullAt(t, endpoint)
			began := time.Now()
			dial(t, endpoint)
			p := l.accept(c.minor)
			if c.left {
				// The timer runs from the end of the handshake.
				p.ends(limit)
				if took := time.Since(began); took < silence-500*time.Millisecond {
					t.Errorf("it was left after %v, want about %v", took, silence)
				}
				l.accept(1) // and connected to again
				return
			}
			p.SetReadDeadline(time.Now().Add(silence + 2*time.Second))
			if _, err := io.Copy(io.Discard, p); !isTimeout(err) {
				t.Errorf("it was left: %v", err)
			}
		})
	}
}

func TestAPeerThatAnswersIsKept(t *testing.T) {
	t.Parallel() // it waits more than it works
	endpoint := freeEndpoint(t)
	l := pullAt(t, endpoint)
	dial(t, endpoint)
	p := l.accept(1)
	d := decoder{most: commandMost}
	pings := 0
	buf := make([]byte, 1024)
	for end := time.Now().Add(silence + 2*time.Second); time.Now().Before(end); {
		p.SetReadDeadline(end)
		n, err := p.Read(buf)
		if isTimeout(err) {
			break
		}
		if err != nil {
			t.Fatalf("it was left after %d pings: %v", pings, err)
		}
		_, k, err := d.next(buf[:n])
		pong, ttl, ok := answerPing(d.body)
		if k != isCommand || err != nil || !ok || ttl != transport.HeartbeatTTL {
			t.Fatalf("got %q, want a PING with the TTL %v", buf[:n], transport.HeartbeatTTL)
		}
		pings++
		p.write(frameOf(flagCommand, string(pong)))
	}
	if pings < 2 {
		t.Errorf("%d pings came", pings)
	}
}

func TestAPingOfThePeerIsAnswered(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := pullAt(t, endpoint)
	dial(t, endpoint)
	p := l.accept(1)
	p.write(frameOf(flagCommand, "\x04PING\x00\x0actx"))
	want := frameOf(flagCommand, "\x04PONGctx")
	got := make([]byte, len(want))
	p.SetReadDeadline(time.Now().Add(limit))
	if _, err := io.ReadFull(p, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestNothingIsSentBeforeTheHandshakeIsOver(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := pullAt(t, endpoint)
	c := dial(t, endpoint)
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	p := peer{nc, t}
	p.write(string(greeting{mechanism: mechanismNull}.put()))
	if err := c.Wait(time.Now().Add(50 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
		t.Errorf("Wait before READY: %v, want %v", err, transport.ErrTimeout)
	}
	if ok, err := c.TrySend([]byte("x"), nil); ok || err != nil {
		t.Errorf("TrySend before READY: %v, %v", ok, err)
	}
	p.write(frameOf(flagCommand, string(command(commandReady, pulling.properties()))))
	if err := c.Wait(time.Now().Add(limit)); err != nil {
		t.Errorf("Wait after READY: %v", err)
	}
}

func TestWhyThereIsNoConnectionIsTold(t *testing.T) {
	endpoint := freeEndpoint(t)
	c := dial(t, endpoint)
	told := func(text string) func() bool {
		return func() bool {
			err := transport.Trouble(c)
			return err != nil && strings.Contains(err.Error(), text) && strings.Contains(err.Error(), strings.TrimPrefix(endpoint, "tcp://"))
		}
	}
	until(t, "it tells that the connection is refused", told("refused"))
	l, err := Network{}.Listen(endpoint, securityOf(t, everybody), nil)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "it tells that the other has keys", told("has keys"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = (Network{}).Listen(endpoint, nil, nil); err != nil {
		t.Fatal(err)
	}
	send(t, c, []byte("x"), nil)
	if err := transport.Trouble(c); err != nil {
		t.Errorf("it stands, and says: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "it tells again that the connection is refused", told("refused"))
}

func TestThatThePeerBrokeTheProtocolIsToldUntilAConnectionStands(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := pullAt(t, endpoint)
	c := dial(t, endpoint)
	l.accept(1).write(frameOf(0, "x"))
	until(t, "it tells what the peer did", func() bool {
		err := transport.Trouble(c)
		return err != nil && strings.Contains(err.Error(), "a message of a PULL socket")
	})
	l.accept(1)
	until(t, "it tells nothing more", func() bool { return transport.Trouble(c) == nil })
}

func TestAKeyThatKeepsNothingSecretIsNotDialed(t *testing.T) {
	for name, key := range map[string][32]byte{"0": {}, "1": {1}} {
		c, err := Network{}.Dial(freeEndpoint(t), securityOf(t, everybody), keys.Encode(key))
		if err == nil {
			c.Close(0)
			t.Errorf("the point %s is taken for a key", name)
		}
	}
}

func TestCloseFlushesWhatWasHandedOver(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := listen(t, endpoint)
	c, err := Network{}.Dial(endpoint, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	sent := fill(t, c)
	closed := make(chan error, 1)
	go func() { closed <- c.Close(limit) }()
	for i := range sent {
		if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
			t.Fatalf("frame %d of %d: %v", i, sent, err)
		}
	}
	l.Recv(time.Now().Add(10 * time.Millisecond)) // takes in the end
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestCloseGivesUpAfterItsLinger(t *testing.T) {
	for name, c := range map[string]struct {
		linger   time.Duration
		stop     func(transport.Conn)
		from, to time.Duration
	}{
		"of a while":     {linger: 300 * time.Millisecond, from: 290 * time.Millisecond, to: limit / 2},
		"of nothing":     {linger: 0, to: limit / 2},
		"when interrupt": {linger: limit, stop: transport.Conn.Interrupt, to: limit / 2},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := freeEndpoint(t)
			listen(t, endpoint) // never read
			conn, err := Network{}.Dial(endpoint, nil, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Wait(time.Now().Add(limit)); err != nil {
				t.Fatal(err)
			}
			fill(t, conn)
			if c.stop != nil {
				defer time.AfterFunc(20*time.Millisecond, func() { c.stop(conn) }).Stop()
			}
			began := time.Now()
			if err := conn.Close(c.linger); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took < c.from || took > c.to {
				t.Errorf("Close took %v, and its linger was %v", took, c.linger)
			}
		})
	}
}

// What a peer says as the connection ends must not make the kernel throw away what the peer has yet
// to read.
func TestWhatThePeerSaysAtTheEndCostsNothingThatWasSent(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := pullAt(t, endpoint)
	c, err := Network{}.Dial(endpoint, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	p := l.accept(1)
	if err := c.Wait(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	sent := fill(t, c)
	closed := make(chan error, 1)
	go func() { closed <- c.Close(limit) }()
	got, buf := 0, make([]byte, 64<<10)
	p.SetDeadline(time.Now().Add(limit))
	for {
		n, err := p.Read(buf)
		got += n
		if err != nil {
			break
		}
		io.WriteString(p, frameOf(flagCommand, "\x04PONG")) // fails once the connection has ended
	}
	if want := sent * (headerLong + 64<<10); got < want {
		t.Errorf("%d bytes came, want %d", got, want)
	}
	p.Close()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestOnlyOneFrameIsKeptBeyondWhatTheKernelTakes(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := pullAt(t, endpoint)
	c := dial(t, endpoint).(*Conn)
	l.accept(1) // and never reads
	if err := c.Wait(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	fill(t, c)
	c.mu.Lock()
	kept := len(c.session.rest)
	c.mu.Unlock()
	if kept == 0 || kept > headerLong+64<<10 {
		t.Errorf("%d bytes are kept, want some of one frame", kept)
	}
}

func TestSendingAllocatesNothing(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := pullAt(t, endpoint)
	c := dial(t, endpoint)
	p := l.accept(1)
	done := make(chan struct{})
	go func() { // The end of the connection ends it.
		defer close(done)
		for buf, err := make([]byte, 64<<10), error(nil); err == nil; {
			_, err = p.Read(buf)
		}
	}()
	if err := c.Wait(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	head, tail := make([]byte, 64), make([]byte, 4000)
	if got := testing.AllocsPerRun(100, func() {
		if ok, err := c.TrySend(head, tail); !ok || err != nil {
			t.Fatalf("a frame was not taken: %v", err)
		}
	}); got >= 1 {
		t.Errorf("%v allocations a frame", got)
	}
	p.Close()
	<-done
}
