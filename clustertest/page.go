package clustertest

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// How many entries, from the last one back, a page draws, and lists.
const (
	drawnMost  = 1000
	listedMost = 5000
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// SavePage makes the network write its record as a web page to file when the test
// ends, whether that fails or not, and log where it is. The page shows every message
// on its way between the servers, what was done to them, and a table of all that, with
// filters. It is one file that needs no other and no network. A relative name is in
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
	listed := all[max(0, len(all)-listedMost):]
	drawn := all[max(0, len(all)-drawnMost):]
	data := struct {
		Test    string
		Failed  bool
		Seed    uint64
		Servers []int
		Lasted  string
		Kinds   []kind
		Omitted string
		Picture picture
		Rows    []row
		Mermaid string
	}{
		Test:    n.t.Name(),
		Failed:  n.t.Failed(),
		Seed:    n.seed,
		Lasted:  short(time.Since(n.start)),
		Kinds:   kindsOf(all),
		Omitted: omitted(len(all), len(drawn), len(listed)),
		Picture: draw(n.size, all, drawn),
		Mermaid: n.Mermaid(),
	}
	for id := range n.size {
		data.Servers = append(data.Servers, id)
	}
	for i, x := range listed {
		data.Rows = append(data.Rows, newRow(len(all)-len(listed)+i, x, i >= len(listed)-len(drawn)))
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, data); err != nil {
		panic(err) // only if page.html does not fit the data
	}
	return b.Bytes()
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

func omitted(all, drawn, listed int) string {
	switch {
	case listed < all:
		return fmt.Sprintf("Of %d messages and notes, the last %d are drawn, and the last %d are in the table.", all, drawn, listed)
	case drawn < all:
		return fmt.Sprintf("Of %d messages and notes, the last %d are drawn; the table has all.", all, drawn)
	}
	return ""
}

// A row is an entry as the page's table has it.
type row struct {
	ID             int
	Drawn          bool
	Class          string
	From, To       int
	Servers        string
	Sent, At, Took string
	Exact          string
	Status, Text   string
	MsgID          string
	Size           string
}

func newRow(i int, x entry, drawn bool) row {
	r := row{
		ID: i, Drawn: drawn, Class: x.Fate.class(), From: x.From, To: x.To,
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
