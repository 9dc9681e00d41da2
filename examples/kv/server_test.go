package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"

	"github.com/abhishekg16/cluster/examples/kv/internal/fleet"
)

// Config.json, which README.md starts servers with, says of each where it answers, and is followed while they run.
func TestTheConfiguration(t *testing.T) {
	cfg, err := cluster.LoadConfig("Config.json")
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.Reload || len(cfg.Peers) != 3 {
		t.Errorf("reload is %v, and there are %d servers: want true, and 3", cfg.Reload, len(cfg.Peers))
	}
	for _, p := range cfg.Peers {
		if len(p.Extra["kv"]) == 0 {
			t.Errorf(`server %d has no field "kv"`, p.ID)
		}
	}
}

func TestAServerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	f := begin(t, false, thisProgram)
	alone := filepath.Join(t.TempDir(), "Config.json")
	text := `{"cluster": "alone", "peers": [{"id": 0, "address": "ipc://` + filepath.Join(t.TempDir(), "0") + `"}]}`
	if err := os.WriteFile(alone, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no id", nil, "-id and -data are needed"},
		{"no such server", []string{"-id", "9", "-config", "Config.json", "-data", t.TempDir()}, "9"},
		{"no file", []string{"-id", "0", "-config", filepath.Join(t.TempDir(), "none.json"), "-data", t.TempDir()}, "none.json"},
		{"a server that runs", f.Flags(0), "cannot listen"},
		{"data of a server that runs", []string{"-id", "0", "-config", alone, "-data", f.Flags(0)[5]}, "raft.db: timeout"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		cmd := thisProgram(tt.args...)
		stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
		out, err := cmd.CombinedOutput()
		stop()
		if err == nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("%s: %v, want a failure that names %q; it said\n%s", tt.name, err, tt.want, out)
		}
	}
}

// A leader that is cut off from the others answers nobody, and afterwards names who leads now.
func TestALeaderThatIsCutOffDoesNotAnswer(t *testing.T) {
	t.Parallel()
	f := begin(t, true, thisProgram)
	c := fleet.NewClient(f.Addresses)
	ask(t, c, "PUT", "/kv/a", "1")
	old := leader(t, f)
	cut(t, f, old)
	others := fleet.NewClient(func() (all []string) {
		for _, address := range f.Addresses() {
			if address != f.Address(old) {
				all = append(all, address)
			}
		}
		return all
	})
	ask(t, others, "PUT", "/kv/a", "2")
	read := func() (fleet.Answer, error) {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		return fleet.Get(ctx, f.Address(old), "/kv/a")
	}
	if a, err := read(); err == nil {
		t.Errorf("the server that is cut off answers %d %s", a.Status, a.Body)
	}
	f.Heal()
	for late := time.Now().Add(deadline); ; time.Sleep(10 * time.Millisecond) {
		a, err := read()
		if err == nil && a.Status == http.StatusOK && string(a.Body) == "2" || err != nil && strings.HasSuffix(err.Error(), " leads") {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("it does not name the leader afterwards, but answers %d %s, %v", a.Status, a.Body, err)
		}
	}
}
