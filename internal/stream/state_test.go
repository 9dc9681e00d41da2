package stream

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

var (
	peerNames  = []string{Idle: "Idle", Connecting: "Connecting", Up: "Up", Down: "Down", Starved: "Starved"}
	pathNames  = []string{NoPath: "NoPath", Clear: "Clear", Blocked: "Blocked", Ready: "Ready"}
	eventNames = [events]string{
		Vanished: "Vanished", Appeared: "Appeared", Left: "Left", Dialed: "Dialed", Redialed: "Redialed", Failed: "Failed", Took: "Took",
		Full: "Full", Writable: "Writable", Exhausted: "Exhausted", Throttled: "Throttled", Heard: "Heard", Began: "Began", Looked: "Looked",
	}
)

func (s State) String() string { return peerNames[s.Peer] + "," + pathNames[s.Path] }

// eachState calls f for every state and every event.
func eachState(f func(State, Event)) {
	for e := range events {
		for peer := range peerNames {
			for path := range pathNames {
				f(State{PeerState(peer), PathState(path)}, e)
			}
		}
	}
}

// transitions are those of decide, for all events but Looked, which alone looks at both parts of a state to
// change one: what becomes of each state of the peer, and of each of the path.
var transitions = map[Event]struct {
	peer [5]PeerState // of Idle, Connecting, Up, Down, Starved
	path [4]PathState // of NoPath, Clear, Blocked, Ready
}{
	Vanished:  {[5]PeerState{Idle, Idle, Idle, Idle, Idle}, [4]PathState{NoPath, Clear, Blocked, Ready}},
	Appeared:  {[5]PeerState{Connecting, Connecting, Up, Down, Starved}, [4]PathState{NoPath, Clear, Blocked, Ready}},
	Left:      {[5]PeerState{Idle, Connecting, Up, Down, Down}, [4]PathState{NoPath, NoPath, NoPath, NoPath}},
	Dialed:    {[5]PeerState{Idle, Connecting, Connecting, Connecting, Connecting}, [4]PathState{Clear, Clear, Clear, Clear}},
	Redialed:  {[5]PeerState{Idle, Connecting, Up, Down, Starved}, [4]PathState{Blocked, Blocked, Blocked, Blocked}},
	Failed:    {[5]PeerState{Idle, Down, Down, Down, Down}, [4]PathState{NoPath, NoPath, NoPath, NoPath}},
	Took:      {[5]PeerState{Idle, Up, Up, Down, Starved}, [4]PathState{Clear, Clear, Clear, Clear}},
	Full:      {[5]PeerState{Idle, Connecting, Up, Down, Starved}, [4]PathState{Blocked, Blocked, Blocked, Blocked}},
	Writable:  {[5]PeerState{Idle, Connecting, Up, Down, Starved}, [4]PathState{NoPath, Clear, Ready, Ready}},
	Exhausted: {[5]PeerState{Idle, Down, Down, Down, Starved}, [4]PathState{NoPath, Clear, Blocked, Ready}},
	Throttled: {[5]PeerState{Idle, Starved, Starved, Down, Starved}, [4]PathState{NoPath, Clear, Blocked, Ready}},
	Heard:     {[5]PeerState{Idle, Connecting, Up, Down, Down}, [4]PathState{NoPath, Clear, Blocked, Ready}},
	Began:     {[5]PeerState{Idle, Connecting, Up, Connecting, Connecting}, [4]PathState{NoPath, Clear, Blocked, Ready}},
}

// looked are the transitions of Looked; it leaves all other states as they are.
var looked = map[State]State{
	{Down, Clear}:    {Up, Clear},
	{Down, Ready}:    {Up, Clear},
	{Starved, Ready}: {Starved, Clear},
}

// want is what the tables above have.
func want(s State, e Event) State {
	if e == Looked {
		if to, changes := looked[s]; changes {
			return to
		}
		return s
	}
	t := transitions[e]
	return State{t.peer[s.Peer], t.path[s.Path]}
}

func TestDecide(t *testing.T) {
	eachState(func(s State, e Event) {
		t.Run(fmt.Sprint(eventNames[e], "/", s), func(t *testing.T) {
			if got, want := decide(s, e), want(s, e); got != want {
				t.Errorf("%v, want %v", got, want)
			}
		})
	})
}

func TestTheTableInTheCommentIsThatOfDecide(t *testing.T) {
	rules := make(map[string][2]rule)
	for _, cells := range commentTable(t, "state.go", "decide", 3) {
		rules[cells[0]] = [2]rule{parseRule(t, cells[1]), parseRule(t, cells[2])}
	}
	if len(rules) != int(events)+1 { // and the head
		t.Errorf("it has %d lines for %d events", len(rules)-1, events)
	}
	eachState(func(s State, e Event) {
		r, named := rules[eventNames[e]]
		if !named {
			t.Fatalf("it has no %s", eventNames[e])
		}
		peer, path := peerNames[s.Peer], pathNames[s.Path]
		if got, want := r[0].apply(peer, path)+","+r[1].apply(path, peer), decide(s, e).String(); got != want {
			t.Errorf("%s in %v: the comment says %s, decide %s", eventNames[e], s, got, want)
		}
	})
}

// A rule of a comment's table: "A, B → C if D or E", "all but A → C", "→ C", or none.
type rule struct {
	from, when []string // empty: all
	except     string
	to         string // empty: as it was
}

func parseRule(t *testing.T, text string) (r rule) {
	t.Helper()
	head, to, found := strings.Cut(text, "→")
	if !found {
		return r
	}
	to, when, _ := strings.Cut(to, " if ")
	r.to = strings.TrimSpace(to)
	if when != "" {
		r.when = strings.Split(strings.TrimSpace(when), " or ")
	}
	if head = strings.TrimSpace(head); strings.HasPrefix(head, "all but ") {
		r.except = strings.TrimPrefix(head, "all but ")
	} else if head != "" {
		r.from = strings.Split(head, ", ")
	}
	return r
}

// apply is what the rule makes of one part of a state; other is its other part.
func (r rule) apply(part, other string) string {
	if r.to == "" || part == r.except || len(r.from) > 0 && !slices.Contains(r.from, part) ||
		len(r.when) > 0 && !slices.Contains(r.when, other) {
		return part
	}
	return r.to
}

// commentTable returns the cells of the table in a function's comment. The columns begin where they do in its first line.
func commentTable(t *testing.T, file, function string, columns int) (table [][]string) {
	t.Helper()
	var starts []int
	for _, line := range commentLines(t, file, function) {
		cells := []rune(line)
		if starts == nil {
			starts = columnStarts(cells)
		}
		row := make([]string, columns)
		for i := range row {
			from, to := min(starts[i], len(cells)), len(cells)
			if i+1 < columns {
				to = min(starts[i+1], len(cells))
			}
			row[i] = strings.TrimSpace(string(cells[from:to]))
		}
		table = append(table, row)
	}
	return table
}

// commentLines returns the indented lines of a function's comment.
func commentLines(t *testing.T, file, function string) (lines []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != function {
			continue
		}
		for line := range strings.Lines(f.Doc.Text()) {
			if line, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "\t"); indented {
				lines = append(lines, line)
			}
		}
	}
	if lines == nil {
		t.Fatalf("%s: %s has no table", file, function)
	}
	return lines
}

// columnStarts is where a line's words begin that follow two spaces, or nothing.
func columnStarts(line []rune) (starts []int) {
	for i, c := range line {
		if c != ' ' && (i == 0 || i > 1 && line[i-1] == ' ' && line[i-2] == ' ') {
			starts = append(starts, i)
		}
	}
	if line[0] == ' ' {
		starts = append([]int{0}, starts...) // the first column has no head
	}
	return starts
}

func TestTheTablesInTheDocumentAreThoseInTheComments(t *testing.T) {
	document, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, function := range []struct{ file, name string }{
		{"state.go", "decide"}, {"reach.go", "follow"}, {"reach.go", "standing"}, {"receiver_state.go", "judge"},
	} {
		for _, line := range commentLines(t, function.file, function.name) {
			if !strings.Contains(string(document), "\n    "+line+"\n") {
				t.Errorf("%s: docs/protocol.md does not have the line %q", function.name, line)
			}
		}
	}
}
