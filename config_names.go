package cluster

import "strings"

// The names of our fields. Any other is the program's own, unless it looks like
// a misspelling of one of these.
var (
	topFields = []string{
		"cluster", "peers", "inboxSize", "outboxSize", "sendTimeout",
		"queueBytes", "maxMessageBytes", "linger", "keyDir",
	}
	peerFields = []string{"id", "address", "bind", "public_key", "previous_public_key"}
	// bareFields are those of an entry in a bare sequence of entries.
	bareFields = []string{"id", "ip", "port", "port1", "port2", "address", "bind", "public_key", "previous_public_key"}
)

// match returns which of names this is, by the rule of encoding/json, or "".
func match(name string, names []string) string {
	for _, ours := range names {
		if strings.EqualFold(name, ours) {
			return ours
		}
	}
	return ""
}

// misspelt returns which of names this looks like a slip of, or "". Other words
// of the same build (readTimeout, indexSize, FSAddress) are no slips: the first
// letter must agree, and the more so the shorter the name is.
func misspelt(name string, names []string) string {
	if match(name, names) != "" {
		return ""
	}
	s := squash(name)
	for _, ours := range names {
		if slip(s, squash(ours)) {
			return ours
		}
	}
	return ""
}

func slip(s, ours string) bool {
	switch {
	case s == ours:
		return true // send_timeout
	case s == "" || s[0] != ours[0]:
		return false
	case len(ours) >= 9 && strings.HasPrefix(s, ours):
		return true // sendTimeoutMs
	case strings.ContainsAny(s, "0123456789"):
		return false // address2
	case len(ours) <= 3:
		return singled(s) == ours // idd
	case len(ours) <= 4:
		return distance(s, ours, 2) <= 1 // bindd, but not band
	case len(ours) <= 8:
		return distance(s, ours, 1) <= 1
	}
	// A substitution weighs as much as leaving out one letter and adding one,
	// so that two of them, which make syncTimeout of sendTimeout, are too many.
	return distance(s, ours, 2) <= 2
}

// meant returns which of the names that are not ours may stand for the one of
// ours that is missing, or "". It is generous: something is wrong for certain.
func meant(ours string, others []string) string {
	ours = strings.ToLower(ours)
	for _, name := range others {
		s := squash(name)
		if s == "" {
			continue
		}
		if len(ours) <= 3 {
			if strings.Contains(s, ours) && len(s) <= 2*len(ours) {
				return name
			}
			continue
		}
		if s[0] == ours[0] && (strings.HasPrefix(s, ours[:3]) || distance(s, ours, 1) <= (len(ours)+1)/2) {
			return name
		}
	}
	return ""
}

// squash takes away what the ways of joining words differ in.
func squash(name string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "", ".", "").Replace(strings.ToLower(name))
}

// singled writes letters that follow themselves only once.
func singled(s string) string {
	var b []byte
	for i := range len(s) {
		if i == 0 || s[i] != s[i-1] {
			b = append(b, s[i])
		}
	}
	return string(b)
}

// distance is how many letters must be left out, added, or exchanged with their
// neighbour to make b of a, where putting another letter in the place of one
// counts as substitution (optimal string alignment). It is large, not exact, if
// the lengths differ a lot.
func distance(a, b string, substitution int) int {
	if len(a) > 2*len(b) || len(b) > 2*len(a) {
		return len(a) + len(b)
	}
	var before, above []int // the rows of a[:i-2] and a[:i-1]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row = above, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := above[j-1]
			if a[i-1] != b[j-1] {
				change += substitution
			}
			row[j] = min(change, above[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
