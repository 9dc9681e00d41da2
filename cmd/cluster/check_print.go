package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print writes the report for people: a line for each server, then the findings.
func (r *report) print(w io.Writer) error {
	var b bytes.Buffer
	keys := "no keys"
	if r.Keys {
		keys = "with keys"
	}
	if n := len(r.Servers); n == 0 {
		fmt.Fprintf(&b, "%s: no servers were found\n", r.File)
	} else {
		observers := 0
		for _, s := range r.Servers {
			if s.Observer {
				observers++
			}
		}
		servers := fmt.Sprintf("%d %s", n-observers, plural(n-observers, "server", "servers"))
		if observers > 0 {
			servers += fmt.Sprintf(" and %d %s", observers, plural(observers, "observer", "observers"))
		}
		fmt.Fprintf(&b, "%s: cluster %q, %s, %s\n\n", r.File, r.Cluster, servers, keys)
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "id\taddress\there\tanswers\tsecret key")
		for _, s := range r.Servers {
			address, here := s.Address, "no"
			if s.Bind != "" {
				address += " (bind " + s.Bind + ")"
			}
			if s.Here {
				here = "yes"
			}
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", s.ID, address, here, s.Answers, s.Key)
		}
		t.Flush()
		r.printRunning(&b)
	}
	list := func(what string, findings []finding) {
		if len(findings) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n%s\n", what)
		for _, f := range findings {
			where := ""
			if f.Server != nil {
				where = fmt.Sprintf("server %d: ", *f.Server)
			}
			fmt.Fprintf(&b, "  %s%s\n", where, strings.ReplaceAll(f.Text, "\n", "\n    "))
		}
	}
	list("notes:", r.Notes)
	n := len(r.Faults)
	if n == 0 {
		b.WriteString("\nno faults\n")
	}
	list(fmt.Sprintf("%d %s:", n, plural(n, "fault", "faults")), r.Faults)
	_, err := w.Write(b.Bytes())
	return err
}
