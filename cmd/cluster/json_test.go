package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// decoded is the one JSON value on standard output, of which there is nothing else.
func (r result) decoded(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		t.Fatalf("%v in:\n%s", err, r.out)
	}
	return v
}

func TestKeygenAsJSON(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	call(t, dir, "", "keygen", "-id", "1").want(t, 0)
	got := call(t, dir, "", "keygen", "Config.json", "--json").want(t, 0).decoded(t)
	cfg := load(t, dir)
	want := map[string]any{
		"config": "Config.json",
		"keys": []any{
			map[string]any{"server": 0.0, "file": "0.key", "public_key": cfg.Peers[0].PublicKey, "new": true},
			map[string]any{"server": 1.0, "file": "1.key", "public_key": cfg.Peers[1].PublicKey, "new": false},
		},
	}
	next, _ := got["next"].([]any)
	delete(got, "next")
	if diff := cmp.Diff(want, got); diff != "" || len(next) != 1 {
		t.Errorf("want -, got +:\n%s\nand %d steps, want 1", diff, len(next))
	}
	nothing := call(t, dir, "", "keygen", "Config.json", "--json").want(t, 0).decoded(t)
	if diff := cmp.Diff(map[string]any{"config": "Config.json", "keys": []any{}}, nothing); diff != "" {
		t.Errorf("where there is nothing to do: want -, got +:\n%s", diff)
	}

	rotated := call(t, dir, "", "keygen", "Config.json", "-id", "1", "--rotate", "--json").want(t, 0).decoded(t)
	var commands []any
	for _, s := range rotated["next"].([]any) {
		if c, ok := s.(map[string]any)["commands"]; ok {
			commands = append(commands, c.([]any)...)
		}
	}
	if diff := cmp.Diff([]any{"mv 1.key.new 1.key", "cluster keygen Config.json -id 1 --drop-previous"}, commands); diff != "" {
		t.Errorf("the commands: want -, got +:\n%s", diff)
	}
	alone := call(t, dir, "", "keygen", "-id", "5", "--json").want(t, 0).decoded(t)
	key := alone["keys"].([]any)[0].(map[string]any)
	if public, err := existingKey(dir + "/5.key"); err != nil || key["public_key"] != public || alone["config"] != nil {
		t.Errorf("got %v, %v, want the public key %s", alone, err, public)
	}
}

func TestSendAsJSON(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 3)
	listening(t, dir, "Config.json", "-id", "1")
	got := call(t, dir, "a\nb\n", "send", "Config.json", "-id", "0", "--to", "all", "--json", "-").want(t, 1, "2 messages dropped")
	want := map[string]any{
		"servers": []any{
			map[string]any{"id": 1.0, "written": 2.0, "encrypted": false},
			map[string]any{"id": 2.0, "written": 0.0, "encrypted": false, "dropped": map[string]any{"timed out": 2.0}},
		},
		"written": 2.0, "dropped": 2.0,
	}
	if diff := cmp.Diff(want, got.decoded(t)); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	write(t, dir, "small.json", `{"maxMessageBytes":10,`+read(t, dir+"/Config.json")[1:], 0o644)
	got = call(t, dir, "", "send", "small.json", "-id", "0", "--to", "1", "--json", "far more than ten bytes").want(t, 1, "1 message dropped")
	want = map[string]any{"servers": []any{}, "unaddressed": map[string]any{"too large": 1.0}, "written": 0.0, "dropped": 1.0}
	if diff := cmp.Diff(want, got.decoded(t)); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestPingAsJSON(t *testing.T) {
	t.Parallel()
	dir, at := keyed(t, 3)
	listening(t, dir, "Config.json", "-id", "1")
	got := call(t, dir, "", "ping", "Config.json", "-id", "0", "--to", "all", "-n", "2", "--interval", "1ms", "--wait", "2s", "--json").
		want(t, 1, "server 2 does not answer").decoded(t)
	for _, s := range got["servers"].([]any) {
		for _, a := range s.(map[string]any)["answers"].([]any) {
			if ms, ok := a.(map[string]any)["ms"]; ok && ms.(float64) > 0 {
				a.(map[string]any)["ms"] = "some"
			}
		}
	}
	some, none := map[string]any{"ms": "some"}, map[string]any{"error": errNoConnection.Error()}
	want := map[string]any{
		"from": 0.0, "asked": 4.0, "answered": 2.0,
		"servers": []any{
			map[string]any{"id": 1.0, "endpoint": "tcp://" + at[1], "encrypted": true, "asked": 2.0, "answered": 2.0, "answers": []any{some, some}},
			map[string]any{"id": 2.0, "endpoint": "tcp://" + at[2], "encrypted": true, "asked": 2.0, "answered": 0.0, "answers": []any{none, none}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestPingAsksSeveralServersAtOnce(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(testing.TB, int) (string, []string){"without keys": configured, "with keys": keyed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _ := make(t, 4)
			for id := 1; id < 4; id++ {
				node(t, dir, id)
			}
			call(t, dir, "", "ping", "Config.json", "-id", "0", "--to", "all", "-n", "2", "--interval", "1ms").want(t, 0,
				"server 1: 2 of 2 answered", "server 2: 2 of 2 answered", "server 3: 2 of 2 answered")
			got := call(t, dir, "", "ping", "Config.json", "-id", "0", "--to", "3,1,3", "-n", "1").want(t, 0,
				"server 1: 1 of 1 answered", "server 3: 1 of 1 answered")
			if len(printedLines(got.out, "server 2:")) > 0 || len(printedLines(got.out, "server 3: 1 of 1")) != 1 {
				t.Errorf("it printed:\n%s", got.out)
			}
			call(t, dir, "", "ping", "Config.json", "-id", "0", "--to", "1,9").want(t, 1, "no entry has the id 9; the ids are [0 1 2 3]")
		})
	}
}

// printedLines are the lines that begin with prefix.
func printedLines(text, prefix string) (found []string) {
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, prefix) {
			found = append(found, l)
		}
	}
	return found
}
