package clustertest_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

// scene lets each thing happen once that the record tells apart.
func scene(net *clustertest.Network, nodes []*cluster.Node) {
	slow := clustertest.Faults{Delay: clustertest.Fixed(2 * time.Millisecond)}
	say := func(from, to int, msg string, f clustertest.Faults) {
		if f.Delay == nil {
			f.Delay = slow.Delay
		}
		net.Set(f)
		nodes[from].Outbox() <- &cluster.Envelope{Pid: to, Msg: msg}
		time.Sleep(5 * time.Millisecond)
	}
	net.Watch(func(m clustertest.Message) clustertest.Verdict {
		switch m.Text {
		case "kept", "kept for a while":
			return clustertest.Hold
		case "forbidden":
			return clustertest.Drop
		}
		return clustertest.Pass
	})
	net.Connect()
	say(0, 1, "hello", slow)
	say(1, 0, "welcome", slow)
	say(0, 2, "unlucky", clustertest.Faults{Loss: 1})
	say(2, 0, "twice", clustertest.Faults{Duplicate: 1})
	say(1, 2, "slow", clustertest.Faults{Reorder: 1, Delay: clustertest.Fixed(9 * time.Millisecond)})
	say(1, 2, "fast", slow)
	time.Sleep(40 * time.Millisecond)
	say(0, 1, "forbidden", slow)
	say(2, 1, "kept for a while", slow)
	say(2, 0, "kept", slow)
	net.Release(net.Held()[0])
	time.Sleep(5 * time.Millisecond)
	net.Partition([]int{0, 1}, []int{2})
	say(0, 2, "across", slow)
	time.Sleep(5 * time.Second) // the connection breaks
	net.Heal()
	time.Sleep(time.Second) // and is made anew
	net.Pause(1)
	say(0, 1, "to a stalled server", slow)
	net.Resume(1)
	time.Sleep(5 * time.Millisecond)
	say(0, 2, "in vain", clustertest.Faults{Delay: clustertest.Fixed(time.Second)})
	net.Crash(2)
	time.Sleep(3 * time.Second)
	net.Start(2)
	say(0, 1, "see you", clustertest.Faults{Delay: clustertest.Fixed(time.Hour)})
}

func TestTheDiagramTellsWhatHappened(t *testing.T) {
	const want = `sequenceDiagram
    participant s0 as server 0
    participant s1 as server 1
    participant s2 as server 2
    Note over s0,s2: 0s · each link: delay about 2ms
    s0->>s1: 0s → 2ms · hello
    Note over s0,s2: 5ms · each link: delay about 2ms
    s1->>s0: 5ms → 7ms · welcome
    Note over s0,s2: 10ms · each link: loss 1.00, delay about 2ms
    s0-xs2: 10ms · lost · unlucky
    Note over s0,s2: 15ms · each link: duplicate 1.00, delay about 2ms
    s2->>s0: 15ms → 17ms · twice
    s2--)s0: 15ms → 19ms · duplicate · twice
    Note over s0,s2: 20ms · each link: reorder 1.00, delay about 9ms
    Note over s0,s2: 25ms · each link: delay about 2ms
    s1->>s2: 25ms → 27ms · fast
    s1-->>s2: 20ms → 31.971ms · late · slow
    Note over s0,s2: 70ms · each link: delay about 2ms
    s0--xs1: 70ms · dropped by the test · forbidden
    Note over s0,s2: 75ms · each link: delay about 2ms
    Note over s0,s2: 80ms · each link: delay about 2ms
    s2-->s0: 80ms · held · kept
    s2->>s1: 75ms → 87ms · held, then delivered · kept for a while
    Note over s0,s2: 90ms · partitioned [[0 1] [2]]
    Note over s0,s2: 90ms · each link: delay about 2ms
    s0-xs2: 90ms → 4s · lost, the connection broke: partition · across
    Note over s0,s2: 5.095s · healed
    Note over s1: 6.095s · server 1 paused
    Note over s0,s2: 6.095s · each link: delay about 2ms
    Note over s1: 6.1s · server 1 resumed
    s0->>s1: 6.095s → 6.1s · to a stalled server
    Note over s0,s2: 6.105s · each link: delay about 1s
    Note over s2: 6.11s · server 2 crashed
    s0-xs2: 6.105s → 6.11s · lost, the receiver has crashed · in vain
    Note over s2: 9.11s · server 2 restarted
    Note over s0,s2: 9.11s · each link: delay about 1h0m0s
    s0->s1: 9.11s · on its way · see you
`
	bubble(t, 1, 3, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		scene(net, nodes)
		if got := net.Mermaid(); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	})
}

func TestTheSameSeedMakesTheSameDiagram(t *testing.T) {
	run := func() (diagram string) {
		bubble(t, 42, 4, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			net.Set(clustertest.Faults{Loss: 0.2, Duplicate: 0.1, Reorder: 0.1, Delay: clustertest.Between(0, 30*time.Millisecond)})
			for i := range 20 {
				for _, n := range nodes { // all at the same moment
					n.Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: i}
				}
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(time.Second)
			diagram = net.Mermaid()
		})
		return diagram
	}
	first := run()
	for range 10 {
		if again := run(); again != first {
			t.Fatalf("two runs with the same seed:\n%s\n%s", first, again)
		}
	}
}

// hostile are messages that mean something to Mermaid or to a browser.
var hostile = []string{
	"end", "a; s1->>s0: forged", "a # b", "a\n    s1->>s0: forged", "a\r\ns1->>s0: forged", "a\u2028s1->>s0: forged",
	"%%{init: {'theme': 'dark'}}%%", "x %% y", "$$\\frac{1}{2}$$", "style x:#59;", "classDef x:#59;", "wrap: x", "ﬂ°°60¶ß",
	"</title><script>alert(1)</script>", "</pre></script><script>alert(2)</script>", `" onload="alert(3)`, "' onload='alert(4)",
	"<!-- ", "]]>", "&lt;script&gt;", "{{.Seed}}", "\u202egnirts", "\x00\x07\x1b[31m", "\xff\xfe", "日本語 🎉",
}

// sendHostile sends them all, and waits until they have arrived.
func sendHostile(nodes []*cluster.Node) {
	for _, s := range hostile {
		nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: s}
	}
	time.Sleep(time.Second)
}

func TestNoMessageBreaksTheDiagram(t *testing.T) {
	// A # or ; ends a label unless it belongs to an entity.
	line := regexp.MustCompile(`^    s0->>s1: \d\S* → \d\S* · ([^\pC#;%$&<>\\]|#\d+;)*$`)
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		sendHostile(nodes)
		lines := strings.Split(strings.TrimSuffix(net.Mermaid(), "\n"), "\n")
		if got, want := len(lines), 3+len(hostile); got != want {
			t.Errorf("got %d lines, want %d", got, want)
		}
		for i, l := range lines[3:] {
			if !line.MatchString(l) || strings.Contains(l, "style") || strings.Contains(l, "classDef") {
				t.Errorf("message %q became line %q", hostile[i], l)
			}
		}
	})
}

func TestADiagramIsNoLongerThanMermaidAccepts(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		for i := range 2000 {
			nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: fmt.Sprintf("message %d;;;;", i)}
			time.Sleep(time.Millisecond)
		}
		diagram := net.Mermaid()
		if len(diagram) > 50_000 || len(diagram) < 40_000 {
			t.Errorf("it is %d bytes long", len(diagram))
		}
		lines := strings.Count(diagram, "->")
		if want := fmt.Sprintf("Note over s0,s1: %d earlier messages and notes are left out\n", 2000-lines); !strings.Contains(diagram, want) {
			t.Errorf("of 2000 messages %d are shown; %q is missing in:\n%s", lines, want, diagram[:400])
		}
		if !strings.Contains(diagram, "message 1999") {
			t.Error("the last message is missing")
		}
	})
}
