package configfile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// maxFaults bounds how many faults of one file are written out.
const maxFaults = 100

// A parser reads one file.
type parser struct {
	File
	name   string
	data   []byte
	values *jsontext.Decoder // of the file: one after another
	inner  *jsontext.Decoder // of what is in an object
	faults int

	names []string             // of our fields in the objects that are read now
	told  map[string][2]string // of names in them: which of ours each is, or a slip of
	entry int                  // where the faults are: the index of an entry, or -1
	id    int                  // of the entry, if that is known
	known bool

	replicas replicas

	at  int    // where the object is that is read now
	all fields // what is in it
}

// A value is JSON, and its offset in the file. One of an object has a name too: one of
// ours, what was taken for a slip of one of ours, or the program's own.
type value struct {
	at               int
	raw              []byte // nil: there is none
	nameAt           int
	name, ours, slip string
}

// fields are those of one object.
type fields []value

// ours returns the field that has this name of ours; it is zero if there is none.
func (f fields) ours(name string) value {
	for i := range f {
		if f[i].ours == name {
			return f[i]
		}
	}
	return value{}
}

// has reports whether any of these names of ours is there.
func (f fields) has(ours ...string) bool {
	return slices.ContainsFunc(f, func(v value) bool { return slices.Contains(ours, v.ours) })
}

// lenient are the options to read JSON as encoding/json does: a program's own fields may
// have names twice, and text that is not UTF-8.
var lenient = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// next returns the next of the values that the file consists of, if there is one.
func (p *parser) next() value {
	raw, err := p.values.ReadValue()
	if err == nil {
		return value{at: int(p.values.InputOffset()) - len(raw), raw: raw}
	}
	if p.Broken = !errors.Is(err, io.EOF); !p.Broken {
		return value{}
	}
	if bytes.HasPrefix(p.data, []byte("\xFF\xFE")) || bytes.HasPrefix(p.data, []byte("\xFE\xFF")) {
		p.fault(-1, "the file is in UTF-16: save it in UTF-8")
		return value{}
	}
	// encoding/json has the words that people know.
	start, at := p.behind(), len(p.data)
	err = cmp.Or(json.Unmarshal(p.data[start:], new(json.RawMessage)), err)
	if s := (*json.SyntaxError)(nil); errors.As(err, &s) && s.Error() != "unexpected end of JSON input" {
		at = start + int(s.Offset) - 1
	}
	p.fault(at, "not valid JSON: %w", err)
	return value{}
}

// behind is the offset of what follows the value that next returned last.
func (p *parser) behind() int {
	end := int(p.values.InputOffset())
	return len(p.data) - len(bytes.TrimLeft(p.data[end:], " \t\r\n"))
}

// open makes a decoder read an array or an object, whose syntax is right. part returns one
// part of it after another: the elements, or the names and the values in turn.
func open(d *jsontext.Decoder, v value) {
	d.Reset(bytes.NewBuffer(v.raw), lenient...)
	d.ReadToken()
}

func part(d *jsontext.Decoder, of value) value {
	raw, _ := d.ReadValue()
	return value{at: of.at + int(d.InputOffset()) - len(raw), raw: raw}
}

// fields returns those of an object, until it is called again, and the program's own
// among them as they are to be kept. It reports names that are given twice or misspelt.
func (p *parser) fields(object value) (f fields, extra map[string]json.RawMessage) {
	p.at, p.all = object.at, p.all[:0]
	for open(p.inner, object); p.inner.PeekKind() != '}'; {
		name, v := part(p.inner, object), part(p.inner, object)
		v.nameAt = name.at
		v.name, _ = unquote(name.raw)
		v.ours, v.slip = p.tell(v.name)
		p.all = append(p.all, v)
	}
	if id := p.all.ours("id"); id.raw != nil {
		p.id, p.known = p.whole(id.raw)
	}
	seen := make(map[string]int)
	f = p.all[:0]
	for _, v := range p.all {
		key := cmp.Or(v.ours, v.name)
		if first, ok := seen[key]; ok {
			p.fault(v.nameAt, "field %.60q is given twice, first at %s", v.name, p.position(first))
			continue
		}
		seen[key] = v.nameAt
		f = append(f, v)
		if v.slip != "" {
			p.fault(v.nameAt, "unknown field %.60q: did you mean %q?", v.name, v.slip)
		} else if v.ours == "" {
			if extra == nil {
				extra = make(map[string]json.RawMessage)
			}
			extra[v.name] = bytes.Clone(v.raw)
		}
	}
	return f, extra
}

// expect says which names of ours the objects have that are read from now on.
func (p *parser) expect(names []string) { p.names, p.told = names, make(map[string][2]string) }

// tell returns which of our fields has this name, or else which it looks like a slip of. The entries of a
// file have the same names again and again.
func (p *parser) tell(name string) (ours, slip string) {
	t, ok := p.told[name]
	if !ok {
		if t[0] = Match(name, p.names); t[0] == "" {
			t[1] = Misspelt(name, p.names)
		}
		p.told[name] = t
	}
	return t[0], t[1]
}

// take puts the value of one of our fields into a variable. It reports false if the
// field is absent or, with a fault, not what is wanted.
func (p *parser) take(f fields, ours string, into any, want string) (ok bool) {
	v := f.ours(ours)
	if v.raw == nil {
		return false
	}
	text, isText := unquote(v.raw)
	switch into := into.(type) {
	case *int:
		*into, ok = p.whole(v.raw)
	case *string:
		*into, ok = text, isText
	case *bool:
		*into = v.raw[0] == 't'
		ok = *into || v.raw[0] == 'f'
	case *time.Duration:
		d, err := time.ParseDuration(text)
		*into, ok = d, isText && err == nil
	}
	if !ok {
		p.wrong(v, want)
	}
	return ok
}

// whole returns the integer that a value is or, in a bare entry, that a string holds.
func (p *parser) whole(raw []byte) (n int, ok bool) {
	s := string(raw)
	if text, isText := unquote(raw); isText && &p.names[0] == &bareFields[0] {
		s = text
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// unquote returns what a JSON string stands for, and whether the value is one. What is
// not UTF-8 becomes U+FFFD.
func unquote(raw []byte) (string, bool) {
	if raw[0] != '"' {
		return "", false
	}
	if plain := raw[1 : len(raw)-1]; bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return string(plain), true
	}
	s, _ := jsontext.AppendUnquote(nil, raw)
	return string(s), true
}

// require is take of a field that must be there. It reports that it is missing, unless a
// name was taken for a misspelling of its name.
func (p *parser) require(f fields, ours string, into any, want, wantIfMissing string) bool {
	if !f.has(ours) && !f.slipped(ours) {
		if other := f.meant(ours); other != "" {
			wantIfMissing += fmt.Sprintf("; did you mean it by %.60q?", other)
		}
		p.fault(p.at, "%s is missing: want %s", ours, wantIfMissing)
	}
	return p.take(f, ours, into, want)
}

// wrong reports that a value is not what is wanted.
func (p *parser) wrong(v value, want string) {
	name := v.ours
	if name != "" {
		name += ": "
	}
	got, ok := map[byte]string{'{': "an object", '[': "an array", 't': "true", 'f': "false", 'n': "null"}[v.raw[0]]
	if text, isText := unquote(v.raw); isText {
		got = fmt.Sprintf("the string %.60q", text)
	} else if !ok {
		got = fmt.Sprintf("the number %.40s", v.raw)
	}
	p.fault(v.at, "%sgot %s: want %s", name, got, want)
}

// doubt notes that what was reported is about this field.
func (p *parser) doubt(name string) { p.Doubtful[Field{p.entry, name}] = true }

// fault adds one, at the offset if that is not negative.
func (p *parser) fault(at int, format string, args ...any) {
	if p.faults++; p.faults > maxFaults {
		return
	}
	where := p.name
	if at >= 0 {
		where += ":" + p.position(at)
	}
	if p.entry >= 0 {
		where += ": " + Entry(p.entry, p.id, p.known)
	}
	p.Faults = append(p.Faults, fmt.Errorf("%s: "+format, append([]any{where}, args...)...))
}

// position returns the line and the column, in characters, of an offset, from 1:1 on.
func (p *parser) position(at int) string {
	before := p.data[:at]
	begin := bytes.LastIndexByte(before, '\n') + 1
	return fmt.Sprintf("%d:%d", bytes.Count(before, []byte("\n"))+1, utf8.RuneCount(before[begin:])+1)
}
