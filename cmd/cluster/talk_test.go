package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
)

func TestWhatIsSentIsPrintedByListen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(testing.TB, int) (string, []string)
		sent string
	}{
		{"without keys", configured, "server 1: %s written\n"},
		{"with keys", keyed, "server 1: %s written (encrypted)\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, _ := c.make(t, 2)
			l := listening(t, dir, "Config.json", "-id", "1")
			sent := call(t, dir, "", "send", "Config.json", "-id", "0", "--to", "1", "hello\nthere").want(t, 0)
			if want := fmt.Sprintf(c.sent, "1 message"); sent.out != want {
				t.Errorf("send printed %q, want %q", sent.out, want)
			}
			if got := l.line(t); !strings.HasPrefix(got, "0 ") || !strings.HasSuffix(got, ` string "hello\nthere"`) {
				t.Errorf("got %s", got)
			}
			sent = call(t, dir, "a\r\n\nb", "send", "Config.json", "-id", "0", "--to", "all", "-").want(t, 0)
			if want := fmt.Sprintf(c.sent, "3 messages"); sent.out != want {
				t.Errorf("send printed %q, want %q", sent.out, want)
			}
			for _, want := range []string{"a", "", "b"} {
				if got := l.line(t); !strings.HasSuffix(got, fmt.Sprintf(" string %q", want)) {
					t.Errorf("got %s, want %q", got, want)
				}
			}
			if err := l.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if code := l.ended(t); code != 0 {
				t.Errorf("listen ended with %d after an interrupt, want 0:\n%s", code, l.stderr())
			}
		})
	}
}

func TestListenPrintsEachTypeOnOneLine(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	dir, _ := configured(t, 2)
	l := listening(t, dir, "Config.json", "-id", "1", "--count", "10")
	n := node(t, dir, 0)
	for i, m := range []struct {
		value any
		want  string
	}{
		{nil, "nil nil"}, {true, "bool true"}, {-5, "int -5"}, {uint8(7), "uint8 7"}, {1.5, "float64 1.5"},
		{"a \"b\"\n", `string "a \"b\"\n"`}, {[]byte("c\x00\n"), `[]byte "c\x00\n"`}, {day, "time.Time 2026-01-02T03:04:05.000000006Z"},
		{[]string{"d\ne", "f"}, `[]string []string{"d\ne", "f"}`}, {map[string]int{"g": 1}, `map[string]int map[string]int{"g":1}`},
	} {
		if err := n.Send(t.Context(), &cluster.Envelope{Pid: 1, MsgId: int64(i + 1), Msg: m.value}); err != nil {
			t.Fatal(err)
		}
		if got, want := l.line(t), fmt.Sprintf("0 %d %s", i+1, m.want); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if code := l.ended(t); code != 0 {
		t.Errorf("listen ended with %d after 10 messages, want 0:\n%s", code, l.stderr())
	}
}

func TestListenPrintsJSON(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	l := listening(t, dir, "Config.json", "-id", "1", "--json")
	n := node(t, dir, 0)
	for _, m := range []struct {
		value, want any
		encoding    string
	}{
		{"a<b", "a<b", ""}, {5, 5.0, ""}, {nil, nil, ""}, {"\uFFFD", "\uFFFD", ""},
		{[]byte("hi"), "aGk=", "base64"}, {"\xffhi", "/2hp", "base64"},
		{map[bool]int{true: 1}, "map[bool]int{true:1}", "go"}, {math.Inf(1), "+Inf", "go"},
		{[]string{"ok", "\xff"}, `[]string{"ok", "\xff"}`, "go"}, {map[string]int{"\xff": 1}, `map[string]int{"\xff":1}`, "go"},
		{[]any{"\xff"}, `[]interface {}{"\xff"}`, "go"}, {[]string{"a", "b"}, []any{"a", "b"}, ""},
	} {
		if err := n.Send(t.Context(), &cluster.Envelope{Pid: 1, MsgId: 1<<62 + 1, Msg: m.value}); err != nil {
			t.Fatal(err)
		}
		var got line
		if err := json.Unmarshal([]byte(l.line(t)), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(line{0, "4611686018427387905", typeName(m.value), m.want, false, m.encoding}, got); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
	}
}

// Whoever calls the command is told at once that nobody replies there.
func TestARequestIsPrintedAndDeclined(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"listen"}, ` request string "what time is it?"`},
		{[]string{"listen", "--json"}, `"type":"string","value":"what time is it?","request":true}`},
		{[]string{"run", "--json"}, `"type":"string","value":"what time is it?","request":true}`},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			dir, _ := configured(t, 2)
			l := running(t, dir, append(c.args, "Config.json", "-id", "1")...)
			eventually(t, "it is a server", func() bool { return strings.Contains(l.stderr(), "server 1 ") })
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := node(t, dir, 0).Call(ctx, 1, "what time is it?")
			var remote *cluster.RemoteError
			if !errors.As(err, &remote) || !strings.Contains(remote.Text, "nobody replies here") {
				t.Errorf("the call returned %v", err)
			}
			if got := l.line(t); !strings.HasSuffix(got, c.want) {
				t.Errorf("got %s, want %s at its end", got, c.want)
			}
		})
	}
}

// mine is a type that this test's program alone knows.
type mine struct{ Text string }

func TestListenTellsWhatItCouldNotPrint(t *testing.T) {
	t.Parallel()
	cluster.Register("commandtest.mine", mine{})
	dir, _ := configured(t, 2)
	l := listening(t, dir, "Config.json", "-id", "1", "--count", "1")
	n := node(t, dir, 0)
	for _, m := range []any{mine{"x"}, "after it"} {
		if err := n.Send(t.Context(), &cluster.Envelope{Pid: 1, Msg: m}); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.line(t); !strings.HasSuffix(got, `"after it"`) {
		t.Errorf("got %s", got)
	}
	if code := l.ended(t); code != 0 {
		t.Errorf("listen ended with %d, want 0", code)
	}
	for _, want := range []string{"not everything could be printed", "refused from 0: unregistered 1", "commandtest.mine"} {
		if !strings.Contains(l.stderr(), want) {
			t.Errorf("%q is not in:\n%s", want, l.stderr())
		}
	}
}

func TestListenEndsInTime(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 1)
	call(t, dir, "", "listen", "Config.json", "-id", "0", "--timeout", "50ms").want(t, 0)
	call(t, dir, "", "listen", "Config.json", "-id", "0", "--timeout", "50ms", "--count", "2").want(t, 1, "0 of 2 messages came")
}

func TestSendReportsWhatWasDropped(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 4)
	living := listening(t, dir, "Config.json", "-id", "1")
	killed := listening(t, dir, "Config.json", "-id", "2")
	killed.Process.Kill()
	killed.ended(t)
	got := call(t, dir, "", "send", "Config.json", "-id", "0", "--to", "1,2,3", "hello").want(t, 1)
	if want := "server 1: 1 message written\n"; got.out != want {
		t.Errorf("on standard output is %q, want %q", got.out, want)
	}
	want := "server 2: 1 message dropped: timed out\nserver 3: 1 message dropped: timed out\ncluster: 2 messages dropped\n"
	if got.err != want {
		t.Errorf("on standard error is %q, want %q", got.err, want)
	}
	living.line(t)
	// Of several errors each is on a line of its own, and says whose it is.
	got = call(t, dir, "", "send", "Config.json", "-id", "0", "--to", "3", "--timeout", "500ms", "hello").want(t, 1)
	want = "server 3: 1 message dropped: closed\ncluster: not done within 500ms (--timeout)\ncluster: 1 message dropped\n"
	if got.err != want {
		t.Errorf("on standard error is %q, want %q", got.err, want)
	}
	call(t, dir, "", "send", "Config.json", "-id", "0", "--to", "1,7", "hello").want(t, 1, "the ids are [0 1 2 3]")
}

func TestPingTellsWhetherAServerAnswers(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(testing.TB, int) (string, []string){"without keys": configured, "with keys": keyed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, at := make(t, 3)
			l := listening(t, dir, "Config.json", "-id", "1")
			got := call(t, dir, "", "ping", "Config.json", "-id", "0", "--to", "1", "--interval", "1ms").want(t, 0,
				"server 1: asking at tcp://"+at[1], "server 1: 1: answered in ", ", with the time to connect\n", "3: answered in ", "3 of 3 answered; after the first: least ")
			if encrypted := strings.Contains(got.out, "(encrypted)"); encrypted != (name == "with keys") {
				t.Errorf("encrypted is %t:\n%s", encrypted, got.out)
			}
			if got := call(t, dir, "", "send", "Config.json", "-id", "0", "--to", "1", "a message"); got.code != 0 {
				t.Errorf("sending after it: %v", got)
			}
			if got := l.line(t); !strings.Contains(got, "a message") {
				t.Errorf("the program noticed: %s", got)
			}

			call(t, dir, "", "ping", "Config.json", "-id", "0", "--to", "2", "--wait", "100ms", "--interval", "1ms").want(t, 1,
				"1: no connection", "0 of 3 answered", "server 2 does not answer")
			l.Process.Kill()
			l.ended(t)
			call(t, dir, "", "ping", "Config.json", "-id", "0", "--to", "1", "--wait", "100ms", "-n", "1").want(t, 1, "0 of 1 answered")
			call(t, dir, "", "ping", "Config.json", "-id", "0", "--to", "1", "--wait", "1m", "--deadline", "1s", "-n", "1000").want(t, 1, "0 of 1 answered")
		})
	}
}

func TestSendAndCheckFailWherePingDoes(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	listening(t, dir, "Config.json", "-id", "1")
	write(t, dir, "other.json", strings.Replace(read(t, dir+"/Config.json"), `"test"`, `"another"`, 1), 0o644)
	for _, command := range [][]string{
		{"ping", "other.json", "-id", "0", "--to", "1", "-n", "1", "--wait", "2s"},
		{"send", "other.json", "-id", "0", "--to", "1", "hello"},
		{"check", "other.json", "-id", "0"},
	} {
		call(t, dir, "", command...).want(t, 1)
	}
	got := call(t, dir, "", "send", "other.json", "-id", "0", "--to", "1", "hello").want(t, 1, "1 message not acknowledged")
	if !strings.Contains(got.err, "another cluster") || !strings.Contains(got.err, "not list this server") {
		t.Errorf("it does not name the likely causes: %s", got.err)
	}
}

// A server that runs somewhere else, while its port is free here, keeps its place.
func TestCheckTakesNoServersPlaceThatAnswers(t *testing.T) {
	t.Parallel()
	dir, at := configured(t, 2)
	listening(t, dir, "Config.json", "-id", "0")
	listening(t, dir, "Config.json", "-id", "1")
	write(t, dir, "elsewhere.json", strings.Replace(read(t, dir+"/Config.json"), `"address": "`+at[0]+`"`,
		`"address": "`+at[0]+`", "bind": "`+addresses(t, 1)[0]+`"`, 1), 0o644)
	call(t, dir, "", "check", "elsewhere.json", "-id", "0", "--wait", "20s").want(t, 0)
}

func TestAnObserverIsLeftOutOfAll(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 3)
	file := filepath.Join(dir, "Config.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`{ "id": 2,`), []byte(`{ "id": 2, "observer": true,`), 1)
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	l := listening(t, dir, "Config.json", "-id", "1")
	call(t, dir, "", "ping", "Config.json", "-id", "2", "--to", "1", "-n", "1").want(t, 0, "1 of 1 answered")
	// Server 2 does not run, and nobody misses it.
	call(t, dir, "", "ping", "Config.json", "-id", "0", "--to", "all", "-n", "1").want(t, 0, "server 1: 1 of 1 answered")
	call(t, dir, "", "send", "Config.json", "-id", "0", "--to", "all", "to all").want(t, 0, "server 1: 1 message written")
	if got := l.line(t); !strings.Contains(got, "to all") {
		t.Errorf("got %s", got)
	}
	call(t, dir, "", "check", "Config.json", "--wait", "20s").want(t, 0, "2 servers and 1 observer, no keys")
}

func TestPingTellsThatAnAnswerCannotComeBack(t *testing.T) {
	t.Parallel()
	// Server 1 looks for server 0 where nobody is.
	theirs, at := configured(t, 2)
	ours, elsewhere := configured(t, 1)
	text := read(t, filepath.Join(theirs, "Config.json"))
	write(t, ours, "Config.json", strings.Replace(text, at[0], elsewhere[0], 1), 0o644)
	listening(t, theirs, "Config.json", "-id", "1")
	call(t, ours, "", "ping", "Config.json", "-id", "0", "--to", "1", "-n", "1", "--wait", "2s").want(t, 1,
		"1: connected, and no answer", "0 of 1 answered")
}

func TestPingTakesNothingButAnAnswerForOne(t *testing.T) {
	t.Parallel()
	// What is sent to server 1 reaches server 2, and server 1 sends all the time.
	theirs, at := configured(t, 3)
	node(t, theirs, 2)
	one := node(t, theirs, 1)
	ours := t.TempDir()
	write(t, ours, "Config.json", fmt.Sprintf(`{"cluster":"test","peers":[{"id":0,"address":%q},{"id":1,"address":%q}]}`, at[0], at[2]), 0o644)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { // cancel ends it, and the test waits for ended.
		defer close(ended)
		for ctx.Err() == nil {
			one.Send(ctx, &cluster.Envelope{Pid: 0, Msg: "chatter"})
			time.Sleep(5 * time.Millisecond)
		}
	}()
	call(t, ours, "", "ping", "Config.json", "-id", "0", "--to", "1", "-n", "2", "--wait", "500ms").want(t, 1, "0 of 2 answered")
	cancel()
	<-ended
	if n := one.Stats().Peers[0].Sent.Sent; n == 0 {
		t.Error("server 1 has sent nothing")
	}
}

// Whoever takes a server's place must have its key, and nobody else may be there.
func TestJoiningFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string) (args []string)
		code  int
		want  []string
	}{
		{"the server is running", func(t *testing.T, dir string) []string {
			listening(t, dir, "Config.json", "-id", "0")
			return nil
		}, 1, []string{"address already in use", "If server 0 itself is running there"}},
		{"others can read the key", func(t *testing.T, dir string) []string {
			os.Chmod(filepath.Join(dir, "0.key"), 0o640)
			return nil
		}, 1, []string{"0640", "run chmod 600"}},
		{"no key", func(t *testing.T, dir string) []string {
			os.Remove(filepath.Join(dir, "0.key"))
			return nil
		}, 1, []string{"the secret key of server 0", "no such file"}},
		{"another's key", func(t *testing.T, dir string) []string {
			return []string{"--key-file", filepath.Join(dir, "1.key")}
		}, 1, []string{"1.key", "public key"}},
		{"no configuration", func(t *testing.T, dir string) []string {
			os.Remove(filepath.Join(dir, "Config.json"))
			return nil
		}, 1, []string{"no such file"}},
		{"a wrong configuration", func(t *testing.T, dir string) []string {
			write(t, dir, "Config.json", `{"peers":[{"id":0}]}`, 0o644)
			return nil
		}, 1, []string{"Config.json:1:11: peers[0] (id 0): address is missing"}},
		{"an address inside one process", func(t *testing.T, dir string) []string {
			write(t, dir, "Config.json", `{"peers":[{"id":0,"address":"mem://a"},{"id":1,"address":"mem://b"}]}`, 0o644)
			return nil
		}, 1, []string{"inside one process"}},
		{"no such server", func(t *testing.T, dir string) []string { return []string{"-id", "9"} }, 1, []string{"no entry has the id 9"}},
		{"an unknown flag", func(t *testing.T, dir string) []string { return []string{"--idd", "9"} }, 2, []string{"-idd", "--help"}},
		{"too much", func(t *testing.T, dir string) []string { return []string{"a", "b"} }, 2, []string{"one argument too many"}},
	} {
		for _, command := range [][]string{{"listen", "Config.json"}, {"send", "Config.json", "hello", "--to", "1"}, {"ping", "Config.json", "--to", "1"}} {
			t.Run(c.name+"/"+command[0], func(t *testing.T) {
				t.Parallel()
				dir, _ := keyed(t, 2)
				more := c.spoil(t, dir)
				got := call(t, dir, "", append(append(command, "-id", "0"), more...)...).want(t, c.code, c.want...)
				if got.out != "" {
					t.Errorf("on standard output: %s", got.out)
				}
			})
		}
	}
}
