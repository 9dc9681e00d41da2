package clustertest_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// replaySettings are faults of which no run may depend on the scheduler.
var replaySettings = []struct {
	name   string
	faults clustertest.Faults
	then   func(*clustertest.Network) // if not nil, schedules more, up to 14 s
	also   []int                      // seeds that once did not replay
}{
	{name: "default"},
	{name: "connections break", then: breakConnections, also: []int{24, 39, 63, 102}},
	{name: "Fixed", faults: clustertest.Faults{Delay: clustertest.Fixed(10 * time.Millisecond), Loss: 0.02}, also: []int{16, 67, 135, 867}},
	{name: "InFlight and Bandwidth", faults: clustertest.Faults{InFlight: 2000, Bandwidth: 100_000, Loss: 0.01, Duplicate: 0.05}},
	{name: "no delay", faults: clustertest.Faults{Delay: clustertest.Fixed(0), Reorder: 0.1}},
	{name: "Between one time", faults: clustertest.Faults{Delay: clustertest.Between(time.Millisecond, time.Millisecond), Duplicate: 0.2}, also: []int{34, 71}},
	{name: "all", faults: clustertest.Faults{
		Loss: 0.05, Duplicate: 0.05, Reorder: 0.1, Delay: clustertest.Between(0, 20*time.Millisecond), Bandwidth: 50_000, InFlight: 5000,
	}, also: []int{11, 20, 130, 204, 402, 600, 601, 870}},
}

// breakConnections schedules faults that outlast heartbeats.
func breakConnections(net *clustertest.Network) {
	net.At(5500*time.Millisecond, func() { net.Partition([]int{0}) })
	net.At(5700*time.Millisecond, func() { net.Set(clustertest.Faults{Cut: true}, clustertest.Link{From: 1, To: 2}) })
	net.At(5900*time.Millisecond, func() { net.Pause(3) })
	net.At(10300*time.Millisecond, net.Heal)
	net.At(10600*time.Millisecond, func() { net.Set(clustertest.Faults{}) })
	net.At(12500*time.Millisecond, func() { net.Resume(3) })
}

// chatter makes a server send something to others every tenth of a second, all servers at
// the very same moments and several messages in a row, and answer what it is told. Now and then it delivers a message, or sends an urgent
// one, and tells what came of it.
func chatter(net *clustertest.Network, n *cluster.Node, seed uint64, tell func(string)) {
	c := &chat{node: n, rand: rand.New(rand.NewPCG(seed, uint64(n.Pid()))), tell: tell, began: time.Now()}
	go func() { // ends with the inbox, which the network closes; synctest.Test waits
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		errand := time.NewTimer(c.between())
		defer errand.Stop()
		for {
			// What is ready is done in this order, and not in that of a select.
			select {
			case <-tick.C:
				c.chatter()
				continue
			default:
			}
			select {
			case e, open := <-n.Inbox():
				if !open {
					return
				}
				c.answer(e)
				continue
			default:
			}
			select {
			case <-tick.C:
				c.chatter()
			case e, open := <-n.Inbox():
				if !open {
					return
				}
				c.answer(e)
			case <-errand.C:
				c.errand()
				errand.Reset(c.between())
			}
		}
	}()
}

// A chat is what one server does in it.
type chat struct {
	node  *cluster.Node
	rand  *rand.Rand
	tell  func(string)
	began time.Time
}

func (c *chat) say(to, answers, size int) {
	select {
	case c.node.Outbox() <- &cluster.Envelope{Pid: to, Msg: fmt.Sprintf("%d %s", answers, strings.Repeat("x", size))}:
	case <-c.node.Done():
	}
}

func (c *chat) chatter() {
	for range 1 + c.rand.IntN(4) {
		to := c.peer()
		if c.rand.IntN(3) == 0 {
			to = cluster.BROADCAST
		}
		size := 1 + c.rand.IntN(300)
		if c.rand.IntN(200) == 0 {
			size = 150_000 // in pieces
		}
		c.say(to, c.rand.IntN(3), size)
	}
}

func (c *chat) peer() int {
	peers := c.node.Peers()
	return peers[c.rand.IntN(len(peers))]
}

func (c *chat) answer(e *cluster.Envelope) {
	var left int
	fmt.Sscan(e.Msg.(string), &left)
	if left > 0 {
		c.say(e.Pid, left-1, c.rand.IntN(100))
	}
}

// between is how long it is until the next errand, which is not at a time at which others do something.
func (c *chat) between() time.Duration {
	return 170*time.Millisecond + time.Duration(10_007+c.node.Pid())
}

func (c *chat) errand() {
	what, send := "urgent", c.node.SendUrgent
	if c.rand.IntN(2) == 0 {
		what, send = "delivered", c.node.Deliver
	}
	to := c.peer()
	ctx, cancel := context.WithTimeout(context.Background(), 710*time.Millisecond)
	defer cancel()
	err := send(ctx, &cluster.Envelope{Pid: to, Msg: "0 " + what})
	c.tell(fmt.Sprintf("%12v  %d -> %d  %s: %v", time.Since(c.began), c.node.Pid(), to, what, err))
}

// story is what becomes of servers that talk under the faults of a setting and others that the seed
// draws, in the order of Events, and then what they were told, and their books; paced is whether a sender had to wait for room, of
// which nothing is promised.
func story(t *testing.T, seed uint64, setting int) (lines []string, paced bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net, s := clustertest.NewNetwork(t, seed, 4), replaySettings[setting]
		net.Set(s.faults)
		var mu sync.Mutex // guards told
		told := make([][]string, 4)
		run := func(n *cluster.Node) {
			chatter(net, n, seed, func(line string) {
				mu.Lock()
				defer mu.Unlock()
				told[n.Pid()] = append(told[n.Pid()], line)
			})
		}
		for _, n := range net.Start() {
			run(n)
		}
		net.Disturb(5*time.Second, run)
		end := 6 * time.Second
		if s.then != nil {
			s.then(net)
			end = 14 * time.Second
		}
		net.Sleep(end + 50*time.Millisecond)
		for _, e := range net.Events() {
			lines = append(lines, e.String())
		}
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, slices.Concat(told...)...)
		for id := range 4 {
			for _, p := range net.Node(id).Stats().Peers {
				// What comes as the link goes down is dropped for one reason or the other.
				p.Sent.Dropped = map[cluster.Reason]uint64{0: p.Sent.DroppedTotal()}
				p.Sent.Resent = 0
				lines = append(lines, fmt.Sprintf("%d and %d: %v %+v %+v", id, p.ID, p.State, p.Sent, p.Received))
			}
		}
		paced = net.Paced()
	})
	return lines, paced
}

// replayChild names, in the environment of a child process, a setting, the first seed and
// how many there are.
const replayChild = "CLUSTERTEST_REPLAY"

// outOfPromise is what a child prints of a seed with which a sender is paced.
const outOfPromise = "a sender had to wait for room"

// A seed replays: the fate and the time of each message, and the order of all that
// happens, are the same in another process and on another number of processors, whatever
// the faults are.
func TestASeedReplaysInAnotherProcess(t *testing.T) {
	if child := os.Getenv(replayChild); child != "" {
		var setting int
		var first, count uint64
		if _, err := fmt.Sscan(child, &setting, &first, &count); err != nil {
			t.Fatal(err)
		}
		for seed := first; seed < first+count; seed++ {
			lines, paced := story(t, seed, setting)
			what := fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(lines, "\n"))))
			if paced {
				what = outOfPromise
			}
			fmt.Printf("seed %d: %s\n", seed, what)
		}
		return
	}
	seeds, inProcess, also := 8, 4, true
	switch {
	case long:
		seeds, inProcess = 1000, 50
	case testcluster.RaceEnabled: // each takes ten times as long
		seeds, inProcess, also = 1, 1, false
	}
	for i, s := range replaySettings {
		t.Run(s.name, func(t *testing.T) {
			compared := 0
			compare := func(first, count int) {
				one, other := replay(t, i, first, count, 1), replay(t, i, first, count, 4)
				for j := range one {
					if strings.HasSuffix(one[j], outOfPromise) || strings.HasSuffix(other[j], outOfPromise) {
						continue
					}
					if compared++; one[j] != other[j] {
						t.Errorf("with GOMAXPROCS=1: %s\nwith GOMAXPROCS=4: %s", one[j], other[j])
						whereTheyDiffer(t, uint64(first+j), i)
					}
				}
			}
			for first := 0; first < seeds; first += inProcess {
				compare(first, inProcess)
			}
			for _, seed := range s.also {
				if also {
					compare(seed, 1)
				}
			}
			if compared < seeds*9/10 {
				t.Errorf("with %d of %d seeds no sender had to wait: this tests little", compared, seeds)
			}
		})
	}
}

// replay lets a process of its own run some seeds, and returns a line for each.
func replay(t *testing.T, setting, first, count, processors int) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, "-test.run=^TestASeedReplaysInAnotherProcess$")
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %d", replayChild, setting, first, count), fmt.Sprintf("GOMAXPROCS=%d", processors))
	out, err := child.CombinedOutput()
	var lines []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "seed ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if err != nil || len(lines) != count {
		t.Fatalf("%v; got\n%s", err, out)
	}
	return lines
}

// whereTheyDiffer runs a seed a few times in this process, and shows what differs.
func whereTheyDiffer(t *testing.T, seed uint64, setting int) {
	t.Helper()
	first, _ := story(t, seed, setting)
	for range 10 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1 + rand.IntN(4)))
		again, _ := story(t, seed, setting)
		for i := range max(len(first), len(again)) {
			if i >= len(first) || i >= len(again) || first[i] != again[i] {
				from := max(0, i-3)
				t.Logf("event %d of seed %d:\n%s\n\n%s", i, seed,
					strings.Join(first[from:min(i+5, len(first))], "\n"), strings.Join(again[from:min(i+5, len(again))], "\n"))
				return
			}
		}
	}
}
