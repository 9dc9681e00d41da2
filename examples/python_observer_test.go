package examples_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
)

func TestPythonSendsToAnObserverByItsIdAlone(t *testing.T) {
	t.Parallel()
	needPython(t)
	k := &keyring{file: filepath.Join(t.TempDir(), "Config.json")}
	writeConfig(t, k.file)
	var err error
	if k.cfg, err = cluster.LoadConfig(k.file); err != nil {
		t.Fatal(err)
	}
	k.cfg.Peers[2].Observer = true
	text, err := json.Marshal(k.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	n, observer := k.node(t, 0), k.node(t, 2)
	p, stdin := startPython(t, k)
	fmt.Fprintln(stdin, "to all")
	fmt.Fprintln(stdin, "@2 to the observer")
	for at, want := range map[*cluster.Node]string{n: "to all", observer: "to the observer"} {
		select {
		case e := <-at.Inbox():
			if e.Msg != want {
				t.Errorf("server %d received %v, want %q", at.Pid(), e.Msg, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nothing came to server %d:\n%v", at.Pid(), at.Stats())
		}
	}
	observer.Outbox() <- &cluster.Envelope{Pid: 1, Msg: "of the observer"}
	p.expect(t, "the message", "Received msg from 2: 'of the observer'")
	stdin.Close()
	if code := p.wait(t); code != 0 {
		t.Errorf("Python ended with %d; it said:\n%s", code, &p.stderr)
	}
}
