//go:build linux

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A standing is what is known of all rows: of each, over each of transports, what came of it when
// it was last carried out. It is kept beside the document that is made of it.
type standing struct {
	Rows    []measured
	Mutants []verdict `json:",omitempty"`
	// Of the mutants, as of each row.
	MutantsDate, MutantsCommand string `json:",omitempty"`
}

// A measured is what came of one row, and of which campaign that was a part.
type measured struct {
	result
	Date, Command, System string
	Transport             string
	Seed                  uint64
}

// A verdict is what came of one mutant.
type verdict struct {
	Rule, Row, Oracle string
	Broken, Whole     []string // the oracles that found something
}

func (v verdict) noticed() bool { return slices.Contains(v.Broken, v.Oracle) && len(v.Whole) == 0 }

const (
	beginMark = "<!-- Between this line and the end mark everything is written by `make faults`. -->"
	endMark   = "<!-- End of what `make faults` writes. -->"
)

// resultsOf is where the standing is kept that a document is made of.
func resultsOf(document string) string {
	return filepath.Join(strings.TrimSuffix(document, filepath.Ext(document)), "results.json")
}

// renew changes the standing of a document, and writes both.
func renew(document string, change func(*standing)) error {
	var s standing
	text, err := os.ReadFile(resultsOf(document))
	if err == nil {
		err = json.Unmarshal(text, &s)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", resultsOf(document), err)
	}
	change(&s)
	old, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	renewed, err := between(old, s.markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	if text, err = json.MarshalIndent(s, "", "\t"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(resultsOf(document)), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(resultsOf(document), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(document, renewed, 0o644)
}

// write takes what came of the campaign into the standing of the document. What was
// skipped stands as it did.
func (c *campaign) write(document string) error {
	return renew(document, func(s *standing) {
		s.Rows = slices.DeleteFunc(s.Rows, func(m measured) bool {
			return !slices.ContainsFunc(rows, func(r row) bool { return r.name == m.Row })
		})
		for _, r := range c.Results {
			if r.Skipped != "" {
				continue
			}
			s.Rows = slices.DeleteFunc(s.Rows, func(m measured) bool { return m.Row == r.Row && m.Transport == c.Transport })
			s.Rows = append(s.Rows, measured{r, c.Date, c.Command, c.System, c.Transport, c.Seed})
		}
		slices.SortFunc(s.Rows, func(a, b measured) int {
			return cmp.Or(cmp.Compare(a.Row, b.Row), cmp.Compare(slices.Index(transports, a.Transport), slices.Index(transports, b.Transport)))
		})
	})
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

// markdown is what goes between the marks.
func (s *standing) markdown() string {
	var b strings.Builder
	b.WriteString("| promise | fault | row | servers on | last measured |\n|---|---|---|---|---|\n")
	campaigns := make(map[string][]string)
	var order []string
	for _, m := range s.Rows {
		figures := []string{"**" + m.verdict() + "**"}
		for _, f := range m.Figures {
			figures = append(figures, f.Name+": "+f.Value)
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s |\n", cell(m.Promise), cell(m.Fault), m.Row, m.Transport, cell(strings.Join(figures, "<br>")))
		when := fmt.Sprintf("on %s by `%s`, servers on %s, seed %d (%s)", m.Date, m.Command, m.Transport, m.Seed, m.System)
		if campaigns[when] == nil {
			order = append(order, when)
		}
		campaigns[when] = append(campaigns[when], "`"+m.Row+"`")
	}
	b.WriteString("\nMeasured:\n\n")
	for _, when := range order {
		fmt.Fprintf(&b, "- %s: %s\n", when, strings.Join(campaigns[when], ", "))
	}
	if len(s.Mutants) > 0 {
		fmt.Fprintf(&b, "\nWhat the campaign finds when one rule of the library is broken, and when none is, on %s by `%s`:\n\n", s.MutantsDate, s.MutantsCommand)
		b.WriteString("| rule | row | oracle that has to find it | found | found with no rule broken |\n|---|---|---|---|---|\n")
		for _, v := range s.Mutants {
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", v.Rule, v.Row, v.Oracle, oneOf(v.Broken), oneOf(v.Whole))
		}
	}
	return b.String()
}

// cell makes text fit into a cell of a table.
func cell(text string) string { return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text) }
