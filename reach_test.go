package cluster_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// linkStates watches the link from a node to a peer for a time, and tells when it had another state, in virtual time.
func linkStates(a *cluster.Node, peer int, d time.Duration) (states []string) {
	last := cluster.LinkState(-1)
	for began := time.Now(); time.Since(began) < d; time.Sleep(10 * time.Millisecond) {
		synctest.Wait()
		if now := testcluster.StatsOf(a, peer).State; now != last {
			last = now
			states = append(states, fmt.Sprintf("%v at %v", now, time.Since(began).Round(100*time.Millisecond)))
		}
	}
	return states
}

func expectStates(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the link is %q, want %q", got, want)
	}
}

func TestALinkIsUpOnceItsPeerHasAcknowledgedWhatWasSent(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = time.Second
		a := testcluster.Join(t, 0, cfg)
		testcluster.NewFakePeer(t, 1, cfg) // takes frames, and says nothing
		testcluster.Put(t, a, &cluster.Envelope{1, 0, "hello"})
		expectStates(t, linkStates(a, 1, 5*time.Second), "connecting at 0s", "unacknowledged at 1s", "down at 3s")
		if p := testcluster.StatsOf(a, 1); !p.LastHeard.IsZero() || !p.LastAcknowledged.IsZero() || p.RoundTrip != 0 {
			t.Errorf("it was heard at %v, has answered at %v, in %v", p.LastHeard, p.LastAcknowledged, p.RoundTrip)
		}
	})
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		testcluster.ReadAll(testcluster.Join(t, 1, cfg))
		testcluster.Put(t, a, &cluster.Envelope{1, 0, "hello"})
		time.Sleep(time.Second)
		synctest.Wait()
		p := testcluster.StatsOf(a, 1)
		if p.State != cluster.LinkUp || time.Since(p.LastHeard) > time.Second || time.Since(p.LastAcknowledged) > time.Second {
			t.Errorf("%+v", p)
		}
	})
}

func TestAnotherClusterAndAnUnlistedSenderAreUnacknowledgedAndTheLogNamesBothCauses(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		for name, change := range map[string]func(*cluster.Config){
			"another cluster":  func(c *cluster.Config) { c.Cluster = "another" },
			"a sender unknown": func(c *cluster.Config) { c.Peers = c.Peers[1:] },
		} {
			var log bytes.Buffer
			mine, others := cfg, cfg
			mine.SendTimeout, mine.Logger = time.Second, slog.New(slog.NewTextHandler(&log, nil))
			change(&others)
			a, b := testcluster.Join(t, 0, mine), testcluster.Join(t, 1, others)
			for range 30 {
				testcluster.Put(t, a, &cluster.Envelope{1, 0, "hello"})
			}
			expectStates(t, linkStates(a, 1, 5*time.Second), "connecting at 0s", "unacknowledged at 1s", "down at 3s")
			trouble := testcluster.StatsOf(a, 1).Trouble
			a.Close()
			b.Close()
			for _, text := range []string{log.String(), trouble} {
				if !strings.Contains(text, "another cluster") || !strings.Contains(text, "not list this server") {
					t.Errorf("%s: it does not name the causes: %s", name, text)
				}
			}
		}
	})
}

func TestAPeerThatEndsIsDownWithinASecondAlsoWhereNothingIsSentToIt(t *testing.T) {
	for _, transport := range []string{"libzmq", "go"} {
		t.Run(transport, func(t *testing.T) {
			cfg := testcluster.Config(t, "tcp", 2)
			cfg.Transport = transport
			a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
			testcluster.ReadAll(b)
			testcluster.Put(t, a, &cluster.Envelope{1, 0, "hello"})
			testcluster.Eventually(t, "the link is up", func() bool { return testcluster.StatsOf(a, 1).State == cluster.LinkUp })
			time.Sleep(300 * time.Millisecond) // nothing is on its way any more
			ended := time.Now()
			b.Close()
			testcluster.Eventually(t, "the link is down", func() bool { return testcluster.StatsOf(a, 1).State == cluster.LinkDown })
			t.Logf("down after %v", time.Since(ended))
		})
	}
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = time.Second
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		testcluster.ReadAll(b)
		testcluster.Put(t, a, &cluster.Envelope{1, 0, "hello"})
		time.Sleep(time.Second)
		b.Close()
		expectStates(t, linkStates(a, 1, 2*time.Second), "up at 0s", "down at 600ms")
	})
}

func TestAPeerWhoseProgramTakesNothingIsStalledAndNotDown(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes, cfg.InboxSize, cfg.SendTimeout = testcluster.MinQueueBytes, 1, time.Second
		a := testcluster.Join(t, 0, cfg)
		testcluster.Join(t, 1, cfg)
		defer sendOn(a, cluster.Envelope{1, 0, make([]byte, 4000)})()
		time.Sleep(2 * time.Second)
		expectStates(t, linkStates(a, 1, time.Minute), "stalled at 0s")
	})
}

// A peer that is heard from where it was, while nobody listens where it is said to be now.
func TestAPeerIsDownWhereNobodyListensAlsoIfItIsHeard(t *testing.T) {
	for name, sends := range map[string]bool{"and is sent to": true, "and is not sent to": false} {
		t.Run(name, func(t *testing.T) {
			testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
				cfg.SendTimeout = time.Second
				a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
				testcluster.ReadAll(a)
				testcluster.ReadAll(b)
				testcluster.Put(t, a, &cluster.Envelope{1, 0, "hello"})
				defer sendEach(b, cluster.Envelope{0, 0, "hello"}, 20*time.Millisecond)()
				time.Sleep(time.Second)
				if sends {
					defer sendEach(a, cluster.Envelope{1, 0, "hello"}, 20*time.Millisecond)()
				}
				if err := a.Catalog().Put(peercatalog.Peer{ID: 1, Address: "mem://nowhere"}); err != nil {
					t.Fatal(err)
				}
				states := linkStates(a, 1, 20*time.Second)
				if last := states[len(states)-1]; !strings.HasPrefix(last, "down at 3.") {
					t.Errorf("the link is %q", states)
				}
			})
		})
	}
}

// sendEach sends a copy of an envelope again and again, until the function that it returns is called.
func sendEach(n *cluster.Node, e cluster.Envelope, pause time.Duration) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			copied := e
			select {
			case n.Outbox() <- &copied:
			case <-end:
				return
			}
			select {
			case <-time.After(pause):
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}
