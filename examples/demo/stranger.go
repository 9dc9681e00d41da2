package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/abhishekg16/cluster"
)

// strangerID is what the stranger is among the servers.
const strangerID = -1

// A stranger wants to pass for one of the servers. It knows their configuration, and so their public keys, but its own
// key, which is in its directory, is not the one that is listed.
type stranger struct {
	dir string // with a Config.json that has keys of its own, and the secret ones
}

// intrude starts the stranger as server id, lets it send to another, and sees to it that nothing comes of that.
func (s stranger) intrude(ctx context.Context, f *fleet, id, victim int) error {
	config, err := s.config(f.config, id)
	if err != nil {
		return err
	}
	const text = "let me in, I am one of you"
	if err := f.startWith(strangerID, config, id); err != nil {
		return err
	}
	if _, err := f.await(ctx, patience, event{Server: strangerID, What: "up"}); err != nil {
		return err
	}
	if err := f.order(strangerID, "send", text, victim); err != nil {
		return err
	}
	for {
		if err := f.order(victim, "stats", ""); err != nil {
			return err
		}
		stats, err := f.await(ctx, patience, event{Server: victim, What: "stats"})
		if err != nil {
			return err
		}
		if n := stats.Books.Unlisted; n > 0 {
			f.show(victim, "✗ refused: no peer has that key (attempts so far: %d)", n)
			break
		}
		if err := f.linger(ctx, beat/5); err != nil {
			return err
		}
	}
	if who := f.got[describe(text)]; len(who) > 0 {
		return fmt.Errorf("%s was received by servers %v, though the stranger is not listed", describe(text), who)
	}
	defer delete(f.servers, strangerID) // it does not shut down with the others
	return f.kill(ctx, strangerID)
}

// config writes the servers' configuration as the stranger wants it: with its own key and another address for id.
func (s stranger) config(servers string, id int) (string, error) {
	cfg, err := cluster.LoadConfig(servers)
	if err != nil {
		return "", err
	}
	own, err := cluster.LoadConfig(filepath.Join(s.dir, "Config.json"))
	if err != nil {
		return "", err
	}
	for i, p := range cfg.Peers {
		if p.ID == id {
			cfg.Peers[i].PublicKey = own.Peers[i].PublicKey
			if cfg.Peers[i].Address, err = freeAddress(); err != nil {
				return "", err
			}
		}
	}
	text, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.dir, "intruder.json") // beside its keys
	return path, os.WriteFile(path, text, 0o600)
}
