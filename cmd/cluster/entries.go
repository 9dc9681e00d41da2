package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// An object is one of the file's, by the offset of its first byte and the one behind
// its last.
type object struct {
	at, end int
	members []member
}

// A member is a field of an object, by the offsets of its name and of its value.
type member struct {
	name            string
	nameAt, nameEnd int
	at, end         int
}

// field returns the member of that name, in whatever case, or nil.
func (o object) field(name string) *member {
	for i := range o.members {
		if strings.EqualFold(o.members[i].name, name) {
			return &o.members[i]
		}
	}
	return nil
}

// layout is where in a file the entries of the servers are.
type layout struct {
	top     object // of the whole; empty in the two bare shapes
	entries []object
}

// errShape is returned for a file that has no entries to be found.
var errShape = errors.New("no entries of servers found")

// findEntries finds them in a file of any of the shapes that LoadConfig reads. What an
// element that is no object has for offsets is no entry.
func findEntries(data []byte) (layout, error) {
	s := scanner{data: data}
	if bytes.HasPrefix(data, []byte("\uFEFF")) {
		s.at = len("\uFEFF")
	}
	if err := validSequence(data[s.at:]); err != nil {
		return layout{}, err
	}
	s.space()
	var l layout
	switch {
	case s.at == len(data):
		return l, errShape
	case data[s.at] == '[':
		l.entries = s.array()
		return l, nil
	case data[s.at] != '{':
		return l, errShape
	}
	first := s.object()
	if peers := first.field("peers"); peers != nil {
		l.top = first
		if data[peers.at] != '[' {
			return l, errShape
		}
		s.at = peers.at
		l.entries = s.array()
		return l, nil
	}
	if first.field("replicas") != nil {
		l.top = first // and no replica has an entry of its own
		return l, nil
	}
	for l.entries = append(l.entries, first); ; l.entries = append(l.entries, s.object()) {
		if s.space(); s.at == len(data) {
			return l, nil
		}
		if data[s.at] != '{' {
			return l, errShape
		}
	}
}

// validSequence reports whether data is JSON values one after another, which is what
// the scanner takes for granted.
func validSequence(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	for {
		var v json.RawMessage
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// A scanner goes through JSON whose syntax was checked.
type scanner struct {
	data []byte
	at   int
}

func (s *scanner) space() { s.skip(" \t\r\n") }

func (s *scanner) skip(set string) {
	for s.at < len(s.data) && strings.IndexByte(set, s.data[s.at]) >= 0 {
		s.at++
	}
}

// value passes the value that begins here.
func (s *scanner) value() {
	switch s.data[s.at] {
	case '"':
		s.text()
	case '{', '[':
		for depth := 0; ; {
			switch s.data[s.at] {
			case '"':
				s.text()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if s.at++; depth == 0 {
				return
			}
		}
	default:
		for s.at < len(s.data) && strings.IndexByte(" \t\r\n,]}", s.data[s.at]) < 0 {
			s.at++
		}
	}
}

// text passes the string that begins here.
func (s *scanner) text() {
	for s.at++; s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}

// object passes the object that begins here, and returns it.
func (s *scanner) object() object {
	o := object{at: s.at}
	for s.at++; ; {
		s.skip(" \t\r\n,")
		if s.data[s.at] == '}' {
			s.at++
			o.end = s.at
			return o
		}
		m := member{nameAt: s.at}
		s.text()
		m.nameEnd = s.at
		json.Unmarshal(s.data[m.nameAt:m.nameEnd], &m.name) // cannot fail: the syntax was checked
		s.skip(" \t\r\n:")
		m.at = s.at
		s.value()
		m.end = s.at
		o.members = append(o.members, m)
	}
}

// array passes the array that begins here, and returns its elements.
func (s *scanner) array() (elements []object) {
	for s.at++; ; {
		s.skip(" \t\r\n,")
		switch s.data[s.at] {
		case ']':
			s.at++
			return elements
		case '{':
			elements = append(elements, s.object())
		default:
			e := object{at: s.at}
			s.value()
			e.end = s.at
			elements = append(elements, e)
		}
	}
}
