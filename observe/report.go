package observe

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// Report is what /stats says about a server, as JSON. It is a copy, which the receiver owns.
type Report struct {
	Time       time.Time `json:"time"`       // when the report was made, by the clock of the server
	Members    []Member  `json:"members"`    // the catalogue of the server, itself included, in order of id
	OutboxSize int       `json:"outboxSize"` // how many envelopes Outbox holds at most
	InboxSize  int       `json:"inboxSize"`  // and Inbox
	// Stats is Node.Stats, without the texts that could name a file: instead of Reload.Error it only
	// says that there is one, and Trouble is blanked where it looks like a path or a key.
	Stats cluster.Stats `json:"stats"`
}

// Member is a server as the catalogue of another one has it.
type Member struct {
	ID       int  `json:"id"`
	Observer bool `json:"observer,omitempty"`
}

// reportOf makes the report of a node.
func reportOf(node *cluster.Node) Report {
	return Report{
		Time: time.Now(), Members: members(node.Catalog()),
		OutboxSize: cap(node.Outbox()), InboxSize: cap(node.Inbox()), Stats: presentable(node.Stats(), node.Catalog()),
	}
}

func members(c *peercatalog.Catalog) (all []Member) {
	for _, id := range c.IDs() {
		if p, ok := c.Get(id); ok { // it may be removed meanwhile
			all = append(all, Member{ID: id, Observer: p.Observer})
		}
	}
	return all
}

const (
	notInEffect = "the changed configuration is not in effect: the log of the server says why"
	unconnected = "there is no connection"
)

// presentable takes out of stats what may name a file.
func presentable(s cluster.Stats, c *peercatalog.Catalog) cluster.Stats {
	if s.Reload.Error != "" {
		s.Reload.Error = notInEffect
	}
	s.Peers = slices.Clone(s.Peers)
	for i := range s.Peers {
		p := &s.Peers[i]
		if p.Trouble == "" {
			continue
		}
		if peer, ok := c.Get(p.ID); !ok || strings.HasPrefix(peer.DialEndpoint(), "ipc://") {
			p.Trouble = unconnected
		} else {
			p.Trouble = blanked(p.Trouble)
		}
	}
	return s
}

// suspect is what could be a path, or a key of 40 characters. The "i/o" of system errors is neither.
var suspect = regexp.MustCompile(`"[^"]*[/\\][^"]*"|\S*[/\\]\S*|\S{40,}`)

// troubleMost bounds the text of what keeps a connection from standing.
const troubleMost = 200

// blanked is a text without what could be a path or a key.
func blanked(text string) string {
	text = suspect.ReplaceAllStringFunc(strings.ToValidUTF8(text, "\uFFFD"), func(s string) string {
		if s == "i/o" {
			return s
		}
		return "…"
	})
	if len(text) > troubleMost {
		text = strings.ToValidUTF8(text[:troubleMost], "") + "…"
	}
	return text
}

func (h *handler) stats(w http.ResponseWriter, _ *http.Request) { writeJSON(w, reportOf(h.node)) }

func (h *handler) links(w http.ResponseWriter, r *http.Request) {
	row := rowOf(h.node.Stats(), time.Now())
	if r.URL.RawQuery == onlyStates {
		row = row.states()
		w.Header().Set("ETag", row.tag)
		if r.Header.Get("If-None-Match") == row.tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	writeJSON(w, row)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // only a client that has gone makes it fail
}
