package cluster

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/names"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/peercatalog"
)

// What the halves call a reason, a refusal or a state has a name of its own here, and each that only
// they find is found by them.
func TestEachReasonRefusalAndStateOfTheHalvesHasItsOwn(t *testing.T) {
	given := make(map[Reason]bool)
	for r := stream.Reason(1); r < stream.Reasons; r++ {
		if of := reasonOf[r]; of <= 0 || of >= reasons || given[of] {
			t.Errorf("reason %d of a link is %v", r, of)
		} else {
			given[of] = true
		}
	}
	for r := Reason(1); r < reasons; r++ {
		if found := r == ReasonTooLarge || r == ReasonNotEncodable; found == given[r] {
			t.Errorf("%v: a link has it: %v, and the node itself: %v", r, given[r], found)
		}
		if r.err() == nil || r.String() == "" {
			t.Errorf("reason %d has the error %v and the text %q", r, r.err(), r)
		}
	}
	refused := make(map[Refusal]bool)
	for r := stream.Refusal(1); r < stream.Refusals; r++ {
		if of := refusalOf[r]; of <= 0 || of >= refusals || refused[of] {
			t.Errorf("refusal %d of the receiving half is %v", r, of)
		} else {
			refused[of] = true
		}
	}
	for r := Refusal(1); r < refusals; r++ {
		if !refused[r] || r.String() == "" {
			t.Errorf("refusal %d (%v) is none of the receiving half", r, r)
		}
	}
	for s, want := range map[stream.Standing]LinkState{
		stream.StandsIdle: LinkIdle, stream.StandsConnecting: LinkConnecting, stream.StandsUp: LinkUp, stream.StandsDown: LinkDown,
		stream.StandsStalled: LinkStalled, stream.StandsUnacknowledged: LinkUnacknowledged,
	} {
		if got := linkStateOf[s]; got != want {
			t.Errorf("state %d of a link is %v, want %v", s, got, want)
		}
	}
	if len(linkStateOf) != len(AllLinkStates()) {
		t.Errorf("links have %d states", len(linkStateOf))
	}
}

// The document of what cannot change names every setting that Reload refuses to change.
func TestTheDocumentNamesEachSettingThatCannotChange(t *testing.T) {
	text, err := os.ReadFile("docs/membership.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range (Config{}).settings() {
		names = append(names, "`"+s.name+"`")
	}
	if row := "\n| " + strings.Join(names, ", ") + " | "; !strings.Contains(string(text), row) {
		t.Errorf("it has no row that begins with%s", row)
	}
}

func TestANodeThatCanReceiveNoMoreClosesAndSaysWhy(t *testing.T) {
	n, err := NewFromConfig(0, Config{
		Peers:  []peercatalog.Peer{{ID: 0, Address: "mem://" + t.Name()}},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	deaf := errors.New("the listener is of no use any more")
	n.fail(deaf)
	n.fail(errors.New("another error"))
	select {
	case <-n.Done():
	case <-time.After(time.Minute):
		t.Fatal("the node does not close")
	}
	if _, open := <-n.Inbox(); open {
		t.Error("Inbox is open")
	}
	for range 2 {
		if err := n.Close(); !errors.Is(err, deaf) {
			t.Errorf("Close: %v, want one that says %v", err, deaf)
		}
	}
}

func TestANameThatCannotBeLookedUpIsToldOnceForEachPeer(t *testing.T) {
	var text strings.Builder
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&text, nil)))
	defer slog.SetDefault(before)
	l := newLogs(0, nil)
	why := &names.LookupError{Host: "nowhere.example", Cause: errors.New("no such host")}
	for range 2 {
		l.trouble(1, why)
		l.trouble(2, why)
		l.trouble(3, errors.New("no connection came about")) // that a peer is not there is nothing to tell
	}
	l.journal.Flush()
	for _, peer := range []string{"peer=1", "peer=2"} {
		if got := strings.Count(text.String(), peer); got != 1 {
			t.Errorf("%s is told of %d times:\n%s", peer, got, text.String())
		}
	}
	if got := strings.Count(text.String(), "nowhere.example"); got != 2 || strings.Contains(text.String(), "peer=3") {
		t.Errorf("told:\n%s", text.String())
	}
}
