package configfile

import (
	"slices"
	"strings"
)

// The names of our fields, at the top and of an entry. Any other is the program's own,
// unless it looks like a misspelling of one of these.
var (
	TopFields = []string{
		"cluster", "peers", "inboxSize", "outboxSize", "sendTimeout",
		"queueBytes", "maxMessageBytes", "linger", "watch", "watchInterval", "transport", "keyDir", "reload",
		"replicas", "replicaAddress", "replicaBind",
	}
	PeerFields = []string{"id", "address", "bind", "public_key", "previous_public_key", "observer"}
	// bareFields are those of an entry in a bare sequence of entries.
	bareFields = []string{"id", "ip", "port", "port1", "port2", "address", "bind", "public_key", "previous_public_key", "observer"}
)

// Match returns which of names this is, by the rule of encoding/json, or "".
func Match(name string, names []string) string {
	for _, ours := range names {
		if strings.EqualFold(name, ours) {
			return ours
		}
	}
	return ""
}

// Misspelt returns which of names this looks like a slip of, or "". Other words
// of the same build (readTimeout, indexSize, FSAddress) are no slips: the first
// letter must agree, and the more so the shorter the name is.
func Misspelt(name string, names []string) string {
	s := squash(name)
	i := slices.IndexFunc(names, func(ours string) bool { return strings.HasPrefix(s, ours[:1]) && slip(s, squash(ours)) })
	if i < 0 || Match(name, names) != "" {
		return ""
	}
	return names[i]
}

// slip reports whether a squashed name is a slip of one of ours with the same first
// letter. The longer the name is, the more may be wrong with it. In the shortest and in the
// longest ones a substitution weighs as much as leaving out one letter and adding one: few
// letters tell short words apart, and long names share words that differ in one or two.
func slip(s, ours string) bool {
	switch n := len(ours); {
	case s == ours:
		return true // send_timeout
	case n >= 9 && strings.HasPrefix(s, ours) && ours != "transport":
		return true // sendTimeoutMs; but a single word begins many others (transportAddress)
	case strings.ContainsAny(s, "0123456789"):
		return false // address2
	case n <= 3:
		return string(slices.Compact([]byte(s))) == ours // idd
	case n <= 4:
		return distance(s, ours, 2) <= 1 // bindd, but not band
	case n <= 8:
		return distance(s, ours, 1) <= 1 // pears
	}
	return distance(s, ours, 2) <= 2 // sentTimeout, but not syncTimeout
}

var joints = strings.NewReplacer("_", "", "-", "", " ", "", ".", "")

// squash takes away what the ways of joining words differ in.
func squash(name string) string { return joints.Replace(strings.ToLower(name)) }

// distance is how many letters must be left out, added, or exchanged with their
// neighbour to make b of a, where putting another letter in the place of one
// counts as substitution (optimal string alignment). It is large, not exact, if
// the lengths differ a lot.
func distance(a, b string, substitution int) int {
	if len(a) > 2*len(b) || len(b) > 2*len(a) {
		return len(a) + len(b)
	}
	d := make([][]int, len(a)+1) // of a[:i] and b[:j]
	for i := range d {
		d[i] = make([]int, len(b)+1)
		for j := range d[i] {
			switch {
			case i == 0 || j == 0:
				d[i][j] = i + j
			case a[i-1] == b[j-1]:
				d[i][j] = d[i-1][j-1]
			case i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1]:
				d[i][j] = min(d[i-2][j-2], d[i-1][j], d[i][j-1]) + 1
			default:
				d[i][j] = min(d[i-1][j-1]+substitution, d[i-1][j]+1, d[i][j-1]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
