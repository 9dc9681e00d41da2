package stream

import (
	"fmt"
	"testing"
)

var (
	streamNames  = []string{Unheard: "Unheard", InOrder: "InOrder", Gap: "Gap", Handover: "Handover"}
	arrivalNames = [arrivals]string{
		OfEarlierLife: "of earlier", OfEarlierLifeAlone: "… alone",
		InPlace: "in place", Early: "early", Late: "late", Repeated: "repeated", OfNextLife: "of next", OfNextLifeLater: "… later",
	}
	verdictNames = []string{Take: "Take", Hold: "Hold", HoldNext: "HoldNext", Begin: "Begin", Skip: "Skip", RefuseSeq: "RefuseSeq", RefuseLife: "RefuseLife", Return: "Return"}
)

// impossible marks what cannot happen: nothing was heard, and so nothing came before it, and there is no place in a stream.
const impossible = "-"

// verdicts are those of judge, for Unheard, InOrder, Gap and Handover.
var verdicts = map[Arrival][4]string{
	OfEarlierLife:      {impossible, "RefuseLife", "RefuseLife", "RefuseLife"},
	OfEarlierLifeAlone: {impossible, "Return", "Return", "RefuseLife"},
	InPlace:            {impossible, "Take", "Take", "Take"},
	Early:              {impossible, "Hold", "Hold", "Hold"},
	Late:               {impossible, "RefuseSeq", "RefuseSeq", "RefuseSeq"},
	Repeated:           {impossible, "Skip", "Skip", "Skip"},
	OfNextLife:         {"Begin", "HoldNext", "HoldNext", "HoldNext"},
	OfNextLifeLater:    {"Begin", "Begin", "Begin", "Begin"},
}

func TestJudge(t *testing.T) {
	for a := range arrivals {
		for s, name := range streamNames {
			t.Run(fmt.Sprint(arrivalNames[a], "/", name), func(t *testing.T) {
				want := verdicts[a][s]
				if got := verdictNames[judge(StreamState(s), a)]; got != want && want != impossible {
					t.Errorf("%s, want %s", got, want)
				}
			})
		}
	}
}

func TestTheTableInTheCommentIsThatOfJudge(t *testing.T) {
	table := commentTable(t, "receiver_state.go", "judge", 1+len(streamNames))
	if len(table) != 1+int(arrivals) {
		t.Fatalf("it has %d lines for %d arrivals", len(table)-1, arrivals)
	}
	for s, name := range streamNames {
		if got := table[0][1+s]; got != name {
			t.Errorf("column %d is %q, want %q", 1+s, got, name)
		}
	}
	for a := range arrivals {
		row := table[1+a]
		if row[0] != arrivalNames[a] {
			t.Errorf("line %d is %q, want %q", 1+a, row[0], arrivalNames[a])
		}
		for s, want := range verdicts[a] {
			if row[1+s] != want {
				t.Errorf("%s, %s: the comment says %s, want %s", arrivalNames[a], streamNames[s], row[1+s], want)
			}
		}
	}
}
