package clustertest

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// How many entries, from the last one back, a page has, and how many of them it shows at a time.
const (
	listedMost = 20_000
	partMost   = 1000
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// SavePage makes the network write its record as a web page to file when the test
// ends, whether that fails or not, and log where it is. The page shows every message
// on its way between the servers, what was done to them, and a table of all that: a
// thousand at a time, which move through the record, with filters. It has the last
// 20,000, and is one file that needs no other and no network. A relative name is in
// the directory of the package under test; t.TempDir is gone when the test has ended.
func (n *Network) SavePage(file string) {
	n.t.Helper()
	n.t.Cleanup(func() {
		path, err := filepath.Abs(file)
		if err == nil {
			err = os.WriteFile(path, n.page(), 0o666)
		}
		if err != nil {
			n.t.Errorf("clustertest: saving the record: %v", err)
			return
		}
		n.t.Logf("clustertest: the record is in %s", path)
	})
}

// page is the record up to now as a web page.
func (n *Network) page() []byte {
	all := entries(n.Events())
	parts := n.parts(all)
	data := struct {
		Test    string
		Failed  bool
		Seed    uint64
		Servers []int
		Lasted  string
		Kinds   []kind
		Omitted string
		Earlier []part // all but the last
		Last    part
		Mermaid string
	}{
		Test:    n.t.Name(),
		Failed:  n.t.Failed(),
		Seed:    n.seed,
		Servers: n.ids,
		Lasted:  short(time.Since(n.start)),
		Kinds:   kindsOf(all),
		Earlier: parts[:len(parts)-1],
		Last:    parts[len(parts)-1],
		Mermaid: n.Mermaid(),
	}
	if len(all) > listedMost {
		data.Omitted = fmt.Sprintf("Of %d messages and notes, the last %d are here.", len(all), listedMost)
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, data); err != nil {
		panic(err) // only if page.html does not fit the data
	}
	return b.Bytes()
}

// A part is what the page shows at a time: entries that follow one another.
type part struct {
	Index    int
	From, To string // the times of the first and the last
	Picture  picture
	Rows     []row
}

// parts divides the last entries of a record, of which there is at least one part.
// Entries keep their places in the record as their ids. The last part is full, so that
// the end of a record is seen whole.
func (n *Network) parts(all []entry) []part {
	first := max(0, len(all)-listedMost)
	var parts []part
	for end := len(all); end > first || parts == nil; end -= partMost {
		begin := max(first, end-partMost)
		// What comes later has no place in the picture; what was before decides how it begins.
		p := part{Picture: draw(n.ids, all[:end], all[begin:end])}
		for i := begin; i < end; i++ {
			p.Rows = append(p.Rows, newRow(i, all[i]))
		}
		if begin < end {
			p.From, p.To = short(all[begin].At), short(all[end-1].At)
		}
		parts = append(parts, p)
	}
	slices.Reverse(parts)
	for i := range parts {
		parts[i].Index = i
	}
	return parts
}

// A kind is what the page's legend says of one fate.
type kind struct {
	Class, Name, End string
	Count            int
}

func kindsOf(all []entry) []kind {
	names := map[fate]string{late: "late (overtaken)", dropped: byTest, held: "still held", noFate: "notes"}
	counts := make(map[fate]int)
	for _, x := range all {
		counts[x.Fate]++
	}
	var kinds []kind
	for _, f := range []fate{delivered, late, duplicate, lost, dropped, held, underway, noFate} {
		name := names[f]
		if name == "" {
			name = f.String()
		}
		kinds = append(kinds, kind{Class: f.class(), Name: name, End: ends[f], Count: counts[f]})
	}
	return kinds
}

// class is the name of a fate in the page.
func (f fate) class() string { return strings.ReplaceAll(f.String(), " ", "-") }

// A row is an entry as the page's table has it.
type row struct {
	ID             int
	Class          string
	From, To       int
	Servers        string
	Sent, At, Took string
	Exact          string
	Status, Text   string
	MsgID          string
	Size           string
}

func newRow(i int, x entry) row {
	r := row{
		ID: i, Class: x.Fate.class(), From: x.From, To: x.To,
		At: short(x.At), Exact: x.At.String(), Status: x.status(), Text: x.text(),
	}
	switch {
	case x.From == Any || x.To == Any:
		r.Servers = "all"
	case x.From == x.To:
		r.Servers = fmt.Sprint(x.From)
	default:
		r.Servers = fmt.Sprintf("%d → %d", x.From, x.To)
	}
	if x.Fate != noFate {
		r.Sent = short(x.Message.Sent)
		r.MsgID, r.Size = fmt.Sprint(x.Message.MsgID), fmt.Sprint(x.Message.Size)
		if x.arrival() {
			r.Took = short(x.At - x.Message.Sent)
		}
	}
	return r
}
