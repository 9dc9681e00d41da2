package stream

import (
	"slices"
	"strings"
	"testing"
)

var (
	reachNames      = []string{Unknown: "Unknown", Reached: "Reached", Unanswered: "Unanswered", Lost: "Lost"}
	reachEventNames = [reachEvents]string{
		Unsettled: "Unsettled", Answered: "Answered", Doubted: "Doubted", Silenced: "Silenced", Severed: "Severed",
	}
	standingNames = [Standings]string{
		StandsIdle: "idle", StandsConnecting: "connecting", StandsUp: "up", StandsStalled: "stalled",
		StandsUnacknowledged: "unacknowledged", StandsDown: "down",
	}
)

func (r ReachState) String() string { return reachNames[r] }

func (s Standing) String() string { return standingNames[s] }

// reaches are the transitions of follow: what becomes of Unknown, Reached, Unanswered and Lost.
var reaches = [reachEvents][4]ReachState{
	Unsettled: {Unknown, Unknown, Unknown, Unknown},
	Answered:  {Reached, Reached, Reached, Reached},
	Doubted:   {Unanswered, Unanswered, Unanswered, Lost},
	Silenced:  {Lost, Lost, Lost, Lost},
	Severed:   {Lost, Lost, Lost, Lost},
}

func TestFollow(t *testing.T) {
	rules := make(map[string]rule)
	for _, cells := range commentTable(t, "reach.go", "follow", 2) {
		rules[cells[0]] = parseRule(t, cells[1])
	}
	if len(rules) != int(reachEvents)+1 {
		t.Errorf("the comment has %d lines for %d events", len(rules)-1, reachEvents)
	}
	for e, row := range reaches {
		for s, want := range row {
			got := follow(ReachState(s), ReachEvent(e))
			if got != want {
				t.Errorf("%s in %v: %v, want %v", reachEventNames[e], ReachState(s), got, want)
			}
			if told := rules[reachEventNames[e]].apply(reachNames[s], ""); told != got.String() {
				t.Errorf("%s in %v: the comment says %s, follow %v", reachEventNames[e], ReachState(s), told, got)
			}
		}
	}
}

func TestTheTableInTheCommentIsThatOfStanding(t *testing.T) {
	table := commentTable(t, "reach.go", "standing", 1+len(reachNames))
	if !slices.Equal(table[0][1:], reachNames) || len(table) != 1+len(peerNames) {
		t.Fatalf("its columns are %q, and it has %d lines", table[0], len(table))
	}
	for p, name := range peerNames {
		if got := table[1+p][0]; got != name {
			t.Errorf("line %d is of %q, want %q", p, got, name)
		}
		for r := range reachNames {
			if got, told := standing(PeerState(p), ReachState(r)).String(), strings.TrimSpace(table[1+p][1+r]); got != told {
				t.Errorf("%s, %s: the comment says %s, standing %s", name, reachNames[r], told, got)
			}
		}
	}
}
