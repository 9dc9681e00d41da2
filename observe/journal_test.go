package observe

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// at makes a sample of a server with these peers, some seconds after a start.
func at(second int, peers ...cluster.PeerStats) *sample {
	s := &sample{at: began.Add(time.Duration(second) * time.Second), rows: map[int]row{}, peers: map[int]int{}}
	s.report.Members = []Member{{ID: 0}}
	for i, p := range peers {
		s.report.Members = append(s.report.Members, Member{ID: p.ID})
		s.peers[p.ID] = i
	}
	s.report.Stats.Peers = peers
	return s
}

var began = time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)

func peer(id int, state cluster.LinkState, since int) cluster.PeerStats {
	return cluster.PeerStats{ID: id, State: state, Since: began.Add(time.Duration(since) * time.Second)}
}

func TestEventsAreWhatSamplesDifferBy(t *testing.T) {
	dropping := func(n uint64) cluster.PeerStats {
		p := peer(1, cluster.LinkDown, 2)
		p.Sent.Dropped = map[cluster.Reason]uint64{cluster.ReasonUnreachable: n}
		return p
	}
	restarted := peer(1, cluster.LinkUp, 1)
	restarted.Received.Restarts = 1
	troubled := peer(1, cluster.LinkDown, 2)
	troubled.Trouble = "connection refused"
	silentSince := func(trouble string) cluster.PeerStats {
		p := peer(1, cluster.LinkUnacknowledged, 2)
		p.Trouble = trouble
		return p
	}
	lostSome := peer(1, cluster.LinkUp, 1)
	lostSome.Received.Lost = 1500
	reloaded, failed, mended := at(2), at(3), at(4)
	reloaded.report.Stats.Reload = cluster.ReloadStats{Generation: 1, At: began.Add(time.Second), Change: peercatalog.Change{Added: []int{3}, Changed: []int{1, 2}}}
	failed.report.Stats.Reload = cluster.ReloadStats{Generation: 1, Error: notInEffect}
	mended.report.Stats.Reload = reloaded.report.Stats.Reload
	silent, closing := at(2, peer(1, cluster.LinkUp, 1)), at(3)
	silent.rows[1] = row{fault: "does not answer"}
	closing.closing = true
	for _, c := range []struct {
		name    string
		samples []*sample
		want    string // the events, the oldest first, with their seconds
	}{
		{"at first: since when things are so", []*sample{at(5, peer(1, cluster.LinkUp, 1), peer(2, cluster.LinkIdle, 0), peer(3, cluster.LinkDown, 4))},
			"1 the link to server 1 is up|4 the link to server 3 is down"},
		{"nothing", []*sample{at(1, peer(1, cluster.LinkUp, 1)), at(2, peer(1, cluster.LinkUp, 1))}, "1 the link to server 1 is up"},
		{"down, with the cause", []*sample{at(1, peer(1, cluster.LinkIdle, 0)), at(3, troubled)}, "2 the link to server 1 is down: connection refused"},
		{"what is known of the cause later, and what changes all the time", []*sample{at(3, silentSince("")), at(4, silentSince("it is heard")), at(5, silentSince("it runs")), at(16, silentSince("")), at(17, silentSince("it runs"))},
			"2 the link to server 1 is unacknowledged|4 the link to server 1 is unacknowledged: it is heard|17 the link to server 1 is unacknowledged: it runs"},
		{"down and up between two samples", []*sample{at(1, peer(1, cluster.LinkUp, 0)), at(9, peer(1, cluster.LinkUp, 8))}, "0 the link to server 1 is up|8 the link to server 1 is up again"},
		{"added and removed", []*sample{at(1, peer(1, cluster.LinkIdle, 0)), at(2, peer(2, cluster.LinkIdle, 0))}, "2 server 2 was added to the catalogue|2 server 1 was removed from the catalogue"},
		{"restarted", []*sample{at(1, peer(1, cluster.LinkUp, 1)), at(2, restarted)}, "1 the link to server 1 is up|2 server 1 has started anew"},
		{"a reason is told again only after it was quiet", []*sample{at(2, dropping(0)), at(3, dropping(5)), at(4, dropping(9)), at(12, dropping(9)), at(20, dropping(1200))},
			"2 the link to server 1 is down|3 messages for server 1 are dropped: unreachable (5 more, 5 in all)|20 messages for server 1 are dropped: unreachable (1\u202F191 more, 1\u202F200 in all)"},
		{"what was counted before anybody looked is no event", []*sample{at(3, dropping(7))}, "2 the link to server 1 is down"},
		{"lost", []*sample{at(1, peer(1, cluster.LinkUp, 1)), at(2, lostSome)}, "1 the link to server 1 is up|2 messages from server 1 are lost (1\u202F500 more, 1\u202F500 in all)"},
		{"the configuration", []*sample{at(0), reloaded, failed, mended}, "1 the configuration has changed once: added 3; changed 1, 2|3 " + notInEffect + "|4 the configuration is what is in effect again"},
		{"a page", []*sample{at(1, peer(1, cluster.LinkUp, 1)), silent, at(3, peer(1, cluster.LinkUp, 1))},
			"1 the link to server 1 is up|2 the page of server 1 does not answer|3 the page of server 1 answers again"},
		{"closed", []*sample{at(1), closing, closing}, "3 this server has closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var j journal
			var before *sample
			for _, s := range c.samples {
				j.add(before, s)
				before = s
			}
			var got []string
			for i := len(j.events) - 1; i >= 0; i-- {
				e := j.events[i]
				got = append(got, fmt.Sprint(int(e.At.Sub(began).Seconds()), " ", e.Text))
				if want := uint64(len(got)); e.seq != want {
					t.Errorf("event %d has the number %d", want, e.seq)
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "|")); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestTheJournalIsBounded(t *testing.T) {
	var j journal
	before := at(0, peer(1, cluster.LinkUp, 0))
	for i := 1; i < 3*eventsMost; i++ {
		now := at(i, peer(1, cluster.LinkUp, i))
		j.add(before, now)
		before = now
	}
	if len(j.events) != eventsMost || j.events[0].seq != 3*eventsMost-1 {
		t.Errorf("it has %d events, the newest with the number %d", len(j.events), j.events[0].seq)
	}
}

// A later version may have states that this one does not know: they are shown, and as such.
func TestAStateOfALaterVersionIsShown(t *testing.T) {
	now := at(1, peer(1, cluster.LinkState(1000), 0))
	r := row{Time: now.at}
	if err := json.Unmarshal([]byte(`{"links": [{"to": 1, "state": "of a later version"}]}`), &r); err != nil {
		t.Fatal(err)
	}
	now.rows[0] = r
	for _, m := range []int{2, wordyMost + 1} {
		for len(now.report.Members) < m {
			now.report.Members = append(now.report.Members, Member{ID: 100 + len(now.report.Members)})
		}
		v := newView(nil, now, nil, nil)
		want := "unknown"
		if m > wordyMost {
			want = signs["between"]
		}
		for _, c := range []cell{{"m0-1", want, "between"}, {"p1.state", "unknown", "between"}} {
			if !slices.Contains(v.cells, c) {
				t.Errorf("%d servers: the page has no %q, but %q", m, c, v.cells)
			}
		}
	}
}

func TestTheMatrixHasTheStateTheRateAndTheRoundTripOfEachLink(t *testing.T) {
	peers := []cluster.PeerStats{peer(1, cluster.LinkUp, 0), peer(2, cluster.LinkDown, 0)}
	before, now := at(1, peers...), at(3, peers...)
	for i, s := range []*sample{before, now} {
		sent := uint64(100 + 24*i)
		s.rows[0] = row{ID: 0, Time: s.at, Links: []link{
			{To: 1, State: rowState{cluster.LinkUp}, Sent: sent, RoundTrip: 0.000321},
			{To: 2, State: rowState{cluster.LinkDown}, Sent: 7, RoundTrip: 0.000321}, // as it was
		}}
		s.rows[1] = row{ID: 1, Time: s.at, Links: []link{ // another server's
			{To: 0, State: rowState{cluster.LinkUp}, Sent: sent, RoundTrip: 0.0123},
			{To: 2, State: rowState{cluster.LinkIdle}},
		}}
	}
	for _, c := range []cell{
		{"m0-0", "", "self"}, {"m0-1", "up\n12/s\n320µs", "up"}, {"m0-2", "down\n0/s", "down"},
		{"m1-0", "up\n12/s\n12ms", "up"}, {"m1-2", "idle", "idle"}, {"m2-0", "?", ""},
	} {
		if v := newView(before, now, nil, nil); !slices.Contains(v.cells, c) {
			t.Errorf("the page has no %q, but %q", c, v.cells)
		}
	}
	for len(now.report.Members) <= wordyMost {
		now.report.Members = append(now.report.Members, Member{ID: 100 + len(now.report.Members)})
	}
	if v, c := newView(before, now, nil, nil), (cell{"m1-0", signs["up"], "up"}); !slices.Contains(v.cells, c) {
		t.Errorf("of many servers the page has no %q, but %q", c, v.cells)
	}
}
