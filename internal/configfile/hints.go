package configfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/abhishekg16/cluster/peercatalog"
)

// slipped reports whether a name was taken for a misspelling of this one of ours.
func (f fields) slipped(ours string) bool {
	return slices.ContainsFunc(f, func(v value) bool { return v.slip == ours })
}

// meant returns which of the program's own fields may stand for the one of ours that is
// missing, or "". It is generous with names, for something is wrong for certain, but what
// is of another kind was not meant. The only address there is may have any name.
func (f fields) meant(ours string) string {
	var addresses []string
	for _, v := range f {
		switch {
		case v.ours != "" || v.slip != "":
		case resembles(v.name, ours) && canBe(ours, v.raw):
			return v.name
		case ours == "address" && isAddress(v.raw):
			addresses = append(addresses, v.name)
		}
	}
	if len(addresses) != 1 {
		return ""
	}
	return addresses[0]
}

// resembles reports whether a name begins as one of ours does or, if that is short, has it inside.
func resembles(name, ours string) bool {
	s := squash(name)
	if len(ours) <= 3 {
		return strings.Contains(s, ours) && len(s) <= 2*len(ours)
	}
	return strings.HasPrefix(s, ours[:3])
}

// canBe reports whether a value is of a kind that a field of ours has.
func canBe(ours string, raw []byte) bool {
	switch ours {
	case "peers":
		return json.Unmarshal(raw, new([]map[string]json.RawMessage)) == nil
	case "address", "ip":
		return raw[0] == '"'
	}
	return strings.IndexByte(`"-0123456789`, raw[0]) >= 0 // a number, of whatever form
}

func isAddress(raw []byte) bool {
	s, ok := unquote(raw)
	return ok && peercatalog.Peer{Address: s}.DialEndpoint() != ""
}

// NoPeers returns what to say of a configuration without peers, with these fields of the
// program.
func NoPeers(extra map[string]json.RawMessage) string {
	const want = `no peers: want at least one, as in {"peers": [{"id": 0, "address": "127.0.0.1:8081"}]}`
	if lists := listsOfServers(extra); len(lists) > 0 {
		return want + "; did you mean them by " + strings.Join(lists[:min(len(lists), 3)], " or ") + "?"
	}
	return want
}

// listsOfServers returns the names, in quotes, of what looks like the value of peers,
// with fields of whatever names.
func listsOfServers(fields map[string]json.RawMessage) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		var inside map[string]json.RawMessage
		var entries []map[string]json.RawMessage
		if json.Unmarshal(fields[name], &inside) == nil {
			for _, n := range listsOfServers(inside) {
				names = append(names, fmt.Sprintf("%s in %.60q", n, name))
			}
		} else if json.Unmarshal(fields[name], &entries) == nil && len(entries) > 0 {
			for n, v := range entries[0] {
				if Match(n, bareFields) != "" || resembles(n, "id") || isAddress(v) {
					names = append(names, fmt.Sprintf("%.60q", name))
					break
				}
			}
		}
	}
	return names
}
