package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/curve"
)

// FuzzKeysOfAConfiguration gives the servers of a configuration keys, and then others, and
// takes the previous ones out again. Each time the result loads, has the keys, and is otherwise what it was; and without
// the members that were put in it is the same byte for byte.
func FuzzKeysOfAConfiguration(f *testing.F) {
	for _, c := range written {
		text := c.before
		for port := 1; strings.Contains(text, `"A"`) || strings.Contains(text, `P`) && port < 20; port++ {
			text = strings.Replace(text, `"A"`, fmt.Sprintf(`"127.0.0.1:%d"`, port), 1)
			text = strings.Replace(text, `"P"`, fmt.Sprintf(`"%d"`, port), 1)
			text = strings.Replace(text, `:P`, fmt.Sprintf(`:%d`, port), 1)
		}
		f.Add([]byte(text))
	}
	f.Add([]byte(`[]`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"peers":[1,[],{}]}`))
	f.Add([]byte(`"peers"`))
	keys := make([]string, 20)
	for i := range keys {
		keys[i], _, _ = curve.Generate()
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := findEntries(text)
		if err != nil || len(found.entries) == 0 || len(found.entries) > len(keys)/2 {
			return
		}
		before, err := loadText("config", text)
		if err != nil || len(before.Peers) != len(found.entries) || before.Peers[0].PublicKey != "" {
			return // openConfig refuses a file in which a server has no entry
		}

		var edits []edit
		for i, e := range found.entries {
			edit, err := givePublicKey(text, e, keys[i])
			if err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
			edits = append(edits, edit)
		}
		given := apply(text, edits)
		if !bytes.Equal(undone(edits, given), text) {
			t.Errorf("other bytes have changed:\n%s", given)
		}
		after := checkKeys(t, before, given, func(i int, p *peer) { p.PublicKey = keys[i] })

		if found, err = findEntries(given); err != nil {
			t.Fatal(err)
		}
		edits = nil
		for i, e := range found.entries {
			more, err := replacePublicKey(given, e, keys[len(keys)-1-i])
			if err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
			edits = append(edits, more...)
		}
		rotated := apply(given, edits)
		both := checkKeys(t, after, rotated, func(i int, p *peer) {
			p.PreviousPublicKey, p.PublicKey = keys[i], keys[len(keys)-1-i]
		})

		if found, err = findEntries(rotated); err != nil {
			t.Fatal(err)
		}
		var drops, sets []edit
		for i, e := range found.entries {
			drops = append(drops, removeMember(e, e.field("previous_public_key")))
			more, err := setPublicKey(rotated, e, keys[i])
			if err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
			sets = append(sets, more...)
		}
		checkKeys(t, both, apply(rotated, drops), func(_ int, p *peer) { p.PreviousPublicKey = "" })
		checkKeys(t, both, apply(rotated, sets), func(i int, p *peer) { p.PreviousPublicKey, p.PublicKey = "", keys[i] })
	})
}

// checkKeys checks that the text is the configuration before, changed as change does to
// each of its peers.
func checkKeys(t *testing.T, before cluster.Config, text []byte, change func(i int, p *peer)) cluster.Config {
	t.Helper()
	after, err := loadText("config", text)
	if err != nil {
		t.Fatalf("%v, in:\n%s", err, text)
	}
	want := before
	want.Peers = nil
	for i, p := range before.Peers {
		change(i, &p)
		want.Peers = append(want.Peers, p)
	}
	type plain cluster.Config // without methods, which would keep cmp from looking inside
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".file" }, cmp.Ignore())
	if diff := cmp.Diff(plain(want), plain(after), ignore); diff != "" {
		t.Fatalf("want -, got +:\n%s\nin:\n%s", diff, text)
	}
	return after
}

// undone takes out again what the edits, which are in order, have put in; but for those
// of an empty key, which they leave empty.
func undone(edits []edit, text []byte) []byte {
	var out []byte
	from, shift := 0, 0
	for _, e := range edits {
		at := e.at + shift
		out = append(out, text[from:at]...)
		if e.removed > 0 {
			out = append(out, quote("")...)
		}
		from = at + len(e.text)
		shift += len(e.text) - e.removed
	}
	return append(out, text[from:]...)
}
