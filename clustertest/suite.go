package clustertest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
)

// An Implementation is something that behaves as package cluster says, for
// TestServer. Only New has to be set.
type Implementation struct {
	// New starts a server, as cluster.NewFromConfig does. What the server has
	// besides the methods of cluster.Server and is named as in cluster.Node is
	// tested too: Close, Shutdown, Done, Send, SendUrgent, Deliver, Call, CallAll, Events,
	// Receive, Stats, Group and Catalog.
	// Servers that have Close are closed by TestServer.
	New func(pid int, cfg cluster.Config) (cluster.Server, error)
	// Config returns the configuration of n servers with the ids 0 to n-1, at
	// addresses that nobody uses, which differ from call to call. Nil: over TCP, on
	// free ports of this machine.
	Config func(t testing.TB, n int) cluster.Config
	// Bubble runs each rule in virtual time, in a bubble of testing/synctest. It is
	// for implementations that wait on nothing but Go's channels and timers, such
	// as nodes with mem:// addresses.
	Bubble bool
	// LeaveOut names the rules that the implementation does not claim.
	LeaveOut []string
}

// TestServer tests whether an implementation keeps the rules of the package comment
// of cluster. Each rule is a subtest of its own, which says what the rule is when it
// fails. Rules about methods that the servers do not have, or that return ErrUnsupported
// or ErrNoCalls, are skipped. It is not for tests that run in parallel: a rule may look at the
// goroutines of the whole process.
func TestServer(t *testing.T, impl Implementation) {
	t.Helper()
	switch {
	case impl.New == nil:
		t.Fatal("clustertest: TestServer: Implementation.New is nil: want what starts a server")
	case impl.Config == nil && impl.Bubble:
		t.Fatal("clustertest: TestServer: without Config servers are started over TCP, which does not work in a Bubble")
	case impl.Config == nil:
		impl.Config = localConfig
	}
	stuck := false
	for _, name := range impl.LeaveOut {
		if !slices.ContainsFunc(rules(), func(r rule) bool { return r.is(name) }) {
			t.Errorf("clustertest: LeaveOut names %q, and there is no such rule; the rules are\n%s", name, ruleNames())
		}
	}
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			skipped := ""
			switch {
			case slices.ContainsFunc(impl.LeaveOut, r.is):
				skipped = "it is left out"
			case impl.Bubble:
				// A test that is skipped in a bubble would show as one that passes.
				synctest.Test(t, func(t *testing.T) { r.test(t, impl, &stuck, &skipped) })
			case stuck:
				skipped = "a server did not close in an earlier test"
			default:
				r.test(t, impl, &stuck, &skipped)
			}
			if skipped != "" {
				t.Skip(skipped)
			}
		})
	}
}

// A rule is one thing that package cluster promises.
type rule struct {
	name string // the subtest
	text string // what it says, and why it matters
	run  func(t *trial)
}

func rules() []rule {
	// Closing comes first, since all others end with it.
	return slices.Concat(closingRules, deliveryRules, wayRules, kindRules, peerRules, accountRules, standingRules, urgentRules, deliverRules, callRules, eventRules, waitingRules)
}

func ruleNames() string {
	var b strings.Builder
	for _, r := range rules() {
		fmt.Fprintf(&b, "\t%s\n", r.name)
	}
	return b.String()
}

// is reports whether the rule is meant by name, in which spaces may be underscores,
// as the testing package prints them.
func (r rule) is(name string) bool { return named(r.name, name) }

func named(rule, name string) bool { return strings.ReplaceAll(name, "_", " ") == rule }

// test puts the rule to the test. It sets stuck if a server does not close, and skipped to
// the reason if the servers do not have what the rule is about.
func (r rule) test(t *testing.T, impl Implementation, stuck *bool, skipped *string) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the rule: %s", r.text)
		}
	})
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	r.run(&trial{TB: t, impl: impl, cfg: impl.Config(t, trialServers), over: over, stuck: stuck, skipped: skipped})
}

const (
	// trialServers is how many servers a configuration names.
	trialServers = 5
	// trialLimit is how long a rule waits for what must happen, before it fails.
	trialLimit = 20 * time.Second
	// trialSlack is how much later than it should a thing may happen on a busy
	// machine.
	trialSlack = 2 * time.Second
)

// A trial is one rule put to the test: some servers of one cluster.
type trial struct {
	testing.TB
	impl  Implementation
	cfg   cluster.Config
	over  chan struct{} // closed when all else has ended
	stuck *bool         // a server has not closed
	// skipped is why the rule does not apply.
	skipped *string
}

// start starts one server. It is closed when the rule has been tested.
func (t *trial) start(pid int) cluster.Server {
	t.Helper()
	s, err := t.impl.New(pid, t.cfg)
	switch {
	case err != nil:
		t.Fatalf("server %d does not start: %v", pid, err)
	case s == nil:
		t.Fatalf("New has returned neither server %d nor an error", pid)
	}
	if c, ok := s.(closer); ok {
		t.Cleanup(func() { t.end(pid, c.Close) })
	} else if t.impl.Bubble {
		t.Fatal("the servers have no method Close() error, without which a Bubble does not end")
	}
	return s
}

// end closes a server, which must not take long, and returns the error of that.
func (t *trial) end(pid int, shut func() error) error {
	t.Helper()
	if *t.stuck && !t.impl.Bubble {
		return nil
	}
	limit := cmp.Or(t.cfg.Linger, 5*time.Second) + 5*time.Second
	ended := make(chan error, 1)
	go func() { ended <- shut() }() // It ends with shut, for which a bubble waits.
	select {
	case err := <-ended:
		return err
	case <-time.After(limit):
	}
	if !*t.stuck {
		t.Errorf("Close of server %d has not returned in %v", pid, limit)
	}
	*t.stuck = true
	if t.impl.Bubble {
		<-ended
	}
	return nil
}

// startAll starts the servers 0 to n-1.
func (t *trial) startAll(n int) (servers []cluster.Server) {
	t.Helper()
	for id := range n {
		servers = append(servers, t.start(id))
	}
	return servers
}

// within reports whether f has returned within d.
func within(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() { // It ends with f, for which nobody waits longer than d.
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}

func (t *trial) put(s cluster.Server, e *cluster.Envelope) {
	t.Helper()
	select {
	case s.Outbox() <- e:
	case <-time.After(trialLimit):
		t.Fatalf("server %d took nothing from its Outbox in %v%s", s.Pid(), trialLimit, books(s))
	}
}

// send puts messages for one receiver, or BROADCAST, into the Outbox.
func (t *trial) send(s cluster.Server, to int, msgs ...any) {
	t.Helper()
	for _, m := range msgs {
		t.put(s, &cluster.Envelope{Pid: to, Msg: m})
	}
}

// feed puts envelopes into the Outbox from a goroutine of its own.
func (t *trial) feed(s cluster.Server, count int, envelope func(i int) *cluster.Envelope) {
	go func() { // It ends with the trial, at the latest.
		for i := range count {
			select {
			case s.Outbox() <- envelope(i):
			case <-t.over:
				return
			}
		}
	}()
}

func (t *trial) take(s cluster.Server) *cluster.Envelope {
	t.Helper()
	select {
	case e, open := <-s.Inbox():
		if err := arrived(s, e, open); err != nil {
			t.Fatal(err)
		}
		return e
	case <-time.After(trialLimit):
		t.Fatalf("server %d received nothing in %v%s", s.Pid(), trialLimit, books(s))
	}
	panic("not reached")
}

// arrived is what is wrong with what Inbox, or Receive, gave while the server ran. Whoever takes from either asks first: a
// server that closes Inbox, or puts nil into it, fails the rule, and does not end the test's process.
func arrived(s cluster.Server, e *cluster.Envelope, open bool) error {
	switch {
	case !open:
		return fmt.Errorf("the Inbox of server %d is closed, and nobody has closed the server", s.Pid())
	case e == nil:
		return fmt.Errorf("server %d received nil, and no envelope", s.Pid())
	}
	return nil
}

// expect takes one envelope, which must be this one.
func (t *trial) expect(s cluster.Server, from int, msg any) {
	t.Helper()
	if e := t.take(s); e.Pid != from || e.Msg != msg {
		t.Fatalf("server %d received %v (%T) from %d, want %v (%T) from %d", s.Pid(), e.Msg, e.Msg, e.Pid, msg, msg, from)
	}
}

// nothing checks that no envelope comes, for a moment.
func (t *trial) nothing(s cluster.Server) {
	t.Helper()
	select {
	case e, open := <-s.Inbox():
		if err := arrived(s, e, open); err != nil {
			t.Error(err)
		} else {
			t.Errorf("server %d received %v from %d, and should have received nothing", s.Pid(), e.Msg, e.Pid)
		}
	case <-time.After(20 * time.Millisecond):
	}
}

// eventually waits until cond holds; what says what was missing otherwise.
func (t *trial) eventually(what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(trialLimit); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", trialLimit, what)
		}
	}
}

// exchange lets each of senders send count messages to each of receivers, or
// broadcast them, all at the same time, and holds what is received against that.
func (t *trial) exchange(senders, receivers []cluster.Server, to, count int) {
	t.Helper()
	var h History
	var senderIDs, receiverIDs []int
	for _, s := range senders {
		senderIDs = append(senderIDs, s.Pid())
	}
	for _, s := range receivers {
		receiverIDs = append(receiverIDs, s.Pid())
	}
	var all sync.WaitGroup
	for _, s := range senders {
		others := without(receiverIDs, s.Pid())
		all.Go(func() {
			for i := range count {
				e := &cluster.Envelope{Pid: to, Msg: i}
				h.Sent(s.Pid(), e, others...)
				select {
				case s.Outbox() <- e:
				case <-time.After(trialLimit):
					t.Errorf("server %d took nothing from its Outbox in %v%s", s.Pid(), trialLimit, books(s))
					return
				}
			}
		})
	}
	for _, s := range receivers {
		want := count * len(without(senderIDs, s.Pid()))
		all.Go(func() {
			for got := range want {
				select {
				case e, open := <-s.Inbox():
					if err := arrived(s, e, open); err != nil {
						t.Errorf("after %d of %d messages: %v", got, want, err)
						return
					}
					h.Received(s.Pid(), e)
				case <-time.After(trialLimit):
					t.Errorf("server %d received %d of %d messages, and no more in %v%s", s.Pid(), got, want, trialLimit, books(s))
					return
				}
			}
		})
	}
	all.Wait()
	for _, s := range receivers {
		t.nothing(s)
	}
	if err := h.Check(); err != nil {
		t.Error(firstLines(err, 10))
	}
}

func without(ids []int, id int) []int {
	return slices.DeleteFunc(slices.Clone(ids), func(x int) bool { return x == id })
}

// firstLines is an error cut to what a person reads.
func firstLines(err error, most int) string {
	lines := strings.Split(err.Error(), "\n")
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and %d more", len(lines)-most))
	}
	return strings.Join(lines, "\n")
}

// What a server may have besides the four methods.
type (
	closer  interface{ Close() error }
	counter interface{ Stats() cluster.Stats }
)

// need is the server with what the rule needs of it. If it has not got that, the
// rule is skipped.
func need[T any](t *trial, s cluster.Server, method string) T {
	t.Helper()
	v, ok := s.(T)
	if !ok {
		t.skip("the servers have no method " + method)
	}
	return v
}

// skip ends the trial of a rule that does not apply.
func (t *trial) skip(why string) {
	t.Helper()
	*t.skipped = why
	t.Skip(why)
}

// books is a table of what the server has counted, if it counts.
func books(s cluster.Server) string {
	if c, ok := s.(counter); ok {
		return ":\n" + c.Stats().String()
	}
	return ""
}
