package observe

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// statusOf notes the status of what a handler answers.
type statusOf struct {
	http.ResponseWriter
	status *[]int
}

func (s statusOf) WriteHeader(status int) {
	*s.status = append(*s.status, status)
	s.ResponseWriter.WriteHeader(status)
}

// In a cluster whose matrix has only states, another server tells them when they have changed, and only then.
func TestTheStatesOfManyLinksAreToldWhenTheyChange(t *testing.T) {
	cfg := configOf(t, wordyMost+1)
	nodes := []*cluster.Node{startOne(t, 0, cfg), startOne(t, 1, cfg)}
	h, told := Handler(nodes[1], Options{}), []int{}
	other := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(statusOf{w, &told}, r) }))
	s := newSampler(nodes[0], func(p peercatalog.Peer) string { return map[int]string{1: other.URL + "/"}[p.ID] })
	look := func(want string) {
		t.Helper()
		before, last := s.last, s.view
		s.told, s.view = time.Time{}, nil
		if last != nil {
			s.view, s.last.at = last, s.last.at.Add(-interval) // it is not fresh any more
		}
		v, err := s.look(t.Context(), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(v.cells, cell{"m1-0", signs[want], want}) || !slices.Contains(v.cells, cell{"m1-1", "", "self"}) {
			t.Errorf("the link from server 1 is not shown as %s: %v, and it told %+v", want, v.cells, s.rows[1])
		}
		if diff := cmp.Diff(newView(before, s.last, nil, s.log.events), v, cmp.AllowUnexported(view{}, field{}, cell{}, meshCell{}, event{}), cmpopts.IgnoreFields(view{}, "Columns")); diff != "" {
			t.Errorf("made anew, and made from the one before, the page differs:\n%s", diff)
		}
	}
	look("idle")
	look("idle")
	look("idle")
	linkState(t, nodes[1], 0, cluster.LinkUp)
	look("up")
	send(t, nodes[1], 0, "which changes no state")
	look("up")
	if want := []int{304, 304, 304}; !slices.Equal(told, want) {
		t.Errorf("server 1 answered 200, 304, 304, 200 and 304, but for the 200s: %v, want %v", told, want)
	}
	if l := s.rows[1].Links[0]; l.Sent != 0 || l.RoundTrip != 0 {
		t.Errorf("the row has more than states: %+v", l)
	}
}

// BenchmarkLook is what a second of a page costs the servers of a cluster of 64 that have pages: `make page-long` measures that with its browser.
func BenchmarkLook(b *testing.B) {
	cfg, pages := configOf(b, 64), make(map[int]string)
	cfg.SendTimeout = limit
	var nodes []*cluster.Node
	for id := range cfg.Peers {
		nodes = append(nodes, startOne(b, id, cfg))
		server := httptest.NewServer(Handler(nodes[id], Options{}))
		b.Cleanup(server.Close)
		pages[id] = server.URL
	}
	for _, n := range nodes {
		n.Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "hello"}
		linkState(b, n, (n.Pid()+1)%len(nodes), cluster.LinkUp)
	}
	s := newSampler(nodes[0], func(p peercatalog.Peer) string { return pages[p.ID] })
	b.ReportAllocs()
	for b.Loop() {
		s.told = time.Time{}
		if _, err := s.look(b.Context(), time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	s.rest()
}
