package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/abhishekg16/cluster/internal/filewatch"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A fileSource is a file with a configuration, as a Source of its peers.
type fileSource struct {
	name string // for texts
	path string // absolute

	// Of a node's own file:
	loaded uint64      // the sum of what the node was made of, which is no news; see filewatch.Sum
	failed func(error) // told when there are no notifications; nil: nobody is
}

// FileSource returns a Source of the peers that a file lists, which has one of the shapes of LoadConfig but
// bare entries one after another. What else is in the file is checked, and does not count. It is for
// programs that combine a file with another Source, such as catalog/dns, or that make the rest of their
// configuration themselves: New, and LoadConfig with "reload": true in the file, need none.
//
// Load reads the file until it was the same for 200 ms, for 10 s at most. Watch watches the directories
// on the way to the file, and reads it every three seconds beside that. The error is that of a relative
// path without a working directory.
func FileSource(path string) (peercatalog.Source, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cluster: the directory of the configuration %s: %w", path, err)
	}
	return &fileSource{name: path, path: absolute}, nil
}

func (s *fileSource) String() string { return s.name }

// Load implements peercatalog.Source.
func (s *fileSource) Load(ctx context.Context) ([]peercatalog.Peer, error) {
	cfg, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	peers := make([]peercatalog.Peer, len(cfg.Peers))
	for i, p := range cfg.Peers {
		peers[i] = p.Clone()
	}
	return peers, nil
}

// load is what all of the file says. It is shared, and not to be changed.
func (s *fileSource) load(ctx context.Context) (Config, error) {
	data, err := filewatch.Settled(ctx.Done(), func() ([]byte, error) { return rereadConfig(s.path) })
	switch {
	case errors.Is(err, filewatch.ErrStopped):
		return Config{}, fmt.Errorf("%s: %w", s.name, ctx.Err())
	case err != nil:
		return Config{}, fmt.Errorf("%s: %w", s.name, err)
	}
	cfg, err := parsed.parse(s.name, data)
	if err == nil && cfg.file.bare {
		err = fmt.Errorf("%s: %w", s.name, errBare)
	}
	return cfg, err
}

// Watch implements peercatalog.Source.
func (s *fileSource) Watch(ctx context.Context, changed func()) error {
	told, last := s.loaded != 0, s.loaded
	filewatch.Watch(ctx.Done(), s.path, func() {
		if now := filewatch.SumOf(rereadConfig(s.path)); !told || now != last {
			told, last = true, now
			changed()
		}
	}, func(err error) {
		if s.failed != nil {
			s.failed(err)
		}
	})
	return ctx.Err()
}

// checkReload returns why a node cannot follow the file of c, if it is to.
func (c Config) checkReload() error {
	switch {
	case !c.Reload:
		return nil
	case c.Source != nil:
		return errors.New("reload beside Source: want one of them")
	case c.file.path == "":
		return errors.New("reload: the configuration comes from no file: want one that LoadConfig has returned")
	case c.file.bare:
		return errBare
	}
	return nil
}

var errBare = errors.New(`bare entries one after another cannot be reloaded, since half of such a file passes for one of fewer servers: put them into an array, as in [{"id": 0, "address": "127.0.0.1:8081"}], or into {"peers": […]}`)

// A setting is one that cannot change in a running node.
type setting struct {
	name  string
	value any // comparable
}

// settings are all of c but the servers and the program's own fields, with their defaults.
func (c Config) settings() []setting {
	c = c.withDefaults()
	return []setting{
		{"cluster", c.Cluster},
		{"inboxSize", c.InboxSize},
		{"outboxSize", c.OutboxSize},
		{"sendTimeout", c.SendTimeout},
		{"queueBytes", c.QueueBytes},
		{"maxMessageBytes", c.MaxMessageBytes},
		{"linger", c.Linger},
		{"watch", c.Watch},
		{"watchInterval", c.WatchInterval},
		{"transport", c.Transport},
		{"keyDir", c.KeyDir},
		{"reload", c.Reload},
	}
}

// String is a setting's value as the file has it.
func (s setting) String() string {
	if text, ok := s.value.(string); ok {
		return fmt.Sprintf("%.120q", text)
	}
	return fmt.Sprint(s.value)
}
