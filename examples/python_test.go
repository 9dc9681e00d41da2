package examples_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/curve"
)

const python = "/usr/bin/python3"

func needPython(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, python, "-c", "import zmq, cbor2; assert zmq.has('curve')").CombinedOutput(); err != nil {
		t.Skipf("%s cannot be used with pyzmq, CURVE and cbor2 (scripts/setup.sh python): %v\n%s", python, err, out)
	}
}

// A keyring is a configuration of three servers with keys, in a file beside the secret ones.
type keyring struct {
	file   string
	cfg    cluster.Config
	secret []string
}

func newKeyring(t *testing.T) *keyring {
	t.Helper()
	k := &keyring{file: filepath.Join(t.TempDir(), "Config.json")}
	writeConfig(t, k.file)
	var err error
	if k.cfg, err = cluster.LoadConfig(k.file); err != nil {
		t.Fatal(err)
	}
	for id := range k.cfg.Peers {
		public, secret, err := curve.Generate()
		if err != nil {
			t.Fatal(err)
		}
		k.cfg.Peers[id].PublicKey = public
		k.secret = append(k.secret, secret)
		if err := os.WriteFile(k.key(id), []byte("# the secret key\n"+secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k.write(t)
	return k
}

// key is the file of a server's secret key.
func (k *keyring) key(id int) string {
	return filepath.Join(filepath.Dir(k.file), fmt.Sprintf("%d.key", id))
}

func (k *keyring) write(t *testing.T) {
	t.Helper()
	text, err := json.Marshal(k.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.file, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// node is a running server of the keyring.
func (k *keyring) node(t *testing.T, id int) *cluster.Node {
	t.Helper()
	n, err := cluster.New(id, k.file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// startPython starts server 1 in Python, and waits until it is ready. It ends with its standard input.
func startPython(t *testing.T, k *keyring, args ...string) (*program, io.WriteCloser) {
	t.Helper()
	needPython(t)
	p := &program{Cmd: exec.Command(python), lines: make(chan string, 10000)}
	p.Args = append([]string{python, "-B", filepath.Join("python", "client.py"), "-id", "1", "-config", k.file}, args...)
	stdin, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.launch(t)
	p.expect(t, "the word that it listens", "ready")
	return p, stdin
}

func TestPythonWithKeysTalksToGoWithKeys(t *testing.T) {
	t.Parallel()
	needPython(t)
	k := newKeyring(t)
	n := k.node(t, 0)
	p, stdin := startPython(t, k, "-echo")
	for i := range 3 {
		want := fmt.Sprintf("secret %d", i)
		n.Outbox() <- &cluster.Envelope{Pid: 1, Msg: want}
		p.expect(t, "the message", fmt.Sprintf("Received msg from 0: '%s'", want))
		select {
		case e := <-n.Inbox():
			if e.Pid != 1 || e.Msg != want {
				t.Errorf("the echo is %+v, want %q from 1", e, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("no echo came:\n%v", n.Stats())
		}
	}
	if s := n.Stats(); len(s.Refused) != 0 || s.Sent.DroppedTotal() != 0 {
		t.Errorf("the books are not clean:\n%v", s)
	}
	stdin.Close()
	if code := p.wait(t); code != 0 || !strings.Contains(p.stderr.String(), "ended: {'received': 3}\n") {
		t.Errorf("Python ended with %d; it said:\n%s", code, &p.stderr)
	}
}

// While the key of server 0 is changed, it may still have the old one: it is heard with that, and reached.
func TestPythonReachesAServerThatStillHasItsPreviousKey(t *testing.T) {
	t.Parallel()
	needPython(t)
	k := newKeyring(t)
	coming, _, err := curve.Generate()
	if err != nil {
		t.Fatal(err)
	}
	k.cfg.Peers[0].PublicKey, k.cfg.Peers[0].PreviousPublicKey = coming, k.cfg.Peers[0].PublicKey
	k.write(t)
	n := k.node(t, 0)
	p, stdin := startPython(t, k)
	again := time.NewTicker(time.Second) // until there is a connection messages are dropped
	defer again.Stop()
	for reached, deadline := false, time.After(60*time.Second); !reached; {
		select {
		case e := <-n.Inbox():
			reached = e.Pid == 1 && e.Msg == "with the old key"
		case <-again.C:
			if _, err := io.WriteString(stdin, "@0 with the old key\n"); err != nil {
				t.Fatal(err)
			}
		case <-deadline:
			t.Fatalf("server 0 was not reached:\n%v", n.Stats())
		}
	}
	n.Outbox() <- &cluster.Envelope{Pid: 1, Msg: "likewise"}
	p.expect(t, "the answer", "from 0: 'likewise'")
	stdin.Close()
	if code := p.wait(t); code != 0 {
		t.Errorf("Python ended with %d; it said:\n%s", code, &p.stderr)
	}
}

func TestPythonRefusesAFileWhoseKeysAreWrong(t *testing.T) {
	t.Parallel()
	needPython(t)
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, k *keyring)
		want  []string
	}{
		{"no secret key", func(t *testing.T, k *keyring) { os.Remove(k.key(1)) }, []string{"1.key", "No such file"}},
		{"readable by all", func(t *testing.T, k *keyring) { os.Chmod(k.key(1), 0o644) }, []string{"1.key", "0o644", "chmod 600"}},
		{"another's secret key", func(t *testing.T, k *keyring) { os.Rename(k.key(2), k.key(1)) }, []string{"1.key", "belongs to"}},
		{"no key in the file", func(t *testing.T, k *keyring) { os.WriteFile(k.key(1), []byte("# nothing\n"), 0o600) }, []string{"1.key", "one line"}},
		{"no Z85 in the file", func(t *testing.T, k *keyring) { os.WriteFile(k.key(1), []byte("hello\n"), 0o600) }, []string{"1.key", "Z85"}},
		{"one server without a key", func(t *testing.T, k *keyring) { k.cfg.Peers[2].PublicKey = "" }, []string{"Config.json", "[2]", "or none"}},
		{"a public key that is none", func(t *testing.T, k *keyring) { k.cfg.Peers[0].PublicKey = "abc" }, []string{"Config.json", "server 0", "Z85"}},
		{"one key of two servers", func(t *testing.T, k *keyring) { k.cfg.Peers[2].PublicKey = k.cfg.Peers[0].PublicKey }, []string{"Config.json", "twice"}},
		{"without itself", func(t *testing.T, k *keyring) { k.cfg.Peers[1].ID = 5 }, []string{"Config.json", "id 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKeyring(t)
			tt.spoil(t, k)
			k.write(t)
			p := &program{Cmd: exec.Command(python, "-B", filepath.Join("python", "client.py"), "-id", "1", "-config", k.file), lines: make(chan string, 100)}
			p.launch(t)
			if code := p.wait(t); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			for _, want := range append(tt.want, "client.py: ") {
				if !strings.Contains(p.stderr.String(), want) {
					t.Errorf("%q is missing in\n%s", want, &p.stderr)
				}
			}
			if strings.Contains(p.stderr.String(), "Traceback") || strings.Contains(p.stderr.String(), k.secret[1]) {
				t.Errorf("it says\n%s", &p.stderr)
			}
		})
	}
}

// What a peer acknowledges beyond what was written to it is ignored, but for the end of a record in pieces.
func TestPythonIgnoresAcknowledgmentsBeyondWhatWasWritten(t *testing.T) {
	t.Parallel()
	needPython(t)
	const program = `
from collections import Counter
from peer import Peer
def peer(next, *flight):
    p = Peer(1, "", 0, Counter())
    p.next = next
    p.flight.extend((end, 100) for end in flight)
    p.flying = 100 * len(flight)
    return p
def left(p, place):
    p.acked(place, 0)
    return p.flying, p.next, p.progress > 0
print(left(peer((3, 0), (2, 0), (3, 0)), (2, 0)))
print(left(peer((3, 0), (2, 0), (3, 0)), (3, 0)))
print(left(peer((3, 0), (2, 0), (3, 0)), (3, 1)))
print(left(peer((3, 0), (2, 0), (3, 0)), (4, 0)))
print(left(peer((3, 9), (3, 0), (3, 9)), (4, 0)))
print(left(peer((3, 9), (3, 0), (3, 9)), (4, 1)))
`
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-B", "-c", program)
	cmd.Dir = "python"
	out, err := cmd.CombinedOutput()
	want := strings.TrimLeft(`
(100, (3, 0), True)
(0, (3, 0), True)
(200, (3, 0), False)
(200, (3, 0), False)
(0, (4, 0), True)
(200, (3, 9), False)
`, "\n")
	if err != nil || !bytes.Equal(out, []byte(want)) {
		t.Errorf("got %v and\n%swant\n%s", err, out, want)
	}
}

// The Go examples read the keys of a configuration as every node does: without the secret one they do not start.
func TestGoExamplesUseTheKeysOfTheirFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there a file of Unix permissions is not to be had")
	}
	t.Parallel()
	t.Run("client2 prints what client1 broadcasts", func(t *testing.T) {
		client1, client2 := built(t, "client1"), built(t, "client2")
		k := newKeyring(t)
		listener := start(t, t.TempDir(), client2, "-id", "1", "-config", k.file)
		start(t, t.TempDir(), client1, "-id", "0", "-config", k.file)
		listener.expect(t, "a message", "Received msg from 0: 'hello there'")
	})
	for _, name := range []string{"client1", "client2", "election"} {
		t.Run(name+" without its secret key", func(t *testing.T) {
			k := newKeyring(t)
			if err := os.Remove(k.key(1)); err != nil {
				t.Fatal(err)
			}
			p := start(t, t.TempDir(), built(t, name), "-id", "1", "-config", k.file)
			if code := p.wait(t); code != 1 || !strings.Contains(p.stderr.String(), "1.key") {
				t.Errorf("exit code %d, want 1; it said:\n%s", code, &p.stderr)
			}
		})
	}
}
