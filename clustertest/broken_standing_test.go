package clustertest_test

import (
	"time"

	"github.com/abhishekg16/cluster"
)

const (
	ruleStandings = "Stats tells how the link to each peer stands"
	ruleMissed    = "a new life counts what its former life was sent as missed"
)

// standing lets f change what Stats tells of each peer.
func standing(f func(p *cluster.PeerStats)) func(*broken) {
	return statistics(func(s *cluster.Stats) {
		for i := range s.Peers {
			f(&s.Peers[i])
		}
	})
}

// upOnce lets f say how a link stands that has been up, and is not any more; listed says whether its peer still is.
func upOnce(f func(p *cluster.PeerStats, listed bool)) func(*broken) {
	return func(b *broken) {
		was := make(map[int]bool) // of one goroutine
		b.stats = func() cluster.Stats {
			s := b.Node.Stats()
			for i := range s.Peers {
				if p := &s.Peers[i]; p.State == cluster.LinkUp {
					was[p.ID] = true
				} else if was[p.ID] {
					f(p, b.Catalog().Has(p.ID))
				}
			}
			return s
		}
	}
}

// brokenStandings are servers whose Stats do not tell how links stand, or what was missed.
var brokenStandings = []breakage{
	{"every link is up", ruleStandings, standing(func(p *cluster.PeerStats) { p.State = cluster.LinkUp })},
	{"a link is up until something was sent", ruleStandings, standing(func(p *cluster.PeerStats) {
		if p.State == cluster.LinkIdle {
			p.State = cluster.LinkUp
		}
	})},
	{"a link is up while messages for it wait", ruleStandings, standing(func(p *cluster.PeerStats) {
		if p.State == cluster.LinkConnecting {
			p.State = cluster.LinkUp
		}
	})},
	{"a link that was up stays so", ruleStandings, upOnce(func(p *cluster.PeerStats, _ bool) { p.State = cluster.LinkUp })},
	{"the link to a server that was removed stays up", ruleStandings, upOnce(func(p *cluster.PeerStats, listed bool) {
		if !listed {
			p.State = cluster.LinkUp
		}
	})},
	{"a link that was down stays so", ruleStandings, func(b *broken) {
		down := make(map[int]bool) // of one goroutine
		b.stats = func() cluster.Stats {
			s := b.Node.Stats()
			for i := range s.Peers {
				p := &s.Peers[i]
				if down[p.ID] = down[p.ID] || p.State == cluster.LinkDown; down[p.ID] {
					p.State = cluster.LinkDown
				}
			}
			return s
		}
	}},
	{"a link to nobody is idle", ruleStandings, standing(func(p *cluster.PeerStats) {
		if p.Received.Received == 0 {
			p.State = cluster.LinkIdle
		}
	})},
	{"nobody says since when a link is up", ruleStandings, standing(func(p *cluster.PeerStats) { p.Since = time.Time{} })},

	// A former life.
	{"nothing is ever missed", ruleMissed, standing(func(p *cluster.PeerStats) { p.Received.Missed = 0 })},
	{"what is missed counts as lost", ruleMissed, standing(func(p *cluster.PeerStats) {
		p.Received.Lost, p.Received.Missed = p.Received.Lost+p.Received.Missed, 0
	})},
	{"what is missed counts as received", ruleMissed, standing(func(p *cluster.PeerStats) {
		p.Received.Received, p.Received.Missed = p.Received.Received+p.Received.Missed, 0
	})},
	{"one too many is missed", ruleMissed, standing(func(p *cluster.PeerStats) {
		if p.Received.Missed > 0 {
			p.Received.Missed++
		}
	})},
}
