package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/keyfile"
	"github.com/abhishekg16/cluster/internal/transport"
)

// keyed gives each server of the configuration a key.
func keyed(t testing.TB, cfg Config) Config {
	t.Helper()
	cfg.KeyDir = t.TempDir()
	for i := range cfg.Peers {
		cfg.Peers[i].PublicKey = writeKey(t, cfg.keyPath(cfg.Peers[i].ID))
	}
	return cfg
}

// writeKey writes a new secret key to a file and returns the public one.
func writeKey(t testing.TB, file string) string {
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

// stranger is a key that no peer has.
func stranger(t testing.TB) *transport.Security {
	t.Helper()
	public, secret, err := curve.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return &transport.Security{Public: public, Secret: secret}
}

func TestServersWithKeysHearOneAnother(t *testing.T) {
	for _, scheme := range []string{"tcp", "ipc", "mem"} {
		t.Run(scheme, func(t *testing.T) {
			nodes := startAll(t, keyed(t, config(t, scheme, 3)))
			for i, n := range nodes {
				put(t, n, &Envelope{BROADCAST, 0, fmt.Sprint("from ", i)})
				put(t, n, &Envelope{i, 0, "to myself"})
			}
			for _, n := range nodes {
				for range nodes {
					if e := take(t, n); e.Pid == n.Pid() && e.Msg != "to myself" || e.Pid != n.Pid() && e.Msg != fmt.Sprint("from ", e.Pid) {
						t.Errorf("server %d received %v from %d", n.Pid(), e.Msg, e.Pid)
					}
				}
				for _, p := range n.Stats().Peers {
					if p.ID != n.Pid() && !p.Encrypted {
						t.Errorf("Stats does not say that the link from %d to %d is encrypted", n.Pid(), p.ID)
					}
				}
			}
		})
	}
}

func TestAKeyThatCannotBeUsedIsAnErrorThatSaysWhy(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, cfg *Config, file string)
		want  []string
	}{
		{"no file", func(t *testing.T, cfg *Config, file string) {
			os.Remove(file)
		}, []string{"the secret key of server 0", "no such file", "KeyFile", keyfile.Variable, "keyDir"}},
		{"others can read it", func(t *testing.T, cfg *Config, file string) {
			os.Chmod(file, 0o640)
		}, []string{"0640", "chmod 600 "}},
		{"another's", func(t *testing.T, cfg *Config, file string) {
			cfg.KeyFile = filepath.Join(cfg.KeyDir, "1.key")
		}, []string{"1.key", "it belongs to the public key", "the entry of server 0 has"}},
		{"no key in it", func(t *testing.T, cfg *Config, file string) {
			os.WriteFile(file, []byte("# nothing\n"), 0o600)
		}, []string{"want one line with a key", "got 0 lines"}},
		{"two keys in it", func(t *testing.T, cfg *Config, file string) {
			b, _ := os.ReadFile(file)
			os.WriteFile(file, append(b, b...), 0o600)
		}, []string{"got 2 lines"}},
		{"garbage in it", func(t *testing.T, cfg *Config, file string) {
			os.WriteFile(file, []byte("secret\n"), 0o600)
		}, []string{"want 40 characters in Z85, got 6"}},
		{"a directory", func(t *testing.T, cfg *Config, file string) {
			cfg.KeyFile = cfg.KeyDir
		}, []string{"not a file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := keyed(t, config(t, "tcp", 2))
			file := cfg.keyPath(0)
			secret, _ := os.ReadFile(file)
			c.spoil(t, &cfg, file)
			n, err := NewFromConfig(0, cfg)
			if err == nil {
				n.Close()
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			for line := range strings.Lines(string(secret)) {
				if len(line) > 30 && strings.Contains(err.Error(), strings.TrimSpace(line)) {
					t.Error("the error quotes the secret key")
				}
			}
		})
	}
}
