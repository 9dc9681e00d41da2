//go:build unix

package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// The tests of this file open more connections to a server than it has peers, while a
// good peer sends to it at a steady rate.

const (
	floodConns = 1000
	// floodRounds are how often the rate is measured, without the flood and with it in
	// turn, and floodWindow is for how long at least.
	floodRounds = 3
	floodWindow = 200 * time.Millisecond
	// The good peer must keep floodRate of its rate. The machine does other things as
	// well: it is measured up to floodTries times.
	floodRate  = 0.9
	floodTries = 15
	// floodMemory is what may be resident more than before, of which most is what malloc
	// keeps.
	floodMemory = 64 << 20
)

// A flood attacks a server.
type flood struct {
	t       *testing.T
	address string
	conns   []net.Conn
}

// open opens another connection, and writes to it.
func (f *flood) open(b []byte) net.Conn {
	f.t.Helper()
	c, err := net.DialTimeout("tcp", f.address, limit)
	if err != nil {
		f.t.Fatal(err)
	}
	c.Write(b)
	f.conns = append(f.conns, c)
	return c
}

// announce shakes hands as a PUSH socket without keys does, and announces a frame of that
// size.
func (f *flood) announce(size uint64) {
	f.t.Helper()
	f.open(binary.BigEndian.AppendUint64(slices.Concat(greeting("NULL"), ready("PUSH"), []byte{2}), size))
}

// end closes all connections, without a trace of them in the kernel.
func (f *flood) end() {
	for _, c := range f.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	f.conns = nil
}

func TestFloodsOfConnectionsDoNotSlowAGoodPeerDown(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < 2*floodConns {
		t.Skipf("it needs %d descriptors, and there may be %d (ulimit -n): %v", 2*floodConns, files.Cur, err)
	}
	for _, c := range []struct {
		name   string
		keys   bool
		begin  func(f *flood) // before each window with the flood
		tick   func(f *flood) // during the window, again and again; nil: nothing
		memory int            // beyond floodMemory
		// The connections are such that the server has to hang up itself.
		hangsUp bool
	}{
		{
			name: "1,000 idle half-handshakes", keys: true, hangsUp: true,
			begin: func(f *flood) {
				for range floodConns {
					f.open(greeting("CURVE"))
				}
			},
		},
		{
			name: "greetings of a byte a second", keys: true,
			begin: func(f *flood) {
				for range floodConns {
					f.open(greeting("CURVE")[:1])
				}
			},
			tick: func(f *flood) {
				for _, c := range f.conns {
					c.Write([]byte{0})
				}
				time.Sleep(time.Second)
			},
		},
		{
			name: "oversized frames announced and not sent", hangsUp: true,
			begin: func(f *flood) {
				for i := range floodConns {
					size := uint64(wire.MaxFrame + 1)
					if i%2 == 0 {
						size = 1 << 62
					}
					f.announce(size)
				}
			},
		},
		{
			name: "the largest frames announced and not sent",
			begin: func(f *flood) {
				for range floodConns / 2 {
					f.announce(wire.MaxFrame)
				}
			},
			memory: floodConns / 2 * wire.MaxFrame,
		},
		{
			name: "10,000 connects and disconnects", keys: true,
			begin: func(f *flood) {},
			tick: func(f *flood) {
				const parts = 20
				for range 10_000 / floodRounds / parts {
					f.open(nil)
				}
				f.end()
				time.Sleep(time.Second / parts)
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) { withstand(t, c.keys, c.begin, c.tick, c.memory, c.hangsUp) })
	}
}

// withstand lets a flood come over a server with or without keys, and then checks that
// it is as it was.
func withstand(t *testing.T, keys bool, begin, tick func(f *flood), memory int, hangsUp bool) {
	cfg := processConfig(t, 2)
	if keys {
		cfg = keyed(t, cfg)
	}
	victim := spawn(t, cfg, victimPid).start()
	n := join(t, goodPid, cfg)
	s := newTraffic(n)
	// Ten messages at a time, with a pause: a rate that the machine can keep up.
	s.send(slices.Repeat([]int{victimPid}, 10), 0, 100, time.Millisecond)
	defer s.halt()
	count := func() int { r := victim.report(); return r.from(goodPid).Count }
	eventually(t, "the good peer's messages", func() bool { return count() > 1000 })
	before := victim.usage()
	f := &flood{t: t, address: cfg.Peers[victimPid].Address}
	defer f.end()
	pause := func(*flood) { time.Sleep(floodWindow / 10) }
	if tick == nil {
		tick = pause
	}
	rate := func(during func(f *flood)) float64 {
		first, began := count(), time.Now()
		for time.Since(began) < floodWindow {
			during(f)
		}
		return float64(count()-first) / time.Since(began).Seconds()
	}
	measure := func() float64 {
		var calm, flooded []float64
		for range floodRounds {
			calm = append(calm, rate(pause))
			begin(f)
			flooded = append(flooded, rate(tick))
			f.end()
		}
		t.Logf("messages a second: %.0f, and %.0f with the flood", calm, flooded)
		return median(flooded) / median(calm)
	}
	kept := 0.0
	for range floodTries {
		if kept = max(kept, measure()); kept >= floodRate {
			break
		}
	}
	t.Logf("the good peer keeps %.2f of its rate", kept)
	least := floodRate
	if raceEnabled {
		least = 0.5 // the detector's work is in the way of both
	}
	if kept < least {
		t.Errorf("the good peer kept %.2f of its rate, want at least %.2f", kept, least)
	}
	s.halt()
	sent := s.number(victimPid) - 1
	r := victim.until("all of the good peer's messages", func(r *report) bool { return r.from(goodPid).last() == sent })
	r.from(goodPid).checkAll(t, victim.name, sent)
	if d := statsOf(n, victimPid).Sent.Dropped; len(d) > 0 {
		t.Errorf("the good peer dropped %v, want nothing", d)
	}
	var after usage
	comeBack := func(when string) {
		t.Helper()
		eventually(t, fmt.Sprintf("descriptors come back to the %d of before, when %s", before.Files, when), func() bool {
			after = victim.usage()
			return after.Files <= before.Files+8 // the server itself has begun something since
		})
	}
	comeBack("the flood is over")
	if hangsUp {
		begin(f)
		deadline := time.Now().Add(limit)
		for i, c := range f.conns {
			c.SetDeadline(deadline)
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the server has not hung up connection %d of %d in %v", i, len(f.conns), limit)
			}
		}
		f.end()
		comeBack("the server has hung up")
	}
	t.Logf("%d MB resident before, %d after, %d at the peak; %d descriptors before, %d after",
		before.Resident>>20, after.Resident>>20, after.Peak>>20, before.Files, after.Files)
	if grown, most := after.Resident-before.Resident, floodMemory+memory; grown > most && !raceEnabled {
		t.Errorf("%d MB more are resident after the flood, want at most %d", grown>>20, most>>20)
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
