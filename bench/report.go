package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	zmq "github.com/pebbe/zmq4"
)

// tables are all that the samples have figures for.
func (r results) tables() (all []table) {
	add := func(t table, ok bool) {
		if ok {
			all = append(all, t)
		}
	}
	oneWay := func(figure string, base func(string) string, plain bool, scale float64) (c []column) {
		for _, l := range loads {
			c = append(c, column{l.name, key(stream, l.name, 2), figure, base, scale, plain})
		}
		return c
	}
	add(r.tabulate("One way", "Messages per second, as a multiple of those of the bare loop in the same round.",
		oneWay("rate", toBare, false, 0)...))
	add(r.tabulate("One way, in thousands", "The same in thousands of messages per second.",
		oneWay("rate", nil, true, 1e-3)...))
	if len(r.asked(key(stream, smallLoad, 2))) > 0 {
		add(r.encrypted())
	}
	add(r.tabulate("CPU time", "Of both processes together, in µs per message.",
		oneWay("cpu", nil, true, 0)...))
	add(r.tabulate("Allocations", "Of both processes together, per message.",
		oneWay("allocs", nil, true, 0)...))
	add(r.tabulate("Peak memory", "Resident, of both processes together, in MiB.",
		oneWay("peak", nil, true, 0)...))
	add(r.tabulate("Round trip", "16 bytes there and back, one at a time, in µs.", trips(roundTrip)...))
	add(r.tabulate("Round trip in one process", "The same between two servers of one process.", trips(nearTrip)...))
	var fans []column
	for _, n := range broadcastServers {
		k, to := key(broadcast, groupLoad, n), fmt.Sprintf("1 → %d", n-1)
		fans = append(fans, column{to + ", k/s", k, "rate", nil, 1e-3, true}, column{to + ", ratio", k, "rate", toBare, 0, false})
	}
	add(r.tabulate("Broadcast", "256 bytes to all others, all in one process: deliveries per second. The bare loop writes to one PUSH socket for each.", fans...))
	var grown []column
	for _, n := range growthServers {
		grown = append(grown, column{fmt.Sprint(n, " servers"), key(allToAll, groupLoad, n), "rate", nil, 1e-3, false})
	}
	add(r.tabulate("All to all", "256 bytes from each server to each other in turn, all in one process: thousands of deliveries per second.", grown...))
	for _, c := range []struct{ title, text, figure string }{
		{"Servers in one process: start", "Until all of them listened, in ms.", "start"},
		{"Servers in one process: first ring", "From then until a message had gone from each to the next, in ms; each makes its first connection for it.", "ring"},
		{"Servers in one process: memory", "Resident, after that, in MiB.", "resident"},
		{"Servers in one process: threads", "After that.", "threads"},
	} {
		var columns []column
		for _, n := range nodesServers {
			columns = append(columns, column{fmt.Sprint(n), key(nodes, smallLoad, n), c.figure, nil, 0, true})
		}
		add(r.tabulate(c.title, c.text, columns...))
	}
	return all
}

// trips are the columns of round trips.
func trips(k kind) (c []column) {
	trip := key(k, smallLoad, 2)
	for _, p := range percentiles {
		c = append(c, column{p.name, trip, p.name, nil, 0, false})
	}
	return append(c, column{"p50, ratio", trip, "p50", toBare, 0, false}, column{"p99, ratio", trip, "p99", toBare, 0, false})
}

// encrypted compares what keys cost with what CURVE costs the bare loop.
func (r results) encrypted() (table, bool) {
	base := func(name string) string { return peerNamed(name).base }
	var columns []column
	for _, l := range loads {
		columns = append(columns, column{l.name, key(stream, l.name, 2), "rate", base, 0, false})
	}
	t, ok := r.tabulate("Encrypted", "Messages per second one way, as a multiple of those of the bare loop with CURVE.", columns...)
	var rows [][]string
	for _, row := range t.rows {
		if base(row[0]) == bareCurve.name {
			rows = append(rows, row)
		}
	}
	t.rows = rows
	return t, ok && len(rows) > 0
}

// losses says which peers lost messages while they were measured, and why.
func (r results) losses() (found []string) {
	type loss struct{ peer, experiment, figure string }
	seen := make(map[loss]bool)
	for _, s := range r.Samples {
		for _, name := range slices.Sorted(maps.Keys(s.Values)) {
			reason, ok := strings.CutPrefix(name, lostPrefix)
			l := loss{s.Peer, s.Experiment, name}
			if !ok || seen[l] {
				continue
			}
			seen[l] = true
			total := 0.0
			rounds := r.of(s.Experiment, s.Peer, name)
			for _, n := range rounds {
				total += n
			}
			found = append(found, fmt.Sprintf("%s lost %.0f messages in %d of the rounds (%s): %s.", s.Peer, total, len(rounds), s.Experiment, reason))
		}
	}
	return found
}

// notes say what a reader of the tables should know beside them.
func (r results) notes() []string {
	return append(append([]string(nil), r.Notes...), r.losses()...)
}

const (
	beginMark = "<!-- Between this line and the end mark everything is written by `make bench`. -->"
	endMark   = "<!-- End of what `make bench` writes. -->"
)

// markdown is what goes between the marks.
func (r results) markdown(plots []plotted) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s by `%s` in %s: %d rounds; medians, and in brackets the lowest and the highest.\n",
		r.Date, r.Command, r.Took, r.Rounds)
	fmt.Fprintf(&b, "The machine: %s. Only ratios mean anything on another one.\n", r.System)
	for _, p := range plots {
		fmt.Fprintf(&b, "\n![%s](performance/%s)\n", p.says, p.file)
	}
	for _, t := range r.tables() {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n%s", t.title, t.text, t)
	}
	if notes := r.notes(); len(notes) > 0 {
		b.WriteString("\n### Notes\n\n")
		for _, n := range notes {
			fmt.Fprintf(&b, "- %s\n", n)
		}
	}
	return b.String()
}

// between returns the document with other text between its marks.
func between(document []byte, text string) ([]byte, error) {
	before, rest, ok := bytes.Cut(document, []byte(beginMark))
	_, after, ok2 := bytes.Cut(rest, []byte(endMark))
	if !ok || !ok2 {
		return nil, fmt.Errorf("the document lacks the line %q, or %q after it", beginMark, endMark)
	}
	return []byte(string(before) + beginMark + "\n" + text + endMark + string(after)), nil
}

// write renews the document, draws the plots beside it, and keeps the samples there.
func (r results) write(document string) error {
	old, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	dir := strings.TrimSuffix(document, filepath.Ext(document))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	plots, err := r.draw(dir)
	if err != nil {
		return err
	}
	text, err := between(old, r.markdown(plots))
	if err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	samples, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(samples, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(document, text, 0o644)
}

// system says what this machine is.
func system() string {
	major, minor, patch := zmq.Version()
	return fmt.Sprintf("%s/%s, %d cores, %s, libzmq %d.%d.%d",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), major, minor, patch)
}
