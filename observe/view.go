package observe

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/quantity"
)

// A view is what the page shows: a template makes the page of it, and its cells are what the page's
// stream renews. It is not changed once it is made.
type view struct {
	Title   string
	At      time.Time
	Facts   []field
	Mesh    *mesh // nil: there are too many servers
	Columns []column
	Links   []linkRow
	Hidden  int // links that are not shown
	Reasons []reasonRow
	Events  []event // the newest first

	cells  []cell // all that can change without the page being made anew
	layout string // what it depends on whether it can
}

// A cell is an element of the page whose text, or value, and class change.
type cell struct{ ID, Text, Class string }

// A field is a cell with what stands beside it.
type field struct {
	Name, About string
	Numeric     bool
	Meter       *cell // how full something is, from 0 to 1; nil: nothing is
	Cell        cell
}

// A linkRow is a line of the table of links: the cells stand in the order of the columns.
type linkRow struct {
	Peer   string
	Fields []field
}

// A reasonRow tells how much was dropped or refused for one reason.
type reasonRow struct {
	Peer, What, Reason string
	Total, Rate        cell
}

const (
	// linksMost is how many links the page shows: those that are not up come first where there are more.
	linksMost = 500
	// reasonsMost is how many lines of reasons the page shows.
	reasonsMost = 500
)

// cell adds a cell to those that the stream renews.
func (v *view) cell(id, text, class string) cell {
	c := cell{id, text, class}
	v.cells = append(v.cells, c)
	return c
}

// newView shows the sample now; rates are since the one before, which may be nil, as may be the view that was made of it.
func newView(before, now *sample, last *view, events []event) *view {
	s := now.report.Stats
	v := &view{Title: fmt.Sprintf("server %d", s.Pid), At: now.at, Columns: columns, Events: events}
	if s.Cluster != "" {
		v.Title = fmt.Sprintf("cluster %s, server %d", s.Cluster, s.Pid)
	}
	var mesh *mesh
	if last != nil {
		v.cells, mesh = make([]cell, 0, len(last.cells)+64), last.Mesh
	}
	v.facts(before, now)
	if len(now.report.Members) <= meshMost {
		v.mesh(before, now, mesh)
	}
	v.links(before, now)
	v.reasons(before, now)
	v.layout = layoutOf(s.Incarnation, v.cells)
	return v
}

// layoutSeed makes layouts hashes that no other process has, which is no loss: its pages are made anew.
var layoutSeed = maphash.MakeSeed()

// layoutOf is a layout: of a life of the server, since another one counts its events anew, and of what cells the page has.
func layoutOf(incarnation uint64, cells []cell) string {
	var hash maphash.Hash
	hash.SetSeed(layoutSeed)
	maphash.WriteComparable(&hash, incarnation)
	for _, c := range cells {
		hash.WriteString(c.ID)
		hash.WriteByte(0)
	}
	return strconv.FormatUint(hash.Sum64(), 36)
}

// facts are those about the server as a whole.
func (v *view) facts(before, now *sample) {
	s, r := now.report.Stats, now.report
	fact := func(id, name, text, class string) *field {
		v.Facts = append(v.Facts, field{Name: name, Cell: v.cell(id, text, class)})
		return &v.Facts[len(v.Facts)-1]
	}
	d, old := time.Duration(0), cluster.Stats{}
	if before != nil {
		d, old = now.at.Sub(before.at), before.report.Stats
	}
	up, others := 0, 0
	for _, m := range r.Members {
		if m.ID == s.Pid {
			continue
		}
		others++
		if p, _ := now.peer(m.ID); p.State == cluster.LinkUp {
			up++
		}
	}
	fact("up", "links up", fmt.Sprintf("%d of %d", up, others), classIf(up < others, "lost"))
	fact("sent", "sent", quantity.RateOf(old.Sent.Sent, s.Sent.Sent, d).String(), "")
	fact("received", "received", quantity.RateOf(old.Received.Received, s.Received.Received, d).String(), "")
	dropped, refused := s.Sent.DroppedTotal(), s.Received.RefusedTotal()
	fact("dropped", "dropped", quantity.Count(dropped), classIf(dropped > old.Sent.DroppedTotal() && before != nil, "lost"))
	fact("refused", "refused", quantity.Count(refused), classIf(refused > old.Received.RefusedTotal() && before != nil, "lost"))
	fact("lost", "lost", quantity.Count(s.Received.Lost), classIf(s.Received.Lost > old.Received.Lost && before != nil, "lost"))
	v.meter(fact("outbox", "Outbox", fmt.Sprintf("%d of %d", s.OutboxLen, r.OutboxSize), ""), s.OutboxLen, r.OutboxSize)
	v.meter(fact("inbox", "Inbox", fmt.Sprintf("%d of %d", s.InboxLen, r.InboxSize), ""), s.InboxLen, r.InboxSize)
	fact("transport", "transport", s.Transport, "")
	switch {
	case now.closing:
		fact("state", "state", "closed", "down")
	case s.Reload.Error != "":
		fact("state", "configuration", "the changed one is not in effect", "lost")
	case s.Reload.Generation > 0:
		fact("state", "configuration", times("changed", s.Reload.Generation), "")
	default:
		fact("state", "configuration", "as at the start", "")
	}
}

// meter adds to a field how full something is.
func (v *view) meter(f *field, used, size int) {
	full := 0.0
	if size > 0 {
		full = float64(used) / float64(size)
	}
	m := v.cell(f.Cell.ID+".m", strconv.FormatFloat(full, 'f', 3, 64), "")
	f.Meter = &m
}

func classIf(condition bool, class string) string {
	if condition {
		return class
	}
	return ""
}

// links are those from this server, and what comes back.
func (v *view) links(before, now *sample) {
	peers := now.report.Stats.Peers
	if len(peers) > linksMost {
		v.Hidden = len(peers) - linksMost
		peers = slices.Clone(peers)
		slices.SortStableFunc(peers, func(a, b cluster.PeerStats) int { return rank(a.State) - rank(b.State) })
		peers = peers[:linksMost]
	}
	for _, p := range peers {
		l := linkView{now: p, at: now.at, bound: now.report.Stats.QueueBytes}
		if before != nil {
			l.apart = now.at.Sub(before.at)
			l.before, _ = before.peer(p.ID)
		}
		row := linkRow{Peer: strconv.Itoa(p.ID)}
		for _, c := range columns {
			text, class := c.value(l)
			f := field{About: c.About, Numeric: c.Numeric, Cell: v.cell("p"+row.Peer+"."+c.key, text, class)}
			if c.meter != nil {
				used, size := c.meter(l)
				v.meter(&f, used, size)
			}
			row.Fields = append(row.Fields, f)
		}
		v.Links = append(v.Links, row)
	}
}

// rank brings links forward that somebody should see.
func rank(s cluster.LinkState) int {
	if s == cluster.LinkUp {
		return 1
	}
	return 0
}

// reasons are those for what was dropped and refused.
func (v *view) reasons(before, now *sample) {
	s := now.report.Stats
	d, old := time.Duration(0), cluster.Stats{}
	if before != nil {
		d, old = now.at.Sub(before.at), before.report.Stats
	}
	add := func(id, peer, what, reason string, was, is uint64) {
		if is == 0 || len(v.Reasons) >= reasonsMost {
			return
		}
		r := quantity.RateOf(was, is, d)
		v.Reasons = append(v.Reasons, reasonRow{
			Peer: peer, What: what, Reason: reason,
			Total: v.cell(id, quantity.Count(is), ""), Rate: v.cell(id+".r", r.String(), classIf(r > 0, "lost")),
		})
	}
	both := func(id, peer string, was, is cluster.SentStats, refusedWas, refusedIs map[cluster.Refusal]uint64) {
		for _, r := range cluster.AllReasons() {
			add(fmt.Sprintf("d%s.%d", id, r), peer, "dropped for", r.String(), was.Dropped[r], is.Dropped[r])
		}
		for _, r := range cluster.AllRefusals() {
			add(fmt.Sprintf("r%s.%d", id, r), peer, "refused from", r.String(), refusedWas[r], refusedIs[r])
		}
	}
	for _, p := range s.Peers {
		if len(p.Sent.Dropped) == 0 && len(p.Received.Refused) == 0 {
			continue
		}
		was, _ := before.peer(p.ID)
		id := strconv.Itoa(p.ID)
		both(id, id, was.Sent, p.Sent, was.Received.Refused, p.Received.Refused)
	}
	both("n", "no known server", old.Unaddressed, s.Unaddressed, old.Refused, s.Refused)
}
