package observe

import (
	"context"
	"maps"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

const (
	// interval is how often a page renews itself: of large clusters half as often, see handler.every.
	interval = time.Second
	// fresh is how old a sample may be to serve one more viewer: a little less, so that who
	// looks each interval gets a new one.
	fresh = interval - interval/10
)

// A sample is what was known at one moment.
type sample struct {
	at      time.Time
	report  Report
	peers   map[int]int // where each peer is in report.Stats.Peers
	rows    map[int]row // of the servers that have pages, and of this one
	closing bool        // the node has closed
	tripsAt time.Time   // of the round trips that it has: see steady
}

// A sampler looks at a node when it is asked to, and keeps what it has found for who asks next.
// It has no goroutine.
type sampler struct {
	node    *cluster.Node
	fetcher *fetcher

	// turn is held, as its only token, while a sample is taken, by who may use what follows.
	turn chan struct{}
	last *sample     // nil: nobody has looked yet
	rows map[int]row // that other servers have told,
	told time.Time   // and when
	view *view       // made from last
	log  journal
}

func newSampler(node *cluster.Node, pages func(peercatalog.Peer) string) *sampler {
	return &sampler{node: node, fetcher: newFetcher(pages), turn: make(chan struct{}, 1)}
}

// look returns what is to be seen now, from a sample that is new or fresh, and not from before a time. Nobody changes a view.
func (s *sampler) look(ctx context.Context, since time.Time) (*view, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.view != nil && time.Since(s.last.at) < fresh && !s.last.at.Before(since) {
		return s.view, nil
	}
	now := s.take(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err // the rows are those of an interrupted look
	}
	s.log.add(s.last, now)
	s.view = newView(s.last, now, s.view, s.log.events)
	s.last = now
	return s.view, nil
}

func (s *sampler) take(ctx context.Context) *sample {
	if time.Since(s.told) >= fresh { // the others are asked once a second at most
		s.rows, s.told = s.fetcher.rows(ctx, s.node.Catalog(), s.node.Pid(), s.rows), time.Now()
	}
	now := &sample{at: time.Now(), report: reportOf(s.node), rows: maps.Clone(s.rows), peers: make(map[int]int)}
	for i, p := range now.report.Stats.Peers {
		now.peers[p.ID] = i
	}
	now.steady(s.last)
	now.rows[s.node.Pid()] = rowOf(now.report.Stats, now.at)
	select {
	case <-s.node.Done():
		now.closing = true
	default:
	}
	return now
}

// rest gives up what was kept for the next look.
func (s *sampler) rest() { s.fetcher.client.CloseIdleConnections() }

// peer returns what a sample has of a peer; of one that it does not have, zero.
func (s *sample) peer(id int) (p cluster.PeerStats, ok bool) {
	if s == nil {
		return p, false
	}
	if i, ok := s.peers[id]; ok {
		return s.report.Stats.Peers[i], true
	}
	return p, false
}
