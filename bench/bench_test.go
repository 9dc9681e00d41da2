package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets the tests start this program as a process that measures.
func TestMain(m *testing.M) {
	if os.Getenv(workerVariable) != "" {
		work(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// testPlan is the full plan with windows too short to mean anything, and with the loads
// and the numbers of servers that reach all code of the peers.
func testPlan() (plan []experiment) {
	seen := make(map[string]bool)
	for _, e := range fullPlan() {
		if seen[e.key()] {
			continue
		}
		seen[e.key()] = true
		switch e.Load {
		case "256 B", "1 KiB", "64 KiB":
			if e.Kind == stream {
				continue
			}
		}
		switch {
		case e.Servers > 10, e.Kind == allToAll && e.Servers > 4:
			continue
		}
		e.warm, e.window = 0, 10*time.Millisecond
		plan = append(plan, e)
	}
	return plan
}

func TestEveryPeerDoesAllThatIsAskedOfIt(t *testing.T) {
	remove, err := makeKeys()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, e := range testPlan() {
		t.Run(e.key(), func(t *testing.T) {
			for _, name := range e.peers {
				m := measurement{Kind: e.Kind, Load: e.Load, Servers: e.Servers, Peer: name, warm: e.warm, window: e.window}
				v, err := m.take(ctx)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				for _, figure := range map[kind][]string{
					stream:    {"rate", "cpu"},
					roundTrip: {"p50", "p90", "p99", "p99.9"},
					nearTrip:  {"p50", "p90", "p99", "p99.9"},
					broadcast: {"rate"},
					allToAll:  {"rate"},
					nodes:     {"start", "ring", "resident", "threads"},
				}[e.Kind] {
					if v[figure] <= 0 {
						t.Errorf("%s: %s is %v, want more than 0; all figures: %v", name, figure, v[figure], v)
					}
				}
			}
		})
	}
}

func TestAPeerThatFailsIsReportedAndTheRestGoesOn(t *testing.T) {
	// The processes that measure do not know this one.
	peers = append(peers, peer{name: "unheard of", base: bare.name})
	t.Cleanup(func() { peers = peers[:len(peers)-1] })
	e := experiment{stream, smallLoad, 2, []string{"unheard of", bare.name}, 0, 10 * time.Millisecond}
	told := 0
	r := results{Samples: carryOut(t.Context(), []experiment{e}, 3, func(string) { told++ })}
	if told != 6 {
		t.Errorf("progress was told of %d measurements, want 6", told)
	}
	asked := 0
	for _, s := range r.Samples {
		if s.Peer == "unheard of" {
			asked++
		}
	}
	if asked != 2 {
		t.Errorf("the peer that fails was asked %d times, want 2", asked)
	}
	table, _ := r.tabulate("", "", column{header: "rate", experiment: e.key(), figure: "rate", base: toBare})
	for _, want := range []string{"failed", "bare ZeroMQ"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, table)
		}
	}
	if want := "no peer is named unheard of"; !strings.Contains(table.text, want) {
		t.Errorf("the text is %q, want the reason %q in it", table.text, want)
	}
	if _, ok := r.ratio(e.key(), bare.name, bare.name, "rate"); !ok {
		t.Error("the peer that works has no figures")
	}
}

func TestTheDocumentKeepsWhatIsWrittenByHand(t *testing.T) {
	document := "before\n" + beginMark + "\nold\n" + endMark + "\nafter\n"
	once, err := between([]byte(document), "new\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(document, "old", "new", 1); string(once) != want {
		t.Errorf("got\n%s\nwant\n%s", once, want)
	}
	if _, err := between([]byte("no marks"), "new\n"); err == nil {
		t.Error("a document without marks is no error")
	}
}
