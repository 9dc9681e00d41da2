package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/abhishekg16/cluster/examples/maelstrom/internal/runner"
)

var long = flag.Bool("long", false, "five servers for 15 s in each of ten rounds")

// variant is the environment variable that makes this test a server, and says which one.
const variant = "MAELSTROM_TEST_SERVER"

func TestMain(m *testing.M) {
	name := os.Getenv(variant)
	if name == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if b, ok := broken[name]; ok {
		workloads[name] = b.serve
	}
	var out io.Writer = os.Stdout
	if r, ok := rude[name]; ok {
		out = &rudely{spoil: r.spoil}
	}
	if err := run(os.Args[1:], os.Stdin, out); err != nil {
		fmt.Fprintln(os.Stderr, "maelstrom:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runs plays all configurations at once, with this test as the server, and gives their reports in their order.
func runs(t *testing.T, cfgs ...runner.Config) []runner.Report {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reports := make([]runner.Report, len(cfgs))
	var running sync.WaitGroup
	for i, cfg := range cfgs {
		cfg.Command = []string{self, cfg.Workload}
		var said bytes.Buffer // of the servers; exec writes to it from one goroutine for each of them
		var mu sync.Mutex
		cfg.Stderr = writer(func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return said.Write(b)
		})
		running.Go(func() {
			var err error
			if reports[i], err = runner.Run(t.Context(), cfg); err != nil {
				t.Error(err)
			}
			if len(reports[i].Faults) > 0 {
				t.Logf("%s, seed %d: %v\nthe servers said:\n%s", cfg.Workload, cfg.Seed, reports[i], said.Bytes())
			}
		})
	}
	running.Wait()
	return reports
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// faulty is a run over a network that is slow, loses messages and is parted.
func faulty(workload, server string, seed uint64) runner.Config {
	return runner.Config{
		Workload: workload, Env: []string{variant + "=" + server}, Seed: seed,
		Nodes: 3, Clients: 4, Duration: time.Second, Pause: 10 * time.Millisecond,
		Latency: 2 * time.Millisecond, Loss: 0.01, Partition: 400 * time.Millisecond,
	}
}

func TestEachWorkloadIsServedOverANetworkWithFaults(t *testing.T) {
	t.Parallel()
	rounds := uint64(1)
	if *long {
		rounds = 10
	}
	for seed := range rounds {
		var cfgs []runner.Config
		for _, workload := range slices.Sorted(maps.Keys(workloads)) {
			cfg := faulty(workload, "right", seed+1)
			if workload == "lin-kv" { // It needs a second to elect a leader, and another one when that is cut off.
				cfg.Duration, cfg.Partition = 3*time.Second, 1250*time.Millisecond
			}
			if *long {
				cfg.Nodes, cfg.Duration, cfg.Partition = 5, 15*time.Second, 2*time.Second
			}
			cfgs = append(cfgs, cfg)
		}
		for i, r := range runs(t, cfgs...) {
			t.Logf("%s, seed %d: %v", cfgs[i].Workload, cfgs[i].Seed, r)
			if len(r.Faults) > 0 || r.Partitions == 0 {
				t.Errorf("%s, seed %d: %d faults and %d partitions, want none and some", cfgs[i].Workload, cfgs[i].Seed, len(r.Faults), r.Partitions)
			}
			if between := cfgs[i].Workload == "broadcast" || cfgs[i].Workload == "lin-kv"; between && r.Messages == 0 {
				t.Errorf("%s, seed %d: no messages between servers", cfgs[i].Workload, cfgs[i].Seed)
			}
		}
	}
}

// broken are servers each of which has one fault, and what the runner says of it.
var broken = map[string]struct {
	serve func(*server) error
	want  string
}{
	"echo":       {echoOfBefore, " echoed "},
	"unique-ids": {uniqueHere, " gave out the id "},
	"broadcast":  {func(s *server) error { return spread(s, time.Hour) }, " lacks "},
	"lin-kv":     {serveOwnReads, "is not linearizable"},
}

// echoOfBefore answers with what was asked before.
func echoOfBefore(s *server) error {
	before := json.RawMessage("null")
	for r := range s.requests {
		var body struct{ Echo json.RawMessage }
		if err := r.decode(&body); err != nil {
			return err
		}
		s.reply(r, "echo_ok", map[string]any{"echo": before})
		before = body.Echo
	}
	return nil
}

// uniqueHere counts, as the other servers do.
func uniqueHere(s *server) error {
	count := 0
	for r := range s.requests {
		count++
		s.reply(r, "generate_ok", map[string]any{"id": count})
	}
	return nil
}

// serveOwnReads answers reads by what this server knows, without asking the leader.
func serveOwnReads(s *server) error {
	return serveKV(s, func(st *store, o op) result {
		if o.Type == "read" {
			return st.machine.do(o)
		}
		return st.do(o)
	})
}

func TestAServerWithAFaultIsCaught(t *testing.T) {
	t.Parallel()
	names := slices.Sorted(maps.Keys(broken))
	var cfgs []runner.Config
	for _, name := range names {
		cfg := faulty(name, name, 1)
		cfg.Settle = time.Second
		if name == "lin-kv" { // This fault needs no other.
			cfg.Duration, cfg.Settle, cfg.Loss, cfg.Partition = 2*time.Second, 0, 0, 0
		}
		cfgs = append(cfgs, cfg)
	}
	// On a busy machine too little may happen in the time, and the fault not come out: then there is more time.
	for tries := 6; len(cfgs) > 0; tries-- {
		var left []runner.Config
		for i, r := range runs(t, cfgs...) {
			cfg := cfgs[i]
			told := strings.Join(r.Faults, "\n")
			switch caught := strings.Contains(told, broken[cfg.Workload].want); {
			case caught:
			case tries == 1:
				t.Errorf("%s: the runner said %q, want %q", cfg.Workload, told, broken[cfg.Workload].want)
			default:
				cfg.Duration, cfg.Seed = 2*cfg.Duration, cfg.Seed+1
				left = append(left, cfg)
			}
		}
		cfgs = left
	}
}

// rudely writes what spoil makes of each line.
type rudely struct{ spoil func(line string) string }

func (w *rudely) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		if _, err := io.WriteString(os.Stdout, w.spoil(line)); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// rude are servers that do not keep to the protocol, and what the runner says of them.
var rude = map[string]struct {
	spoil func(line string) string
	want  string
}{
	"a line of text": {func(l string) string { return "hello\n" + l }, "want an object with src, dest and body"},
	"two in a line":  {func(l string) string { return strings.TrimSpace(l) + l }, "want an object with src, dest and body"},
	"another's name": {func(l string) string { return strings.Replace(l, `"src":"n1"`, `"src":"n2"`, 1) }, `a message of "n2"`},
	"nobody":         {func(l string) string { return strings.Replace(l, `"dest":"c0"`, `"dest":"c77"`, 1) }, `for "c77", whom there is not`},
	"no body":        {func(l string) string { return `{"src":"n1","dest":"c0"}` + "\n" }, "want an object with a type"},
	"no type":        {func(l string) string { return strings.Replace(l, `"type"`, `"kind"`, 1) }, "want an object with a type"},
	"another type":   {func(l string) string { return strings.Replace(l, "init_ok", "ok", 1) }, "want the type init_ok"},
	"no request":     {func(l string) string { return strings.Replace(l, `"in_reply_to":1,`, "", 1) }, "want a number in_reply_to"},
	"another one":    {func(l string) string { return strings.Replace(l, `"in_reply_to":1,`, `"in_reply_to":9,`, 1) }, "there was no such request"},
	"twice":          {func(l string) string { return l + l }, "that was answered before"},
}

func TestAServerThatDoesNotKeepToTheProtocolIsCaught(t *testing.T) {
	names := slices.Sorted(maps.Keys(rude))
	var cfgs []runner.Config
	for _, name := range names {
		cfg := runner.Config{
			Workload: "echo", Env: []string{variant + "=" + name},
			Nodes: 1, Clients: 1, Duration: 100 * time.Millisecond, Pause: time.Millisecond,
		}
		if name != "another type" { // Of all others it is found also when the client does not wait any more.
			cfg.Patience = 300 * time.Millisecond
		}
		cfgs = append(cfgs, cfg)
	}
	for i, r := range runs(t, cfgs...) {
		if told := strings.Join(r.Faults, "\n"); !strings.Contains(told, rude[names[i]].want) {
			t.Errorf("%s: the runner said %q, want %q", names[i], told, rude[names[i]].want)
		}
	}
}

func TestWhatTheServerCannotUseIsAnError(t *testing.T) {
	const from = `{"src":"c0","dest":"n1","body":`
	for _, c := range []struct{ name, workload, in, want string }{
		{"another workload", "txn", "", "want one workload of broadcast, echo, lin-kv, unique-ids"},
		{"no input", "echo", "", "no message init came"},
		{"no JSON", "echo", "hello\n", "no message init came"},
		{"another message first", "echo", from + `{"type":"echo","msg_id":1}}`, "want one of type init"},
		{"a stranger", "echo", from + `{"type":"init","msg_id":1,"node_id":"n3","node_ids":["n1"]}}`, `"n3": want one of its node_ids, ["n1"]`},
		{"no JSON later", "echo", from + `{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}}` + "\nhello\n", "invalid character 'h'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := run([]string{c.workload}, strings.NewReader(c.in), io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestRequestsThatNoWorkloadHasAreRefused(t *testing.T) {
	for _, c := range []struct {
		workload, body string
		code           int
	}{
		{"echo", `{"type":"generate","msg_id":2}`, codeNotSupported},
		{"echo", `{"type":"echo","msg_id":2}`, codeMalformed},
		{"unique-ids", `{"type":"echo","msg_id":2}`, codeNotSupported},
		{"broadcast", `{"type":"echo","msg_id":2}`, codeNotSupported},
		{"broadcast", `{"type":"broadcast","msg_id":2}`, codeMalformed},
		{"lin-kv", `{"type":"echo","msg_id":2}`, codeNotSupported},
		{"lin-kv", `{"type":"write","key":1,"msg_id":2}`, codeMalformed},
		{"lin-kv", `{"type":"cas","key":1,"from":1,"msg_id":2}`, codeMalformed},
	} {
		t.Run(c.workload+" "+c.body, func(t *testing.T) {
			var out bytes.Buffer
			in := `{"src":"c0","dest":"n1","body":{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}}` +
				`{"src":"c0","dest":"n1","body":` + c.body + `}`
			if err := run([]string{c.workload}, strings.NewReader(in), &out); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`"code":%d,"in_reply_to":2`, c.code)
			if !strings.Contains(out.String(), want) {
				t.Errorf("got\n%swant %s", out.String(), want)
			}
		})
	}
}
