package incoming

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/transport"
)

// refusal is something that is not taken.
type refusal struct {
	why   stream.Refusal
	count uint64 // at least 1
	cause error  // of the first; may be nil
	// atHand tells that it is the frame that the listener has received last.
	atHand bool
}

// refuseFrom counts what is not taken, of the peer with this id, or of nobody if it can be laid at no known
// peer's door.
func (in *In) refuseFrom(id int, r refusal) {
	in.mu.Lock()
	defer in.mu.Unlock()
	var s *source
	if id != nobody {
		s = in.source(id)
	}
	in.refuse(s, r)
}

// refuse is refuseFrom for callers that hold mu; s is nil for nobody. Each reason is logged once for each peer.
func (in *In) refuse(s *source, r refusal) {
	books := &in.refused[r.why]
	if s != nil {
		books = &s.refused[r.why]
	}
	before := *books
	*books += r.count
	if at := mistakeAt(r.why, r.cause); before < at && at <= *books {
		in.cfg.Mistake(r.why, in.named(s, r.cause))
	}
	if before > 0 {
		return
	}
	attrs := []any{"reason", in.cfg.Name(r.why)}
	if s != nil {
		attrs = append(attrs, "peer", s.id)
	}
	if r.atHand {
		if from := transport.Origin(in.listener); from != "" {
			attrs = append(attrs, "from", from)
		}
	}
	if r.cause != nil {
		attrs = append(attrs, "cause", r.cause.Error())
	}
	level := slog.LevelWarn
	if r.why == stream.RefusedLate {
		level = slog.LevelInfo // the programs may mean it so: one has ended its call, and the other answers in its own time
	}
	in.cfg.Log.Log(context.Background(), level, "cluster: refused what came from the network; more of the kind is only counted", attrs...)
}

// otherCluster is the cause for a frame of another cluster: the sender that it names.
type otherCluster int

func (c otherCluster) Error() string { return fmt.Sprintf("it names %d as its sender", int(c)) }

// named is the peer whose mistake a refusal may show: s, or the listed one that a frame of another cluster names.
func (in *In) named(s *source, cause error) int {
	if s != nil {
		return s.id
	}
	if c, ok := cause.(otherCluster); ok && in.cfg.Catalog.Has(int(c)) {
		return int(c)
	}
	return nobody
}

// mistakeAt is which refusal in a row of a kind shows a mistake of the servers' configuration. Some frames of an earlier
// life may come late after each restart; so many come of two servers that use one id.
func mistakeAt(r stream.Refusal, cause error) uint64 {
	if r == stream.RefusedIncarnation && cause != errOwnID {
		return 1000
	}
	return 1
}

// RefuseHandshakes counts connections that did not come about. Whose they were nobody knows, so
// each cause is logged once.
func (in *In) RefuseHandshakes(connections int, cause error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.refused[stream.RefusedHandshake] += uint64(connections)
	if in.handshakes[cause.Error()] {
		return
	}
	in.handshakes[cause.Error()] = true
	if errors.Is(cause, transport.ErrKeys) {
		in.cfg.Mistake(stream.RefusedHandshake, nobody)
	}
	level := slog.LevelWarn
	if errors.Is(cause, transport.ErrUnfinished) {
		level = slog.LevelInfo // somebody may only have looked whether the port is open
	}
	in.cfg.Log.Log(context.Background(), level, "cluster: refused a connection; more of the kind are only counted",
		"reason", in.cfg.Name(stream.RefusedHandshake), "cause", cause.Error())
}
