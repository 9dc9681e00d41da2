//go:build linux

package scenario

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
)

const (
	// The fault comes between two heartbeats of the connections, which begin within a moment of the
	// start, and two messages, and lasts for longer than it takes to notice it.
	faultAt = transport.HeartbeatInterval + 700*time.Millisecond + sendEvery/2
	// It ends between two attempts to connect, of those that get no answer.
	faultFor = 6 * time.Second
	recovery = 2500 * time.Millisecond

	// timeTolerance is by how much times may differ. Over TCP they are the scheduler's, too, and the pauses between
	// attempts to connect are partly drawn. Numbers of messages may differ by as many as are sent in twice the tolerance.
	timeTolerance = 500 * time.Millisecond
	// tries is how often a course is run over TCP until it agrees, after the first time alone: a busy machine has times of its own.
	tries = 4
	// quiet is how long nothing comes that counts as a silence.
	quiet = time.Second
)

// courses are what happens to two servers that send to each other.
var courses = []struct {
	name          string
	fault, repair func(bed)
}{
	{"cut", func(b bed) { b.cut(0, 1); b.cut(1, 0) }, bed.heal},
	{"one-way cut", func(b bed) { b.cut(0, 1) }, bed.heal},
	{"stop", func(b bed) { b.stop(1) }, func(b bed) { b.goOn(1) }},
	{"kill", func(b bed) { b.kill(1) }, func(bed) {}},
	{"restart", func(b bed) { b.kill(1) }, func(b bed) { b.start(1) }},
	{"slow path", func(b bed) { b.slow(125_000); b.wait(100 * time.Millisecond); b.bulk(0, 250_000) }, bed.heal},
}

// transports are what the simulation is compared with. The one in Go holds a connection until nothing was heard for
// the heartbeat's interval and timeout, while libzmq's ends when a heartbeat was not answered: with the phase of the
// heartbeats, it is up to an interval later.
var transports = []struct {
	name      string
	tolerance time.Duration
}{
	{"libzmq", timeTolerance},
	{"go", timeTolerance + transport.HeartbeatInterval},
}

// limited makes what is dropped be dropped before the fault is over.
func limited(cfg *cluster.Config) { cfg.SendTimeout = 500 * time.Millisecond }

// run lets a course take its time, and returns what the servers have seen that are there at the end.
func run(b bed, name string, fault, repair func(bed)) (seen [2]*outcome) {
	b.start(0)
	b.start(1)
	b.wait(faultAt)
	fault(b)
	b.wait(faultFor)
	repair(b)
	b.wait(recovery)
	for id := range seen {
		if name != "kill" || id == 0 {
			seen[id] = outcomeOf(b.seen(id))
		}
	}
	return seen
}

// The simulation is worth what it shows only if programs see the same over TCP. So the same program
// runs over both, in processes on hosts of their own and in virtual time, meets the same faults, and the two are compared:
// what Send returned, how the link stood, what was delivered, lost and dropped, and when.
func TestASimulatedFaultLooksToTheProgramAsItDoesOverTCP(t *testing.T) {
	for _, over := range transports {
		t.Run(over.name, func(t *testing.T) {
			if err := sockets.Check(over.name); err != nil {
				t.Skip(err)
			}
			if chosen := os.Getenv(sockets.Variable); chosen != "" && chosen != over.name {
				t.Skipf("%s has this process and its children use %q", sockets.Variable, chosen)
			}
			var all sync.WaitGroup
			var turns turns
			turns.first.Add(len(courses))
			for _, c := range courses {
				all.Go(func() { // All at once, since they mostly wait; this waits for them.
					t.Run(c.name, func(t *testing.T) { compareCourse(t, &turns, over.name, over.tolerance, c.name, c.fault, c.repair) })
				})
			}
			all.Wait()
		})
	}
}

// The turns of courses: they are run for the first time all at once, and after that one at a time.
type turns struct {
	first sync.WaitGroup
	alone sync.Mutex
}

// compareCourse lets one course happen over a transport and in the simulation.
func compareCourse(t *testing.T, turns *turns, over string, tolerance time.Duration, name string, fault, repair func(bed)) {
	var simulation [2]*outcome
	synctest.Test(t, func(t *testing.T) {
		simulation = run(&simulated{net: clustertest.NewNetwork(t, 1, 2), change: limited}, name, fault, repair)
	})
	agrees := func() bool {
		tcp := run(newHosts(t, func(cfg *cluster.Config) { limited(cfg); cfg.Transport = over }), name, fault, repair)
		differ, text := compare(tcp, simulation, tolerance)
		t.Logf("agrees: %v\n%s", !differ, text)
		return !differ
	}
	first := func() bool {
		defer turns.first.Done() // also if it fails
		return agrees()
	}
	if first() {
		return
	}
	turns.first.Wait()
	turns.alone.Lock()
	defer turns.alone.Unlock()
	for try := 2; !agrees(); try++ {
		if try == tries {
			t.Errorf("it is not so over TCP, %d times", try)
			return
		}
	}
}

// compare tells whether the servers have seen something else over TCP than in the simulation.
func compare(tcp, simulation [2]*outcome, tolerance time.Duration) (differ bool, text string) {
	for id := range tcp {
		if tcp[id] == nil {
			continue
		}
		faults := tcp[id].differences(simulation[id], tolerance)
		differ = differ || len(faults) > 0
		text += fmt.Sprintf("server %d:\n%s\nover TCP:\n%v\nin the simulation:\n%v\n", id, strings.Join(faults, "\n"), tcp[id], simulation[id])
	}
	return differ, text
}

// An outcome is what of an observation is compared.
type outcome struct {
	first    map[string]time.Duration // of each class that Send returned
	links    []change
	silences []span // between arrivals
	missing  []span // when messages were sent that did not arrive: from one that did to the next
	large    []time.Duration
	books    map[string]int
}

type span struct{ from, to time.Duration }

func outcomeOf(seen observed) *outcome {
	o := &outcome{first: seen.First, books: map[string]int{
		"lost": int(seen.Books.Received.Lost), "missed": int(seen.Books.Received.Missed),
		"restarts": int(seen.Books.Received.Restarts),
	}}
	for r, n := range seen.Books.Sent.Dropped {
		o.books["dropped: "+r.String()] = int(n)
	}
	for _, c := range seen.Links {
		if c.To == cluster.LinkUp || c.To == cluster.LinkDown { // before the first of them it is a matter of microseconds
			o.links = append(o.links, c)
		}
	}
	o.links = settled(o.links)
	var last arrival
	for i, a := range seen.Came {
		if a.Large {
			o.large = append(o.large, a.At)
			continue
		}
		if i > 0 && a.At-last.At > quiet {
			o.silences = append(o.silences, span{last.At, a.At})
		}
		if i > 0 && a.Sent-last.Sent > quiet {
			o.missing = append(o.missing, span{last.Sent, a.Sent})
		}
		last = a
	}
	return o
}

// settled leaves out what is a matter of chance. Where answers take about as long as SendTimeout, a link that is down may be up between
// two of them. And a server of the simulation that was paused finds its peers silent when it goes on, until it hears them: its time did not stand still.
func settled(links []change) (all []change) {
	for i, c := range links {
		if n := len(all); n > 0 && all[n-1].To == c.To {
			continue
		}
		if i+1 < len(links) && len(all) > 0 {
			d := links[i+1].At - c.At
			if c.To == cluster.LinkUp && links[i+1].To == cluster.LinkDown && d < quiet || c.To == cluster.LinkDown && links[i+1].To == cluster.LinkUp && d < quiet/10 {
				continue
			}
		}
		all = append(all, c)
	}
	return all
}

func (o *outcome) String() string {
	var b strings.Builder
	for _, class := range slices.Sorted(maps.Keys(o.first)) {
		fmt.Fprintf(&b, "  Send: %s from %v on\n", class, o.first[class].Round(time.Millisecond))
	}
	for _, c := range o.links {
		fmt.Fprintf(&b, "  the link is %v at %v\n", c.To, c.At.Round(time.Millisecond))
	}
	for _, s := range o.silences {
		fmt.Fprintf(&b, "  nothing came from %v to %v\n", s.from.Round(time.Millisecond), s.to.Round(time.Millisecond))
	}
	for _, s := range o.missing {
		fmt.Fprintf(&b, "  nothing came of what the other sent between %v and %v\n", s.from.Round(time.Millisecond), s.to.Round(time.Millisecond))
	}
	for _, at := range o.large {
		fmt.Fprintf(&b, "  the large message came at %v\n", at.Round(time.Millisecond))
	}
	return b.String() + fmt.Sprintf("  %v", o.books)
}

// differences are where another outcome is not the same, within the tolerance.
func (o *outcome) differences(other *outcome, tolerance time.Duration) (all []string) {
	differ := func(form string, a ...any) { all = append(all, fmt.Sprintf(form, a...)) }
	far := func(a, b time.Duration) bool { return (a - b).Abs() > tolerance }
	for _, class := range slices.Sorted(maps.Keys(union(o.first, other.first))) {
		a, here := o.first[class]
		b, there := other.first[class]
		if here != there || far(a, b) {
			differ("Send %s: %v at %v, and %v at %v", class, here, a, there, b)
		}
	}
	if !slices.EqualFunc(o.links, other.links, func(a, b change) bool { return a.To == b.To && !far(a.At, b.At) }) {
		differ("the link: %v, and %v", o.links, other.links)
	}
	near := func(a, b span) bool { return !far(a.from, b.from) && !far(a.to, b.to) }
	if !slices.EqualFunc(o.silences, other.silences, near) {
		differ("silences: %v, and %v", o.silences, other.silences)
	}
	if !slices.EqualFunc(o.missing, other.missing, near) {
		differ("missing: %v, and %v", o.missing, other.missing)
	}
	if !slices.EqualFunc(o.large, other.large, func(a, b time.Duration) bool { return !far(a, b) }) {
		differ("large messages: %v, and %v", o.large, other.large)
	}
	for _, book := range slices.Sorted(maps.Keys(union(o.books, other.books))) {
		a, b := o.books[book], other.books[book]
		if (a == 0) != (b == 0) || max(a-b, b-a) > int(2*tolerance/sendEvery) {
			differ("%s: %d, and %d", book, a, b)
		}
	}
	return all
}

func union[V any](a, b map[string]V) map[string]V {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
