package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/configfile"
	"github.com/abhishekg16/cluster/peercatalog"
)

// ReloadStats tells how a node follows the file of its configuration, or its Source: see Node.Reload.
type ReloadStats struct {
	Generation uint64    // how many changes have taken effect; 0: the servers are those that the node started with
	At         time.Time // when the last one did
	// Change is which servers the last one has added, changed and removed.
	Change peercatalog.Change
	// Error is why the file or the Source, as it was when the node last looked, has not taken effect;
	// empty if it has. With Config.Reload that look is of now, or 3 s old at most.
	Error string
}

// String is a line for Stats.
func (s ReloadStats) String() string {
	text := "the configuration has not changed"
	if s.Generation > 0 {
		text = fmt.Sprintf("the configuration has changed %d times, last at %s (%v)", s.Generation, s.At.Format(time.DateTime), s.Change)
	}
	if s.Error != "" {
		text += "; as it is now it is not in effect: " + strings.ReplaceAll(s.Error, "\n", "; ")
	}
	return text
}

const (
	// loadTimeout is how long a Source may take to say who is in the cluster. A file may take 10 s to
	// stay the same.
	loadTimeout = 30 * time.Second
	// A Source that cannot be read, or watched, is tried again after a pause that doubles from the one to the other.
	retryLeast, retryMost = time.Second, 15 * time.Second
)

// reloading is what a node needs to take in who is in the cluster while it runs.
type reloading struct {
	// turn is held, as its only token, from before the Source is read until what it says has taken
	// effect: so of two readings the later one counts.
	turn chan struct{}

	mu    sync.Mutex // guards what follows
	stats ReloadStats
}

// sourceOf is what a node with this configuration takes its servers from while it runs; nil if from nothing.
func sourceOf(cfg Config, log *slog.Logger) peercatalog.Source {
	if cfg.Source != nil || cfg.file.path == "" {
		return cfg.Source
	}
	return &fileSource{name: cfg.file.name, path: cfg.file.path, loaded: cfg.file.sum, failed: func(err error) {
		log.Warn("cluster: no notifications of changes of the configuration: looking at it every few seconds", "file", cfg.file.name, "error", err.Error())
	}}
}

// Reload reads the file that the node's configuration was loaded from once more, or Config.Source if
// there is one, and makes the servers that it lists take effect in the running node. It is for programs
// that know when the file has changed, by a signal for example; with Config.Reload, or with a Source, the
// node finds out by itself.
//
// The file is checked as LoadConfig does it, and compared with the node's catalogue by ids. All that
// has changed takes effect at once, as one change of Catalog, and what the program itself has changed
// there is replaced. A server that was added can be sent to and is heard; to one that has moved, or
// whose keys have changed, messages go as the new entry says; one that was removed is refused, and
// what was queued for it is dropped. Messages between the others are not disturbed. The log tells the
// ids, and Stats counts the change.
//
// If anything is wrong nothing changes, and the error says all of it. Beside the faults of a file these
// are: what cannot change in a running node, which is every field but peers and the program's own, where
// this server itself listens, that there is an entry for it, that its entry has the key that it runs
// with, and whether the servers have keys; and a file of bare entries one after another, since half of
// it would pass for a file of fewer servers. A Source that cannot be read changes nothing either.
//
// Reload blocks until the file was the same for 200 ms, since somebody may be writing it, and for 10 s at
// most, or until the Source has answered, for 30 s at most. After the node has closed the error is
// ErrClosed. A node that has neither a file, by LoadConfig, nor a Source has nothing to read, which is an
// error too.
func (n *Node) Reload() error {
	if n.source == nil {
		return errors.New("cluster: reload: the configuration of this server comes from no file and no Source: change Catalog, or make the server with New, with what LoadConfig returns, or with Config.Source")
	}
	_, err := n.takeOver()
	return err
}

// takeOver reads the Source and makes what it says take effect. It reports whether it could be read.
func (n *Node) takeOver() (read bool, err error) {
	select {
	case n.reload.turn <- struct{}{}:
		defer func() { <-n.reload.turn }()
	case <-n.closing:
		return false, ErrClosed
	}
	cfg, err := n.load()
	if n.life.Err() != nil {
		return false, ErrClosed
	}
	read = err == nil
	var change peercatalog.Change
	if read {
		change, err = n.replacePeers(cfg)
	}
	if err != nil {
		err = fmt.Errorf("cluster: reload: the configuration stays as it was: %w", err)
	}
	n.noteReload(change, err)
	return read, err
}

// load is what the Source says now.
func (n *Node) load() (Config, error) {
	cfg, err := loadFrom(n.life, n.source)
	if n.cfg.Source != nil {
		cfg.file.settings = nil // the program has made its own
	}
	return cfg, err
}

// loadFrom is a configuration of what a Source says. All but a file say nothing beside the peers.
func loadFrom(ctx context.Context, s peercatalog.Source) (Config, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	if f, ok := s.(*fileSource); ok {
		return f.load(ctx)
	}
	peers, err := s.Load(ctx)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", s, err)
	}
	return Config{Peers: peers}, nil
}

// replacePeers makes the servers of a configuration take effect.
func (n *Node) replacePeers(cfg Config) (peercatalog.Change, error) {
	if err := errors.Join(n.unchangeable(cfg)...); err != nil {
		return peercatalog.Change{}, err
	}
	change, err := n.catalog.Replace(cfg.Peers...)
	if err != nil {
		return change, fmt.Errorf("%s: %w", n.source, err)
	}
	return change, nil
}

// noteReload tells the log and Stats what has become of a look at the Source.
func (n *Node) noteReload(change peercatalog.Change, err error) {
	n.reload.mu.Lock()
	defer n.reload.mu.Unlock()
	s := &n.reload.stats
	failed := s.Error != ""
	s.Error = ""
	switch {
	case err != nil:
		s.Error = text(err)
		return
	case change.IsZero():
		if failed {
			n.logs.state.Info("cluster: the configuration is again what is in effect", "source", n.source.String())
		}
		return
	}
	s.Generation++
	s.At, s.Change = time.Now(), change
	n.logs.state.Info("cluster: the configuration has changed", "source", n.source.String(), "generation", s.Generation,
		"added", change.Added, "changed", change.Changed, "removed", change.Removed)
}

// followSource is the goroutine that takes over what the Source says whenever that may have changed. What
// is wrong is told once, until it is another thing or right again.
func (n *Node) followSource() {
	changed := make(chan struct{}, 1)
	watching := make(chan struct{})
	go func() { // It ends when life does, and is waited for below.
		defer close(watching)
		n.watchSource(changed)
	}()
	defer func() { <-watching }()
	told := ""
	pause := retryLeast
	retry := time.NewTimer(0)
	retry.Stop()
	for {
		select {
		case <-changed:
		case <-retry.C:
		case <-n.closing:
			return
		}
		read, err := n.takeOver()
		if retry.Stop(); read {
			pause = retryLeast
		} else {
			retry.Reset(pause)
			pause = min(2*pause, retryMost)
		}
		switch {
		case err == nil:
			told = ""
		case errors.Is(err, ErrClosed):
			return
		case text(err) != told:
			told = text(err)
			n.logs.mistakes.Warn("cluster: the changed configuration is not in effect", "source", n.source.String(), "error", told)
		}
	}
}

// watchSource watches the Source until the node closes, and puts a token into changed for what it has to look at.
func (n *Node) watchSource(changed chan<- struct{}) {
	look := func() {
		select {
		case changed <- struct{}{}:
		default: // a look that is to come sees this too
		}
	}
	for pause := retryLeast; ; pause = min(2*pause, retryMost) {
		began := time.Now()
		err := n.source.Watch(n.life, look)
		if n.life.Err() != nil {
			return
		}
		look() // what cannot be watched can often not be read, which Stats are to tell
		if time.Since(began) > retryMost {
			pause = retryLeast
		}
		n.logs.state.Warn("cluster: the configuration is not watched for now", "source", n.source.String(), "again in", pause, "error", fmt.Sprint(err))
		select {
		case <-time.After(pause):
		case <-n.life.Done():
			return
		}
	}
}

// unchangeable returns what a Source has otherwise than the running node, which cannot be so.
func (n *Node) unchangeable(cfg Config) (faults []error) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: "+format, append([]any{n.source}, args...)...))
	}
	for i, s := range cfg.file.settings {
		if was := n.cfg.file.settings[i]; was != s {
			fault("%s is %s, and was %s when this server was started: it cannot change while it runs: restart the server, or put it back", s.name, s, was)
		}
	}
	at := slices.IndexFunc(cfg.Peers, func(p peercatalog.Peer) bool { return p.ID == n.pid })
	if at < 0 {
		fault("no entry has the id %d, and that is this running server: close it before its entry is removed where it runs", n.pid)
		return faults
	}
	self := cfg.Peers[at]
	entry := configfile.Entry(at, n.pid, true)
	if to := self.BindEndpoint(); to != n.endpoint {
		to = cmp.Or(to, fmt.Sprintf("%.120q", cmp.Or(self.Bind, self.Address)))
		fault("%s: this is the running server itself, which listens on %s and cannot go to %s: close it before its entry is changed where it runs, and start it there", entry, n.endpoint, to)
	}
	switch keyed := self.PublicKey != ""; {
	case keyed && n.security == nil:
		fault("peers have a public_key now: the servers were started without keys, and cannot have them while they run: restart all")
	case !keyed && n.security != nil:
		fault("no peers have a public_key any more: the servers were started with keys, and cannot do without while they run: restart all")
	case keyed && !slices.Contains(self.Keys(), n.security.Public):
		fault("%s: %q, the public key of this running server, is not in its entry any more: list it as previous_public_key until the server has been restarted with another", entry, n.security.Public)
	}
	return faults
}
