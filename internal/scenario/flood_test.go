//go:build unix

package scenario

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// The tests of this file open more connections to a server than it has peers, while a good
// peer sends to it at a steady rate. The flood comes from a process of its own, which gives
// way to both: its work is not the server's.

const (
	floodConns = 1000
	// floodRounds are how often the rate is measured, without the flood and with it in
	// turn, and floodWindow is for how long.
	floodRounds = 3
	floodWindow = 200 * time.Millisecond
	// floodAfter is longer than a server takes to look at what became of its connections.
	floodAfter = 1200 * time.Millisecond
	// The good peer must keep floodRate of its rate. And the server must keep as much of a
	// processor while floodPace connections come in a second: what each costs it is counted
	// in its own processor time, with which other processes interfere little. The machine
	// does other things as well: it is measured up to floodTries times.
	floodRate  = 0.9
	floodPace  = 500
	floodTries = 15
	// floodMemory is what may be resident more than before, of which most is what malloc
	// keeps.
	floodMemory = 64 << 20
)

// A flood is a way to attack a server.
type flood struct {
	name   string
	keys   bool                   // the server has keys
	begin  func(f *flooder) error // opens connections
	tick   func(f *flooder) error // goes on, every floodTick; nil: nothing does
	every  time.Duration          // between two ticks
	memory int                    // beyond floodMemory
	// The connections are such that the server has to hang up itself.
	hangsUp bool
}

var floods = []flood{
	{
		name: "1,000 idle half-handshakes", keys: true, hangsUp: true,
		begin: func(f *flooder) error { return f.open(floodConns, greeting("CURVE")) },
	},
	{
		name: "greetings of a byte a second", keys: true,
		begin: func(f *flooder) error { return f.open(floodConns, greeting("CURVE")[:1]) },
		every: time.Second,
		tick: func(f *flooder) error {
			for _, c := range f.conns {
				c.Write([]byte{0})
			}
			return nil
		},
	},
	{
		name: "oversized frames announced and not sent", hangsUp: true,
		begin: func(f *flooder) error {
			return errors.Join(f.open(floodConns/2, announced(wire.MaxFrame+1)), f.open(floodConns/2, announced(1<<62)))
		},
	},
	{
		name:   "the largest frames announced and not sent",
		begin:  func(f *flooder) error { return f.open(floodConns/2, announced(wire.MaxFrame)) },
		memory: floodConns / 2 * wire.MaxFrame,
	},
	{
		name: "10,000 connects and disconnects", keys: true,
		begin: func(f *flooder) error { return nil },
		every: 50 * time.Millisecond,
		tick: func(f *flooder) error {
			defer f.hangUp()
			return f.open(10_000/floodRounds/20, nil)
		},
	},
}

// announced is what a PUSH socket without keys writes: its handshake, and the length of a
// frame of that size.
func announced(size uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Concat(greeting("NULL"), ready("PUSH"), []byte{2}), size)
}

func init() { testcluster.Roles["flooder"] = playFlooder }

// A flooder is a child that attacks a server.
type flooder struct {
	address string
	opened  int // connections since the flood began
	conns   []net.Conn
	stop    chan struct{} // closed to end the ticks; nil: there are none
	ticked  chan error    // has what was wrong with them when they have ended
}

func playFlooder() {
	// With the lowest priority it gets what the server and its peer leave.
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19); err != nil {
		panic(err)
	}
	cfg, pids, err := testcluster.ChildServers(slog.LevelInfo)
	if err != nil {
		panic(err)
	}
	f := new(flooder)
	for _, p := range cfg.Peers {
		if p.ID == pids[0] {
			f.address = p.Address
		}
	}
	testcluster.Obey(f.command)
}

func (f *flooder) command(words []string) (any, error) {
	switch words[0] {
	case "hello":
	case "begin":
		n, err := strconv.Atoi(words[1])
		if err != nil {
			return nil, err
		}
		return nil, f.start(floods[n])
	case "end":
		return f.opened, f.end()
	case "wait":
		return nil, f.awaitHangUp()
	default:
		return nil, fmt.Errorf("unknown command %q", words)
	}
	return nil, nil
}

// start begins the flood, which goes on until end.
func (f *flooder) start(kind flood) error {
	f.opened = 0
	if err := kind.begin(f); err != nil || kind.tick == nil {
		return err
	}
	f.stop, f.ticked = make(chan struct{}), make(chan error, 1)
	go func() { // end ends it, and waits for ticked.
		for {
			if err := kind.tick(f); err != nil {
				f.ticked <- err
				return
			}
			select {
			case <-time.After(kind.every):
			case <-f.stop:
				f.ticked <- nil
				return
			}
		}
	}()
	return nil
}

func (f *flooder) end() (err error) {
	if f.stop != nil {
		close(f.stop)
		err = <-f.ticked
		f.stop = nil
	}
	f.hangUp()
	return err
}

// open opens connections, and writes to each.
func (f *flooder) open(count int, b []byte) error {
	for range count {
		c, err := net.DialTimeout("tcp", f.address, testcluster.Limit)
		if err != nil {
			return err
		}
		c.Write(b)
		f.opened++
		f.conns = append(f.conns, c)
	}
	return nil
}

// hangUp closes all connections, without a trace of them in the kernel.
func (f *flooder) hangUp() {
	for _, c := range f.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	f.conns = nil
}

// awaitHangUp returns when the server has closed all connections.
func (f *flooder) awaitHangUp() error {
	deadline := time.Now().Add(testcluster.Limit / 2) // the reply has to come within limit
	for i, c := range f.conns {
		c.SetDeadline(deadline)
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("the server has not hung up connection %d of %d in %v", i, len(f.conns), testcluster.Limit/2)
		}
	}
	return nil
}

func TestFloodsOfConnectionsDoNotSlowAGoodPeerDown(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < 2*floodConns {
		t.Skipf("it needs %d descriptors, and there may be %d (ulimit -n): %v", 2*floodConns, files.Cur, err)
	}
	for i, kind := range floods {
		t.Run(kind.name, func(t *testing.T) { withstand(t, i) })
	}
}

// withstand lets a flood come over a server, and then checks that it is as it was.
func withstand(t *testing.T, number int) {
	kind := floods[number]
	cfg := testcluster.ProcessConfig(t, 2)
	if kind.keys {
		cfg = testcluster.Keyed(t, cfg)
	}
	victim := testcluster.Spawn(t, cfg, victimPid).Start()
	attacker := testcluster.SpawnRole(t, "flooder", cfg, victimPid)
	n := testcluster.Join(t, goodPid, cfg)
	s := testcluster.NewTraffic(n)
	// Ten messages at a time, with a pause: a rate that the machine can keep up.
	s.Send(slices.Repeat([]int{victimPid}, 10), 0, 100, time.Millisecond)
	defer s.Halt()
	count := func() int { r := victim.Report(); return r.Tally(goodPid).Count }
	testcluster.Eventually(t, "the good peer's messages", func() bool { return count() > 1000 })
	before := victim.Usage()
	rate := func(window time.Duration) float64 {
		first, began := count(), time.Now()
		time.Sleep(window)
		return float64(count()-first) / time.Since(began).Seconds()
	}
	// own is the part of a processor that the server uses without the flood.
	began := time.Now()
	rate(floodAfter)
	own := float64(victim.Usage().CPU-before.CPU) / float64(time.Since(began))
	measure := func() (kept, processor float64) {
		var calm, flooded []float64
		began, used, opened := time.Now(), victim.Usage().CPU, 0
		for range floodRounds {
			calm = append(calm, rate(floodWindow))
			attacker.Do(fmt.Sprint("begin ", number), nil)
			flooded = append(flooded, rate(floodWindow))
			n := 0
			attacker.Do("end", &n)
			opened += n
		}
		rate(floodAfter)
		cost := (victim.Usage().CPU - used).Seconds() - own*time.Since(began).Seconds()
		cost /= float64(opened)
		t.Logf("messages a second: %.0f, and %.0f with the flood; each of %d connections cost %.0f µs of the server's processor time",
			calm, flooded, opened, 1e6*cost)
		return median(flooded) / median(calm), 1 - floodPace*cost
	}
	least := floodRate
	if testcluster.RaceEnabled {
		least = 0.5 // the detector's work is in the way of both
	}
	kept, processor := 0.0, 0.0
	for range floodTries {
		k, p := measure()
		if kept, processor = max(kept, k), max(processor, p); kept >= least && processor >= least {
			break
		}
	}
	t.Logf("the good peer keeps %.2f of its rate, and the server %.2f of a processor", kept, processor)
	if kept < least {
		t.Errorf("the good peer kept %.2f of its rate, want at least %.2f", kept, least)
	}
	if processor < least {
		t.Errorf("%d connections a second leave the server %.2f of a processor, want at least %.2f", floodPace, processor, least)
	}
	s.Halt()
	sent := s.Number(victimPid) - 1
	r := victim.Until("all of the good peer's messages", func(r *testcluster.Report) bool { return r.Tally(goodPid).Last() == sent })
	r.Tally(goodPid).CheckAll(t, victim.Name, sent)
	if d := testcluster.StatsOf(n, victimPid).Sent.Dropped; len(d) > 0 {
		t.Errorf("the good peer dropped %v, want nothing", d)
	}
	var after testcluster.Usage
	comeBack := func(when string) {
		t.Helper()
		testcluster.Eventually(t, fmt.Sprintf("descriptors come back to the %d of before, when %s", before.Files, when), func() bool {
			after = victim.Usage()
			return after.Files <= before.Files+8 // the server itself has begun something since
		})
	}
	comeBack("the flood is over")
	if kind.hangsUp {
		attacker.Do(fmt.Sprint("begin ", number), nil)
		attacker.Do("wait", nil)
		attacker.Do("end", nil)
		comeBack("the server has hung up")
	}
	t.Logf("%d MB resident before, %d after, %d at the peak; %d descriptors before, %d after",
		before.Resident>>20, after.Resident>>20, after.Peak>>20, before.Files, after.Files)
	if grown, most := after.Resident-before.Resident, floodMemory+kind.memory; grown > most && !testcluster.RaceEnabled {
		t.Errorf("%d MB more are resident after the flood, want at most %d", grown>>20, most>>20)
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
