//go:build unix

package scenario

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// These tests check that a program in another language, written from docs/wire.md, is a
// full member of a cluster: it echoes what it is sent.

type pyColor int

type pyPart struct {
	Name string
	Size float64
}

// pyThing has fields of many types.
type pyThing struct {
	Int     int
	Small   int8
	Big     uint64
	Float   float64
	Half    float32
	Bool    bool
	Text    string
	Bytes   []byte
	List    []int
	Map     map[string]int
	Part    pyPart
	Pointer *pyPart
	None    *pyPart
	Any     any
	Anys    []any
	When    time.Time
	Color   pyColor
	//lint:ignore U1000 that it is left out is what is tested
	renamed int
}

// PyBase is embedded, and has a tag of package json: pyEmbedding has two forms, see docs/wire.md.
type PyBase struct {
	ID int `json:"id"`
}

type pyEmbedding struct {
	PyBase
	N int
}

func init() {
	cluster.Register("py.Embedding", pyEmbedding{})
	cluster.Register("py.Color", pyColor(0))
	cluster.Register("py.Part", pyPart{})
	cluster.Register("py.Thing", pyThing{})
}

// pythonServer is examples/python/client.py, running as a server of a cluster.
type pythonServer struct {
	lines  chan string // of its standard output; closed at its end
	stdin  io.WriteCloser
	stderr bytes.Buffer // to be read after end
	cmd    *exec.Cmd
	once   sync.Once
}

const python = "/usr/bin/python3"

func needPython(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit)
	defer cancel()
	if out, err := exec.CommandContext(ctx, python, "-c", "import zmq, cbor2").CombinedOutput(); err != nil {
		t.Skipf("%s cannot be used with pyzmq and cbor2 (scripts/setup.sh python, or apt-get install python3-zmq python3-cbor2): %v\n%s",
			python, err, out)
	}
}

// startPython starts the server pid of cfg, and waits until it is ready. It is
// ended with the test.
func startPython(t *testing.T, pid int, cfg cluster.Config, args ...string) *pythonServer {
	t.Helper()
	needPython(t)
	file := testcluster.WriteConfig(t, cfg)
	args = append([]string{"-B", "../../examples/python/client.py", "-id", fmt.Sprint(pid), "-config", file}, args...)
	return runPython(t, exec.Command(python, args...))
}

// runPython starts a server, and waits until it is ready. It is ended with the test.
func runPython(t *testing.T, cmd *exec.Cmd) *pythonServer {
	t.Helper()
	p := &pythonServer{lines: make(chan string, 1000), cmd: cmd}
	p.cmd.Stderr = &p.stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // It ends with the process, which end waits for.
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		p.end(t)
		if t.Failed() {
			t.Logf("the Python server says at its end:\n%s", p.stderr.String())
		}
	})
	if got := p.line(t); got != "ready" {
		t.Fatalf("the Python server says %q, want ready", got)
	}
	return p
}

// line returns the next line that the server prints.
func (p *pythonServer) line(t *testing.T) string {
	t.Helper()
	select {
	case s, ok := <-p.lines:
		if !ok {
			p.end(t)
			t.Fatalf("the Python server has ended:\n%s", p.stderr.String())
		}
		return s
	case <-time.After(testcluster.Limit):
		t.Fatalf("the Python server printed nothing in %v", testcluster.Limit)
	}
	panic("not reached")
}

// end closes the server's standard input, whereupon it has to end by itself.
func (p *pythonServer) end(t *testing.T) {
	p.once.Do(func() {
		p.stdin.Close()
		overdue := time.AfterFunc(testcluster.Limit, func() {
			t.Errorf("the Python server did not end within %v of its input", testcluster.Limit)
			p.cmd.Process.Kill()
		})
		for range p.lines { // so that it can write
		}
		err := p.cmd.Wait()
		overdue.Stop()
		if err != nil {
			t.Errorf("the Python server: %v", err)
		}
	})
}

// checkNoLoss checks that nothing was lost, missed, refused or dropped between n
// and the Python server, which ends.
func checkNoLoss(t *testing.T, n *cluster.Node, p *pythonServer, received int) {
	t.Helper()
	s := n.Stats()
	if r := s.Received; r.Lost != 0 || r.Missed != 0 || len(framesRefused(r.Refused)) != 0 || s.Sent.DroppedTotal() != 0 {
		t.Errorf("the books are not clean:\n%v", s)
	}
	p.end(t)
	if got, want := p.stderr.String(), fmt.Sprintf("ended: {'received': %d}\n", received); got != want {
		t.Errorf("the Python server says %q at its end, want %q", got, want)
	}
}

func TestPythonValues(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 2)
	cfg.SendTimeout = testcluster.Limit
	n := testcluster.Join(t, 0, cfg)
	p := startPython(t, 1, cfg, "-echo")
	huge := new(big.Int).Lsh(big.NewInt(-3), 100)
	when := time.Date(2024, 2, 29, 12, 34, 56, 789000000, time.UTC)
	thing := pyThing{
		Int: -1 << 63, Small: -8, Big: math.MaxUint64, Float: 0.1, Half: 0.5, Bool: true, Text: "grün \"x\"", Bytes: []byte{0, 255},
		List: []int{1, -2}, Map: map[string]int{"a": 1}, Part: pyPart{"p", 1}, Pointer: &pyPart{"q", 2},
		Any: pyPart{"r", 3}, Anys: []any{nil, true, "s", []byte("b"), int64(-4), 2.5, pyColor(3)}, When: when, Color: 7,
	}
	received := 0
	for _, c := range []struct {
		name   string
		send   any
		python string // what it is in Python
		echo   any    // what comes back, if not the same: Python has fewer types
	}{
		{"nil", nil, "None", nil},
		{"true", true, "True", true},
		{"false", false, "False", false},
		{"zero", 0, "0", 0},
		{"a negative int", -42, "-42", -42},
		{"the least int", math.MinInt64, "-9223372036854775808", math.MinInt64},
		{"the greatest int", math.MaxInt64, "9223372036854775807", math.MaxInt64},
		{"int8", int8(-8), "-8", -8},
		{"int16", int16(-1600), "-1600", -1600},
		{"int32", int32(-320000), "-320000", -320000},
		{"int64", int64(-1 << 40), "-1099511627776", -1 << 40},
		{"uint", uint(7), "7", 7},
		{"uint8", uint8(200), "200", 200},
		{"uint16", uint16(60000), "60000", 60000},
		{"uint32", uint32(4e9), "4000000000", 4000000000},
		{"the greatest uint64", uint64(math.MaxUint64), "18446744073709551615", uint64(math.MaxUint64)},
		{"a big integer", *huge, huge.String(), *huge},
		{"float64", 0.1, "0.1", 0.1},
		{"infinity", math.Inf(-1), "-inf", math.Inf(-1)},
		{"float32", float32(0.5), "0.5", 0.5},
		{"a string", "grün", "'grün'", "grün"},
		{"an empty string", "", "''", ""},
		{"a string that is not UTF-8", "a\xff", `'a\udcff'`, "a\xff"},
		{"bytes", []byte{0, 1, 255}, `b'\x00\x01\xff'`, []byte{0, 1, 255}},
		{"no bytes", []byte{}, "b''", []byte{}},
		{"nil bytes", []byte(nil), "b''", []byte{}},
		{"time", when, "datetime.datetime(2024, 2, 29, 12, 34, 56, 789000, tzinfo=datetime.timezone.utc)", when},
		{"a list", []any{int64(1), "a", nil}, "[1, 'a', None]", []any{int64(1), "a", nil}},
		{"a list of ints in any", []any{1}, "[1]", []any{int64(1)}},
		{"a map", map[string]any{"a": 1.5}, "{'a': 1.5}", map[string]any{"a": 1.5}},
		{"a named int", pyColor(5), "Typed(name='py.Color', value=5, expr='8:py.Color', binary=False)", pyColor(5)},
		{"ints", []int{1, 2}, "Typed(name='', value=[1, 2], expr='[]int', binary=False)", []int{1, 2}},
		{"a struct", pyPart{"p", 1}, "Typed(name='py.Part', value={'Name': 'p', 'Size': 1.0}, expr='7:py.Part', binary=False)", pyPart{"p", 1}},
		{"an embedded struct", pyEmbedding{PyBase{1}, 2}, "Typed(name='py.Embedding', value={'PyBase': {'ID': 1}, 'N': 2}, expr='12:py.Embedding', binary=False)",
			pyEmbedding{PyBase{1}, 2}},
		{"a struct of many fields", thing, "", thing},
	} {
		t.Run(c.name, func(t *testing.T) {
			testcluster.Put(t, n, &cluster.Envelope{Pid: 1, Msg: c.send})
			received++
			line := p.line(t)
			if want := "Received msg from 0: " + c.python; c.python != "" && line != want {
				t.Errorf("Python prints %q, want %q", line, want)
			}
			got := testcluster.Take(t, n)
			if diff := cmp.Diff(c.echo, got.Msg, cmp.AllowUnexported(big.Int{}), cmp.AllowUnexported(pyThing{})); diff != "" || got.Pid != 1 {
				t.Errorf("the echo is from %d, and (-want +got):\n%s", got.Pid, diff)
			}
			if got.MsgId>>47 != 1 {
				t.Errorf("the echo has the id %#x, which does not begin with its sender's", got.MsgId)
			}
		})
	}
	// A message that is no echo: the lines of its input are broadcast.
	if _, err := io.WriteString(p.stdin, "hello there\n"); err != nil {
		t.Fatal(err)
	}
	if got := testcluster.Take(t, n); got.Pid != 1 || got.Msg != "hello there" {
		t.Errorf("got %+v, want the broadcast", got)
	}
	checkNoLoss(t, n, p, received)
}

// TestPythonLarge sends messages that travel in pieces, both ways.
func TestPythonLarge(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 2)
	cfg.SendTimeout = testcluster.Limit
	n := testcluster.Join(t, 0, cfg)
	p := startPython(t, 1, cfg, "-echo", "-quiet")
	random := rand.NewChaCha8([32]byte{1})
	sizes := []int{1 << 20, 32 << 10, 128<<10 - 1, 128 << 10, 128<<10 + 1, 256 << 10, 1<<20 + 1, 5 << 20}
	for _, size := range sizes {
		want := make([]byte, size)
		random.Read(want)
		testcluster.Put(t, n, &cluster.Envelope{Pid: 1, Msg: want})
		got, _ := testcluster.Take(t, n).Msg.([]byte)
		if !bytes.Equal(got, want) {
			t.Fatalf("the echo of %d bytes has %d, or other ones", size, len(got))
		}
	}
	checkNoLoss(t, n, p, len(sizes))
}

// TestPythonRestart has the Go server start anew while the Python one goes on.
func TestPythonRestart(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 2)
	n := testcluster.Join(t, 0, cfg)
	p := startPython(t, 1, cfg, "-echo", "-quiet")
	const lives, messages = 3, 5
	for life := range lives {
		if life > 0 {
			n = testcluster.Join(t, 0, cfg)
		}
		hello := fmt.Sprintf("hello from life %d", life)
		awaitEcho(t, n, hello)
		for i := range messages {
			want := fmt.Sprintf("life %d, message %d", life, i)
			testcluster.Put(t, n, &cluster.Envelope{Pid: 1, Msg: want})
			got := testcluster.Take(t, n).Msg
			for got == hello {
				got = testcluster.Take(t, n).Msg
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		s := n.Stats().Received
		if least := uint64(life * (messages + 1)); s.Missed < least || s.Lost != 0 || len(framesRefused(s.Refused)) != 0 {
			t.Errorf("life %d: missed %d, lost %d, refused %v, want at least %d, 0 and none", life, s.Missed, s.Lost, s.Refused, least)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	p.end(t)
	if got := p.stderr.String(); !strings.HasPrefix(got, "ended: {'received': ") || strings.Contains(got, ",") {
		t.Errorf("the Python server says %q at its end, want nothing but what it received", got)
	}
}

// awaitEcho sends a message to the Python server until the first echo comes. One
// that was written to the connection of an earlier life is lost.
func awaitEcho(t *testing.T, n *cluster.Node, hello string) {
	t.Helper()
	for deadline := time.Now().Add(testcluster.Limit); time.Now().Before(deadline); {
		testcluster.Put(t, n, &cluster.Envelope{Pid: 1, Msg: hello})
		select {
		case e := <-n.Inbox():
			if e.Msg != hello {
				t.Errorf("got %q, want %q", e.Msg, hello)
			}
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
	t.Fatalf("no echo came in %v:\n%v", testcluster.Limit, n.Stats())
}

// TestPythonMany sends many more messages than fit a window.
func TestPythonMany(t *testing.T) {
	const messages = 20_000
	text := func(i int) string { return fmt.Sprintf("message %d %s", i, strings.Repeat(".", 100+i%50)) }
	start := func(t *testing.T, args ...string) (*cluster.Node, *pythonServer) {
		cfg := testcluster.Config(t, "tcp", 2)
		cfg.QueueBytes = 256 << 10 // so that the window that Python gets is small, too
		cfg.SendTimeout = testcluster.Limit
		n := testcluster.Join(t, 0, cfg)
		p := startPython(t, 1, cfg, args...)
		sent := make(chan struct{})
		go func() { // It ends when all are taken from Outbox, or the node closes.
			defer close(sent)
			for i := range messages {
				select {
				case n.Outbox() <- &cluster.Envelope{Pid: 1, Msg: text(i)}:
				case <-n.Done():
					return
				}
			}
		}()
		t.Cleanup(func() { n.Close(); <-sent })
		return n, p
	}
	t.Run("to Python", func(t *testing.T) {
		n, p := start(t)
		for i := range messages {
			if got, want := p.line(t), fmt.Sprintf("Received msg from 0: '%s'", text(i)); got != want {
				t.Fatalf("message %d: Python prints %q, want %q", i, got, want)
			}
		}
		checkNoLoss(t, n, p, messages)
	})
	t.Run("both ways at once", func(t *testing.T) {
		n, p := start(t, "-echo", "-quiet")
		for i := range messages {
			if got := testcluster.Take(t, n); got.Pid != 1 || got.Msg != text(i) {
				t.Fatalf("echo %d: got %+v, want %q", i, got, text(i))
			}
		}
		checkNoLoss(t, n, p, messages)
	})
}

// TestPythonIsSentNothingThatItHasNotAnnounced uses all that needs a capability, of which the Python server announces none.
func TestPythonIsSentNothingThatItHasNotAnnounced(t *testing.T) {
	t.Parallel()
	cfg := testcluster.Config(t, "tcp", 2)
	cfg.SendTimeout = 3 * time.Second
	n := testcluster.Join(t, 0, cfg)
	p := startPython(t, 1, cfg, "-echo")
	var both sync.WaitGroup
	both.Go(func() {
		if err := n.Deliver(t.Context(), &cluster.Envelope{Pid: 1, Msg: "delivered"}); !errors.Is(err, cluster.ErrUnsupported) {
			t.Errorf("Deliver: %v, want ErrUnsupported", err)
		}
	})
	both.Go(func() {
		if _, err := n.Call(t.Context(), 1, "called"); !errors.Is(err, cluster.ErrNoCalls) {
			t.Errorf("Call: %v, want ErrNoCalls", err)
		}
	})
	both.Wait()
	const urgent = 10
	for i := range urgent {
		if err := n.SendUrgent(t.Context(), &cluster.Envelope{Pid: 1, Msg: i}); err != nil {
			t.Error(err)
		}
		if got := testcluster.Take(t, n).Msg; got != i {
			t.Errorf("the echo is %v, want %d", got, i)
		}
	}
	if testcluster.StatsOf(n, 1).Urgent {
		t.Error("it is taken to have an urgent stream")
	}
	checkNoLoss(t, n, p, urgent)
}

// TestPythonReadsShortHeaders gives frames to the parser of the Python server: it tells the
// message ids, or refuses a frame whole.
func TestPythonReadsShortHeaders(t *testing.T) {
	needPython(t)
	record := func(id int64, text string) []byte { return record(id, codec.String, []byte(text)) }
	short := func(text string) []byte { return append([]byte{128 + byte(codec.String), byte(len(text)), 0}, text...) }
	frame := func(count uint32, parts ...[]byte) []byte {
		b := make([]byte, wire.HeaderSize)
		(&wire.Header{Incarnation: 1, Start: wire.Position{Seq: 1}, Count: count}).Put(b)
		return append(b, bytes.Join(parts, nil)...)
	}
	for _, c := range []struct {
		frame []byte
		want  string
	}{
		{frame(4, record(5, "a"), short("bc"), short(""), record(-2, "d")), "[5, 6, 7, -2]"},
		{frame(3, record(-2, ""), short("x"), short("y")), "[-2, -1, 0]"},
		{frame(2, record(math.MaxInt64, "last"), short("first")), fmt.Sprint("[", math.MaxInt64, ", ", math.MinInt64, "]")},
		{frame(1, short("first of its frame")), "malformed"},
		{frame(2, record(5, "a"), short("bc")[:2]), "malformed"},
		{frame(2, record(5, "a"), short("bc")[:4]), "malformed"},
		{frame(2, record(5, "a"), short("bc"), []byte{0}), "malformed"},
	} {
		const program = `
import frames, sys
try:
    print([r.msgid for r in frames.parse(sys.stdin.buffer.read())[1]])
except ValueError as e:
    print(e)`
		ctx, cancel := context.WithTimeout(context.Background(), testcluster.Limit)
		defer cancel()
		cmd := exec.CommandContext(ctx, python, "-B", "-c", program)
		cmd.Dir, cmd.Stdin = "../../examples/python", bytes.NewReader(c.frame)
		if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != c.want {
			t.Errorf("got %q and %v, want %s", out, err, c.want)
		}
	}
}
