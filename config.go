package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/configfile"
	"github.com/abhishekg16/cluster/internal/peerrules"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
	"github.com/abhishekg16/cluster/peercatalog"
)

const (
	defaultInboxSize       = 1024
	defaultOutboxSize      = 1024
	defaultSendTimeout     = time.Second
	defaultQueueBytes      = 16 << 20
	defaultMaxMessageBytes = 64 << 20
	defaultLinger          = 5 * time.Second
	defaultWatchInterval   = time.Second

	maxChannelSize     = 10_000_000
	minQueueBytes      = 64 << 10
	maxMaxMessageBytes = 1 << 30
	minWatchInterval   = 50 * time.Millisecond
	maxWatchInterval   = time.Minute

	// silenceIntervals is how many WatchIntervals a peer may show nothing that it can be reached.
	silenceIntervals = 3
)

// Config says who is in the cluster and how a node works. Its JSON form is that
// of Config.json. The zero value of each field but Peers means the default that
// is given with the field. NewFromConfig copies it.
type Config struct {
	// Cluster is the cluster's name. It is part of every frame's check: servers
	// whose names differ do not hear one another. The default is "", a name
	// like any other.
	Cluster string `json:"cluster"`

	// Peers are the servers, the node itself among them. At least one, unless there is a
	// Source; no two with the same id or the same address.
	Peers []peercatalog.Peer `json:"peers"`

	// InboxSize is how many received envelopes wait in Inbox, at most
	// 10,000,000; 0 means 1024. The inbox also holds messages that take no more than
	// about QueueBytes of memory, so a large size alone costs 8 bytes each.
	InboxSize int `json:"inboxSize,omitempty"`

	// OutboxSize is how many envelopes to be sent wait in Outbox, at most
	// 10,000,000; 0 means 1024.
	OutboxSize int `json:"outboxSize,omitempty"`

	// SendTimeout is how long a message waits for a peer that takes nothing
	// before it is dropped, and those behind it are dropped at once; 0 means 1 s. Servers
	// that start within it of one another lose nothing, and a peer that stalls
	// delays the others by at most this. Negative means never to wait: what a
	// full queue cannot hold is dropped. In JSON it is a string such as "1s" or
	// "250ms" (see time.ParseDuration).
	SendTimeout time.Duration `json:"sendTimeout,omitempty"`

	// QueueBytes bounds what waits for each peer, in bytes as they go over the
	// wire; at least 65,536; 0 means 16,777,216 (16 MiB). A message larger than
	// this passes alone.
	QueueBytes int `json:"queueBytes,omitempty"`

	// MaxMessageBytes is the largest message, in bytes as encoded, that is sent
	// or received; at most 1,073,741,824 (1 GiB); 0 means 67,108,864 (64 MiB).
	MaxMessageBytes int `json:"maxMessageBytes,omitempty"`

	// Linger is how long Close goes on delivering what was accepted; 0 means
	// 5 s, negative not to wait. In JSON it is a string, as SendTimeout is.
	Linger time.Duration `json:"linger,omitempty"`

	// Watch makes a node find out of all its peers whether they can be reached, also of those that it sends nothing to: it connects to each, and
	// asks those that have answered nothing for WatchInterval. What becomes of them is in Events and Stats. The default is to know it of those that
	// are sent to, or that send. In a cluster of n servers that watch there are n(n-1) connections.
	Watch bool `json:"watch,omitempty"`

	// WatchInterval is how often a peer is asked that is watched, and a third of how long nothing may show of any peer that it can be reached
	// before its link is down: see LinkDown. So a peer that is watched is down within four of them; one that was never reached has 3 s at least. From 50 ms to 1 m; 0 means 1 s. A busy machine,
	// or a path that is slow, may need more than a few hundred milliseconds. In JSON it is a string, as SendTimeout is.
	WatchInterval time.Duration `json:"watchInterval,omitempty"`

	// Transport is what carries this server's tcp:// and ipc:// connections: "libzmq", which is the
	// C library of ZeroMQ, or "go", which speaks ZeroMQ's protocol without it. Each server has
	// its own: both reach the same peers, and nothing that is sent tells which it is. The default
	// is "libzmq" in a program that was built with it, and "go" in one that was built without: with
	// CGO_ENABLED=0 or with -tags nozmq. The environment variable CLUSTER_TRANSPORT, where it
	// is set and not empty, overrides it; it is read when the node is made. To name "libzmq" in a
	// program without it is an error of New and NewFromConfig. Addresses with mem:// need neither.
	Transport string `json:"transport,omitempty"`

	// KeyDir is the directory of the servers' secret keys, each in a file named
	// after the server's id, such as 3.key; see KeyFile. A relative one is seen from
	// the directory that the configuration's file was loaded from, or else from the
	// working directory when NewFromConfig is called. The default is that directory.
	KeyDir string `json:"keyDir,omitempty"`

	// KeyFile is the file with this server's secret key, where the peers have public
	// ones. If it is empty the environment variable CLUSTER_KEY_FILE names it, and
	// if that is empty too, it is in KeyDir. A relative one is seen from the working
	// directory when NewFromConfig is called. Nobody but its owner may read or write
	// the file, unless it is mounted for the process, with a mode such as 0440: a
	// group of the process may read it if root owns it or this process's user does,
	// and the process cannot write it. It holds the key as 40 characters in Z85;
	// lines that begin with "# " are comments.
	KeyFile string `json:"-"`

	// Reload makes a node follow the file that the configuration was loaded from: when that
	// changes, the servers that it lists then take effect in the running node, as by Node.Reload,
	// which says what can change. A change counts once the file has stayed the same for 200 ms,
	// and is noticed by notifications of the file system, or else within three seconds. What is
	// wrong with it is logged, and kept in Stats, and the node goes on with the servers that it
	// has. The default is not to look at the file again.
	Reload bool `json:"reload,omitempty"`

	// Source, if it is not nil, says who is in the cluster instead of a file: see peercatalog.Source, and
	// FileSource, catalog/dns and catalog/etcd for some. NewFromConfig loads the Peers from it if there are none, and
	// fails if it cannot; otherwise the node starts with Peers, and goes over to what the Source says as soon as that
	// can be read. While the node runs it takes over what the Source says, by the rules of Node.Reload. Where
	// it cannot be read, or is refused, the node goes on with the servers that it has, logs why, keeps that in Stats,
	// and tries again. Shutdown ends the contexts of the calls to the Source, and waits until they return; it does not
	// close the Source. The default is that the servers are those of Peers.
	Source peercatalog.Source `json:"-"`

	// Extra holds the program's own fields beside these, by name, as JSON; the
	// fields of an entry are in the Extra of its Peer. A name that looks like a
	// misspelling of one of ours is an error.
	Extra map[string]json.RawMessage `json:"-"`

	// Logger is told of changes of state: a link that goes down, a peer that
	// is refused. Nil means that only mistakes of the program and of its
	// configuration are told, once each, as warnings to slog.Default: a type that
	// cannot be sent, an id that nobody has, a name that does not resolve, a changed file that
	// Reload cannot use, and what the network shows of such mistakes on the other side, such as
	// a peer that runs and does not answer, since it has another address for this server. For silence, give slog.New(slog.DiscardHandler).
	Logger *slog.Logger `json:"-"`

	file origin
}

// prepared returns a copy that shares nothing with c but the Logger, with the
// defaults filled in, or an error that joins one error for each fault.
func (c Config) prepared() (Config, error) {
	if faults := c.check(nil); len(faults) > 0 {
		return Config{}, errors.Join(faults...)
	}
	c.Peers = slices.Clone(c.Peers)
	for i := range c.Peers {
		c.Peers[i] = c.Peers[i].Clone()
	}
	c.Extra = maps.Clone(c.Extra)
	for name, value := range c.Extra {
		c.Extra[name] = bytes.Clone(value)
	}
	return c.withDefaults(), nil
}

// withDefaults returns c with the defaults filled in.
func (c Config) withDefaults() Config {
	c.InboxSize = cmp.Or(c.InboxSize, defaultInboxSize)
	c.OutboxSize = cmp.Or(c.OutboxSize, defaultOutboxSize)
	c.SendTimeout = cmp.Or(c.SendTimeout, defaultSendTimeout)
	c.QueueBytes = cmp.Or(c.QueueBytes, defaultQueueBytes)
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, defaultMaxMessageBytes)
	c.Linger = cmp.Or(c.Linger, defaultLinger)
	c.WatchInterval = cmp.Or(c.WatchInterval, defaultWatchInterval)
	return c
}

// loaded is the configuration with the peers of its Source, if it has none itself.
func (c Config) loaded() (Config, error) {
	if c.Source == nil || len(c.Peers) > 0 {
		return c, nil
	}
	from, err := loadFrom(context.Background(), c.Source)
	if err != nil {
		return Config{}, fmt.Errorf("cluster: the servers: %w", err)
	}
	if _, err = peercatalog.New(from.Peers...); err == nil && len(from.Peers) == 0 {
		err = errors.New("it lists none")
	}
	if err != nil {
		return Config{}, fmt.Errorf("cluster: the servers: %s: %w", c.Source, err)
	}
	c.Peers = from.Peers
	return c, nil
}

// source is what errors name as the place of the configuration.
func (c Config) source() string { return cmp.Or(c.file.name, "config") }

// peersFrom is what errors name as the place where the servers are listed.
func (c Config) peersFrom() string {
	if c.Source != nil {
		return c.Source.String()
	}
	return c.source()
}

// check returns every fault of the values of c, each naming its place. If c was read
// from f, what f reports is not reported once more.
func (c Config) check(f *configfile.File) []error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: "+format, append([]any{c.source()}, args...)...))
	}
	number := func(name string, value, least, most, byDefault int) {
		if value != 0 && (value < least || value > most) {
			fault("%s %d is out of range: want %d to %d, or 0 for the default of %d", name, value, least, most, byDefault)
		}
	}
	number("inboxSize", c.InboxSize, 1, maxChannelSize, defaultInboxSize)
	number("outboxSize", c.OutboxSize, 1, maxChannelSize, defaultOutboxSize)
	if c.QueueBytes != 0 && c.QueueBytes < minQueueBytes {
		fault("queueBytes %d is too small: want at least %d, or 0 for the default of %d", c.QueueBytes, minQueueBytes, defaultQueueBytes)
	}
	number("maxMessageBytes", c.MaxMessageBytes, 1, maxMaxMessageBytes, defaultMaxMessageBytes)
	if i := c.WatchInterval; i != 0 && (i < minWatchInterval || i > maxWatchInterval) {
		fault("watchInterval %v is out of range: want %v to %v, or 0 for the default of %v", i, minWatchInterval, maxWatchInterval, defaultWatchInterval)
	}
	if err := sockets.Check(c.Transport); err != nil {
		fault("%w", err)
	}
	if f == nil { // what a file has was read with its names
		for _, err := range checkExtra(c.Extra, configfile.TopFields) {
			fault("%w", err)
		}
		for i, p := range c.Peers {
			for _, err := range checkExtra(p.Extra, configfile.PeerFields) {
				fault("%s: %w", configfile.Entry(i, p.ID, true), err)
			}
		}
		if err := c.checkReload(); err != nil {
			fault("%w", err)
		}
		f = new(configfile.File)
	}
	if len(c.Peers) == 0 && !f.Doubtful[configfile.Field{Index: -1, Name: "peers"}] {
		fault("%s", configfile.NoPeers(c.Extra))
	}
	for _, err := range c.checkPeers(f) {
		fault("%w", err)
	}
	return faults
}

// checkPeers returns what is wrong with the peers by the rules of peercatalog, in words
// that name entries of the configuration.
func (c Config) checkPeers(f *configfile.File) (faults []error) {
	doubtful := func(i int, name string) bool { return f.Doubtful[configfile.Field{Index: i, Name: name}] }
	peers := c.Peers
	if len(f.Doubtful) > 0 {
		peers = slices.Clone(peers)
	}
	for i := range peers {
		if doubtful(i, "id") {
			peers[i].ID = math.MinInt + i // that no other has
		}
	}
	name := func(i int) string { return configfile.Entry(i, c.Peers[i].ID, !doubtful(i, "id")) }
	_, err := peercatalog.New(peers...)
	for _, fault := range peerrules.Of(err) {
		switch i, other := fault.Index, fault.Other; {
		case doubtful(i, fault.Field):
		case fault.Field == "id" && other >= 0:
			faults = append(faults, fmt.Errorf("%s: %w is also that of peers[%d]", name(i), fault.Plain, other))
		case other >= 0:
			faults = append(faults, fmt.Errorf("%s: %w is also that of %s", name(i), fault.Plain, name(other)))
		default:
			faults = append(faults, fmt.Errorf("%s: %w", name(i), fault.Plain))
		}
	}
	return faults
}

// checkExtra returns what keeps a program's own fields from being written beside those
// with these names and read again.
func checkExtra(extra map[string]json.RawMessage, names []string) []error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if ours := configfile.Match(name, names); ours != "" {
			faults = append(faults, fmt.Errorf("field %.60q in Extra: %q has a field of its own", name, ours))
		} else if ours := configfile.Misspelt(name, names); ours != "" {
			faults = append(faults, fmt.Errorf("field %.60q in Extra: did you mean %q?", name, ours))
		} else if !json.Valid(extra[name]) {
			faults = append(faults, fmt.Errorf("field %.60q in Extra: its value is not valid JSON", name))
		}
	}
	return faults
}
