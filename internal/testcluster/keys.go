package testcluster

import (
	"os"
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/keyfile"
	"github.com/abhishekg16/cluster/internal/transport"
)

// KeyOf is the key of the server id, as its file has it.
func KeyOf(t testing.TB, cfg cluster.Config, id int) *transport.Security {
	t.Helper()
	secret, err := keyfile.Read(KeyPath(cfg, id))
	if err != nil {
		t.Fatal(err)
	}
	public, err := curve.Public(secret)
	if err != nil {
		t.Fatal(err)
	}
	return &transport.Security{Public: public, Secret: secret}
}

// Keyed gives each server of the configuration a key.
func Keyed(t testing.TB, cfg cluster.Config) cluster.Config {
	t.Helper()
	cfg.KeyDir = t.TempDir()
	for i := range cfg.Peers {
		cfg.Peers[i].PublicKey = WriteKey(t, KeyPath(cfg, cfg.Peers[i].ID))
	}
	return cfg
}

// KeyPath is where the server id looks for its key.
func KeyPath(cfg cluster.Config, id int) string { return keyfile.Path("", cfg.KeyDir, id) }

// WriteKey writes a new secret key to a file and returns the public one.
func WriteKey(t testing.TB, file string) string {
	t.Helper()
	public, secret, err := curve.Generate()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("# a comment\n\n"+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return public
}

// Stranger is a key that no peer has.
func Stranger(t testing.TB) *transport.Security {
	t.Helper()
	public, secret, err := curve.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return &transport.Security{Public: public, Secret: secret}
}
