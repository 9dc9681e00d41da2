package transport

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// connect makes so many connections to a place, which end with the test or by the function.
func connect(t *testing.T, count int) (to netip.AddrPort, end func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var all []net.Conn
	end = func() {
		for _, c := range all {
			c.Close()
		}
	}
	t.Cleanup(end)
	for range count {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		if c, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return l.Addr().(*net.TCPAddr).AddrPort(), end
}

// eventually waits for what the kernel, or a look that is a moment old, may say only soon.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestTheFlowToAPlaceIsThatOfAllConnectionsToIt(t *testing.T) {
	to, end := connect(t, 2)
	eventually(t, "nothing is known of connections that stand", func() bool {
		_, known := FlowTo(to)
		return known
	})
	if StalledTo(to, 0, time.Minute) {
		t.Error("connections on which nothing is on its way are stalled")
	}
	if !Connected("tcp://" + to.String()) {
		t.Error("there is no connection")
	}
	end()
	eventually(t, "something is known of connections that have ended", func() bool {
		_, known := FlowTo(to)
		return !known && !Connected("tcp://"+to.String())
	})
}

// Of n servers in one process each has n-1 connections to it: if each of those who have one looked at all of them whenever it asks, the
// process would do nothing else.
func TestConnectionsAreLookedAtForAFractionOfTheTime(t *testing.T) {
	const places, each = 4, 50
	var to []netip.AddrPort
	for range places {
		at, _ := connect(t, each)
		to = append(to, at)
	}
	last := make(map[netip.AddrPort]time.Time)
	look := func() (looking time.Duration) {
		for _, at := range to {
			FlowTo(at)
			scanned.mu.Lock()
			now := scanned.looked[leads{addr: at}]
			scanned.mu.Unlock()
			if !now.at.Equal(last[at]) {
				last[at] = now.at
				looking += now.took
			}
		}
		return looking
	}
	eventually(t, "all of them are looked at", func() bool { look(); return len(last) == places })
	// A twentieth, and as much again whenever the descriptors were looked through. A look that was held up on a busy machine took long.
	var looking, took time.Duration
	for range 10 {
		looking = 0
		began := time.Now()
		for time.Since(began) < 500*time.Millisecond {
			looking += look()
		}
		if took = time.Since(began); looking > 0 && looking <= took/4 {
			return
		}
	}
	t.Errorf("for %v of %v it looks at connections", looking, took)
}
