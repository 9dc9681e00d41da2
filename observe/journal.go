package observe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/quantity"
)

const (
	// eventsMost is how many events are kept.
	eventsMost = 100
	// quiet is how long nothing of a kind must have been counted before it is an event again.
	quiet = 10 * time.Second
)

// An event is a change that two samples differ by.
type event struct {
	seq   uint64 // counts up from 1
	At    time.Time
	Text  string
	Class string // a name for the style sheet
}

// Clock is the time of day at which it happened.
func (e event) Clock() string { return e.At.UTC().Format("15:04:05") }

// Stamp is that time with its date, for machines.
func (e event) Stamp() string { return e.At.UTC().Format(time.RFC3339) }

// A journal keeps the last events.
type journal struct {
	events []event // the newest first; never changed, but replaced
	seq    uint64
	grew   map[string]time.Time // when each counter was last seen to grow that has been told of within quiet
}

// add tells what has changed between two samples. Without the first, it tells since when things
// are as they are.
func (j *journal) add(before, now *sample) {
	if j.grew == nil {
		j.grew = make(map[string]time.Time)
	}
	maps.DeleteFunc(j.grew, func(_ string, at time.Time) bool { return now.at.Sub(at) > quiet })
	c := changes{before: before, now: now, journal: j}
	c.members()
	c.links()
	c.counters()
	c.reload()
	c.pages()
	if now.closing && (before == nil || !before.closing) {
		c.tell(now.at, "down", "this server has closed")
	}
	if len(c.found) == 0 {
		return
	}
	slices.SortStableFunc(c.found, func(a, b event) int { return a.At.Compare(b.At) })
	for i := range c.found {
		j.seq++
		c.found[i].seq = j.seq
	}
	slices.Reverse(c.found)
	j.events = append(c.found, j.events...)
	j.events = slices.Clone(j.events[:min(len(j.events), eventsMost)])
}

// changes finds the events between two samples.
type changes struct {
	before, now *sample
	journal     *journal
	found       []event
}

func (c *changes) tell(at time.Time, class, format string, args ...any) {
	c.found = append(c.found, event{At: at, Class: class, Text: fmt.Sprintf(format, args...)})
}

// members tells who was added to the catalogue, and removed.
func (c *changes) members() {
	if c.before == nil {
		return
	}
	had, has := c.before.report.Members, c.now.report.Members
	byID := func(m Member, id int) int { return cmp.Compare(m.ID, id) }
	for _, m := range has {
		if _, ok := slices.BinarySearchFunc(had, m.ID, byID); !ok {
			c.tell(c.now.at, "note", "server %d was added to the catalogue", m.ID)
		}
	}
	for _, m := range had {
		if _, ok := slices.BinarySearchFunc(has, m.ID, byID); !ok {
			c.tell(c.now.at, "note", "server %d was removed from the catalogue", m.ID)
		}
	}
}

// links tells the states of this server's links.
func (c *changes) links() {
	for _, p := range c.now.report.Stats.Peers {
		old, known := c.before.peer(p.ID)
		switch {
		case p.State == cluster.LinkIdle:
			continue
		case known && old.State == p.State && old.Since.Equal(p.Since):
			if p.State != cluster.LinkUp && p.Trouble != old.Trouble && p.Trouble != "" {
				c.trouble(p)
			}
		case known && old.State == p.State:
			c.tell(p.Since, stateClass(p.State), "the link to server %d is %v again", p.ID, p.State)
		case p.State != cluster.LinkUp && p.Trouble != "":
			c.tell(p.Since, stateClass(p.State), "the link to server %d is %v: %s", p.ID, p.State, p.Trouble)
		default:
			c.tell(p.Since, stateClass(p.State), "the link to server %d is %v", p.ID, p.State)
		}
	}
}

// trouble tells what more is known of why a peer does not answer. What changes all the time is told when it has been quiet.
func (c *changes) trouble(p cluster.PeerStats) {
	what := fmt.Sprint("trouble of ", p.ID)
	if _, known := c.journal.grew[what]; !known {
		c.tell(c.now.at, stateClass(p.State), "the link to server %d is %v: %s", p.ID, p.State, p.Trouble)
	}
	c.journal.grew[what] = c.now.at
}

// counters tells what begins to be counted that should not have to be.
func (c *changes) counters() {
	s := c.now.report.Stats
	for _, p := range s.Peers {
		old, _ := c.before.peer(p.ID)
		if n := p.Received.Restarts - old.Received.Restarts; c.before != nil && n > 0 && n <= p.Received.Restarts {
			c.tell(c.now.at, "note", "server %d has started anew", p.ID)
		}
		for _, r := range cluster.AllReasons() {
			c.grows(old.Sent.Dropped[r], p.Sent.Dropped[r], "messages for server %d are dropped: %v", p.ID, r)
		}
		for _, r := range cluster.AllRefusals() {
			c.grows(old.Received.Refused[r], p.Received.Refused[r], "what comes from server %d is refused: %v", p.ID, r)
		}
		c.grows(old.Received.Lost, p.Received.Lost, "messages from server %d are lost", p.ID)
	}
	var old cluster.Stats
	if c.before != nil {
		old = c.before.report.Stats
	}
	for _, r := range cluster.AllReasons() {
		c.grows(old.Unaddressed.Dropped[r], s.Unaddressed.Dropped[r], "messages for no server are dropped: %v", r)
	}
	for _, r := range cluster.AllRefusals() {
		c.grows(old.Refused[r], s.Refused[r], "what comes from no known server is refused: %v", r)
	}
}

// grows tells of a counter when it has begun to grow.
func (c *changes) grows(before, now uint64, format string, args ...any) {
	if c.before == nil || now <= before {
		return
	}
	j, what := c.journal, fmt.Sprintf(format, args...)
	if _, known := j.grew[what]; !known {
		c.tell(c.now.at, "lost", "%s (%s more, %s in all)", what, quantity.Count(now-before), quantity.Count(now))
	}
	j.grew[what] = c.now.at
}

// reload tells what became of the configuration's file.
func (c *changes) reload() {
	var old cluster.ReloadStats
	if c.before != nil {
		old = c.before.report.Stats.Reload
	}
	s := c.now.report.Stats.Reload
	if s.Generation != old.Generation {
		c.tell(s.At, "note", "%s: %v", times("the configuration has changed", s.Generation), s.Change)
	}
	if s.Error != "" && old.Error == "" {
		c.tell(c.now.at, "lost", "%s", s.Error)
	}
	if s.Error == "" && old.Error != "" {
		c.tell(c.now.at, "note", "the configuration is what is in effect again")
	}
}

// pages tells which of the other servers' pages are not what they should be.
func (c *changes) pages() {
	for _, m := range c.now.report.Members {
		fault := c.now.rows[m.ID].fault
		old := ""
		if c.before != nil {
			old = c.before.rows[m.ID].fault
		}
		switch {
		case fault == old:
		case fault == "":
			c.tell(c.now.at, "note", "the page of server %d answers again", m.ID)
		default:
			c.tell(c.now.at, "lost", "the page of server %d %s", m.ID, fault)
		}
	}
}
