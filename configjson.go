package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/abhishekg16/cluster/internal/configfile"
)

func configOf(f *configfile.File) Config {
	return Config{
		Cluster: f.Cluster, Peers: f.Peers,
		InboxSize: f.InboxSize, OutboxSize: f.OutboxSize,
		SendTimeout: f.SendTimeout, Linger: f.Linger,
		QueueBytes: f.QueueBytes, MaxMessageBytes: f.MaxMessageBytes,
		Watch: f.Watch, WatchInterval: f.WatchInterval,
		Transport: f.Transport, KeyDir: f.KeyDir, Reload: f.Reload, Extra: f.Extra,
	}
}

// UnmarshalJSON reads what MarshalJSON and LoadConfig's file formats write,
// except one: entries one after another are not one JSON value. It replaces
// all of c but Logger and Source. It reports what a file's form can have wrong; values out
// of range are left to NewFromConfig.
func (c *Config) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil // as is the custom
	}
	f := configfile.Parse("", data)
	if len(f.Faults) > 0 {
		return errors.Join(f.Faults...)
	}
	logger, source := c.Logger, c.Source
	*c = configOf(f)
	c.Logger, c.Source = logger, source
	return nil
}

// MarshalJSON writes the shape {"cluster": …, "peers": […]}, with the fields in
// Extra beside it. It fails if these cannot be read again.
func (c Config) MarshalJSON() ([]byte, error) {
	out := struct {
		Cluster         string            `json:"cluster"`
		Peers           []json.RawMessage `json:"peers"`
		InboxSize       int               `json:"inboxSize,omitempty"`
		OutboxSize      int               `json:"outboxSize,omitempty"`
		SendTimeout     string            `json:"sendTimeout,omitempty"`
		QueueBytes      int               `json:"queueBytes,omitempty"`
		MaxMessageBytes int               `json:"maxMessageBytes,omitempty"`
		Linger          string            `json:"linger,omitempty"`
		Watch           bool              `json:"watch,omitempty"`
		WatchInterval   string            `json:"watchInterval,omitempty"`
		Transport       string            `json:"transport,omitempty"`
		KeyDir          string            `json:"keyDir,omitempty"`
		Reload          bool              `json:"reload,omitempty"`
	}{
		Cluster:         c.Cluster,
		Peers:           []json.RawMessage{},
		InboxSize:       c.InboxSize,
		OutboxSize:      c.OutboxSize,
		QueueBytes:      c.QueueBytes,
		MaxMessageBytes: c.MaxMessageBytes,
		Watch:           c.Watch,
		Transport:       c.Transport,
		KeyDir:          c.KeyDir,
		Reload:          c.Reload,
	}
	if c.SendTimeout != 0 {
		out.SendTimeout = c.SendTimeout.String()
	}
	if c.Linger != 0 {
		out.Linger = c.Linger.String()
	}
	if c.WatchInterval != 0 {
		out.WatchInterval = c.WatchInterval.String()
	}
	var faults []error
	for i, p := range c.Peers {
		raw, err := marshalWith(p, p.Extra, configfile.PeerFields)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", configfile.Entry(i, p.ID, true), err))
		}
		out.Peers = append(out.Peers, raw)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return marshalWith(out, c.Extra, configfile.TopFields)
}

// marshalWith writes the struct v with a program's own fields after its own, whose names are
// given too.
func marshalWith(v any, extra map[string]json.RawMessage, names []string) ([]byte, error) {
	if faults := checkExtra(extra, names); len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		b[len(b)-1] = ','
		b = append(append(b, key...), ':')
		b = append(append(b, extra[name]...), '}')
	}
	return b, nil
}
