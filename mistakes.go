package cluster

import (
	"errors"
	"log/slog"
	"reflect"
	"sync"

	"github.com/abhishekg16/cluster/internal/journal"
	"github.com/abhishekg16/cluster/internal/names"
	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/internal/stream"
)

// logs are where a node tells of what happens. With a Logger in its Config all goes there. Without
// one, mistakes of the program and of its configuration go to slog.Default, since nothing else would
// show why messages do not arrive, and all else is silent.
type logs struct {
	journal  journal.Journal
	state    *slog.Logger // changes of state
	mistakes *slog.Logger
	chosen   bool // the program has chosen the Logger

	mu   sync.Mutex // guards told
	told map[any]bool
}

// newLogs makes the logs of the node pid; logger is the program's, or nil.
func newLogs(pid int, logger *slog.Logger) *logs {
	l := &logs{journal: journal.Default(), told: make(map[any]bool)}
	if l.chosen = logger != nil; l.chosen {
		l.journal = journal.New(logger.Handler())
	}
	l.mistakes = slog.New(l.journal).With("pid", pid)
	l.state = slog.New(slog.DiscardHandler)
	if l.chosen {
		l.state = l.mistakes
	}
	return l
}

// toldMost is how many different mistakes are told at most.
const toldMost = 256

// once reports whether the mistake with this key is to be told: it was not before.
func (l *logs) once(key any) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told[key] || len(l.told) >= toldMost {
		return false
	}
	l.told[key] = true
	return true
}

// The keys of mistakes that are told once each.
type (
	unknownPeer int
	unknownName int // of a peer
	unheardBy   int // a peer
	unsendable  struct {
		reason Reason
		typ    reflect.Type
	}
)

// trouble tells once for each peer that its name cannot be looked up, which is a mistake in the configuration, or
// else the name server's; and that it runs and does not answer this server, which is one in the peer's configuration. With a Logger the
// link tells it.
func (l *logs) trouble(peer int, why error) {
	var lookup *names.LookupError
	switch {
	case l.chosen:
	case errors.As(why, &lookup):
		if l.once(unknownName(peer)) {
			l.mistakes.Warn("cluster: the address of a peer cannot be looked up", "peer", peer, "error", lookup.Error())
		}
	case errors.Is(why, outgoing.ErrUnheard):
		if l.once(unheardBy(peer)) {
			l.mistakes.Warn("cluster: a peer that runs does not answer this server", "peer", peer, "error", why.Error())
		}
	}
}

// fromNetwork tells of a mistake that shows in what the network brings, once for each kind, in
// words of our own: what came is a stranger's. With a Logger the refusal is logged anyway, with its cause.
// The peer is -1 if nobody in the catalogue is named as its sender.
func (l *logs) fromNetwork(r stream.Refusal, peer int) {
	if l.chosen {
		return
	}
	text := ""
	switch r {
	case stream.RefusedUnregistered:
		text = "cluster: a message came of a type that is not registered here: call Register for it, with the same name as its sender, before it comes"
	case stream.RefusedCluster:
		text = "cluster: a frame came of a cluster with another name: compare \"cluster\" in both configurations"
	case stream.RefusedIncarnation:
		text = "cluster: two servers seem to use one id"
	case stream.RefusedKey:
		text = "cluster: somebody connects with a key that the configuration does not list"
	case stream.RefusedHandshake:
		text = "cluster: somebody connects without keys, and we have them, or with keys, and we have none"
	}
	if text == "" || !l.once(r) {
		return
	}
	if peer >= 0 {
		l.mistakes.Warn(text, "peer", peer)
	} else {
		l.mistakes.Warn(text)
	}
}
