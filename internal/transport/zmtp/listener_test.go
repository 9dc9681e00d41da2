package zmtp

import (
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	keys "github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A tally is what a listener has told of connections that did not come about.
type tally struct {
	mu     sync.Mutex
	causes map[string]int
}

func (y *tally) add(count int, cause error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.causes == nil {
		y.causes = make(map[string]int)
	}
	y.causes[cause.Error()] += count
}

func (y *tally) of(cause error) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.causes[cause.Error()]
}

func (y *tally) total() (n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, count := range y.causes {
		n += count
	}
	return n
}

// listenTelling is a listener that tells y of failures.
func listenTelling(t testing.TB, endpoint string, s *transport.Security, y *tally) *Listener {
	t.Helper()
	l, err := Network{}.Listen(endpoint, s, y.add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("closing the listener: %v", err)
		}
	})
	return l.(*Listener)
}

func TestAHandshakeIsBoundedInTimeAndBytes(t *testing.T) {
	t.Parallel() // it waits more than it works
	hello := string(greeting{mechanism: mechanismNull}.put())
	for name, c := range map[string]struct {
		say  func(p peer, ended <-chan struct{})
		want error
		most time.Duration
	}{
		"a byte now and then": {func(p peer, ended <-chan struct{}) {
			for i := range hello {
				p.Write([]byte{hello[i]})
				select {
				case <-ended:
					return
				case <-time.After(200 * time.Millisecond):
				}
			}
		}, errUnfinished, limit},
		"commands without an end": {func(p peer, _ <-chan struct{}) {
			p.Write([]byte(hello))
			for err := error(nil); err == nil; {
				_, err = p.Write([]byte(frameOf(flagCommand, "\x04PING\x00\x00")))
			}
		}, errBroken, limit},
		"a large command": {func(p peer, _ <-chan struct{}) {
			p.Write([]byte(hello + "\x06\x00\x00\x00\x00\x00\x00\xff\xff"))
		}, errBroken, limit},
		"a message": {func(p peer, _ <-chan struct{}) {
			p.Write([]byte(hello + frameOf(0, "x")))
		}, errBroken, limit},
		"parts of a message without an end": {func(p peer, _ <-chan struct{}) {
			p.Write([]byte(hello))
			for err := error(nil); err == nil; {
				_, err = p.Write([]byte(frameOf(flagMore, "x")))
			}
		}, errBroken, limit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoint := freeEndpoint(t)
			var y tally
			listenTelling(t, endpoint, nil, &y)
			p := dialRaw(t, endpoint)
			ended, said := make(chan struct{}), make(chan struct{})
			go func() { // It ends with the connection.
				defer close(said)
				c.say(p, ended)
			}()
			p.ends(c.most)
			close(ended)
			<-said
			until(t, "the failure is told", func() bool { return y.total() == 1 })
			until(t, "its cause is told", func() bool {
				y.mu.Lock()
				defer y.mu.Unlock()
				for cause := range y.causes {
					return strings.HasPrefix(cause, c.want.Error())
				}
				return false
			})
		})
	}
}

func TestTheLongestCommandOfAHandshakeWithKeysIsTaken(t *testing.T) {
	server := securityOf(t, everybody)
	endpoint := freeEndpoint(t)
	listenTelling(t, endpoint, server, new(tally))
	key, err := keys.Decode(server.Public)
	if err != nil {
		t.Fatal(err)
	}
	own, err := decodeKeys(securityOf(t, everybody))
	if err != nil {
		t.Fatal(err)
	}
	metadata := pushing.properties()
	const name = "X-Filler"
	metadata = append(metadata, appendProperty(nil, name, strings.Repeat("x", curve.MaxMetadata-len(metadata)-1-len(name)-4))...)
	m := curveClient{curve.NewClient(curve.ClientOptions{Keys: own, Server: key, Metadata: metadata})}
	if _, _, err := shake(dialRaw(t, endpoint).Conn, m, func() {}); err != nil {
		t.Error(err)
	}
}

func TestASenderThatIsSilentForItsTTLIsLeft(t *testing.T) {
	t.Parallel() // it waits more than it works
	endpoint := freeEndpoint(t)
	receive(t, listen(t, endpoint))
	p, other := push(t, endpoint), push(t, endpoint)
	began := time.Now()
	p.write(frameOf(flagCommand, "\x04PING\x00\x04")) // 400 ms
	p.ends(limit)
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("it was left after %v, and its TTL is 400ms", took)
	}
	// Who has named none is kept.
	other.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := other.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("a connection without a TTL was left: %v", err)
	}
}

func TestASenderThatIsNotReadForItsTTLIsKept(t *testing.T) {
	t.Parallel() // it waits more than it works
	endpoint := freeEndpoint(t)
	l := listen(t, endpoint)
	p := push(t, endpoint)
	p.write(frameOf(flagCommand, "\x04PING\x00\x0a")) // 1 s
	p.write(frameOf(0, "x"))
	if head, _, err := l.Recv(time.Now().Add(limit)); err != nil || string(head) != "x" {
		t.Fatalf("got %q, %v", head, err)
	}
	p.write(strings.Repeat(frameOf(0, "y"), framesMost+2)) // and nothing more, for nobody reads it
	p.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := io.Copy(io.Discard, p); !isTimeout(err) {
		t.Errorf("it was left: %v", err)
	}
	for range framesMost + 2 {
		if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPingOfASenderIsAnswered(t *testing.T) {
	endpoint := freeEndpoint(t)
	receive(t, listen(t, endpoint))
	p := push(t, endpoint)
	p.write(frameOf(flagCommand, "\x04PING\x00\x0actx"))
	want := frameOf(flagCommand, "\x04PONGctx")
	got := make([]byte, len(want))
	p.SetReadDeadline(time.Now().Add(limit))
	if _, err := io.ReadFull(p, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// Whatever one sends, the others have their turns.
func TestASenderOfMuchDoesNotKeepOthersFromBeingHeard(t *testing.T) {
	for name, unit := range map[string]string{
		"of tiny messages": frameOf(0, "x"), "of frames": frameOf(0, strings.Repeat("f", 66)), "of large ones": frameOf(0, strings.Repeat("l", 200<<10)),
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := freeEndpoint(t)
			l := listen(t, endpoint)
			much := push(t, endpoint)
			stop, done := make(chan struct{}), make(chan struct{})
			go func() { // The end of the connection ends it.
				defer close(done)
				batch := []byte(strings.Repeat(unit, max(1, 64<<10/len(unit))))
				for err := error(nil); err == nil; {
					_, err = much.Write(batch)
				}
			}()
			defer func() { close(stop); much.Close(); <-done }()
			little := push(t, endpoint)
			for i := range 20 {
				want := frameOf(0, strings.Repeat("little", 20)+string(rune('a'+i)))
				little.write(want)
				before := 0
				for end := time.Now().Add(limit); ; {
					head, tail, err := l.Recv(end)
					if err != nil && !errors.Is(err, transport.ErrMalformed) {
						t.Fatal(err)
					}
					if strings.HasPrefix(string(head), "little") {
						break
					}
					before += len(head) + len(tail)
				}
				// Two turns of the other, of which one had begun; and in a queue, what waits there.
				if most := 4*scratchSize + (framesMost+2)*(200<<10); before > most {
					t.Fatalf("%d bytes of another came before it, want %d at most", before, most)
				}
			}
		})
	}
}

func TestUnfinishedMessagesTakeNoMoreThanTheirBudget(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := listen(t, endpoint).(*Listener)
	l.budget.most = 1 << 20
	came := receive(t, l)
	const size = 200 << 10
	begun := string(appendHeader(nil, 0, wire.MaxFrame)) + strings.Repeat("b", size)
	var strangers []peer
	for range 20 {
		p := push(t, endpoint)
		p.write(begun)
		strangers = append(strangers, p)
	}
	ended := 0
	until(t, "some have been ended for others", func() bool {
		ended = 0
		for _, p := range strangers {
			p.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := p.Read(make([]byte, 1)); err != nil && !isTimeout(err) {
				ended++
			}
		}
		return ended >= len(strangers)-l.budget.most/size
	})
	if ended == len(strangers) {
		t.Error("all have been ended, and there is room for some")
	}
	send(t, dial(t, endpoint), []byte("good"), nil)
	comes(t, came, "good")
	until(t, "the budget is kept", func() bool {
		l.budget.mu.Lock()
		defer l.budget.mu.Unlock()
		return l.budget.total <= l.budget.most
	})
	for _, p := range strangers {
		p.Close()
	}
	until(t, "nothing is held for who has gone", func() bool {
		l.budget.mu.Lock()
		defer l.budget.mu.Unlock()
		return l.budget.total == 0 && len(l.budget.held) == 0
	})
}

func TestTheOriginOfAMessageIsItsSendersHost(t *testing.T) {
	for name, c := range map[string]struct{ endpoint, want string }{
		"tcp": {freeEndpoint(t), "127.0.0.1"}, "ipc": {ipcEndpoint(t), ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, c.endpoint)
			if got := transport.Origin(l); got != "" {
				t.Errorf("the origin of no message is %q", got)
			}
			send(t, dial(t, c.endpoint), []byte("x"), nil)
			if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
				t.Fatal(err)
			}
			if got := transport.Origin(l); got != c.want {
				t.Errorf("the origin is %q, want %q", got, c.want)
			}
		})
	}
}

func TestNothingIsLeftOfWhatWasClosed(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skipf("open descriptors cannot be counted here: %v", err)
		}
		return len(entries)
	}
	round := func() {
		endpoint := freeEndpoint(t)
		l, err := Network{}.Listen(endpoint, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		var conns []transport.Conn
		for range 5 {
			c, err := Network{}.Dial(endpoint, nil, "")
			if err != nil {
				t.Fatal(err)
			}
			send(t, c, []byte("x"), nil)
			if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		half := dialRaw(t, endpoint)
		half.write("\xff")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		for _, c := range conns {
			if err := c.Close(0); err != nil {
				t.Error(err)
			}
		}
		half.Close()
	}
	round() // what is opened once for the process
	before, goroutines := count(), runtime.NumGoroutine()
	for range 10 {
		round()
	}
	until(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
	if after := count(); after > before {
		t.Errorf("%d descriptors are open, and there were %d", after, before)
	}
}
