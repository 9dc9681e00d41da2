//go:build unix

package scenario

import (
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// A rotation is a cluster of two servers of which one, the turning one, goes from one
// key to another. The other one goes on running.
type rotation struct {
	t            *testing.T
	cfg          cluster.Config // of the turning server, with its present key
	other        *cluster.Node
	turning      *cluster.Node
	before, next string // public keys of the turning server
}

const turningPid = 1

// rotate starts the servers with the turning one's old key.
func rotate(t *testing.T, cfg cluster.Config) *rotation {
	t.Helper()
	r := &rotation{t: t, cfg: cfg, before: cfg.Peers[turningPid].PublicKey, other: testcluster.Join(t, 0, cfg)}
	r.start()
	return r
}

func (r *rotation) start() {
	r.t.Helper()
	r.turning = testcluster.Join(r.t, turningPid, r.cfg)
}

// generate makes the turning server's next key, which it has when it starts anew.
func (r *rotation) generate() {
	r.t.Helper()
	r.next = testcluster.WriteKey(r.t, testcluster.KeyPath(r.cfg, turningPid))
	r.cfg.Peers = slices.Clone(r.cfg.Peers)
	r.cfg.Peers[turningPid].PublicKey = r.next
}

// learn makes the other server list these keys.
func (r *rotation) learn(keys ...string) {
	r.t.Helper()
	p, _ := r.other.Catalog().Get(turningPid)
	p.PublicKey, p.PreviousPublicKey = keys[0], ""
	if len(keys) > 1 {
		p.PreviousPublicKey = keys[1]
	}
	if err := r.other.Catalog().Put(p); err != nil {
		r.t.Fatal(err)
	}
}

// bothWays checks that a message gets through either way, and returns how long that took.
func (r *rotation) bothWays(when string) time.Duration {
	r.t.Helper()
	start := time.Now()
	testcluster.Put(r.t, r.other, &cluster.Envelope{Pid: turningPid, Msg: "to the turning one " + when})
	testcluster.Put(r.t, r.turning, &cluster.Envelope{Pid: 0, Msg: "from the turning one " + when})
	for n, want := range map[*cluster.Node]string{r.turning: "to the turning one ", r.other: "from the turning one "} {
		if e := testcluster.Take(r.t, n); e.Msg != want+when {
			r.t.Errorf("%s server %d received %v, want %q", when, n.Pid(), e.Msg, want+when)
		}
	}
	return time.Since(start)
}

// inVirtualTime runs a test of a rotation over mem.
func inVirtualTime(t *testing.T, test func(r *rotation)) {
	cfg := testcluster.Keyed(t, testcluster.Config(t, "mem", 2))
	synctest.Test(t, func(t *testing.T) { r := rotate(t, cfg); r.t = t; test(r) })
}

func TestAKeyThatIsListedInAdvanceDisturbsNothing(t *testing.T) {
	for _, order := range []string{"new, old", "old, new"} {
		t.Run(order, func(t *testing.T) {
			inVirtualTime(t, func(r *rotation) {
				r.bothWays("at first")
				r.generate()
				r.learn(r.ordered(order)...)
				if took := r.bothWays("with both listed"); took != 0 {
					t.Errorf("with both keys listed, a message took %v, want no time", took)
				}
				r.turning.Close()
				r.start()
				if took := r.bothWays("with the new key"); took >= testcluster.SendTimeout {
					t.Errorf("with the new key a message took %v, want less than %v", took, testcluster.SendTimeout)
				}
				r.learn(r.next)
				if took := r.bothWays("with only the new one listed"); took != 0 {
					t.Errorf("with only the new key listed, a message took %v, want no time", took)
				}
				for _, n := range []*cluster.Node{r.other, r.turning} {
					if s := n.Stats(); len(s.Sent.Dropped) > 0 || s.Received.Lost > 0 || len(framesRefused(s.Received.Refused)) > 0 {
						t.Errorf("server %d dropped %v, lost %d, refused %v, want nothing", n.Pid(), s.Sent.Dropped, s.Received.Lost, s.Received.Refused)
					}
				}
			})
		})
	}
}

// ordered are the keys in the order that is given by their names.
func (r *rotation) ordered(order string) (keys []string) {
	for _, name := range strings.Split(order, ", ") {
		keys = append(keys, map[string]string{"old": r.before, "new": r.next}[name])
	}
	return keys
}

func TestAServerIsRefusedUntilItsKeyIsListed(t *testing.T) {
	for _, c := range []struct {
		name              string
		listed, corrected string // by the other server
		restart           bool   // of the turning one, with its new key, before anything is listed
	}{
		{"it has the new key, and the old one is listed", "old", "new", true},
		{"it has the new key, and then both are listed", "old", "old, new", true},
		{"it has the old key, and the new one is listed", "new", "new, old", false},
		{"it has the old key, and the new one was listed too early", "new", "old", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inVirtualTime(t, func(r *rotation) {
				r.bothWays("at first")
				r.generate()
				if c.restart {
					r.turning.Close()
					r.start()
				}
				r.learn(r.ordered(c.listed)...)
				testcluster.Put(t, r.turning, &cluster.Envelope{Pid: 0, Msg: "refused"})
				testcluster.Put(t, r.other, &cluster.Envelope{Pid: turningPid, Msg: "refused"})
				time.Sleep(5 * time.Second)
				for _, n := range []*cluster.Node{r.other, r.turning} {
					select {
					case e := <-n.Inbox():
						t.Errorf("server %d received %v", n.Pid(), e.Msg)
					default:
					}
				}
				if got := r.other.Stats().Refused; got[cluster.RefusedKey] == 0 {
					t.Errorf("refused %v, want %v", got, cluster.RefusedKey)
				}
				if got := testcluster.StatsOf(r.other, turningPid).Sent.Dropped; got[cluster.ReasonTimedOut] != 1 {
					t.Errorf("the other one dropped %v, want the message, after SendTimeout", got)
				}
				r.learn(r.ordered(c.corrected)...)
				time.Sleep(5 * time.Second)
				r.bothWays("when its key is listed")
			})
		})
	}
}

// The link to a peer that is down tries one key after the other.
func TestTryingKeysIsNoChangeOfState(t *testing.T) {
	var log atomic.Int64
	cfg := testcluster.Keyed(t, testcluster.Config(t, "mem", 2))
	cfg.Peers[turningPid].PreviousPublicKey = testcluster.Stranger(t).Public
	cfg.Logger = slog.New(slog.NewTextHandler(testcluster.WriterFunc(func(b []byte) (int, error) {
		log.Add(1)
		return len(b), nil
	}), nil))
	synctest.Test(t, func(t *testing.T) {
		n := testcluster.Join(t, 0, cfg)
		start := time.Now()
		testcluster.Put(t, n, &cluster.Envelope{Pid: turningPid, Msg: "x"})
		testcluster.Eventually(t, "the message is dropped", func() bool { return testcluster.StatsOf(n, turningPid).Sent.DroppedTotal() == 1 })
		if took := time.Since(start).Round(10 * time.Millisecond); took != testcluster.SendTimeout {
			t.Errorf("the message was dropped after %v, want %v", took, testcluster.SendTimeout)
		}
		synctest.Wait()
		since, lines := testcluster.StatsOf(n, turningPid).Since, log.Load()
		time.Sleep(time.Minute)
		synctest.Wait()
		if p := testcluster.StatsOf(n, turningPid); p.State != cluster.LinkDown || p.Since != since {
			t.Errorf("after a minute the link is %v since %v, want down since %v", p.State, p.Since, since)
		}
		if got := log.Load(); got != lines {
			t.Errorf("%d lines were logged while the link was down, want none", got-lines)
		}
		testcluster.Put(t, n, &cluster.Envelope{Pid: turningPid, Msg: "y"})
		testcluster.Eventually(t, "the next is dropped at once", func() bool { return testcluster.StatsOf(n, turningPid).Sent.Dropped[cluster.ReasonUnreachable] == 1 })
	})
}

// A peer that begins anew, and is heard, has told which of its keys it has.
func TestTheKeyOfAPeerThatIsHeardIsTriedFirst(t *testing.T) {
	inVirtualTime(t, func(r *rotation) {
		r.bothWays("at first")
		r.generate()
		r.learn(r.before, r.next)
		r.turning.Close()
		testcluster.Put(r.t, r.other, &cluster.Envelope{Pid: turningPid, Msg: "for nobody"})
		time.Sleep(time.Minute) // so that keys are tried at long intervals
		for i := range 5 {
			r.start()
			testcluster.Put(r.t, r.turning, &cluster.Envelope{Pid: 0, Msg: "here I am"})
			testcluster.Take(r.t, r.other)
			if took := r.bothWays("when it was heard"); took != 0 {
				r.t.Errorf("to a peer that was heard a message took %v, want no time", took)
			}
			r.turning.Close()
			testcluster.Put(r.t, r.other, &cluster.Envelope{Pid: turningPid, Msg: "for nobody"})
			time.Sleep(time.Minute + time.Duration(i)*1300*time.Millisecond)
		}
	})
}

func TestAServerGoesToANewKeyWhileOthersSend(t *testing.T) {
	cfg := testcluster.Keyed(t, testcluster.Config(t, "tcp", 2))
	cfg.SendTimeout = 20 * time.Second
	r := rotate(t, cfg)
	s := testcluster.NewTraffic(r.other)
	s.Send([]int{turningPid}, 0, 100, 500*time.Microsecond)
	defer s.Halt()
	heard := testcluster.ReadAll(r.turning)
	come := func(when string) {
		t.Helper()
		count := heard.Tally(0).Count
		testcluster.Eventually(t, "messages "+when, func() bool { return heard.Tally(0).Count > count+100 })
	}
	come("at first")
	r.generate()
	r.learn(r.next, r.before)
	come("with both keys listed")
	if got := heard.Tally(0); len(got.Spans) != 1 || testcluster.StatsOf(r.turning, 0).Received.Lost > 0 {
		t.Errorf("the messages %v came while a key was listed, want no gap", got.Spans)
	}
	r.turning.Close()
	r.start()
	heard = testcluster.ReadAll(r.turning)
	come("with the new key")
	if got := testcluster.StatsOf(r.other, turningPid).Sent.Dropped; len(got) > 0 {
		t.Errorf("dropped %v, want nothing within SendTimeout", got)
	}
	r.learn(r.next)
	come("with the new key alone listed")
	s.Halt()
	sent := s.Number(turningPid) - 1
	testcluster.Eventually(t, "all that was sent", func() bool { return heard.Tally(0).Last() == sent })
	if got := heard.Tally(0); len(got.Spans) != 1 {
		t.Errorf("the messages %v came from the new key on, want no gap", got.Spans)
	}
	if got := framesRefused(r.turning.Stats().Received.Refused); len(got) > 0 {
		t.Errorf("refused %v, want nothing", got)
	}
}
