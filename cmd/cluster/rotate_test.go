package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRotationKeepsServersTalkingAtEachStep(t *testing.T) {
	t.Parallel()
	dir, _ := keyed(t, 2)
	config := filepath.Join(dir, "Config.json")
	before := load(t, dir)
	got := call(t, dir, "", "keygen", "Config.json", "-id", "1", "--rotate").want(t, 0)
	want := `1.key.new: the new secret key of server 1, which nobody else may have
Config.json: server 1 has a new public_key, and the old one as previous_public_key

Next, in this order:
  1. Give all servers this Config.json, and restart the others one by one.
     Server 1 goes on with its old key meanwhile.
  2. At server 1:  mv 1.key.new 1.key  and restart it.
  3. Remove previous_public_key from its entry, give all servers the file again,
     and restart them one by one. From then on the old key opens nothing.
`
	if diff := cmp.Diff(want, got.out); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if p := load(t, dir).Peers[1]; p.PreviousPublicKey != before.Peers[1].PublicKey || p.PublicKey == p.PreviousPublicKey {
		t.Errorf("the keys of server 1 are %q, and it was %q", p.Keys(), before.Peers[1].PublicKey)
	}
	call(t, dir, "", "keygen", "Config.json", "-id", "1", "--rotate").want(t, 1, "finish that change")
	call(t, dir, "", "check", "Config.json").want(t, 0, "ok, the previous one", "1.key.new waits")

	talk := func(step string) {
		t.Helper()
		l := listening(t, dir, "Config.json", "-id", "1", "--count", "1")
		call(t, dir, "", "ping", "Config.json", "-id", "0", "--to", "1", "-n", "1").want(t, 0, "1 of 1 answered")
		call(t, dir, "", "send", "Config.json", "-id", "0", "--to", "1", step).want(t, 0)
		if got := l.line(t); !strings.HasSuffix(got, `"`+step+`"`) {
			t.Errorf("got %s", got)
		}
		if code := l.ended(t); code != 0 {
			t.Errorf("listen ended with %d:\n%s", code, l.stderr())
		}
	}
	talk("with the old key")
	if err := os.Rename(filepath.Join(dir, "1.key.new"), filepath.Join(dir, "1.key")); err != nil {
		t.Fatal(err)
	}
	talk("with the new key")
	previous := regexp.MustCompile(`, "previous_public_key": "[^"]*"`)
	write(t, dir, "Config.json", previous.ReplaceAllString(read(t, config), ""), 0o644)
	talk("without the old key")
}
