//go:build !least

package main

import "github.com/abhishekg16/cluster"

// keyed is channels with keys.
var keyed = ours(keyedName, bareCurve.name, throughOutbox, throughInbox, withKeys)

// withKeys gives each server a key.
func withKeys(cfg *cluster.Config) {
	cfg.KeyDir = keyDir()
	for i := range cfg.Peers {
		cfg.Peers[i].PublicKey = benchKey(i).public
	}
}
