//go:build unix

package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/abhishekg16/cluster/peercatalog"
)

// The rest of what a child is told through its environment; see childRole.
const (
	childConfig = "CLUSTER_TEST_CONFIG" // path of the configuration
	childPids   = "CLUSTER_TEST_PIDS"   // servers to play, separated by commas
)

func init() { children["servers"] = serve }

// A child is this test binary in a process of its own, where it plays one server
// or several. It starts none of them before start is called. It is killed when
// the test ends.
type child struct {
	t       testing.TB // of the test, or of the part of it that is under way
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	replies chan string
	exited  chan struct{} // closed when the process has ended and all it wrote is read

	mu   sync.Mutex // guards what follows
	logs []string   // what it wrote to stderr
}

// spawn starts a child that plays the servers pids of the configuration.
func spawn(t testing.TB, cfg Config, pids ...int) *child {
	t.Helper()
	return spawnRole(t, "servers", cfg, pids...)
}

func spawnRole(t testing.TB, role string, cfg Config, pids ...int) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{
		t:       t,
		name:    "child " + listed(pids),
		cmd:     exec.Command(exe),
		replies: make(chan string, 1),
		exited:  make(chan struct{}),
	}
	if len(pids) > 3 {
		c.name = fmt.Sprintf("child %d-%d", pids[0], pids[len(pids)-1])
	}
	c.cmd.Env = append(os.Environ(), childRole+"="+role, childConfig+"="+writeConfig(t, cfg), childPids+"="+listed(pids))
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	logs, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { // It ends with the process, whose end of the pipe closes then.
		defer close(c.replies)
		for s := longLines(out); s.Scan(); {
			c.replies <- s.Text()
		}
	})
	readers.Go(func() { c.forward(t, logs) }) // likewise
	go func() {                               // kill waits for exited.
		readers.Wait()
		c.cmd.Wait()
		close(c.exited)
	}()
	t.Cleanup(c.kill)
	c.do("hello", nil)
	return c
}

// listed writes numbers with commas in between.
func listed(ns []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(ns), "[]"), " ", ",")
}

func longLines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 64<<20)
	return s
}

// forward passes what the child writes to stderr on to the test's log.
func (c *child) forward(t testing.TB, stderr io.Reader) {
	for s := longLines(stderr); s.Scan(); {
		line := s.Text()
		c.mu.Lock()
		c.logs = append(c.logs, line)
		c.mu.Unlock()
		t.Logf("%s: %s", c.name, line)
		for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "Assertion failed"} {
			if strings.Contains(line, bad) {
				t.Errorf("%s: %s", c.name, line)
			}
		}
	}
}

// do gives the child a command and waits for its reply, which reply is decoded
// from unless it is nil.
func (c *child) do(command string, reply any) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, command+"\n"); err != nil {
		c.t.Fatalf("%s: %s: %v", c.name, command, err)
	}
	select {
	case line, ok := <-c.replies:
		switch {
		case !ok:
			<-c.exited
			c.t.Fatalf("%s ended at %q: %v", c.name, command, c.cmd.ProcessState)
		case strings.HasPrefix(line, "error: "):
			c.t.Fatalf("%s: %s: %s", c.name, command, line)
		case reply == nil:
			return
		}
		if err := json.Unmarshal([]byte(line), reply); err != nil {
			c.t.Fatalf("%s: %s: reply %.200q: %v", c.name, command, line, err)
		}
	case <-time.After(limit):
		c.t.Fatalf("%s did not reply to %q in %v", c.name, command, limit)
	}
}

// start starts the child's servers.
func (c *child) start() *child {
	c.t.Helper()
	c.do("start", nil)
	return c
}

// send makes each server of the child send count messages of size bytes to each
// server of to, or messages without end until halt if count is 0, with a pause
// after each round. It does not wait for that.
func (c *child) send(to []int, count, size int, pause time.Duration) {
	c.t.Helper()
	c.do(fmt.Sprintf("send %s %d %d %v", listed(to), count, size, pause), nil)
}

// pace makes each server of the child pause after each message that it takes.
func (c *child) pace(pause time.Duration) {
	c.t.Helper()
	c.do("pace "+pause.String(), nil)
}

// report asks what the child's only, or first, server has done.
func (c *child) report() report {
	c.t.Helper()
	return c.reports()[0]
}

func (c *child) reports() []report {
	c.t.Helper()
	var r []report
	c.do("report", &r)
	return r
}

// until asks for the report of the child's first server until cond holds; what
// says what was missing otherwise.
func (c *child) until(what string, cond func(r *report) bool) report {
	c.t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		r := c.report()
		if cond(&r) {
			return r
		}
		if time.Now().After(deadline) {
			line, _ := json.Marshal(r)
			c.t.Fatalf("%s: not within %v: %s; it reports %.4000s", c.name, limit, what, line)
		}
	}
}

// usage asks what the child's process uses.
func (c *child) usage() usage {
	c.t.Helper()
	var u usage
	c.do("usage", &u)
	return u
}

// leave makes the child, once it has put all that it was told to send into its
// Outbox, call Shutdown and then os.Exit(0), and waits for that.
func (c *child) leave() {
	c.t.Helper()
	if _, err := io.WriteString(c.in, "leave\n"); err != nil {
		c.t.Fatalf("%s: leave: %v", c.name, err)
	}
	select {
	case <-c.exited:
	case <-time.After(2 * limit):
		c.t.Fatalf("%s has not exited %v after it was told to shut down", c.name, 2*limit)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Fatalf("%s: Shutdown and exit: %v", c.name, c.cmd.ProcessState)
	}
}

// close makes the child close its servers, and checks that nothing is left open.
func (c *child) close() {
	c.t.Helper()
	var faults []string
	c.do("close", &faults)
	for _, f := range faults {
		c.t.Errorf("%s: %s", c.name, f)
	}
}

func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("%s: %v: %v", c.name, s, err)
	}
}

// kill ends the child with SIGKILL, which works on stopped ones too.
func (c *child) kill() {
	c.cmd.Process.Kill() // an error means that it has ended
	select {
	case <-c.exited:
	case <-time.After(limit):
		c.t.Errorf("%s has not ended %v after SIGKILL", c.name, limit)
	}
	c.in.Close()
}

// processConfig is that of n servers on 127.0.0.1. The ports are below those
// that the system gives to outgoing connections, so that nobody takes the port of
// a server that was killed before it is back.
func processConfig(t testing.TB, n int) Config {
	t.Helper()
	var cfg Config
	used := make(map[int]bool)
	for tries := 0; len(cfg.Peers) < n; tries++ {
		if tries > 100*n {
			t.Fatal("no free ports between 10000 and 32000")
		}
		port := 10000 + rand.IntN(22000)
		if used[port] {
			continue
		}
		used[port] = true
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: len(cfg.Peers), Address: l.Addr().String()})
		l.Close()
	}
	return cfg
}

// writeConfig writes a Config.json and returns its path.
func writeConfig(t testing.TB, cfg Config) string {
	t.Helper()
	data, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "Config.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A report is what a server of a child has done.
type report struct {
	Ready   time.Time      // when New had returned
	From    map[int]*tally // by sender
	Next    map[int]uint64 // number of the next message to each peer
	Sending bool           // not all has been put into Outbox
	Slowest time.Duration  // the longest that Outbox took to take a message
	Stats   figures
}

// from is the tally of one sender, which is empty if nothing has come.
func (r report) from(pid int) *tally {
	if t := r.From[pid]; t != nil {
		return t
	}
	return new(tally)
}

// figures are Stats as they come back from JSON.
type figures struct {
	Incarnation uint64
	Peers       []peerFigures
	Refused     map[string]uint64
}

type peerFigures struct {
	ID    int
	State string
	Sent  struct {
		Accepted, Sent, Queued  uint64
		Dropped                 map[string]uint64
		QueueBytes, FlightBytes int
	}
	Received struct {
		Received, Lost, Missed, Restarts uint64
		Refused                          map[string]uint64
		BacklogBytes, HeldBytes          int
	}
}

func (f figures) peer(id int) peerFigures {
	for _, p := range f.Peers {
		if p.ID == id {
			return p
		}
	}
	return peerFigures{ID: id}
}

func figuresOf(n *Node) (f figures, err error) {
	data, err := json.Marshal(n.Stats())
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(data, &f)
}

// usage is what a process uses. Sizes are in bytes, and 0 where there is no /proc.
type usage struct {
	CPU                        time.Duration
	Resident, Peak             int
	Threads, Files, Goroutines int
}

func usageNow() usage {
	var u usage
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	u.Files, u.Goroutines = openFiles(), runtime.NumGoroutine()
	u.Resident, u.Peak, u.Threads = statusField("VmRSS"), statusField("VmHWM"), statusField("Threads")
	return u
}

// statusField reads a number from /proc/self/status, in bytes if it is a size.
func statusField(name string) int {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "\n"+name+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(fields[0])
	if len(fields) > 1 && fields[1] == "kB" {
		n <<= 10
	}
	return n
}

// traffic makes numbered messages and sends them from one node. Each carries
// which life of its sender it is of, and its number among those to the same peer,
// from 1.
type traffic struct {
	n    *Node
	life uint64
	stop chan struct{} // closed by halt
	done chan struct{} // closed when the current send has ended; nil before the first

	mu      sync.Mutex // guards what follows
	next    map[int]uint64
	slowest time.Duration
}

func newTraffic(n *Node) *traffic {
	return &traffic{n: n, life: uint64(time.Now().UnixNano()), next: make(map[int]uint64)}
}

// numberedBytes is the least size of a numbered message. What is larger is filled
// with the number's lowest byte.
const numberedBytes = 16

var fillings = func() (f [256][]byte) {
	for i := range f {
		f[i] = bytes.Repeat([]byte{byte(i)}, 4096)
	}
	return f
}()

// message makes the next message for a peer.
func (s *traffic) message(to, size int) *Envelope {
	s.mu.Lock()
	s.next[to] = max(1, s.next[to])
	number := s.next[to]
	s.next[to]++
	s.mu.Unlock()
	b := make([]byte, size)
	binary.LittleEndian.PutUint64(b, s.life)
	binary.LittleEndian.PutUint64(b[8:], number)
	for rest := b[numberedBytes:]; len(rest) > 0; {
		rest = rest[copy(rest, fillings[byte(number)]):]
	}
	return &Envelope{Pid: to, Msg: b}
}

// send begins to send, as child.send has it, when what was to be sent before
// has been.
func (s *traffic) send(to []int, count, size int, pause time.Duration) {
	s.wait()
	s.stop, s.done = make(chan struct{}), make(chan struct{})
	go func() { // halt ends it, and so does the end of the node; wait waits for it.
		defer close(s.done)
		for i := 0; count == 0 || i < count; i++ {
			for _, pid := range to {
				if !s.put(s.message(pid, size)) {
					return
				}
			}
			if pause > 0 {
				select {
				case <-time.After(pause):
				case <-s.stop:
					return
				}
			}
		}
	}()
}

// put puts an envelope into Outbox, and reports false if it was told to stop.
func (s *traffic) put(e *Envelope) bool {
	select {
	case <-s.stop:
		return s.unsent(e)
	case s.n.Outbox() <- e:
		return true
	default:
	}
	began := time.Now()
	select {
	case s.n.Outbox() <- e:
	case <-s.stop:
		return s.unsent(e)
	case <-s.n.Done():
		return s.unsent(e)
	}
	s.mu.Lock()
	s.slowest = max(s.slowest, time.Since(began))
	s.mu.Unlock()
	return true
}

func (s *traffic) unsent(e *Envelope) bool {
	s.mu.Lock()
	s.next[e.Pid]--
	s.mu.Unlock()
	return false
}

// number is that of the next message to a peer.
func (s *traffic) number(to int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(1, s.next[to])
}

func (s *traffic) slowestPut() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slowest
}

func (s *traffic) wait() {
	if s.done != nil {
		<-s.done
	}
}

func (s *traffic) halt() {
	if s.done != nil {
		close(s.stop)
		<-s.done
		s.done = nil
	}
}

func (s *traffic) sending() bool {
	select {
	case <-s.done: // nil blocks
		return false
	default:
		return s.done != nil
	}
}

// A tally is what a server has received from one peer: the numbered messages, and
// how many others.
type tally struct {
	Count  int
	Others int
	Spans  []span        // in order of arrival
	Faults []string      // what breaks the contract
	First  time.Time     // when the first message came
	Latest time.Time     // when the latest came
	Pause  time.Duration // the longest between two messages
}

// A span is a run of messages of one life of a sender, numbered From to To
// without a gap.
type span struct{ Life, From, To uint64 }

func (t *tally) add(msg any) {
	now := time.Now()
	if t.Latest.IsZero() {
		t.First = now
	} else {
		t.Pause = max(t.Pause, now.Sub(t.Latest))
	}
	t.Latest = now
	b, ok := msg.([]byte)
	if !ok || len(b) < numberedBytes {
		t.Others++
		return
	}
	t.Count++
	life, number := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	for i := numberedBytes; i < len(b); i += max(1, len(b)/16) {
		if b[i] != byte(number) {
			t.fault("message %d: byte %d is %#x, want %#x", number, i, b[i], byte(number))
			break
		}
	}
	if len(t.Spans) == 0 {
		t.Spans = append(t.Spans, span{life, number, number})
		return
	}
	last := &t.Spans[len(t.Spans)-1]
	switch {
	case life < last.Life:
		t.fault("message %d of an earlier life came after message %d of a later one", number, last.To)
	case life == last.Life && number <= last.To:
		t.fault("message %d came after message %d", number, last.To)
	case life == last.Life && number == last.To+1:
		last.To = number
	default:
		t.Spans = append(t.Spans, span{life, number, number})
	}
}

func (t *tally) fault(format string, args ...any) {
	if len(t.Faults) < 10 {
		t.Faults = append(t.Faults, fmt.Sprintf(format, args...))
	}
}

// last is the number of the latest message.
func (t *tally) last() uint64 {
	if len(t.Spans) == 0 {
		return 0
	}
	return t.Spans[len(t.Spans)-1].To
}

// lives are how many lives of the sender messages came from.
func (t *tally) lives() int {
	n, life := 0, uint64(0)
	for _, s := range t.Spans {
		if s.Life != life {
			n, life = n+1, s.Life
		}
	}
	return n
}

// checkOrder checks that what came was in order and whole, and no message twice.
func (t *tally) checkOrder(tb testing.TB, who string) {
	tb.Helper()
	for _, f := range t.Faults {
		tb.Errorf("%s: %s", who, f)
	}
}

// checkAll checks that the messages 1 to n of one life came, in order.
func (t *tally) checkAll(tb testing.TB, who string, n uint64) {
	tb.Helper()
	t.checkOrder(tb, who)
	if len(t.Spans) != 1 || t.Spans[0].From != 1 || t.Spans[0].To != n {
		tb.Errorf("%s: got the messages %v, want 1 to %d in order", who, t.Spans[:min(len(t.Spans), 10)], n)
	}
}

// A reader takes what a node receives, and keeps a tally for each sender.
type reader struct {
	n     *Node
	pause atomic.Int64 // after each message, in nanoseconds

	mu      sync.Mutex // guards what follows
	tallies map[int]*tally
}

// readAll reads the inbox of n until it is closed.
func readAll(n *Node) *reader {
	r := &reader{n: n, tallies: make(map[int]*tally)}
	go func() { // It ends when the node closes.
		for e := range n.Inbox() {
			r.mu.Lock()
			t := r.tallies[e.Pid]
			if t == nil {
				t = new(tally)
				r.tallies[e.Pid] = t
			}
			t.add(e.Msg)
			r.mu.Unlock()
			r.rest()
		}
	}()
	return r
}

// rest pauses. Short pauses are spent spinning, since timers are not that exact.
func (r *reader) rest() {
	pause := r.pause.Load()
	end := time.Now().Add(time.Duration(pause))
	for pause > 0 && r.pause.Load() == pause {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		if left > time.Millisecond {
			time.Sleep(min(left, 5*time.Millisecond))
		}
	}
}

// from returns a copy of the tally of one sender.
func (r *reader) from(pid int) *tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tallies[pid] == nil {
		return new(tally)
	}
	t := *r.tallies[pid]
	t.Spans, t.Faults = slices.Clone(t.Spans), slices.Clone(t.Faults)
	return &t
}

// A served is one server of a child.
type served struct {
	*Node
	ready   time.Time
	reader  *reader
	traffic *traffic
}

// serve is the role of a child: it plays servers, at the command of its stdin.
func serve() {
	warm()
	c := &crew{files: openFiles()}
	obey(c.command)
}

// obey passes the lines of stdin to command, and prints what it returns.
func obey(command func(words []string) (any, error)) {
	for in := longLines(os.Stdin); in.Scan(); {
		reply, err := command(strings.Fields(in.Text()))
		line, jsonErr := json.Marshal(reply)
		if err = errors.Join(err, jsonErr); err != nil {
			line = fmt.Appendf(nil, "error: %q", err)
		}
		fmt.Printf("%s\n", line)
	}
}

// A crew are the servers of a child.
type crew struct {
	all   []*served
	files int // descriptors that were open before
}

func (c *crew) command(words []string) (any, error) {
	switch words[0] {
	case "hello":
	case "start":
		return nil, c.start()
	case "send":
		return nil, c.send(words[1:])
	case "halt":
		for _, s := range c.all {
			s.traffic.halt()
		}
	case "pace":
		pause, err := time.ParseDuration(words[1])
		for _, s := range c.all {
			s.reader.pause.Store(int64(pause))
		}
		return nil, err
	case "report":
		var reports []report
		for _, s := range c.all {
			r, err := s.report()
			if err != nil {
				return nil, err
			}
			reports = append(reports, r)
		}
		return reports, nil
	case "usage":
		return usageNow(), nil
	case "leave":
		c.leave()
	case "close":
		return c.close(), nil
	default:
		return nil, fmt.Errorf("unknown command %q", words)
	}
	return nil, nil
}

// childServers are the configuration and the ids that a child was given.
func childServers(level slog.Level) (cfg Config, pids []int, err error) {
	cfg, err = LoadConfig(os.Getenv(childConfig))
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return cfg, numbers(os.Getenv(childPids)), err
}

func numbers(list string) (ns []int) {
	for _, w := range strings.Split(list, ",") {
		n, err := strconv.Atoi(w)
		if err != nil {
			panic(err)
		}
		ns = append(ns, n)
	}
	return ns
}

func (c *crew) start() error {
	cfg, pids, err := childServers(slog.LevelInfo)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		n, err := NewFromConfig(pid, cfg)
		if err != nil {
			return err
		}
		c.all = append(c.all, &served{n, time.Now(), readAll(n), newTraffic(n)})
	}
	return nil
}

func (c *crew) send(words []string) error {
	count, err1 := strconv.Atoi(words[1])
	size, err2 := strconv.Atoi(words[2])
	pause, err3 := time.ParseDuration(words[3])
	for _, s := range c.all {
		to := slices.DeleteFunc(numbers(words[0]), func(pid int) bool { return pid == s.Pid() })
		s.traffic.send(to, count, size, pause)
	}
	return errors.Join(err1, err2, err3)
}

// leave never returns.
func (c *crew) leave() {
	for _, s := range c.all {
		s.traffic.wait()
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			fmt.Fprintf(os.Stderr, "Shutdown: %v\n%v\n", err, s.Stats())
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// close returns what is wrong after Close.
func (c *crew) close() (faults []string) {
	for _, s := range c.all {
		s.traffic.halt()
		if err := s.Close(); err != nil {
			faults = append(faults, err.Error())
		}
		for _, p := range s.Stats().Peers {
			if b := p.Sent; b.Accepted != b.Sent+b.Queued+b.DroppedTotal() {
				faults = append(faults, fmt.Sprintf("the books of server %d for %d do not close: %+v", s.Pid(), p.ID, b))
			}
		}
	}
	if err := goleak.Find(); err != nil {
		faults = append(faults, "goroutines are left: "+err.Error())
	}
	if n, ok := settle(openFiles, c.files); !ok {
		faults = append(faults, fmt.Sprintf("%d descriptors are open after Close, %d were before", n, c.files))
	}
	return faults
}

func (s *served) report() (report, error) {
	r := report{Ready: s.ready, From: make(map[int]*tally), Next: make(map[int]uint64),
		Sending: s.traffic.sending(), Slowest: s.traffic.slowestPut()}
	s.reader.mu.Lock()
	var from []int
	for pid := range s.reader.tallies {
		from = append(from, pid)
	}
	s.reader.mu.Unlock()
	for _, pid := range from {
		r.From[pid] = s.reader.from(pid)
	}
	for _, pid := range s.Peers() {
		r.Next[pid] = s.traffic.number(pid)
	}
	var err error
	r.Stats, err = figuresOf(s.Node) // last: what is in a tally has been counted
	return r, err
}

// quiet waits until a node has written all that it was given. A message may come
// before its sender has counted it.
func quiet(t testing.TB, n *Node) {
	t.Helper()
	eventually(t, "all is written", func() bool {
		s := n.Stats()
		return s.OutboxLen == 0 && s.Sent.Queued == 0
	})
}

// statsOf is the part of a node's Stats about one peer.
func statsOf(n *Node, id int) PeerStats {
	for _, p := range n.Stats().Peers {
		if p.ID == id {
			return p
		}
	}
	return PeerStats{ID: id}
}

func TestAProcessThatExitsRightAfterShutdownHasLostNothing(t *testing.T) {
	const count = 10_000
	for _, c := range []struct {
		name  string
		size  int
		pause time.Duration
	}{
		{"16 bytes", 16, 0},
		{"1 KiB", 1 << 10, 0},
		{"16 bytes to a slow reader", 16, 50 * time.Microsecond},
		{"1 KiB to a slow reader", 1 << 10, 50 * time.Microsecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := processConfig(t, 2)
			from, to := spawn(t, cfg, 0), spawn(t, cfg, 1).start()
			to.pace(c.pause)
			from.start()
			from.send([]int{1}, count, c.size, 0)
			from.leave()
			r := to.until("all messages", func(r *report) bool { return r.from(0).Count >= count })
			r.from(0).checkAll(t, "server 1", count)
			if got := r.Stats.peer(0).Received; got.Lost != 0 || got.Missed != 0 {
				t.Errorf("server 1 counts %d messages lost and %d missed, want none", got.Lost, got.Missed)
			}
			to.close()
		})
	}
}

func TestAStalledPeerAndADeadOneDoNotHoldUpTheOthers(t *testing.T) {
	// The longer stall outlasts the heartbeats, so that the connection is given
	// up meanwhile.
	for _, stall := range []time.Duration{1500 * time.Millisecond, 5 * time.Second} {
		t.Run(stall.String(), func(t *testing.T) { testStalledAndDead(t, stall) })
	}
}

func testStalledAndDead(t *testing.T, stall time.Duration) {
	const (
		stalled, dead = 3, 4
		slack         = 700 * time.Millisecond // of a busy machine
	)
	cfg := processConfig(t, 5)
	cfg.QueueBytes, cfg.OutboxSize, cfg.SendTimeout = 1<<20, 16, time.Second
	n := join(t, 0, cfg)
	peers := make([]*child, 5)
	for id := 1; id < 5; id++ {
		peers[id] = spawn(t, cfg, id).start()
	}
	s := newTraffic(n)
	s.send([]int{1, 2, stalled, dead}, 0, 256, 0)
	defer s.halt()
	mostQueued := 0
	watch := func(until func() bool, what string) {
		t.Helper()
		eventually(t, what, func() bool {
			for _, p := range n.Stats().Peers {
				mostQueued = max(mostQueued, p.Sent.QueueBytes)
			}
			return until()
		})
	}
	for id := 1; id < 5; id++ {
		peers[id].until("the first 1000 messages", func(r *report) bool { return r.from(0).Count >= 1000 })
	}

	peers[stalled].signal(syscall.SIGSTOP)
	peers[dead].kill()
	since := time.Now()
	watch(func() bool {
		return statsOf(n, stalled).State == LinkDown && statsOf(n, dead).State == LinkDown
	}, "the links to the stalled and the dead peer are down")
	if took := time.Since(since); took > cfg.SendTimeout+slack {
		t.Errorf("the links went down after %v, want at most about SendTimeout, %v", took, cfg.SendTimeout)
	}
	staleFrom := s.number(stalled)
	healthy := []uint64{1: peers[1].report().from(0).last(), 2: peers[2].report().from(0).last()}
	watch(func() bool { return time.Since(since) > stall }, "the end of the stall")
	for id := 1; id <= 2; id++ {
		got := peers[id].report().from(0).last()
		t.Logf("server %d got %d messages while the others were down", id, got-healthy[id])
		if got < healthy[id]+1000 {
			t.Errorf("server %d got %d messages while the others were down, want at least 1000", id, got-healthy[id])
		}
	}
	staleTo := s.number(stalled) - uint64(cfg.OutboxSize)
	if staleTo < staleFrom+1000 {
		t.Errorf("%d messages for the stalled peer were taken while it was down, want at least 1000", staleTo-staleFrom)
	}

	peers[stalled].signal(syscall.SIGCONT)
	since = time.Now()
	resumed := s.number(stalled)
	peers[stalled].until("a message that was sent after it went on", func(r *report) bool { return r.from(0).last() > resumed })
	t.Logf("the stalled peer gets messages again after %v", time.Since(since))
	if took := time.Since(since); took > time.Second+slack {
		t.Errorf("the stalled peer gets messages again after %v, want within a second", took)
	}
	watch(func() bool { return time.Since(since) > 500*time.Millisecond }, "half a second more")
	s.halt()
	if s.slowestPut() > cfg.SendTimeout+slack {
		t.Errorf("Outbox made the sender wait for %v, want at most about SendTimeout, %v", s.slowestPut(), cfg.SendTimeout)
	}
	t.Logf("the longest wait for Outbox: %v; the most queued: %d bytes", s.slowestPut(), mostQueued)
	if mostQueued > cfg.QueueBytes {
		t.Errorf("a link had %d bytes queued, want at most QueueBytes, %d", mostQueued, cfg.QueueBytes)
	}
	// One more for each, so that every gap has an end.
	quiet(t, n)
	for id := 1; id <= 3; id++ {
		put(t, n, s.message(id, 256))
		sent := s.number(id) - 1
		r := peers[id].until("the last message", func(r *report) bool { return r.from(0).last() == sent })
		quiet(t, n)
		got, books := r.from(0), statsOf(n, id).Sent
		got.checkOrder(t, peers[id].name)
		if books.Accepted != sent {
			t.Errorf("accepted for server %d: %d, want %d", id, books.Accepted, sent)
		}
		if c := r.Stats.peer(0).Received; c.Received+c.Lost+c.Missed != books.Sent || uint64(got.Count) != c.Received {
			t.Errorf("server %d took %d messages, and counts %d as received, %d as lost and %d as missed, want %d in all",
				id, got.Count, c.Received, c.Lost, c.Missed, books.Sent)
		}
		if id != stalled {
			got.checkAll(t, peers[id].name, sent)
			if got.Pause > cfg.SendTimeout+slack {
				t.Errorf("server %d got nothing for %v, want at most about SendTimeout, %v", id, got.Pause, cfg.SendTimeout)
			}
			continue
		}
		for _, run := range got.Spans {
			if run.To >= staleFrom && run.From < staleTo {
				t.Errorf("the stalled peer got the messages %d to %d, which were sent while its link was down (%d to %d)",
					run.From, run.To, staleFrom, staleTo)
			}
		}
		t.Logf("the stalled peer: lost %d, dropped %v, spans %v", r.Stats.peer(0).Received.Lost, books.Dropped, got.Spans)
	}
	for id := 1; id <= 3; id++ {
		peers[id].close()
	}
}

func TestADeadPeerIsNotSentStaleMessagesWhenItComesBack(t *testing.T) {
	const count = 1000
	cfg := processConfig(t, 2)
	cfg.SendTimeout = 300 * time.Millisecond
	n := join(t, 0, cfg)
	s := newTraffic(n)
	defer s.halt()
	for _, before := range []string{"it was never up", "it was killed"} {
		t.Run(before, func(t *testing.T) {
			// What is written before the peer's end is noticed counts as sent, so
			// messages go on until the link is down.
			s.send([]int{1}, 0, 16, time.Millisecond)
			eventually(t, "the link is down", func() bool { return statsOf(n, 1).State == LinkDown })
			s.halt()
			was := statsOf(n, 1).Sent
			if before == "it was never up" && (was.Sent != 0 || was.Dropped[ReasonTimedOut] == 0) {
				t.Errorf("to a peer that was never up %d messages were sent, and dropped %v, want some timed out", was.Sent, was.Dropped)
			}
			s.send([]int{1}, count, 16, 0)
			s.wait()
			eventually(t, "all is accounted for", func() bool { return statsOf(n, 1).Sent.Accepted == s.number(1)-1 })
			now := statsOf(n, 1).Sent
			if got := now.Dropped[ReasonUnreachable] - was.Dropped[ReasonUnreachable]; got < count || now.Sent != was.Sent || now.Queued != 0 {
				t.Errorf("while the link was down: dropped %d as unreachable, sent %d, queued %d; want %d dropped", got, now.Sent-was.Sent, now.Queued, count)
			}

			peer := spawn(t, cfg, 1)
			fresh := s.number(1)
			peer.start()
			s.send([]int{1}, 0, 16, 5*time.Millisecond)
			defer s.halt()
			r := peer.until("a message", func(r *report) bool { return r.from(0).Count > 0 })
			got := r.from(0)
			if first := got.Spans[0].From; first < fresh {
				t.Errorf("message %d came, want none from before %d", first, fresh)
			}
			t.Logf("the first message came %v after the peer was ready", got.First.Sub(r.Ready))
			if took := got.First.Sub(r.Ready); took > time.Second {
				t.Errorf("the first message came %v after the peer was ready, want within a second", took)
			}
			s.halt()
			sent := s.number(1) - 1
			r = peer.until("the last message", func(r *report) bool { return r.from(0).last() == sent })
			r.from(0).checkOrder(t, peer.name)
			if len(r.from(0).Spans) != 1 {
				t.Errorf("got the messages %v, want no gaps", r.from(0).Spans)
			}
			peer.kill()
		})
	}
}

func TestServersMayStartInAnyOrderWithinSendTimeoutAndLoseNothing(t *testing.T) {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		t.Run(fmt.Sprintf("%d before %d", order[0], order[1]), func(t *testing.T) {
			t.Parallel() // mostly waiting
			cfg := processConfig(t, 2)
			cfg.SendTimeout = 2 * time.Second
			first, second := spawn(t, cfg, order[0]), spawn(t, cfg, order[1])
			first.start()
			first.send(order[1:], 1000, 16, 0)
			first.send(order[1:], 500, 16, time.Millisecond)
			time.Sleep(cfg.SendTimeout / 2)
			second.start()
			second.send(order[:1], 1500, 16, 0)
			for c, from := range map[*child]int{second: order[0], first: order[1]} {
				r := c.until("all messages", func(r *report) bool { return r.from(from).Count >= 1500 })
				r.from(from).checkAll(t, c.name, 1500)
				if d := r.Stats.peer(from).Sent.Dropped; len(d) > 0 {
					t.Errorf("%s dropped %v, want nothing", c.name, d)
				}
			}
			first.close()
			second.close()
		})
	}
}

func TestARestartedPeerIsANewIncarnationAndItsMessagesFlow(t *testing.T) {
	const restarts = 5
	cfg := processConfig(t, 2)
	cfg.QueueBytes = 1 << 20
	n := join(t, 0, cfg)
	r := readAll(n)
	// Slow enough that each life leaves something behind that was not read.
	r.pause.Store(int64(20 * time.Microsecond))
	for life := 0; life <= restarts; life++ {
		peer := spawn(t, cfg, 1).start()
		before := r.from(1).Count
		began := time.Now()
		peer.send([]int{0}, 0, 64, 0)
		eventually(t, fmt.Sprintf("messages of life %d", life), func() bool { return r.from(1).lives() == life+1 })
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the first message of life %d took %v, want at most 2 s", life, took)
		}
		eventually(t, fmt.Sprintf("1000 messages of life %d", life), func() bool { return r.from(1).Count > before+1000 })
		if got := statsOf(n, 1).Received.Restarts; got != uint64(life) {
			t.Errorf("Restarts is %d in life %d", got, life)
		}
		peer.kill()
	}
	got, books := r.from(1), statsOf(n, 1).Received
	got.checkOrder(t, "server 0")
	t.Logf("%d messages of %d lives", got.Count, got.lives())
	// What a life has sent before its end came through one connection.
	if len(got.Spans) != got.lives() || books.Lost != 0 || books.Missed != 0 || books.Refused[RefusedWindow] != 0 {
		t.Errorf("%d lives came as the messages %v; lost %d, missed %d, refused %v, want no gap in any",
			got.lives(), got.Spans, books.Lost, books.Missed, books.Refused)
	}
}

func TestWhenAReceiverRestartsMessagesFlowAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		pause time.Duration
	}{{"a trickle", time.Millisecond}, {"a flood", 0}} {
		t.Run(c.name, func(t *testing.T) {
			cfg := processConfig(t, 2)
			cfg.QueueBytes = 1 << 20
			n := join(t, 0, cfg)
			s := newTraffic(n)
			old, young := spawn(t, cfg, 1).start(), spawn(t, cfg, 1)
			s.send([]int{1}, 0, 16, c.pause)
			defer s.halt()
			r := old.until("200 messages", func(r *report) bool { return r.from(0).Count > 200 })
			r.from(0).checkAll(t, "the old life", r.from(0).last())
			known := r.from(0).last()
			old.kill()
			young.start()
			since := s.number(1)
			r = young.until("a message", func(r *report) bool { return r.from(0).Count > 0 })
			if first := r.from(0).Spans[0].From; first <= known {
				t.Errorf("message %d came to the new life, and to the old one before", first)
			}
			t.Logf("the first message came %v after the new life was ready", r.from(0).First.Sub(r.Ready))
			if took := r.from(0).First.Sub(r.Ready); took > time.Second {
				t.Errorf("the first message came %v after the new life was ready, want within a second", took)
			}
			young.until("200 messages that were sent since", func(r *report) bool { return r.from(0).last() > since+200 })
			s.halt()
			quiet(t, n)
			put(t, n, s.message(1, 16))
			sent := s.number(1) - 1
			r = young.until("the last message", func(r *report) bool { return r.from(0).last() == sent })
			r.from(0).checkOrder(t, "the new life")
			quiet(t, n)
			got, books := r.Stats.peer(0).Received, statsOf(n, 1).Sent
			t.Logf("the new life: %d received, %d missed, %d lost; sent %d, dropped %v", got.Received, got.Missed, got.Lost, books.Sent, books.Dropped)
			if got.Missed < known || got.Lost != 0 || got.Received+got.Missed != books.Sent {
				t.Errorf("the new life counts %d received, %d missed and %d lost, want none lost, at least %d missed, and %d together",
					got.Received, got.Missed, got.Lost, known, books.Sent)
			}
			young.close()
		})
	}
}

// lineLog is a place for a logger to write to.
type lineLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lineLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lineLog) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func TestTwoServersWithTheSameIDAreNoticed(t *testing.T) {
	all := processConfig(t, 3)
	cfg, other := all, all
	cfg.Peers = all.Peers[:2]
	other.Peers = []peercatalog.Peer{all.Peers[0], {ID: 1, Address: all.Peers[2].Address}}
	a, b := spawn(t, cfg, 1).start(), spawn(t, other, 1).start()
	log := new(lineLog)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	n := join(t, 0, cfg)
	r := readAll(n)
	a.send([]int{0}, 0, 16, time.Millisecond)
	eventually(t, "messages of the first server 1", func() bool { return r.from(1).Count > 100 })
	b.send([]int{0}, 0, 16, time.Millisecond)
	eventually(t, "messages of the first server 1 are refused, and those of the second come", func() bool {
		got := r.from(1)
		return statsOf(n, 1).Received.Refused[RefusedIncarnation] > 100 && got.lives() == 2 && got.last() > 100
	})
	got, books := r.from(1), statsOf(n, 1).Received
	got.checkOrder(t, "server 0")
	if len(got.Spans) != 2 || got.Spans[0].From != 1 || got.Spans[1].From != 1 {
		t.Errorf("got the messages %v, want two runs from 1", got.Spans)
	}
	if books.Restarts != 1 || books.Lost != 0 || len(books.Refused) != 1 {
		t.Errorf("Restarts %d, Lost %d, Refused %v, want one restart, none lost, and no other refusal", books.Restarts, books.Lost, books.Refused)
	}
	if k := log.count("do two servers use the id?"); k != 1 {
		t.Errorf("it was logged %d times, want once:\n%s", k, log.text.String())
	}
}

// peaks checks the peak of what the processes had in memory.
func peaks(t *testing.T, most int, cs ...*child) {
	t.Helper()
	for _, c := range cs {
		u := c.usage()
		peak := u.Peak
		switch {
		case peak == 0:
			t.Log("memory cannot be measured here: there is no VmHWM in /proc/self/status")
		case raceEnabled:
			t.Logf("%s had %d MB in memory, of which the race detector has its share", c.name, peak>>20)
		case peak > most:
			t.Errorf("%s had %d MB in memory at its peak, want at most %d", c.name, peak>>20, most>>20)
		default:
			t.Logf("%s had %d MB in memory at its peak, and used %v of processor time", c.name, peak>>20, u.CPU)
		}
	}
}

func TestAHundredMessagesOf10MBArriveInBoundedMemory(t *testing.T) {
	count := 100
	if raceEnabled {
		count = 20 // each takes ten times as long
	}
	cfg := processConfig(t, 2)
	cfg.OutboxSize = 1 // what the program keeps there is its own affair
	cfg.SendTimeout = limit
	from, to := spawn(t, cfg, 0).start(), spawn(t, cfg, 1).start()
	// For a while nobody reads, and all that may pile up does.
	to.pace(time.Hour)
	from.send([]int{1}, count, 10_000_000, 0)
	time.Sleep(2500 * time.Millisecond)
	if got := to.report().from(0).Count; got > 1 {
		t.Errorf("%d messages were taken by a program that does not read", got)
	}
	to.pace(0)
	r := to.until("all messages", func(r *report) bool { return r.from(0).Count >= count })
	r.from(0).checkAll(t, to.name, uint64(count))
	if lost := r.Stats.peer(0).Received.Lost; lost != 0 {
		t.Errorf("%d lost", lost)
	}
	peaks(t, 200<<20, from, to)
	from.close()
	to.close()
}

func TestAServerThatTakesSlowlyPacesItsSenderAndLosesNothing(t *testing.T) {
	const count = 200_000
	cfg := processConfig(t, 2)
	from, to := spawn(t, cfg, 0).start(), spawn(t, cfg, 1).start()
	to.pace(10 * time.Microsecond)
	from.send([]int{1}, count, 1<<10, 0)
	r := to.until("all messages", func(r *report) bool { return r.from(0).Count >= count })
	r.from(0).checkAll(t, to.name, count)
	sent := from.report()
	if d := sent.Stats.peer(1).Sent.Dropped; len(d) != 0 {
		t.Errorf("dropped %v, want nothing", d)
	}
	if sent.Slowest == 0 {
		t.Error("the sender never had to wait, so that the test tests nothing")
	}
	peaks(t, 150<<20, from, to)
	from.close()
	to.close()
}

func TestWhileAPeerTakesVerySlowlyNothingIsDropped(t *testing.T) {
	cfg := processConfig(t, 2)
	cfg.QueueBytes = minQueueBytes
	log := new(lineLog)
	sending := cfg
	sending.Logger = slog.New(slog.NewTextHandler(log, nil))
	n := join(t, 0, sending)
	to := spawn(t, cfg, 1).start()
	to.pace(20 * time.Millisecond)
	s := newTraffic(n)
	s.send([]int{1}, 0, 16, 0)
	defer s.halt()
	full := false
	for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(10 * time.Millisecond) {
		p := statsOf(n, 1)
		if p.State == LinkDown || p.Sent.DroppedTotal() > 0 {
			t.Fatalf("after %v: the link is %v, dropped %v", time.Since(began), p.State, p.Sent.Dropped)
		}
		full = full || n.Stats().OutboxLen == cap(n.Outbox())
	}
	if !full {
		t.Error("Outbox was never full, so that the test tests nothing")
	}
	slow := to.report().from(0).Count
	t.Logf("it took %d messages in 5 s", slow)
	to.pace(0)
	s.halt()
	sent := s.number(1) - 1
	r := to.until("all messages", func(r *report) bool { return r.from(0).last() == sent })
	r.from(0).checkAll(t, to.name, sent)
	if k := log.count("link is down"); k != 0 {
		t.Errorf("the link went down %d times:\n%s", k, log.text.String())
	}
	to.close()
}

// A sender that does not run for a while, be it stopped or its machine busy, must
// not hold that against its peer.
func TestASenderThatWasStoppedDropsNothingWhenItGoesOn(t *testing.T) {
	const count, size = 1_200, 5_000
	cfg := processConfig(t, 2)
	cfg.QueueBytes, cfg.InboxSize, cfg.SendTimeout = minQueueBytes, 1, 250*time.Millisecond
	n := join(t, 1, cfg)
	from := spawn(t, cfg, 0).start()
	from.send([]int{1}, count, size, 0)
	var got tally
	for i := range count {
		if i%200 == 20 {
			from.signal(syscall.SIGSTOP)
			time.AfterFunc(2*cfg.SendTimeout, func() { from.signal(syscall.SIGCONT) })
		}
		got.add(take(t, n).Msg)
		time.Sleep(2 * time.Millisecond)
	}
	got.checkAll(t, "server 1", count)
	if dropped := from.report().Stats.peer(1).Sent.Dropped; len(dropped) > 0 {
		t.Errorf("the sender has dropped %v", dropped)
	}
	from.close()
}

func TestWhileAPeerTakesVerySlowlyFromSeveralNothingIsDropped(t *testing.T) {
	cfg := processConfig(t, 4)
	cfg.QueueBytes = minQueueBytes
	to := spawn(t, cfg, 0).start()
	to.pace(2 * time.Millisecond)
	senders := spawn(t, cfg, 1, 2, 3).start()
	senders.send([]int{0}, 0, 16, 0)
	for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(50 * time.Millisecond) {
		for i, r := range senders.reports() {
			if p := r.Stats.peer(0); p.State == "down" || len(p.Sent.Dropped) > 0 {
				got := to.report()
				t.Fatalf("after %v: the link of server %d is %s, dropped %v; the peer takes steadily: %d, %d and %d messages so far",
					time.Since(began), i+1, p.State, p.Sent.Dropped, got.from(1).Count, got.from(2).Count, got.from(3).Count)
			}
		}
	}
	to.pace(0)
	senders.do("halt", nil)
	for i, r := range senders.reports() {
		sent := r.Next[0] - 1
		got := to.until("all messages", func(r *report) bool { return r.from(i+1).last() == sent })
		got.from(i+1).checkAll(t, to.name, sent)
	}
}

func TestNewReturnsAnErrorForABusyPortAndLeavesNothingOpen(t *testing.T) {
	cfg := processConfig(t, 2)
	path := writeConfig(t, cfg)
	holder := spawn(t, cfg, 0).start()
	// The binding has finalizers that close forgotten sockets. That does not count.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	files, goroutines := openFiles(), runtime.NumGoroutine()
	n, err := New(0, path)
	if err == nil {
		n.Close()
		t.Fatal("New returned no error for a port that another process listens on")
	}
	t.Log(err)
	for _, part := range []string{path, "server 0", cfg.Peers[0].Address} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not name %q", err, part)
		}
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the error %q is not EADDRINUSE", err)
	}
	if left, ok := settle(openFiles, files); !ok {
		t.Errorf("%d descriptors are open, %d were before", left, files)
	}
	if left, ok := settle(runtime.NumGoroutine, goroutines); !ok {
		t.Errorf("%d goroutines run, %d did before", left, goroutines)
	}
	holder.kill()
	if n, err = New(0, path); err != nil {
		t.Fatalf("once the port is free: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}
