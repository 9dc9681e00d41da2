package cluster_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
	"github.com/abhishekg16/cluster/peercatalog"
)

// defaultLog is what goes to slog.Default until the test ends.
func defaultLog(t *testing.T) *testcluster.LineLog {
	t.Helper()
	log, before := new(testcluster.LineLog), slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return log
}

// hasLines checks that the log has a line with each text, once, and no others.
func hasLines(t *testing.T, log *testcluster.LineLog, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if got := log.Count(text); got != 1 {
			t.Errorf("the log has %q %d times, want once:\n%s", text, got, log)
		}
	}
	if got := strings.Count(log.String(), "\n"); got != len(texts) {
		t.Errorf("the log has %d lines, want %d:\n%s", got, len(texts), log)
	}
}

func TestMistakesOfTheProgramAreToldOnceEachWithoutALogger(t *testing.T) {
	type forgotten struct{ X int }
	type forgottenToo struct{ X int }
	log := defaultLog(t)
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		n := testcluster.Join(t, 0, cfg)
		for range 3 {
			testcluster.Put(t, n, &cluster.Envelope{1, 0, forgotten{}})
			testcluster.Put(t, n, &cluster.Envelope{1, 0, forgottenToo{}})
			testcluster.Put(t, n, &cluster.Envelope{1, 0, make(chan int)})
			testcluster.Put(t, n, &cluster.Envelope{77, 0, "x"})
			n.Send(context.Background(), &cluster.Envelope{78, 0, "x"})
		}
		synctest.Wait()
	})
	hasLines(t, log, "cluster_test.forgotten ", "cluster_test.forgottenToo ", "chan int", "to=77", "to=78")
}

func TestWhatTheNetworkShowsOfAMistakeIsToldOnceInOurOwnWords(t *testing.T) {
	log := defaultLog(t)
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		n := testcluster.Join(t, 0, cfg)
		other := cfg
		other.Cluster = "strange"
		stranger := testcluster.Join(t, 2, other)
		p := testcluster.NewFakePeer(t, 1, cfg)
		const head = "\x0a\x00" + "8:stranger\xa0"
		for i := range 3 {
			record := wire.AppendRecordHeader(nil, 9, uint8(codec.Typed), len(head))
			p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: uint64(i + 1)}, Count: 1}, append(record, head...))
			testcluster.Put(t, stranger, &cluster.Envelope{0, 0, "x"})
		}
		synctest.Wait()
		if s := n.Stats(); s.Received.Refused[cluster.RefusedUnregistered] != 3 || s.Refused[cluster.RefusedCluster] != 1 {
			t.Errorf("refused: %v and %v", s.Received.Refused, s.Refused)
		}
	})
	hasLines(t, log, "a type that is not registered here", "a cluster with another name")
	for _, text := range []string{"peer=1", "peer=2"} {
		if log.Count(text) != 1 {
			t.Errorf("%s is missing:\n%s", text, log)
		}
	}
	if log.Count("strange") > 0 {
		t.Errorf("the log repeats what came:\n%s", log)
	}
}

// A server that the others look for elsewhere, or do not list any more, hears nothing of them: nothing else would say so.
func TestThatAPeerRunsAndDoesNotAnswerIsToldOnce(t *testing.T) {
	log := defaultLog(t)
	testcluster.Bubble(t, 4, func(t *testing.T, cfg cluster.Config) {
		var nodes []*cluster.Node
		for id := range cfg.Peers {
			nodes = append(nodes, testcluster.Join(t, id, cfg))
			testcluster.ReadAll(nodes[id])
		}
		alone := nodes[3]
		defer sendEach(alone, cluster.Envelope{cluster.BROADCAST, 0, "hello"}, 20*time.Millisecond)()
		time.Sleep(time.Minute)
		hasLines(t, log)
		if err := nodes[0].Catalog().Put(peercatalog.Peer{ID: 3, Address: "mem://elsewhere"}); err != nil {
			t.Fatal(err)
		}
		nodes[1].Catalog().Remove(3)
		var states []string
		for _, s := range linkStates(alone, 0, time.Minute) {
			states = append(states, strings.Fields(s)[0])
		}
		expectStates(t, states, "up", "unacknowledged", "down")
		for id := range 2 {
			if got := testcluster.StatsOf(alone, id).Trouble; !strings.Contains(got, "it runs, and acknowledges nothing") {
				t.Errorf("the trouble with server %d is %q, want one that says that it runs", id, got)
			}
		}
		if got := testcluster.StatsOf(nodes[0], 3); got.State != cluster.LinkDown || !strings.Contains(got.Trouble, "it may run somewhere else") {
			t.Errorf("server 0, which hears it, finds it %v: %s", got.State, got.Trouble)
		}
		// It is put right, and goes wrong again.
		if err := nodes[0].Catalog().Put(cfg.Peers[3]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := testcluster.StatsOf(alone, 0); got.State != cluster.LinkUp || got.Trouble != "" {
			t.Errorf("when it is put right the link is %v: %s", got.State, got.Trouble)
		}
		if err := nodes[0].Catalog().Put(peercatalog.Peer{ID: 3, Address: "mem://elsewhere"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		if got := testcluster.StatsOf(alone, 0); got.State != cluster.LinkDown || strings.Contains(got.Trouble, "it runs") {
			t.Errorf("four seconds after it goes wrong again the link is %v: %s", got.State, got.Trouble)
		}
		time.Sleep(time.Minute)
		if got := testcluster.StatsOf(alone, 0).Trouble; !strings.Contains(got, "it runs, and acknowledges nothing") {
			t.Errorf("when it goes wrong again the trouble is %q", got)
		}
	})
	hasLines(t, log, "runs does not answer this server\" pid=3 peer=0 ", "runs does not answer this server\" pid=3 peer=1 ")
	if log.Count("another address for this server than this one listens on") != 2 || log.Count("unknown sender") != 0 {
		t.Errorf("the log does not say what may be the cause:\n%s", log)
	}
}

func TestThatAPeerComesAndGoesIsSilentWithoutALogger(t *testing.T) {
	log := defaultLog(t)
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		n := testcluster.Join(t, 0, cfg)
		testcluster.Put(t, n, &cluster.Envelope{1, 0, "nobody is there"})
		time.Sleep(2 * testcluster.SendTimeout)
		for range 3 {
			peer, err := cluster.NewFromConfig(1, cfg)
			if err != nil {
				t.Fatal(err)
			}
			testcluster.Put(t, peer, &cluster.Envelope{0, 0, "here"})
			testcluster.Take(t, n)
			testcluster.Put(t, n, &cluster.Envelope{1, 0, "welcome"})
			testcluster.Take(t, peer)
			if err := peer.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
		}
	})
	hasLines(t, log)
}

func TestADiscardedLoggerIsSilent(t *testing.T) {
	log := defaultLog(t)
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.Logger = slog.New(slog.DiscardHandler)
		n := testcluster.Join(t, 0, cfg)
		testcluster.Put(t, n, &cluster.Envelope{1, 0, make(chan int)})
		testcluster.Put(t, n, &cluster.Envelope{77, 0, "x"})
		synctest.Wait()
	})
	hasLines(t, log)
}

func TestKeysOnOneSideOnlyAreToldOnce(t *testing.T) {
	log := defaultLog(t)
	plain := testcluster.ProcessConfig(t, 2)
	keyed := testcluster.Keyed(t, plain)
	testcluster.Join(t, 0, keyed)
	for i := range plain.Peers {
		plain.Peers[i].PublicKey = ""
	}
	n := testcluster.Join(t, 1, plain)
	testcluster.Put(t, n, &cluster.Envelope{0, 0, "in the clear"})
	testcluster.Eventually(t, "it is told", func() bool { return log.Count("keys") > 0 })
	if got := log.Count("connects without keys"); got != 1 {
		t.Errorf("it is told %d times:\n%s", got, log)
	}
}

func TestWhatIsRefusedIsLoggedWithTheAddressThatItCameFrom(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 2)
	log := new(testcluster.LineLog)
	other := cfg
	other.Cluster = "another"
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	testcluster.Join(t, 0, cfg)
	stranger := testcluster.Join(t, 1, other)
	testcluster.Put(t, stranger, &cluster.Envelope{0, 0, "x"})
	testcluster.Eventually(t, "the refusal is logged with its address", func() bool {
		return log.Count("reason=cluster from=127.0.0.1 cause=") == 1
	})
}
