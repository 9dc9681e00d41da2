package zmtp

import (
	"io"
	"net"
	"testing"
	"time"
)

// What a peer is sent may be on its way for longer than the peer may be silent: the PING is behind
// it, and as long as it moves the peer is there.
func TestAPeerBehindASlowPathIsKeptAsLongAsWhatIsWrittenMoves(t *testing.T) {
	t.Parallel() // it waits more than it works
	for _, c := range []struct {
		name  string
		moves time.Duration // for how long it reads; then it stops, and the connection is to be left
		kept  time.Duration // at least
	}{{"it moves", 2 * silence, 2 * silence}, {"it stops", time.Second, 0}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			endpoint := freeEndpoint(t)
			l := pullAt(t, endpoint)
			conn := dial(t, endpoint).(*Conn)
			p := l.accept(1)
			if err := p.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
				t.Fatal(err)
			}
			if err := conn.Wait(time.Now().Add(limit)); err != nil {
				t.Fatal(err)
			}
			fill(t, conn)
			conn.mu.Lock()
			s := conn.session
			conn.mu.Unlock()
			began := time.Now()
			buf := make([]byte, 16<<10)
			for time.Since(began) < c.moves {
				select {
				case <-s.ended:
					t.Fatalf("it was left after %v", time.Since(began))
				case <-time.After(200 * time.Millisecond):
				}
				if _, err := p.Read(buf); err != nil {
					t.Fatal(err)
				}
			}
			if c.kept > 0 {
				return
			}
			select {
			case <-s.ended:
			case <-time.After(silence + limit):
				t.Errorf("nothing has moved for %v, and it is not left", time.Since(began)-c.moves)
			}
		})
	}
}

func TestAListenerKnowsWhoIsInItsOwnProcess(t *testing.T) {
	for name, c := range map[string]struct {
		endpoint string
		raw      bool
		want     bool
	}{
		"tcp":         {endpoint: freeEndpoint(t), want: true},
		"ipc":         {endpoint: ipcEndpoint(t), want: true},
		"another tcp": {endpoint: freeEndpoint(t), raw: true},
	} {
		t.Run(name, func(t *testing.T) {
			nl, at, err := listenAt(c.endpoint)
			if err != nil {
				t.Fatal(err)
			}
			defer at.Release()
			defer nl.Close()
			if c.raw {
				dialRaw(t, c.endpoint)
			} else {
				dial(t, c.endpoint)
			}
			nc, err := nl.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if !c.raw { // who dials has noted it when its greeting comes
				if _, err := io.ReadFull(nc, make([]byte, greetingSize)); err != nil {
					t.Fatal(err)
				}
			}
			if got := isLocal(nc); got != c.want {
				t.Errorf("the other end is in this process: %v, want %v", got, c.want)
			}
		})
	}
}
