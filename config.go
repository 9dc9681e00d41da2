package cluster

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/abhishekg16/cluster/peercatalog"
)

const (
	defaultInboxSize       = 1024
	defaultOutboxSize      = 1024
	defaultSendTimeout     = time.Second
	defaultQueueBytes      = 16 << 20
	defaultMaxMessageBytes = 64 << 20
	defaultLinger          = 5 * time.Second

	maxChannelSize     = 10_000_000
	minQueueBytes      = 64 << 10
	maxMaxMessageBytes = 1 << 30
)

// Config says who is in the cluster and how a node works. Its JSON form is that
// of Config.json. The zero value of each field but Peers means the default that
// is given with the field. NewFromConfig copies it.
type Config struct {
	// Cluster is the cluster's name. It is part of every frame's check: servers
	// whose names differ do not hear one another. The default is "", a name
	// like any other.
	Cluster string `json:"cluster"`

	// Peers are the servers, the node itself among them. At least one; no two
	// with the same id or the same address.
	Peers []peercatalog.Peer `json:"peers"`

	// InboxSize is how many received envelopes wait in Inbox, at most
	// 10,000,000; 0 means 1024. The inbox also holds no more than about
	// QueueBytes of payload, so a large size alone costs 8 bytes each.
	InboxSize int `json:"inboxSize,omitempty"`

	// OutboxSize is how many envelopes to be sent wait in Outbox, at most
	// 10,000,000; 0 means 1024.
	OutboxSize int `json:"outboxSize,omitempty"`

	// SendTimeout is how long a message waits for a peer that takes nothing
	// before it is dropped and the link counts as down; 0 means 1 s. Servers
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

	// KeyDir is the directory of the servers' secret keys, each in a file named
	// after the server's id, such as 3.key; see KeyFile. A relative one is looked
	// for beside the configuration's file, or else in the working directory. The
	// default is the directory of that file.
	KeyDir string `json:"keyDir,omitempty"`

	// KeyFile is the file with this server's secret key, where the peers have public
	// ones. If it is empty the environment variable CLUSTER_KEY_FILE names it, and
	// if that is empty too, it is in KeyDir. Nobody but its owner may read or write
	// the file. It holds the key as 40 characters in Z85; lines that begin with "# "
	// are comments.
	KeyFile string `json:"-"`

	// Extra holds the program's own fields beside these, by name, as JSON; the
	// fields of an entry are in the Extra of its Peer. A name that looks like a
	// misspelling of one of ours is an error.
	Extra map[string]json.RawMessage `json:"-"`

	// Logger is told of changes of state: a link that goes down, a peer that
	// is refused. Nil means silence.
	Logger *slog.Logger `json:"-"`

	file string // where LoadConfig found it, for the text of errors
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
	c.InboxSize = cmp.Or(c.InboxSize, defaultInboxSize)
	c.OutboxSize = cmp.Or(c.OutboxSize, defaultOutboxSize)
	c.SendTimeout = cmp.Or(c.SendTimeout, defaultSendTimeout)
	c.QueueBytes = cmp.Or(c.QueueBytes, defaultQueueBytes)
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, defaultMaxMessageBytes)
	c.Linger = cmp.Or(c.Linger, defaultLinger)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// source is what errors name as the place of the configuration.
func (c Config) source() string { return cmp.Or(c.file, "config") }

// doubts are what the parser found wrong already, so that it is not reported
// once more for what it left empty.
type doubts struct {
	peers bool // the whole sequence
	entry map[int]doubt
}

type doubt struct{ id, address bool }

// check returns every fault of the values of c, each naming its place.
func (c Config) check(d *doubts) []error {
	if d == nil {
		d = new(doubts)
	}
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
	for _, err := range checkExtra(c.Extra, topFields) {
		fault("%w", err)
	}
	if len(c.Peers) == 0 && !d.peers {
		fault(`no peers: want at least one, as in {"peers": [{"id": 0, "address": "127.0.0.1:8081"}]}`)
	}
	if d.entry == nil && c.plainPeers() {
		return faults
	}
	byID := make(map[int]int, len(c.Peers)) // the index of the first
	byEndpoint := make(map[string]int, len(c.Peers))
	byKey := make(map[string]int, len(c.Peers))
	for i, p := range c.Peers {
		where, unsure := entry(i, p.ID, true), d.entry[i]
		if unsure.id {
			where, p.ID = entry(i, 0, false), 0
		}
		if unsure.address {
			p.Address = "mem://unknown"
			if p.BindEndpoint() != "" {
				p.Bind = "" // of itself it is right, and there is no scheme to compare
			}
		}
		if err := p.Validate(); err != nil {
			for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
				fault("%s: %w", where, err)
			}
		}
		for _, k := range p.Keys() {
			if first, ok := byKey[k]; ok && first != i {
				other := c.Peers[first]
				fault("%s: public key %.60q is also that of %s", where, k, entry(first, other.ID, !d.entry[first].id))
			} else {
				byKey[k] = i
			}
		}
		for _, err := range checkExtra(p.Extra, peerFields) {
			fault("%s: %w", where, err)
		}
		if !unsure.id {
			if first, ok := byID[p.ID]; ok {
				fault("%s: id %d is also that of peers[%d]", where, p.ID, first)
			} else {
				byID[p.ID] = i
			}
		}
		if e := p.DialEndpoint(); e != "" && !unsure.address {
			if first, ok := byEndpoint[e]; ok {
				other := c.Peers[first]
				fault("%s: address %.120q is also that of %s", where, p.Address, entry(first, other.ID, !d.entry[first].id))
			} else {
				byEndpoint[e] = i
			}
		}
	}
	if len(byKey) > 0 {
		for i, p := range c.Peers {
			if p.PublicKey == "" {
				fault("%s: public_key is missing, and other peers have one: want keys for all, or for none", entry(i, p.ID, !d.entry[i].id))
			}
		}
	}
	return faults
}

// plainPeers reports whether nothing is wrong with the peers, and nothing in
// them has to be looked at one by one. A catalogue finds that out once for all
// nodes that share them.
func (c Config) plainPeers() bool {
	if slices.ContainsFunc(c.Peers, func(p peercatalog.Peer) bool { return len(p.Extra) > 0 }) {
		return false
	}
	_, err := peercatalog.New(c.Peers...)
	return err == nil
}

// entry names an entry of Peers in errors.
func entry(i, id int, known bool) string {
	if !known {
		return fmt.Sprintf("peers[%d]", i)
	}
	return fmt.Sprintf("peers[%d] (id %d)", i, id)
}

// checkExtra returns what keeps the fields from being written beside those with
// these names and read again.
func checkExtra(extra map[string]json.RawMessage, names []string) []error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if ours := match(name, names); ours != "" {
			faults = append(faults, fmt.Errorf("field %.60q in Extra: %q has a field of its own", name, ours))
		} else if ours := misspelt(name, names); ours != "" {
			faults = append(faults, fmt.Errorf("field %.60q in Extra: did you mean %q?", name, ours))
		} else if !json.Valid(extra[name]) {
			faults = append(faults, fmt.Errorf("field %.60q in Extra: its value is not valid JSON", name))
		}
	}
	return faults
}
