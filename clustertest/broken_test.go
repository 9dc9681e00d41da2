package clustertest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/transport/mem"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A broken server is a node that breaks one rule, on one of its two channels or in
// a method.
type broken struct {
	*cluster.Node
	outbox, inbox chan *cluster.Envelope
	close         func() error
}

func (b *broken) Outbox() chan *cluster.Envelope { return b.outbox }
func (b *broken) Inbox() chan *cluster.Envelope  { return b.inbox }
func (b *broken) Close() error                   { return b.close() }

type pass func(e *cluster.Envelope, on func(*cluster.Envelope))

// send lets f stand between the program and Outbox.
func (b *broken) send(f pass) {
	b.outbox = make(chan *cluster.Envelope, cap(b.outbox))
	go relay(b.outbox, b.Node.Outbox(), b.Done(), f)
}

// receive lets f stand between Inbox and the program.
func (b *broken) receive(f pass) {
	b.inbox = make(chan *cluster.Envelope, cap(b.inbox))
	go func() { // It ends when the node has closed.
		relay(b.Node.Inbox(), b.inbox, b.Done(), f)
		close(b.inbox)
	}()
}

// relay passes on what f makes of each envelope, until from or the node closes.
func relay(from, to chan *cluster.Envelope, done <-chan struct{}, f pass) {
	for {
		select {
		case e, ok := <-from:
			if !ok {
				return
			}
			f(e, func(e *cluster.Envelope) {
				select {
				case to <- e:
				case <-done:
				}
			})
		case <-done:
			return
		}
	}
}

// everyTenth calls odd for each tenth envelope instead of passing it on.
func everyTenth(odd pass) pass {
	n := 0
	return func(e *cluster.Envelope, on func(*cluster.Envelope)) {
		if n++; n%10 == 0 {
			odd(e, on)
			return
		}
		on(e)
	}
}

// brokenServers are the ways to break a server, and the rule in which the suite must
// notice.
var brokenServers = []struct {
	name, rule string
	fault      func(b *broken)
}{
	{
		"the order is not checked", "what one server sends to another arrives in the order sent and never twice",
		func(b *broken) {
			var kept *cluster.Envelope
			b.receive(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
				if kept == nil {
					kept = e
					return
				}
				on(e)
				on(kept)
				kept = nil
			})
		},
	},
	{
		"duplicates are not noticed", "what one server sends to another arrives in the order sent and never twice",
		func(b *broken) {
			b.receive(everyTenth(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
				again := *e
				on(e)
				on(&again)
			}))
		},
	},
	{
		"the sequence starts again", "what one server sends to another arrives in the order sent and never twice",
		nil, // what carries the frames does it: see resetting
	},
	{
		"messages are dropped without being counted", "Stats accounts for every message",
		func(b *broken) { b.send(everyTenth(func(*cluster.Envelope, func(*cluster.Envelope)) {})) },
	},
	{
		"the sender's envelope is written to", "an envelope that was handed over is not changed",
		func(b *broken) {
			b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
				if e != nil {
					sent := *e
					e.MsgId = 1
					e = &sent
				}
				on(e)
			})
		},
	},
	{
		"the sender's envelope is the receiver's", "a received envelope is fresh",
		func(b *broken) {
			b.inbox = make(chan *cluster.Envelope, cap(b.inbox))
			go func() { // It ends when the node has closed.
				relay(b.Node.Inbox(), b.inbox, b.Done(), func(e *cluster.Envelope, on func(*cluster.Envelope)) { on(e) })
			}()
			b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
				if e == nil || e.Pid != b.Pid() {
					on(e)
					return
				}
				select {
				case b.inbox <- e:
				case <-b.Done():
				}
			})
		},
	},
	{
		"ids are counted from 1 by each server", "assigned ids are unique among servers",
		func(b *broken) {
			next := int64(1)
			b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
				if e != nil && e.MsgId == 0 {
					sent := *e
					sent.MsgId = next
					next++
					e = &sent
				}
				on(e)
			})
		},
	},
	{
		"the receiver's id is not replaced", "a received envelope carries its sender's id",
		func(b *broken) {
			b.receive(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
				e.Pid = b.Pid()
				on(e)
			})
		},
	},
	{
		"a sender that is too fast is not paced", "while a peer takes nothing is dropped",
		func(b *broken) {
			b.send(func(e *cluster.Envelope, _ func(*cluster.Envelope)) {
				select {
				case b.Node.Outbox() <- e:
				default:
				}
			})
		},
	},
	{
		"Close blocks", "Close returns in time and ends a range over Inbox",
		func(b *broken) {
			b.close = func() error {
				time.Sleep(time.Hour)
				return b.Node.Close()
			}
		},
	},
	{
		"Inbox stays open", "Close returns in time and ends a range over Inbox",
		func(b *broken) {
			b.inbox = make(chan *cluster.Envelope, cap(b.inbox))
			go relay(b.Node.Inbox(), b.inbox, b.Done(), func(e *cluster.Envelope, on func(*cluster.Envelope)) { on(e) })
		},
	},
}

// resetting is a network on which each sender seems to begin its sequence again
// after a while.
type resetting struct{}

func (resetting) Carry(head, tail []byte, deliver func(head, tail []byte) bool) (bool, <-chan struct{}) {
	if h, err := wire.ParseHeader(head); err == nil && h.Start.Seq > 100 {
		h.Start.Seq -= 100
		head = append([]byte(nil), head...)
		h.Put(head)
	}
	deliver(head, tail)
	return true, nil
}

// brokenServer names, in the environment of a child process, the broken server that
// it tests.
const brokenServer = "CLUSTERTEST_BROKEN_SERVER"

// TestTheSuiteFindsEachBrokenServer runs the suite against servers that break one
// rule each, in processes of their own since their tests must fail.
func TestTheSuiteFindsEachBrokenServer(t *testing.T) {
	broken := os.Getenv(brokenServer)
	for _, b := range brokenServers {
		t.Run(b.name, func(t *testing.T) {
			switch broken {
			case "":
				checkFound(t, b.name, b.rule)
			case b.name:
				testBroken(t, b.fault)
			}
		})
	}
}

func testBroken(t *testing.T, fault func(*broken), leaveOut ...string) {
	if fault == nil {
		defer (&mem.Network{Carrier: resetting{}}).Name("resetting")()
	}
	clustertest.TestServer(t, clustertest.Implementation{
		New: func(pid int, cfg cluster.Config) (cluster.Server, error) {
			n, err := cluster.NewFromConfig(pid, cfg)
			if err != nil {
				return nil, err
			}
			b := &broken{Node: n, outbox: n.Outbox(), inbox: n.Inbox(), close: n.Close}
			if fault != nil {
				fault(b)
			}
			return b, nil
		},
		Config: func(t testing.TB, n int) cluster.Config {
			cfg := memConfig(t, n)
			for i := range cfg.Peers {
				if fault == nil {
					cfg.Peers[i].Address = strings.Replace(cfg.Peers[i].Address, "mem://", "mem://resetting/", 1)
				}
			}
			return cfg
		},
		Bubble:   true,
		LeaveOut: leaveOut,
	})
}

// checkFound runs the suite against a broken server, and checks that the rule fails
// and says what it is, while another one passes.
func checkFound(t *testing.T, name, rule string) {
	const other = "Pid is the id and Peers lists the others"
	subtest := func(rule string) string {
		return strings.ReplaceAll(t.Name()+"/"+rule, " ", "_")
	}
	out := runChild(t, name, "/^("+strings.ReplaceAll(rule+"|"+other, " ", "_")+")$")
	if !strings.Contains(out, "--- FAIL: "+subtest(rule)) || !strings.Contains(out, "the rule: ") {
		t.Errorf("the rule %q did not fail, or its failure does not say what it is:\n%s", rule, out)
	}
	if !strings.Contains(out, "--- PASS: "+subtest(other)) {
		t.Errorf("the rule %q did not pass:\n%s", other, out)
	}
}

// runChild runs this very test, or its subtests that are given, in a process of its
// own, where it must fail. It returns what that prints.
func runChild(t *testing.T, broken, subtests string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$"+subtests, "-test.v", "-test.timeout=60s")
	child.Env = append(os.Environ(), brokenServer+"="+broken)
	out, err := child.CombinedOutput()
	if err == nil {
		t.Fatalf("the test did not fail:\n%s", out)
	}
	return string(out)
}

// A Close that never returns must not keep the suite from ending, nor from saying in
// the right place what is wrong.
func TestTheSuiteEndsThoughCloseNeverReturns(t *testing.T) {
	if os.Getenv(brokenServer) != "" {
		clustertest.TestServer(t, clustertest.Implementation{New: func(pid int, cfg cluster.Config) (cluster.Server, error) {
			n, err := cluster.NewFromConfig(pid, cfg)
			if err != nil {
				return nil, err
			}
			return &broken{Node: n, outbox: n.Outbox(), inbox: n.Inbox(), close: func() error { select {} }}, nil
		}, Config: func(t testing.TB, n int) cluster.Config {
			cfg := memConfig(t, n)
			cfg.Linger = time.Millisecond // the suite does not wait for much longer
			return cfg
		}})
		return
	}
	out := runChild(t, "none", "")
	want := "--- FAIL: " + t.Name() + "/Close_returns_in_time_and_ends_a_range_over_Inbox"
	if !strings.Contains(out, want) || strings.Count(out, "    --- FAIL: ") != 1 || !strings.Contains(out, "--- SKIP: ") {
		t.Errorf("got\n%s\nwant %q in it, and no other failure", out, want)
	}
}

func TestRulesAreLeftOutByName(t *testing.T) {
	for _, b := range brokenServers {
		if b.name == "Inbox stays open" { // it breaks one rule, and no other by the way
			testBroken(t, b.fault, strings.ReplaceAll(b.rule, " ", "_"))
		}
	}
}

func TestToLeaveOutARuleThatIsNoneIsAnError(t *testing.T) {
	if os.Getenv(brokenServer) != "" {
		testBroken(t, func(*broken) {}, "nothing is ever lost")
		return
	}
	out := runChild(t, "none", "/^none$")
	for _, want := range []string{`LeaveOut names "nothing is ever lost"`, "\ta received envelope is fresh\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant %q in it", out, want)
		}
	}
}
