package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// usable says why the story cannot be told with a configuration at the moment.
func usable(cfg cluster.Config) error {
	if len(cfg.Peers) < 3 {
		return fmt.Errorf("it lists %d servers, and the story has 3", len(cfg.Peers))
	}
	for _, p := range cfg.Peers {
		address, isTCP := strings.CutPrefix(p.BindEndpoint(), "tcp://")
		if !isTCP {
			continue
		}
		l, err := net.Listen("tcp", strings.TrimPrefix(address, "*"))
		if err != nil {
			return fmt.Errorf("server %d cannot have its port: %w", p.ID, err)
		}
		l.Close()
	}
	return nil
}

// temporaryConfig writes a configuration of three servers on free ports of this machine. The ports are from below the
// range that systems give out by themselves, so that nobody takes one before its server does.
func temporaryConfig() (string, error) {
	cfg := cluster.Config{Cluster: "demo"}
	for len(cfg.Peers) < 3 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue // taken
		}
		defer l.Close() // only now, so that none is chosen twice
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: len(cfg.Peers), Address: address})
	}
	text, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return "", err
	}
	file, err := os.CreateTemp("", "cluster-demo-*.json")
	if err != nil {
		return "", err
	}
	_, err = file.Write(text)
	return file.Name(), errors.Join(err, file.Close())
}

// freeAddress is an address of this machine that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// findConfig looks for Config.json in the working directory and upward from there.
func findConfig() string {
	const name = "Config.json"
	for dir, _ := os.Getwd(); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return filepath.Join(dir, name)
		}
	}
	return name
}
