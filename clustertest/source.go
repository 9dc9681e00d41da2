package clustertest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/abhishekg16/cluster/peercatalog"
)

// A SourceImplementation is something that behaves as peercatalog.Source says, for TestSource. Only New
// has to be set.
type SourceImplementation struct {
	// New makes a place that lists these peers, and that nothing else uses. It lasts until the test ends.
	New func(t testing.TB, peers ...peercatalog.Peer) SourcePlace
	// Peer returns an entry with this id that the place can list; each version is another one. Nil: all
	// fields but those for keys are used.
	Peer func(id, version int) peercatalog.Peer
	// FixedIDs says that the ids of a place never change: the suite adds and removes none then.
	FixedIDs bool
	// Bubble runs each rule in virtual time, in a bubble of testing/synctest. It is for sources that wait
	// on nothing but Go's channels and timers.
	Bubble bool
	// LeaveOut names the rules that the implementation does not claim.
	LeaveOut []string
}

// A SourcePlace is what a Source reads, as those see it who write there.
type SourcePlace struct {
	Source peercatalog.Source
	// Set makes the place list these peers and no others, and returns when it does.
	Set func(peers ...peercatalog.Peer)
	// Break makes the place such that it cannot be read, until Mend. Set works meanwhile. Both nil: there is
	// no such thing, and rules about it are skipped.
	Break, Mend func()
}

// TestSource tests whether an implementation keeps the rules of peercatalog.Source. Each rule is a subtest of
// its own, which says what the rule is when it fails.
func TestSource(t *testing.T, impl SourceImplementation) {
	t.Helper()
	if impl.New == nil {
		t.Fatal("clustertest: TestSource: SourceImplementation.New is nil: want what makes a place that lists peers")
	}
	if impl.Peer == nil {
		impl.Peer = sourcePeer
	}
	for _, name := range impl.LeaveOut {
		if !slices.ContainsFunc(sourceRules, func(r sourceRule) bool { return named(r.name, name) }) {
			t.Errorf("clustertest: LeaveOut names %q, and there is no such rule; the rules are\n\t%s", name, strings.Join(sourceRuleNames(), "\n\t"))
		}
	}
	for _, r := range sourceRules {
		t.Run(r.name, func(t *testing.T) {
			skipped := ""
			switch {
			case slices.ContainsFunc(impl.LeaveOut, func(name string) bool { return named(r.name, name) }):
				skipped = "it is left out"
			case impl.Bubble:
				// A test that is skipped in a bubble would show as one that passes.
				synctest.Test(t, func(t *testing.T) { skipped = r.test(t, impl) })
			default:
				skipped = r.test(t, impl)
			}
			if skipped != "" {
				t.Skip(skipped)
			}
		})
	}
}

// sourcePeer is an entry that uses what an entry can have.
func sourcePeer(id, version int) peercatalog.Peer {
	p := peercatalog.Peer{ID: id, Address: fmt.Sprintf("127.0.0.1:%d", 10_000+100*version+id)}
	if id%2 == 1 {
		p.Bind, p.Observer = fmt.Sprintf("*:%d", 10_000+id), true
		p.Extra = map[string]json.RawMessage{"role": json.RawMessage(fmt.Sprintf(`{"version":%d}`, version)), "zone": json.RawMessage(`"a"`)}
	}
	return p
}

// A sourceRule is one thing that peercatalog.Source promises.
type sourceRule struct {
	name, text string
	// breaks says that the rule is about a place that cannot be read.
	breaks bool
	run    func(t *sourceTrial)
}

func sourceRuleNames() (names []string) {
	for _, r := range sourceRules {
		names = append(names, r.name)
	}
	return names
}

// test puts the rule to the test, or returns why it does not apply.
func (r sourceRule) test(t *testing.T, impl SourceImplementation) (skipped string) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the rule: %s", r.text)
		}
	})
	trial := &sourceTrial{TB: t, impl: impl}
	trial.SourcePlace = impl.New(t, trial.list(0, 0, 1, 2)...)
	if r.breaks && trial.Break == nil {
		return "the place has no Break"
	}
	r.run(trial)
	return ""
}
