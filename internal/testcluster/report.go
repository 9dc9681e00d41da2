package testcluster

import (
	"encoding/json"
	"time"

	"github.com/abhishekg16/cluster"
)

// A Report is what a server of a child has done.
type Report struct {
	Ready   time.Time      // when New had returned
	From    map[int]*Tally // by sender
	Next    map[int]uint64 // number of the next message to each peer
	Sending bool           // not all has been put into Outbox
	Slowest time.Duration  // the longest that Outbox took to take a message
	Stats   Figures
}

// Tally is that of one sender, and empty if nothing has come.
func (r Report) Tally(pid int) *Tally {
	if t := r.From[pid]; t != nil {
		return t
	}
	return new(Tally)
}

// Figures are Stats as they come back from JSON.
type Figures struct {
	Incarnation uint64
	Peers       []PeerFigures
	Refused     map[string]uint64
}

// PeerFigures are those of one peer.
type PeerFigures struct {
	ID    int
	State string
	Sent  struct {
		Accepted, Sent, Queued  uint64
		Dropped                 map[string]uint64
		QueueBytes, FlightBytes int
	}
	Received struct {
		Received, Lost, Missed, Restarts uint64
		Refused                          map[string]uint64
		BacklogBytes, HeldBytes          int
	}
}

// Peer are the figures of one peer.
func (f Figures) Peer(id int) PeerFigures {
	for _, p := range f.Peers {
		if p.ID == id {
			return p
		}
	}
	return PeerFigures{ID: id}
}

func figuresOf(n *cluster.Node) (f Figures, err error) {
	data, err := json.Marshal(n.Stats())
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(data, &f)
}
