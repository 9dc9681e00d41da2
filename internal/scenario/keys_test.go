package scenario

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/keyfile"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestServersWithKeysHearOneAnother(t *testing.T) {
	for _, scheme := range []string{"tcp", "ipc", "mem"} {
		t.Run(scheme, func(t *testing.T) {
			nodes := testcluster.StartAll(t, testcluster.Keyed(t, testcluster.Config(t, scheme, 3)))
			for i, n := range nodes {
				testcluster.Put(t, n, &cluster.Envelope{Pid: cluster.BROADCAST, Msg: fmt.Sprint("from ", i)})
				testcluster.Put(t, n, &cluster.Envelope{Pid: i, Msg: "to myself"})
			}
			for _, n := range nodes {
				for range nodes {
					if e := testcluster.Take(t, n); e.Pid == n.Pid() && e.Msg != "to myself" || e.Pid != n.Pid() && e.Msg != fmt.Sprint("from ", e.Pid) {
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
		spoil func(t *testing.T, cfg *cluster.Config, file string)
		want  []string
	}{
		{"no file", func(t *testing.T, cfg *cluster.Config, file string) {
			os.Remove(file)
		}, []string{"the secret key of server 0", "no such file", "KeyFile", keyfile.Variable, "keyDir"}},
		{"others can read it", func(t *testing.T, cfg *cluster.Config, file string) {
			os.Chmod(file, 0o640)
		}, []string{"0640", "chmod 600 "}},
		{"another's", func(t *testing.T, cfg *cluster.Config, file string) {
			cfg.KeyFile = filepath.Join(cfg.KeyDir, "1.key")
		}, []string{"1.key", "it belongs to the public key", "the entry of server 0 has"}},
		{"no key in it", func(t *testing.T, cfg *cluster.Config, file string) {
			os.WriteFile(file, []byte("# nothing\n"), 0o600)
		}, []string{"want one line with a key", "got 0 lines"}},
		{"two keys in it", func(t *testing.T, cfg *cluster.Config, file string) {
			b, _ := os.ReadFile(file)
			os.WriteFile(file, append(b, b...), 0o600)
		}, []string{"got 2 lines"}},
		{"garbage in it", func(t *testing.T, cfg *cluster.Config, file string) {
			os.WriteFile(file, []byte("secret\n"), 0o600)
		}, []string{"want 40 characters in Z85, got 6"}},
		{"a directory", func(t *testing.T, cfg *cluster.Config, file string) {
			cfg.KeyFile = cfg.KeyDir
		}, []string{"not a file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testcluster.Keyed(t, testcluster.Config(t, "tcp", 2))
			file := testcluster.KeyPath(cfg, 0)
			secret, _ := os.ReadFile(file)
			c.spoil(t, &cfg, file)
			n, err := cluster.NewFromConfig(0, cfg)
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

func TestTheKeysDirectoryDoesNotMoveWithTheWorkingDirectory(t *testing.T) {
	cfg := testcluster.Config(t, "mem", 1)
	dir := t.TempDir()
	for _, keys := range []string{"keys", "mine"} {
		if err := os.Mkdir(filepath.Join(dir, keys), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cfg.KeyDir = "keys"
	cfg.Peers[0].PublicKey = testcluster.WriteKey(t, filepath.Join(dir, "keys", "0.key"))
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Config.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	loaded, err := cluster.LoadConfig("Config.json")
	if err != nil {
		t.Fatal(err)
	}
	starts := func(what string, cfg cluster.Config) {
		t.Helper()
		n, err := cluster.NewFromConfig(0, cfg)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Chdir(t.TempDir())
	starts("keyDir of a file that was loaded in another directory", loaded)
	if again, err := json.Marshal(loaded); err != nil || string(again) != string(text) {
		t.Errorf("the configuration is written (%v) as\n%s\nwant\n%s", err, again, text)
	}
	// What no file says is seen from where the call is made.
	t.Chdir(filepath.Join(dir, "mine"))
	loaded.KeyFile = "../keys/0.key"
	starts("KeyFile", loaded)
	cfg.KeyDir = "../keys"
	starts("KeyDir without a file", cfg)
	cfg.KeyDir = "nowhere"
	if _, err := cluster.NewFromConfig(0, cfg); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "mine", "nowhere", "0.key")) {
		t.Errorf("got %v, want one that names the file by its whole path", err)
	}
}
