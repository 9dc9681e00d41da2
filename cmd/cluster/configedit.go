package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/abhishekg16/cluster"
)

// An edit puts text in the place of removed bytes of a file. Nearly always it removes
// none.
type edit struct {
	at, removed int
	text        string
}

// apply makes all edits, whose offsets are those of data, and which do not overlap.
func apply(data []byte, edits []edit) []byte {
	slices.SortStableFunc(edits, func(a, b edit) int { return a.at - b.at })
	var out bytes.Buffer
	at := 0
	for _, e := range edits {
		out.Write(data[at:e.at])
		out.WriteString(e.text)
		at = e.at + e.removed
	}
	out.Write(data[at:])
	return out.Bytes()
}

// givePublicKey makes key the public key of an entry that has none, as its last member,
// written as its other members are.
func givePublicKey(data []byte, entry object, key string) (edit, error) {
	if old := entry.field("public_key"); old != nil { // an empty one
		return edit{at: old.at, removed: old.end - old.at, text: quote(key)}, nil
	}
	if len(entry.members) == 0 {
		return edit{}, errors.New("an entry without fields")
	}
	last := entry.members[len(entry.members)-1]
	return edit{at: last.end, text: memberLike(data, entry, "public_key", key)}, nil
}

// setPublicKey makes key the only public key of an entry, whatever it has.
func setPublicKey(data []byte, entry object, key string) ([]edit, error) {
	e, err := givePublicKey(data, entry, key)
	if err != nil {
		return nil, err
	}
	edits := []edit{e}
	if previous := entry.field("previous_public_key"); previous != nil {
		edits = append(edits, removeMember(entry, previous))
	}
	return edits, nil
}

// removeMember takes a member out of an entry that has another one, with the comma before
// it, or behind it if it is the first.
func removeMember(entry object, m *member) edit {
	for i := range entry.members {
		if entry.members[i].nameAt != m.nameAt {
			continue
		}
		if i > 0 {
			from := entry.members[i-1].end
			return edit{at: from, removed: m.end - from}
		}
		return edit{at: m.nameAt, removed: entry.members[1].nameAt - m.nameAt}
	}
	return edit{at: m.at} // it is no member of the entry
}

// replacePublicKey makes key the public key of an entry, and the one that it had the
// previous one.
func replacePublicKey(data []byte, entry object, key string) ([]edit, error) {
	old := entry.field("public_key")
	if old == nil {
		return nil, errors.New("an entry without a public key")
	}
	was := string(data[old.at:old.end])
	edits := []edit{{at: old.at, removed: old.end - old.at, text: quote(key)}}
	if previous := entry.field("previous_public_key"); previous != nil { // an empty one
		return append(edits, edit{at: previous.at, removed: previous.end - previous.at, text: was}), nil
	}
	text := strings.TrimSuffix(memberLike(data, entry, "previous_public_key", ""), quote("")) + was
	return append(edits, edit{at: old.end, text: text}), nil
}

// memberLike writes one more member of an entry, with the comma that comes before it,
// and with the space around the comma and the colon that the entry's last member has.
func memberLike(data []byte, entry object, name, value string) string {
	n := len(entry.members)
	last := entry.members[n-1]
	comma := ", "
	if n > 1 {
		comma = string(data[entry.members[n-2].end:last.nameAt])
	}
	return comma + quote(name) + string(data[last.nameEnd:last.at]) + quote(value)
}

// quote writes text that needs no escapes as a JSON string: no digit of Z85 does.
func quote(text string) string { return `"` + text + `"` }

// loadText is cluster.LoadConfig for a text that is to become the file at path.
func loadText(path string, text []byte) (cluster.Config, error) {
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		return cluster.Config{}, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return cluster.Config{}, err
	}
	cfg, err := cluster.LoadConfig(file)
	if err != nil {
		return cluster.Config{}, errors.New(strings.ReplaceAll(err.Error(), file, path))
	}
	return cfg, nil
}

// loadEdited is loadText for a text that was made of a file by edits of the entries,
// which must all be found again.
func loadEdited(path string, text []byte, entries int) (cluster.Config, error) {
	cfg, err := loadText(path, text)
	if err == nil && len(cfg.Peers) != entries {
		err = fmt.Errorf("%s: %d entries were found, and %d are read", path, entries, len(cfg.Peers))
	}
	return cfg, err
}
