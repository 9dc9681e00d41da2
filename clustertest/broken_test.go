package clustertest_test

import (
	"context"
	"io"
	"iter"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/transport/mem"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A broken server is a node that breaks one rule, on one of its two channels or in
// a method.
type broken struct {
	*cluster.Node
	outbox, inbox chan *cluster.Envelope
	beside        chan *cluster.Envelope // see mix
	// What is not nil stands in for the node's method.
	close    func() error
	shutdown func(context.Context) error
	done     func() <-chan struct{}
	say      func(context.Context, *cluster.Envelope) error
	urge     func(context.Context, *cluster.Envelope) error
	deliver  func(context.Context, *cluster.Envelope) error
	events   func(context.Context) iter.Seq[cluster.Event]
	call     func(context.Context, int, any) (*cluster.Envelope, error)
	callAll  func(context.Context, int, any) iter.Seq2[*cluster.Envelope, error]
	stats    func() cluster.Stats
	group    func(...int) (int, error)
	peers    func() []int
	hear     func(context.Context) (*cluster.Envelope, error)
}

func (b *broken) Outbox() chan *cluster.Envelope { return b.outbox }
func (b *broken) Inbox() chan *cluster.Envelope  { return b.inbox }
func (b *broken) Close() error                   { return b.close() }

func (b *broken) Shutdown(ctx context.Context) error {
	if b.shutdown != nil {
		return b.shutdown(ctx)
	}
	return b.Node.Shutdown(ctx)
}

func (b *broken) Done() <-chan struct{} {
	if b.done != nil {
		return b.done()
	}
	return b.Node.Done()
}

func (b *broken) Send(ctx context.Context, e *cluster.Envelope) error {
	if b.say != nil {
		return b.say(ctx, e)
	}
	return b.Node.Send(ctx, e)
}

func (b *broken) SendUrgent(ctx context.Context, e *cluster.Envelope) error {
	if b.urge != nil {
		return b.urge(ctx, e)
	}
	return b.Node.SendUrgent(ctx, e)
}

func (b *broken) Deliver(ctx context.Context, e *cluster.Envelope) error {
	if b.deliver != nil {
		return b.deliver(ctx, e)
	}
	return b.Node.Deliver(ctx, e)
}

func (b *broken) Call(ctx context.Context, pid int, msg any) (*cluster.Envelope, error) {
	if b.call != nil {
		return b.call(ctx, pid, msg)
	}
	return b.Node.Call(ctx, pid, msg)
}

func (b *broken) CallAll(ctx context.Context, address int, msg any) iter.Seq2[*cluster.Envelope, error] {
	if b.callAll != nil {
		return b.callAll(ctx, address, msg)
	}
	return b.Node.CallAll(ctx, address, msg)
}

func (b *broken) Events(ctx context.Context) iter.Seq[cluster.Event] {
	if b.events != nil {
		return b.events(ctx)
	}
	return b.Node.Events(ctx)
}

func (b *broken) Stats() cluster.Stats {
	if b.stats != nil {
		return b.stats()
	}
	return b.Node.Stats()
}

func (b *broken) Group(ids ...int) (int, error) {
	if b.group != nil {
		return b.group(ids...)
	}
	return b.Node.Group(ids...)
}

func (b *broken) Peers() []int {
	if b.peers != nil {
		return b.peers()
	}
	return b.Node.Peers()
}

func (b *broken) Receive(ctx context.Context) (*cluster.Envelope, error) {
	if b.hear != nil {
		return b.hear(ctx)
	}
	return b.next(ctx)
}

// next takes an envelope from the inbox, as Receive does.
func (b *broken) next(ctx context.Context) (*cluster.Envelope, error) {
	if b.inbox == b.Node.Inbox() {
		return b.Node.Receive(ctx)
	}
	select {
	case e, ok := <-b.inbox:
		if !ok {
			return nil, cluster.ErrClosed
		}
		return e, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pass func(e *cluster.Envelope, on func(*cluster.Envelope))

// send lets f stand between the program and Outbox.
func (b *broken) send(f pass) {
	b.outbox = make(chan *cluster.Envelope, cap(b.outbox))
	go relay(b.outbox, b.Node.Outbox(), b.Node.Done(), f)
}

// receive lets f stand between Inbox and the program.
func (b *broken) receive(f pass) {
	b.inbox = make(chan *cluster.Envelope, cap(b.inbox))
	go func() { // It ends when the node has closed.
		relay(b.Node.Inbox(), b.inbox, b.Node.Done(), f)
		close(b.inbox)
	}()
}

// mix makes the program receive what is given to slip, too.
func (b *broken) mix() {
	b.inbox = make(chan *cluster.Envelope, cap(b.inbox))
	b.beside = make(chan *cluster.Envelope)
	go func() { // It ends when the node has closed.
		defer close(b.inbox)
		for {
			e, open := (*cluster.Envelope)(nil), true
			select {
			case e, open = <-b.Node.Inbox():
			case e = <-b.beside:
			}
			if !open {
				return
			}
			select {
			case b.inbox <- e:
			case <-b.Node.Done():
			}
		}
	}()
}

// slip makes the program receive an envelope beside what comes, unless the node closes.
func (b *broken) slip(e *cluster.Envelope) {
	select {
	case b.beside <- e:
	case <-b.Node.Done():
	}
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

// resetting is a network on which each sender seems to begin its sequence again
// after a while.
type resetting struct{}

func (resetting) Carry(head, tail []byte, deliver func(head, tail []byte) bool) bool {
	if h, err := wire.ParseHeader(head); err == nil && h.Start.Seq > 100 {
		h.Start.Seq -= 100
		head = append([]byte(nil), head...)
		h.Put(head)
	}
	return deliver(head, tail) // or nobody listens yet
}

func (resetting) Full(string, string) <-chan struct{} { return nil }

func (resetting) Stands(string, string) bool { return true }

func (resetting) Listens(string, bool) {}

// brokenServer, in the environment of a child process, says that it is one of a test
// that is about the failures of others.
const brokenServer = "CLUSTERTEST_BROKEN_SERVER"

// TestTheSuiteFindsEachBrokenServer runs the suite against servers that break one
// rule each, in a process of its own since its tests must fail.
func TestTheSuiteFindsEachBrokenServer(t *testing.T) {
	if os.Getenv(brokenServer) != "" {
		for _, b := range brokenServers {
			t.Run(b.name, func(t *testing.T) { testBroken(t, b.fault, nil, allBut(b.rule, otherThan(b.rule))...) })
		}
		for _, b := range brokenStarts {
			t.Run(b.name, func(t *testing.T) {
				testBroken(t, func(*broken) {}, b.start, allBut(b.rule, otherThan(b.rule))...)
			})
		}
		return
	}
	if testcluster.RaceEnabled && !long {
		t.Skip("what looks for races in the suite is TestContract; this takes a minute with the race detector, unless -long is given")
	}
	out := runChild(t, "all", "")
	for _, b := range brokenServers {
		t.Run(b.name, func(t *testing.T) { checkFound(t, out, b.rule) })
	}
	for _, b := range brokenStarts {
		t.Run(b.name, func(t *testing.T) { checkFound(t, out, b.rule) })
	}
}

// otherThan is a rule that a server which breaks this one keeps.
func otherThan(rule string) string {
	if rule == ruleIdentity {
		return ruleSender
	}
	return ruleIdentity
}

func allBut(rules ...string) []string {
	return slices.DeleteFunc(clustertest.RuleNames(), func(r string) bool { return slices.Contains(rules, r) })
}

// checkFound checks in what the child has printed that the rule fails and says what it is,
// while another one passes.
func checkFound(t *testing.T, out, rule string) {
	var mine []string
	about := false // what is printed now is about this server
	for line := range strings.Lines(out) {
		if strings.Contains(line, "=== ") || strings.Contains(line, "--- ") {
			about = strings.Contains(line, t.Name()+"/")
		}
		if about {
			mine = append(mine, line)
		}
	}
	of := strings.Join(mine, "")
	subtest := func(rule string) string {
		return strings.ReplaceAll(t.Name()+"/"+rule, " ", "_")
	}
	if !strings.Contains(of, "--- FAIL: "+subtest(rule)) || !strings.Contains(of, "the rule: ") {
		t.Errorf("the rule %q did not fail, or its failure does not say what it is:\n%s", rule, of)
	}
	if !strings.Contains(of, "--- PASS: "+subtest(otherThan(rule))) {
		t.Errorf("the rule %q did not pass:\n%s", otherThan(rule), of)
	}
}

// Each rule is tried with three servers that break it, each in another way.
func TestEachRuleIsTriedWithThreeBrokenServers(t *testing.T) {
	tried := make(map[string]int)
	for _, b := range brokenServers {
		tried[b.rule]++
	}
	for _, b := range brokenStarts {
		tried[b.rule]++
	}
	for _, rule := range clustertest.RuleNames() {
		if tried[rule] < 3 {
			t.Errorf("%d broken servers break the rule %q, want at least 3", tried[rule], rule)
		}
		delete(tried, rule)
	}
	for rule := range tried {
		t.Errorf("there is no rule %q", rule)
	}
}

// A rule about methods that servers do not have is skipped, also where a bubble hides that.
func TestWhatServersDoNotHaveIsSkipped(t *testing.T) {
	if os.Getenv(brokenServer) != "" {
		clustertest.TestServer(t, clustertest.Implementation{
			New: func(pid int, cfg cluster.Config) (cluster.Server, error) {
				n, err := cluster.NewFromConfig(pid, cfg)
				return struct {
					cluster.Server
					io.Closer
				}{n, n}, err
			},
			Config: memConfig, Bubble: true, LeaveOut: []string{ruleBroadcasts},
		})
		t.Fail() // as the children of these tests do
		return
	}
	out := runChild(t, "none", "")
	for _, rule := range clustertest.RuleNames() {
		want := "PASS"
		switch rule {
		case ruleBroadcasts, ruleShutdown, ruleBounded, ruleDone, ruleClosed, ruleBooks, ruleSend, ruleSendWaits, ruleSendOrder, ruleUrgent, ruleReceive,
			ruleGroup, ruleCatalog, ruleDeliver, ruleStays, ruleRefused, ruleNotDelivered, ruleUnconfirmed, ruleDeliverOrder, ruleSeveral,
			ruleReplies, ruleRequestOrder, ruleCallErrors, ruleCallEnds, ruleLate, ruleCallAll,
			ruleStanding, ruleComesBack, ruleSlowReader, rulePasses, ruleStandings, ruleMissed, ruleChanges:
			want = "SKIP"
		}
		if line := "--- " + want + ": " + t.Name() + "/" + strings.ReplaceAll(rule, " ", "_"); !strings.Contains(out, line) {
			t.Errorf("%q is missing", line)
		}
	}
	for _, reason := range []string{"the servers have no method Stats() cluster.Stats", "it is left out"} {
		if !strings.Contains(out, reason) {
			t.Errorf("%q is missing", reason)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// So is a rule about a method that says that it is not supported.
func TestWhatServersSayThatTheyDoNotSupportIsSkipped(t *testing.T) {
	skipped := map[string]string{ // with the reason
		ruleDeliver: "the servers do not confirm", ruleSeveral: "the servers do not confirm",
		ruleReplies: "the servers do not take calls", ruleCallAll: "the servers do not take calls",
	}
	if os.Getenv(brokenServer) != "" {
		testBroken(t, func(b *broken) {
			tells(func(error) error { return cluster.ErrUnsupported })(b)
			calls(func(*broken, context.Context, int, any) (*cluster.Envelope, error) { return nil, cluster.ErrNoCalls })(b)
		}, nil, allBut(append(slices.Collect(maps.Keys(skipped)), ruleIdentity)...)...)
		t.Fail() // as the children of these tests do
		return
	}
	out := runChild(t, "none", "")
	line := func(end, rule string) string {
		return "--- " + end + ": " + t.Name() + "/" + strings.ReplaceAll(rule, " ", "_")
	}
	if !strings.Contains(out, line("PASS", ruleIdentity)) {
		t.Errorf("the rule %q has not passed", ruleIdentity)
	}
	for rule, reason := range skipped {
		if !strings.Contains(out, line("SKIP", rule)) || !strings.Contains(out, reason) {
			t.Errorf("the rule %q is not skipped, or that %q is not said", rule, reason)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestAServerWithoutAFaultPasses shows that it is the faults that the suite notices: what
// stands between the program and the node breaks nothing but what has to do with closing,
// where it keeps what it holds.
func TestAServerWithoutAFaultPasses(t *testing.T) {
	testBroken(t, func(b *broken) {
		b.sendEach(func(e *cluster.Envelope) *cluster.Envelope { return e })
		b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope { return e })
	}, nil, ruleDelivers, ruleShutdown, ruleFlush, ruleEnds, ruleLetGo, ruleBounded, ruleStays)
}

// testBroken runs the suite against servers with a fault; nil is that of resetting. Start,
// if not nil, decides what New returns.
func testBroken(t *testing.T, fault func(*broken), start func(*broken, error) (cluster.Server, error), leaveOut ...string) {
	if fault == nil {
		defer (&mem.Network{Carrier: resetting{}}).Name("resetting")()
	}
	var nodes []*cluster.Node // of the rule at hand
	clustertest.TestServer(t, clustertest.Implementation{
		New: func(pid int, cfg cluster.Config) (cluster.Server, error) {
			n, err := cluster.NewFromConfig(pid, cfg)
			if err != nil && start != nil {
				return start(nil, err)
			}
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, n)
			self, _ := n.Catalog().Get(pid)
			here.set(self.Address, true)
			go func() { // ends as the node closes
				<-n.Done()
				here.set(self.Address, false)
			}()
			b := &broken{Node: n, outbox: n.Outbox(), inbox: n.Inbox(), close: n.Close}
			if fault != nil {
				fault(b)
			}
			if start != nil {
				return start(b, nil)
			}
			return b, nil
		},
		Config: func(t testing.TB, n int) cluster.Config {
			cfg := memConfig(t, n)
			nodes = nil
			t.Cleanup(func() { // Whatever is broken, the bubble has to end.
				for _, n := range nodes {
					cut(n)
				}
				time.Sleep(2 * time.Hour)
			})
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

// runChild runs this very test, or its subtests that are given, in a process of its
// own, where it must fail. It returns what that prints.
func runChild(t *testing.T, broken, subtests string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$"+subtests, "-test.v", "-test.timeout=10m")
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
		if b.name == "Inbox stays open" {
			testBroken(t, b.fault, nil, append(allBut(b.rule, otherThan(b.rule)), strings.ReplaceAll(b.rule, " ", "_"))...)
		}
	}
}

func TestToLeaveOutARuleThatIsNoneIsAnError(t *testing.T) {
	if os.Getenv(brokenServer) != "" {
		testBroken(t, func(*broken) {}, nil, "nothing is ever lost")
		return
	}
	out := runChild(t, "none", "/^none$")
	for _, want := range []string{`LeaveOut names "nothing is ever lost"`, "\ta received envelope is fresh\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant %q in it", out, want)
		}
	}
}
