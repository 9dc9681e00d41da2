package runner

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

func TestWhatIsDrawnDependsOnTheSeedAndThePathAlone(t *testing.T) {
	type drawn struct {
		delay time.Duration
		lost  bool
	}
	draw := func(seed uint64, other int) (all []drawn) {
		r := &run{cfg: Config{Seed: seed, Latency: time.Second, Loss: 0.3}, names: []string{"n1", "n2"}}
		n := newNetwork(r)
		for range 100 {
			for range other { // what goes the other way does not matter
				n.draw(message{Src: "n2", Dest: "n1"})
			}
			var d drawn
			d.delay, d.lost = n.draw(message{Src: "n1", Dest: "n2"})
			all = append(all, d)
		}
		return all
	}
	first := draw(1, 0)
	if !slices.Equal(first, draw(1, 3)) {
		t.Error("the same seed gave another network")
	}
	if slices.Equal(first, draw(2, 0)) {
		t.Error("another seed gave the same network")
	}
	lost := 0
	var delays time.Duration
	for _, d := range first {
		delays += d.delay
		if d.lost {
			lost++
		}
	}
	if mean := delays / time.Duration(len(first)); lost < 10 || lost > 60 || mean < time.Second/2 || mean > 2*time.Second {
		t.Errorf("of 100 messages %d were lost, and they took %v on average: want about 30, and 1s", lost, mean)
	}
}

func TestMessagesBetweenPartsAreLostUntilTheNetworkIsCalm(t *testing.T) {
	n := newNetwork(&run{names: []string{"n1", "n2", "n3"}})
	n.part = map[string]bool{"n1": true}
	for _, c := range []struct {
		from, to string
		lost     bool
	}{{"n1", "n2", true}, {"n2", "n1", true}, {"n2", "n3", false}, {"n1", "n1", false}} {
		if _, lost := n.draw(message{Src: c.from, Dest: c.to}); lost != c.lost {
			t.Errorf("from %s to %s: lost is %v, want %v", c.from, c.to, lost, c.lost)
		}
	}
	n.calm()
	if _, lost := n.draw(message{Src: "n1", Dest: "n2"}); lost {
		t.Error("a message is lost when the network is calm")
	}
}

func TestErrorsAreDefiniteAsMaelstromHasThem(t *testing.T) {
	for code, want := range map[int]outcome{
		0: unknown, 1: failed, 10: failed, 11: failed, 12: failed, 13: unknown, 14: failed, 20: failed, 22: failed, 30: failed,
		1000: unknown, -1: unknown,
	} {
		if got := outcomeOf(code); got != want {
			t.Errorf("code %d: got %v, want %v", code, got, want)
		}
	}
}

func TestHistoriesOfAKey(t *testing.T) {
	done, lost := kvResult{}, kvResult{outcome: unknown}
	saw := func(v int) kvResult { return kvResult{value: v} }
	write := func(v int) kvOp { return kvOp{kind: "write", to: v} }
	cas := func(from, to int) kvOp { return kvOp{kind: "cas", from: from, to: to} }
	read := kvOp{kind: "read"}
	noKey, differs := kvResult{outcome: failed, noKey: true}, kvResult{outcome: failed, differs: true}
	type step struct {
		op  kvOp
		res kvResult
	}
	for _, c := range []struct {
		name  string
		steps []step // one after another; one whose fate is unknown goes on
		want  bool
	}{
		{"read what was written", []step{{write(1), done}, {read, saw(1)}}, true},
		{"read what was before", []step{{write(1), done}, {write(2), done}, {read, saw(1)}}, false},
		{"no key before a write", []step{{read, noKey}, {cas(1, 2), noKey}, {write(1), done}}, true},
		{"no key after a write", []step{{write(1), done}, {read, noKey}}, false},
		{"a value where nothing was written", []step{{read, saw(0)}}, false},
		{"swapped", []step{{write(1), done}, {cas(1, 2), done}, {read, saw(2)}}, true},
		{"swapped, but another value was there", []step{{write(1), done}, {cas(3, 2), done}}, false},
		{"not swapped, as another value was there", []step{{write(1), done}, {cas(3, 2), differs}, {read, saw(1)}}, true},
		{"not swapped, although the value was there", []step{{write(1), done}, {cas(1, 2), differs}}, false},
		{"a write that may have happened", []step{{write(1), done}, {write(2), lost}, {read, saw(1)}, {read, saw(2)}}, true},
		{"a write that has happened and then has not", []step{{write(1), done}, {write(2), lost}, {read, saw(2)}, {read, saw(1)}}, false},
		{"a swap that may have happened", []step{{write(1), done}, {cas(1, 2), lost}, {read, saw(1)}, {read, saw(2)}}, true},
		{"a swap that never can happen", []step{{write(1), done}, {cas(3, 2), lost}, {read, saw(2)}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &linKV{run: &run{report: Report{OK: 10}}}
			for i, s := range c.steps {
				o := porcupine.Operation{Input: s.op, Output: s.res, Call: int64(10 * i), Return: int64(10*i + 5)}
				if s.res.outcome == unknown {
					o.Return = never
				}
				w.history = append(w.history, o)
			}
			w.check()
			if got := len(w.run.report.Faults) == 0; got != c.want {
				t.Errorf("linearizable is %v, want %v: %v", got, c.want, w.run.report.Faults)
			}
		})
	}
}

func TestTheSameJSONIsFoundToBeTheSame(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"a":1,"b":[2]}`, ` { "b": [ 2 ], "a": 1 } `, true},
		{`"\u00f6"`, `"ö"`, true},
		{`9007199254740993`, `9007199254740992`, false},
		{`[1,2]`, `[2,1]`, false},
		{`null`, ``, false},
	} {
		if got := same(json.RawMessage(c.a), json.RawMessage(c.b)); got != c.want {
			t.Errorf("%s and %s: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestWhatCannotBeRunIsAnError(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Workload: "txn"}, `"txn" is unknown: want one of [broadcast echo lin-kv unique-ids]`},
		{Config{Workload: "echo", Nodes: 1, Clients: 1}, "want one of each"},
		{Config{Workload: "echo", Nodes: 1, Clients: 1, Command: []string{"/nonexistent/server"}}, "cannot start a server"},
	} {
		if _, err := Run(t.Context(), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
