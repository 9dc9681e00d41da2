package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRotationByThePrintedStepsKeepsServersTalking(t *testing.T) {
	t.Parallel()
	top, _ := keyed(t, 2)
	awkwardly(t, top)
	dir, config := filepath.Join(top, awkward), filepath.Join(awkward, "Config.json")
	before := load(t, dir)
	got := call(t, top, "", "keygen", config, "-id", "1", "--rotate").want(t, 0)
	quoted := func(file string) string { return `'it'\''s "a" $(dir); */` + file + `'` }
	want := awkward + `/1.key.new: the secret key of server 1, which nobody else may have
` + config + `: server 1 has a new public_key, and the old one as previous_public_key

Next, in this order:
  1. Let all servers but server 1 take the changed configuration over: with "reload": true they do so by themselves,
     and cluster run does so at SIGHUP. Restart those that do neither, one by one.
     Server 1 goes on with its old key meanwhile.
  2. Put the new key in the place of the old one, and restart server 1.
       mv ` + quoted("1.key.new") + " " + quoted("1.key") + `
  3. Take the old key out of the configuration, and do what the command prints then.
       cluster keygen ` + quoted("Config.json") + ` -id 1 --drop-previous
`
	if diff := cmp.Diff(want, got.out); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if p := load(t, dir).Peers[1]; p.PreviousPublicKey != before.Peers[1].PublicKey || p.PublicKey == p.PreviousPublicKey {
		t.Errorf("the keys of server 1 are %q, and it was %q", p.Keys(), before.Peers[1].PublicKey)
	}
	call(t, top, "", "keygen", config, "-id", "1", "--rotate").want(t, 1, "finish that change")
	call(t, top, "", "check", config).want(t, 0, "ok, the previous one", "1.key.new waits")

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
	steps := printedCommands(got.out)
	carryOut(t, top, nil, steps[0])
	talk("with the new key")
	out := carryOut(t, top, nil, steps[1])
	if !strings.Contains(out, "From then on the old key opens nothing.") {
		t.Errorf("the last step is missing:\n%s", out)
	}
	if p := load(t, dir).Peers[1]; p.PreviousPublicKey != "" {
		t.Error("the old key is still in the configuration")
	}
	if _, err := os.Lstat(filepath.Join(dir, "1.key.new")); err == nil {
		t.Error("1.key.new is still there")
	}
	talk("without the old key")
}

// A change of key that was given up leaves nothing that would shut the server out: keygen --force deletes the key that was to
// be the next, and check does not say that one waits which the configuration does not have.
func TestAKeyOfAChangeThatWasGivenUpTakesNoPlace(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	call(t, dir, "", "keygen", "Config.json").want(t, 0)
	call(t, dir, "", "keygen", "Config.json", "-id", "1", "--rotate").want(t, 0, "1.key.new")
	next := filepath.Join(dir, "1.key.new")
	text, err := os.ReadFile(next)
	if err != nil {
		t.Fatal(err)
	}
	call(t, dir, "", "keygen", "Config.json", "-id", "1", "--force").want(t, 0, "1.key: the secret key of server 1")
	if _, err := os.Lstat(next); err == nil {
		t.Error("1.key.new is still there")
	}
	call(t, dir, "", "check", "Config.json").want(t, 0, "no faults")

	if err := os.WriteFile(next, text, 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, dir, "", "check", "Config.json").want(t, 0, "1.key.new must not take the place of 1.key")
	if err := os.WriteFile(next, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, dir, "", "check", "Config.json").want(t, 0, "1.key.new cannot take the place of 1.key")
}
