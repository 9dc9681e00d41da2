package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// This file is what the processes do that measure; measure.go starts them. Their
// loops, and all goroutines, run until the process is ended, after lifetime at the
// latest.

const (
	workerVariable = "BENCH_WORKER" // set in the environment of a process that measures
	lifetime       = 90 * time.Second
	patience       = 30 * time.Second // for what has to happen before there is something to measure
)

// A job is what one process does.
type job struct {
	Kind kind
	Peer string
	Load string
	Me   int      // which of the servers, where they are in processes of their own
	At   []string // where the servers listen
}

// A kind is what is measured.
type kind string

const (
	stream    kind = "one way"
	roundTrip kind = "round trip"
	nearTrip  kind = "round trip in one process"
	broadcast kind = "broadcast"
	allToAll  kind = "all to all" // all servers in one process
	nodes     kind = "nodes"      // so, too
	exchange  kind = "exchange"   // both of two servers send to each other; nothing is timed
)

// A snapshot is what a process knows about itself at one time.
type snapshot struct {
	Nanos       int64 // by its own clock
	Messages    int64 // that it has received
	CPUNanos    int64
	Mallocs     uint64
	PeakKiB     int64
	ResidentKiB int64
	Threads     int64
	Lost        map[string]uint64  // by reason
	Percentiles map[string]float64 // of round trips since the last snapshot, in µs
	StartMillis float64            // nodes: until all listened
	RingMillis  float64            // nodes: from then until a message had been at all of them
}

// A worker is a process that measures.
type worker struct {
	job      job
	load     load
	received []tally
	heard    chan struct{} // one for each thing that begin waits for
	ends     []end

	mu    sync.Mutex // guards trips
	trips *hdrhistogram.Histogram

	start, ring time.Duration
}

// A tally is written by one goroutine, and has a cache line of its own.
type tally struct {
	n atomic.Int64
	_ [56]byte
}

// work does the job that it reads, says when the first message has come, and prints a
// snapshot for each line that it reads then, until there are no more.
func work(in io.Reader, out io.Writer) {
	time.AfterFunc(lifetime, func() { fail("not ended within %v", lifetime) })
	unlimitFiles()
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return
	}
	w := new(worker)
	check(json.Unmarshal(lines.Bytes(), &w.job))
	w.begin()
	fmt.Fprintln(out)
	for lines.Scan() {
		check(json.NewEncoder(out).Encode(w.snapshot()))
	}
}

// unlimitFiles allows many connections where that is allowed. Where it is not, what
// needs more of them fails, and says so.
func unlimitFiles() {
	const files = 1 << 18
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: files, Max: files})
}

// begin sets the work going and returns when there is something to measure.
func (w *worker) begin() {
	p := peerNamed(w.job.Peer)
	w.load = loadNamed(w.job.Load)
	w.received = make([]tally, len(w.job.At))
	w.heard = make(chan struct{}, 2*len(w.job.At))
	w.trips = hdrhistogram.New(1, patience.Nanoseconds(), 3)
	w.ends = make([]end, len(w.job.At))
	join := func(me int) end {
		w.ends[me] = p.join(me, w.job.At)
		return w.ends[me]
	}
	started := time.Now()
	switch w.job.Kind {
	case stream, roundTrip, nearTrip:
		e := join(w.job.Me)
		switch {
		case w.job.Me != 0:
			go w.far(w.job.Me, e)
			return
		case p.oneProcess || w.job.Kind == nearTrip:
			go w.far(1, join(1))
		}
		if w.job.Kind == stream {
			go w.receive(0, e)
		} else {
			go w.ping(e)
		}
		w.await(1)
	case exchange:
		w.exchangeAll(join(w.job.Me))
	case broadcast:
		all := w.joinAll(join)
		for i := 1; i < len(all); i++ {
			go w.receive(i, all[i])
		}
		go w.broadcast(all[0])
		w.await(len(all) - 1)
	case allToAll:
		all := w.joinAll(join)
		for i, e := range all {
			go w.receive(i, e)
			go w.sendAround(i, e)
		}
		w.await(2 * len(all)) // all have received, and all have sent to all
	case nodes:
		all := w.joinAll(join)
		w.start = time.Since(started)
		w.goRound(all)
	default:
		fail("no kind of work is called %q", w.job.Kind)
	}
}

func (w *worker) joinAll(join func(int) end) []end {
	for i := range w.job.At {
		join(i)
	}
	return w.ends
}

// await returns when so many goroutines have done something for the first time.
func (w *worker) await(first int) {
	limit := time.After(patience)
	for i := range first {
		select {
		case <-w.heard:
		case <-limit:
			fail("%d of %d that should send or receive had not begun after %v", first-i, first, patience)
		}
	}
}

// most bounds the loops: more than any peer does in its process's lifetime.
const most = 10_000_000_000

// receive counts what one server receives. Counting costs some nanoseconds, which
// small messages share.
func (w *worker) receive(server int, e end) {
	take := w.load.receiver(e)
	every := 1
	if w.load.size < 1<<10 {
		every = 32
	}
	take()
	w.heard <- struct{}{}
	for range most / every {
		for range every {
			take()
		}
		w.received[server].n.Add(int64(every))
	}
}

// far is the other side of a stream or a round trip.
func (w *worker) far(me int, e end) {
	other := 1 - me
	if w.job.Kind != stream {
		for range most {
			e.relay(other)
		}
		return
	}
	send := w.load.sender(e)
	for i := range int64(most) {
		send(other, i)
	}
}

// ping makes round trips one after the other, and times each.
func (w *worker) ping(e end) {
	send, take := w.load.sender(e), w.load.receiver(e)
	for i := range most {
		start := time.Now()
		send(1, 0)
		e.flushed()
		take()
		took := time.Since(start)
		w.mu.Lock()
		check(w.trips.RecordValue(took.Nanoseconds()))
		w.mu.Unlock()
		w.received[0].n.Add(1)
		if i == 0 {
			w.heard <- struct{}{}
		}
	}
}

func (w *worker) broadcast(e end) {
	send, b := w.load.sender(e), make([]byte, w.load.size)
	for i := range int64(most) {
		if e.broadcast != nil {
			e.broadcast(b)
			continue
		}
		for to := 1; to < len(w.job.At); to++ {
			send(to, i)
		}
	}
}

// sendAround sends to all other servers in turn.
func (w *worker) sendAround(me int, e end) {
	send := w.load.sender(e)
	for i := range int64(most) {
		for step := 1; step < len(w.job.At); step++ {
			send((me+step)%len(w.job.At), i)
		}
		if i == 0 {
			w.heard <- struct{}{}
		}
	}
}

// goRound sends one message to each server in turn, which sends it to the next, and
// returns when it has come back to the first.
func (w *worker) goRound(all []end) {
	for i := 1; i < len(all); i++ {
		go all[i].relay((i + 1) % len(all))
	}
	began := time.Now()
	back := make(chan struct{})
	go func() {
		w.load.receiver(all[0])()
		close(back)
	}()
	w.load.sender(all[0])(1%len(all), 0)
	select {
	case <-back:
		w.ring = time.Since(began)
	case <-time.After(patience):
		fail("a message had not gone round after %v", patience)
	}
}

// relay sends the next message that is received to another server.
func (e end) relay(to int) {
	if e.send != nil {
		e.send(to, e.receive())
	} else {
		e.sendValue(to, e.receiveValue())
	}
	e.flushed()
}

func (w *worker) snapshot() snapshot {
	s := snapshot{
		StartMillis: millis(w.start),
		RingMillis:  millis(w.ring),
		Percentiles: make(map[string]float64),
		Lost:        make(map[string]uint64),
	}
	w.mu.Lock()
	if w.trips.TotalCount() > 0 {
		for _, p := range percentiles {
			s.Percentiles[p.name] = float64(w.trips.ValueAtQuantile(p.quantile)) / 1e3
		}
		w.trips.Reset()
	}
	w.mu.Unlock()
	for i := range w.ends {
		// What servers tell takes more memory than a thousand of them do, which is what is measured of these.
		if lost := w.ends[i].lost; lost != nil && w.job.Kind != nodes {
			for reason, n := range lost() {
				s.Lost[reason] += n
			}
		}
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	s.Mallocs = mem.Mallocs
	var use syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	s.CPUNanos = use.Utime.Nano() + use.Stime.Nano()
	s.PeakKiB, s.ResidentKiB, s.Threads = status("VmHWM"), status("VmRSS"), status("Threads")
	for i := range w.received {
		s.Messages += w.received[i].n.Load()
	}
	s.Nanos = time.Now().UnixNano()
	return s
}

// percentiles are those of round trips that are kept.
var percentiles = []struct {
	name     string
	quantile float64
}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}}

// status is a figure of Linux about this process; 0 if there is none.
func status(field string) int64 {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// retry calls f until it succeeds, as servers do that start at the same time.
func retry(what string, f func() error) {
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			fail("could not %s in %v: %v", what, patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

// fail ends the process. What it prints last is the reason that tables give.
func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
	os.Exit(1)
}
