package stream

import (
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

var (
	modelSchedules = flag.Int("model.schedules", schedulesPerRun, "how many schedules TestModel runs")
	modelSeed      = flag.Uint64("model.seed", 1, "the first seed of TestModel")
	modelReplay    = flag.String("model.replay", "", "the one schedule that TestModel runs, and tells of")
)

// An action is one step of a schedule. It concerns an end, and has a number to make of what it likes.
type action struct {
	name   string
	weight int
	do     func(e *end, n int)
}

var actions = []action{
	{"send small messages", 16, func(e *end, n int) { e.enqueue(modelLoad{count: 1 + n%7}) }},
	{"send a message", 12, func(e *end, n int) { e.enqueue(modelLoad{count: 1, size: n << 10}) }},
	{"send a large message", 3, func(e *end, n int) { e.enqueue(modelLoad{count: 1, size: PieceBytes + 1 + n<<11}) }},
	{"deliver", 40, func(e *end, n int) {
		for range 1 + n%4 {
			if len(e.way.frames) > 0 {
				e.arrive(0)
			}
		}
	}},
	{"deliver out of order", 8, func(e *end, n int) {
		if len(e.way.frames) > 0 {
			e.arrive(n % len(e.way.frames))
		}
	}},
	{"lose a frame", 4, func(e *end, n int) {
		if w := e.way; len(w.frames) > 0 {
			i := n % len(w.frames)
			w.frames = append(w.frames[:i:i], w.frames[i+1:]...)
		}
	}},
	{"repeat a frame", 4, func(e *end, n int) {
		if w := e.way; len(w.frames) > 0 {
			w.frames = append(w.frames, w.frames[n%len(w.frames)])
		}
	}},
	{"break the connection", 4, func(e *end, n int) {
		e.way.up = false
		e.way.frames = e.way.frames[:n%(len(e.way.frames)+1)]
	}},
	{"mend the connection", 6, func(e *end, n int) { e.way.up, e.way.full, e.way.swallows = true, false, false }},
	{"the connection swallows what it takes", 3, func(e *end, n int) { e.way.swallows = true }},
	{"stop the connection", 3, func(e *end, n int) { e.way.full = true }},
	{"the connection fails for good", 1, func(e *end, n int) { e.way.broken = true }},
	{"another connection", 3, func(e *end, n int) {
		e.moved, e.again, e.failing = true, n&1 != 0, n&6 == 6
		e.hurry()
	}},
	{"the program stops taking", 4, func(e *end, n int) { e.stalled = true }},
	{"the program takes", 6, func(e *end, n int) { e.take(1 + n%8) }},
	{"the program goes on taking", 4, func(e *end, n int) {
		e.stalled = false
		e.take(1 << 20)
	}},
	{"the program is slow", 2, func(e *end, n int) { e.tell(true, e.now) }},
	{"a moment passes", 16, func(e *end, n int) { e.run(time.Duration(n)*time.Millisecond, false) }},
	{"time passes", 6, func(e *end, n int) { e.run(e.patience*time.Duration(n)/128, false) }},
	{"time passes, and frames arrive", 8, func(e *end, n int) { e.run(time.Duration(n)*4*time.Millisecond, true) }},
	{"nobody looks for a while", 3, func(e *end, n int) {
		e.model.now = e.now.Add(time.Duration(n) * 10 * time.Millisecond)
		for range n % 4 {
			if len(e.way.frames) > 0 {
				e.arrive(0)
			}
		}
	}},
	{"kill and start", 3, func(e *end, n int) {
		if e.lives >= 2+rememberedLives {
			return
		}
		if n&1 != 0 {
			e.way.frames = nil
		}
		if n&2 != 0 {
			e.peer.way.frames = nil
		}
		if n&12 == 12 {
			e.able = !e.able // it is of another version now
		}
		e.start()
	}},
	{"remove the peer", 1, func(e *end, n int) {
		e.removed, e.oracle.excused, e.oracle.wasDown = true, true, false
		e.oracle.down = notDown // it has its time if it is added again
		e.oracle.letsGo()
		e.oracle.settles()
		e.oracle.met = false
		e.s.Vanished(e.now)
		e.hurry()
		e.carryOut(e.r.Release())
	}},
	{"add the peer", 2, func(e *end, n int) {
		e.removed = false
		e.s.Appeared(e.now)
		e.hurry()
	}},
	{"acknowledge what was not written", 2, func(e *end, n int) {
		if e.r.incarnation != 0 && e.r.incarnation == e.peer.life {
			f := Frame{Header: e.s.Pending().Header}
			f.Incarnation, f.From, f.To = e.r.incarnation, uint16(e.peer.id), uint16(e.id)
			f.Flags, f.Count, f.Start, f.Resend = 0, 0, e.r.want, wire.Resend{}
			f.AckIncarnation, f.Ack, f.Window = e.life, at(e.oracle.last.Seq+1+uint64(n>>1), uint32(n&1)), uint32(e.limits.Window)
			if f.Start.Seq > 0 && (e.oracle.last.Offset == 0 || f.Ack != at(e.oracle.last.Seq+1)) {
				e.hear(f)
			}
		}
	}},
}

var actionAt = func() (table []int) {
	for i, a := range actions {
		for range a.weight {
			table = append(table, i)
		}
	}
	return table
}()

// play runs a schedule: two bytes for the model, and then two for each step. It returns what is wrong.
func play(schedule []byte, logf func(string, ...any)) error {
	m := newModel(logf)
	var how [2]byte
	schedule = schedule[copy(how[:], schedule):]
	m.patience = []time.Duration{time.Second, 300 * time.Millisecond, 4 * time.Second}[how[0]%3]
	m.limits = Limits{Window: 256 << 10 << (how[0] >> 2 & 1), MaxMessage: []int{1 << 20, 200 << 10}[how[0]>>3&1]}
	m.instant, m.sees = how[1]&1 != 0, how[0]>>4&1 != 0
	m.silence = []time.Duration{3 * time.Second, 400 * time.Millisecond, time.Second, 10 * time.Second}[how[1]>>5&3]
	if how[0]>>5&3 == 0 {
		m.watch = m.silence / 3
	}
	for i, e := range m.ends {
		e.limits, e.able = m.limits, how[1]>>(1+2*i)&3 != 0
		e.start()
	}
	m.rest()
	for len(schedule) >= 2 && m.err == nil {
		a, n := &actions[actionAt[int(schedule[0])%len(actionAt)]], int(schedule[1])
		schedule = schedule[2:]
		e := m.ends[n&1]
		m.log("end %d: %s (%d)", e.id, a.name, n>>1)
		a.do(e, n>>1)
		m.rest()
		m.check()
	}
	if m.err == nil {
		m.log("all faults end")
		m.settle()
	}
	if m.logf != nil {
		m.log("%v", &m.ends[0].oracle)
		m.log("%v", &m.ends[1].oracle)
	}
	return m.err
}

// draw makes the schedule of a seed.
func draw(seed uint64) []byte {
	rng := rand.NewPCG(seed, 0)
	schedule := make([]byte, 2+2*(8+rng.Uint64()%56))
	for i := range schedule {
		schedule[i] = byte(rng.Uint64() >> 32)
	}
	return schedule
}

// shrink leaves out of a schedule that fails what it fails without, as long as that makes it shorter.
func shrink(schedule []byte) []byte {
	for size := len(schedule) / 2 &^ 1; size >= 2; {
		shorter := false
		for at := 2; at+size <= len(schedule); {
			less := append(append([]byte(nil), schedule[:at]...), schedule[at+size:]...)
			if play(less, nil) != nil {
				schedule, shorter = less, true
			} else {
				at += 2
			}
		}
		if !shorter {
			size = size / 2 &^ 1
		}
	}
	return schedule
}

// explain tells of a schedule that fails, shortened, and of how to run it again.
func explain(t *testing.T, schedule []byte) {
	t.Helper()
	schedule = shrink(schedule)
	var story strings.Builder
	err := play(schedule, func(format string, args ...any) { fmt.Fprintf(&story, format+"\n", args...) })
	t.Errorf("%v\n%s\nagain: go test ./internal/stream -run TestModel -model.replay=%x", err, &story, schedule)
}

// TestModel holds the protocol's invariants in schedules that are drawn from seeds.
func TestModel(t *testing.T) {
	if *modelReplay != "" {
		schedule, err := hex.DecodeString(*modelReplay)
		if err != nil {
			t.Fatal(err)
		}
		if err := play(schedule, t.Logf); err != nil {
			t.Error(err)
		}
		return
	}
	count := uint64(*modelSchedules)
	if testing.Short() {
		count /= 20
	}
	// The schedules leave much garbage behind, and next to nothing else.
	defer debug.SetGCPercent(debug.SetGCPercent(2000))
	var next atomic.Uint64
	var failed atomic.Bool
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() { // It ends with the last schedule.
			for i := next.Add(1); i <= count && !failed.Load(); i = next.Add(1) {
				seed := *modelSeed + i - 1
				if schedule := draw(seed); play(schedule, nil) != nil && failed.CompareAndSwap(false, true) {
					t.Logf("seed %d", seed)
					explain(t, schedule)
				}
			}
		})
	}
	all.Wait()
}

func FuzzModel(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(draw(seed))
	}
	f.Fuzz(func(t *testing.T, schedule []byte) {
		const most = 2 + 2*200 // steps
		if schedule = schedule[:min(len(schedule), most)]; play(schedule, nil) != nil {
			explain(t, schedule)
		}
	})
}
