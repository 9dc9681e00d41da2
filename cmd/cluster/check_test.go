package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hidden puts A0, A1 and so on in the place of the addresses.
func hidden(text string, at []string) string {
	for i, a := range at {
		text = strings.ReplaceAll(text, a, fmt.Sprintf("A%d", i)+strings.Repeat(" ", max(0, len(a)-2)))
	}
	return strings.ReplaceAll(text, " \n", "\n")
}

func TestCheckOfACleanConfigurationPrintsATable(t *testing.T) {
	t.Parallel()
	dir, at := keyed(t, 2)
	node(t, dir, 1)
	got := call(t, dir, "", "check", "Config.json", "--wait", "20s").want(t, 0)
	width := strings.Repeat(" ", len(at[0])-len("address"))
	want := `Config.json: cluster "test", 2 servers, with keys

id  address` + width + `  here  answers                    secret key
0   ` + at[0] + `  yes   no: nothing listens there  ok
1   ` + at[1] + `  yes   yes, a server runs here    ok

no faults
`
	if diff := cmp.Diff(want, got.out); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if got.err != "" {
		t.Errorf("on standard error: %s", got.err)
	}
}

func TestCheckAsJSON(t *testing.T) {
	t.Parallel()
	dir, at := keyed(t, 2)
	os.Remove(filepath.Join(dir, "1.key"))
	got := call(t, dir, "", "check", "Config.json", "--json").want(t, 1)
	want := `{
  "file": "Config.json",
  "cluster": "test",
  "keys": true,
  "servers": [
    {
      "id": 0,
      "address": "` + at[0] + `",
      "here": true,
      "answers": "no: nothing listens there",
      "key": "ok"
    },
    {
      "id": 1,
      "address": "` + at[1] + `",
      "here": true,
      "answers": "no: nothing listens there",
      "key": "bad"
    }
  ],
  "faults": [
    {
      "server": 1,
      "about": "key",
      "text": "1.key: there is no such file, and the server cannot start without its key"
    }
  ],
  "notes": []
}
`
	if diff := cmp.Diff(want, got.out); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// Each row is one fault, which check must find without finding another.
func TestCheckFinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string, at []string) (args []string)
		want  string // in the text of the fault
	}{
		{"a fault of the configuration", func(t *testing.T, dir string, at []string) []string {
			write(t, dir, "Config.json", strings.Replace(read(t, filepath.Join(dir, "Config.json")), `"cluster"`, `"sendTimeout": 1, "cluster"`, 1), 0o644)
			return nil
		}, "sendTimeout: got the number 1"},
		{"keys for some only", func(t *testing.T, dir string, at []string) []string {
			cfg := load(t, dir)
			text := strings.Replace(read(t, filepath.Join(dir, "Config.json")), fmt.Sprintf(`, "public_key": %q`, cfg.Peers[1].PublicKey), "", 1)
			write(t, dir, "Config.json", text, 0o644)
			return nil
		}, "public_key is missing"},
		{"the same key twice", func(t *testing.T, dir string, at []string) []string {
			cfg := load(t, dir)
			text := strings.Replace(read(t, filepath.Join(dir, "Config.json")), cfg.Peers[1].PublicKey, cfg.Peers[0].PublicKey, 1)
			write(t, dir, "Config.json", text, 0o644)
			write(t, dir, "1.key", read(t, filepath.Join(dir, "0.key")), 0o600)
			return nil
		}, "is also that of peers[0]"},
		{"two names of one address", func(t *testing.T, dir string, at []string) []string {
			local := strings.Replace(at[0], "127.0.0.1", "localhost", 1)
			write(t, dir, "Config.json", strings.Replace(read(t, filepath.Join(dir, "Config.json")), at[1], local, 1), 0o644)
			return nil
		}, "which is also the address of server 0"},
		{"another program at the port", func(t *testing.T, dir string, at []string) []string {
			serve(t, at[0], "HTTP/1.1 400 Bad Request\r\n\r\n")
			return nil
		}, "it does not speak ZeroMQ's protocol"},
		{"a program that says nothing", func(t *testing.T, dir string, at []string) []string {
			serve(t, at[0], "")
			return []string{"--wait", "200ms"}
		}, "the port is in use on this machine"},
		{"a server without keys", func(t *testing.T, dir string, at []string) []string {
			plain := t.TempDir()
			write(t, plain, "Config.json", fmt.Sprintf(`{"cluster":"test","peers":[{"id":0,"address":%q}]}`, at[0]), 0o644)
			node(t, plain, 0)
			return nil
		}, "what answers has no keys, and the configuration has"},
		{"a missing key of a server that can only be here", func(t *testing.T, dir string, at []string) []string {
			os.Remove(filepath.Join(dir, "1.key"))
			return nil
		}, "there is no such file"},
		{"a key that others can read", func(t *testing.T, dir string, at []string) []string {
			os.Chmod(filepath.Join(dir, "1.key"), 0o644)
			return nil
		}, "run chmod 600 1.key"},
		{"another server's key", func(t *testing.T, dir string, at []string) []string {
			write(t, dir, "1.key", read(t, filepath.Join(dir, "0.key")), 0o600)
			return nil
		}, "this is the key of server 0"},
		{"another server's key, by --key-file", func(t *testing.T, dir string, at []string) []string {
			return []string{"-id", "1", "--key-file", "0.key"}
		}, "this is the key of server 0"},
		{"nobody's key", func(t *testing.T, dir string, at []string) []string {
			call(t, dir, "", "keygen", "-id", "1", "--force").want(t, 0)
			return nil
		}, "and the entry of server 1 has"},
		{"a key file without a key", func(t *testing.T, dir string, at []string) []string {
			write(t, dir, "1.key", "# soon\n", 0o600)
			return nil
		}, "want one line with a key"},
		{"a key from the future", func(t *testing.T, dir string, at []string) []string {
			soon := time.Now().Add(time.Hour)
			os.Chtimes(filepath.Join(dir, "1.key"), soon, soon)
			return nil
		}, "the clock of this machine"},
		{"a configuration from the future", func(t *testing.T, dir string, at []string) []string {
			soon := time.Now().Add(time.Hour)
			os.Chtimes(filepath.Join(dir, "Config.json"), soon, soon)
			return nil
		}, "the clock of this machine"},
		{"an id that no entry has", func(t *testing.T, dir string, at []string) []string {
			return []string{"-id", "5"}
		}, "no entry has the id 5"},
		{"observers alone", func(t *testing.T, dir string, at []string) []string {
			write(t, dir, "Config.json", strings.ReplaceAll(read(t, filepath.Join(dir, "Config.json")), `"public_key"`, `"observer": true, "public_key"`), 0o644)
			return nil
		}, "each entry is an observer"},
		{"an address that is not here", func(t *testing.T, dir string, at []string) []string {
			write(t, dir, "Config.json", strings.Replace(read(t, filepath.Join(dir, "Config.json")), `"`+at[0]+`"`, `"ipc://`+dir+`/socket"`, 1), 0o644)
			write(t, dir, "socket", "no socket", 0o644)
			return nil
		}, "exists and is not a socket"},
		{"a path in no directory", func(t *testing.T, dir string, at []string) []string {
			write(t, dir, "Config.json", strings.Replace(read(t, filepath.Join(dir, "Config.json")), `"`+at[0]+`"`, `"ipc://`+dir+`/none/socket"`, 1), 0o644)
			return nil
		}, "/none: no such file or directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, at := keyed(t, 2)
			args := c.spoil(t, dir, at)
			got := call(t, dir, "", append([]string{"check", "Config.json", "--json"}, args...)...).want(t, 1)
			var r report
			if err := json.Unmarshal([]byte(got.out), &r); err != nil {
				t.Fatal(err)
			}
			if len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Text, c.want) {
				t.Errorf("the faults are %v, want one with %q in it", hidden(fmt.Sprint(r.Faults), at), c.want)
			}
			call(t, dir, "", append([]string{"check", "Config.json"}, args...)...).want(t, 1, "1 fault:", c.want)
		})
	}
}

// serve accepts connections at the address, says that on each, and no more.
func serve(t *testing.T, at, says string) {
	t.Helper()
	serveEach(t, at, func(c io.ReadWriteCloser) {
		if says != "" {
			bufio.NewReader(c).ReadByte()
			io.WriteString(c, says)
			c.Close()
		}
	})
}

// serveEach accepts connections at the address, and calls each with them, until the test
// ends.
func serveEach(t *testing.T, at string, each func(io.ReadWriteCloser)) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // The cleanup ends it.
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			each(c)
		}
	}()
}

func TestCheckReportsAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	dir, at := configured(t, 4)
	write(t, dir, "Config.json", fmt.Sprintf(`{"peers": [
  {"id": 0, "address": %q},
  {"id": 1, "adress": %q},
  {"id": 2, "address": %q},
  {"id": 2, "address": %q}
], "linger": 5}`, at[0], at[1], at[2], at[3]), 0o644)
	serve(t, at[2], "220 mail\r\n")
	call(t, dir, "", "check", "Config.json").want(t, 1,
		`Config.json:3:13: peers[1] (id 1): unknown field "adress": did you mean "address"?`,
		"Config.json:6:14: linger: got the number 5",
		"id 2 is also that of peers[2]",
		"server 2: "+at[2]+": what answers is no server of a cluster",
		"4 faults:", "the rest is about the servers whose entries can be understood")
	call(t, dir, "", "check", "nowhere.json").want(t, 1, "no such file", "no servers were found", "1 fault:")
}

func TestCheckTakesAServerThatDoesNotAnswerForNoFault(t *testing.T) {
	t.Parallel()
	dir, at := configured(t, 3)
	l := listening(t, dir, "Config.json", "-id", "1")
	l.Process.Kill()
	l.ended(t)
	got := call(t, dir, "", "check", "Config.json").want(t, 0, "no faults")
	if n := strings.Count(got.out, "no: nothing listens there"); n != 3 {
		t.Errorf("%d servers do not answer, want 3:\n%s", n, hidden(got.out, at))
	}
}

func TestCheckKnowsAServerBehindAnotherAddress(t *testing.T) {
	t.Parallel()
	dir, at := configured(t, 2)
	_, port, _ := strings.Cut(at[1], ":")
	write(t, dir, "Config.json", fmt.Sprintf(`{"peers":[{"id":0,"address":%q,"bind":"*:%s"}]}`, at[0], port), 0o644)
	node(t, dir, 0)
	call(t, dir, "", "check", "Config.json", "--wait", "20s").want(t, 0, "no: nothing listens there", "no faults")
}

func TestCheckReportsANameThatDoesNotResolve(t *testing.T) {
	noNameServers.Store(true)
	t.Cleanup(func() { noNameServers.Store(false) })
	dir := t.TempDir()
	config := write(t, dir, "Config.json", `{"peers":[{"id":0,"address":"nowhere.invalid:80"},{"id":1,"address":"127.0.0.1:1","bind":"nowhere.invalid:1"}]}`, 0o644)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"cluster", "check", config}, streams{nil, &out, &errs}); code != exitFailed {
		t.Errorf("the exit code is %d, want 1", code)
	}
	for _, want := range []string{`server 0: address "nowhere.invalid:80": `, `server 1: bind "nowhere.invalid:1": `, "no: its name does not resolve", "2 faults"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s%s", want, &out, &errs)
		}
	}
}

func TestCheckWarnsOfKeysThatAreNotUsed(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 1)
	call(t, dir, "", "keygen", "-id", "0").want(t, 0)
	call(t, dir, "", "check", "Config.json").want(t, 0, "the servers talk in plaintext")
}
