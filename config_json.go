package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/abhishekg16/cluster/peercatalog"
)

// maxConfigFile bounds what LoadConfig reads.
const maxConfigFile = 64 << 20

// LoadConfig reads a configuration and checks all of it. The error joins one
// error for each fault, which names the file, the entry and the field; of a
// file that cannot be read it wraps the system's error (fs.ErrNotExist).
//
// The file is JSON in one of three shapes, with names in any case:
//
//	{"cluster": "demo", "peers": [{"id": 0, "address": "127.0.0.1:8081", "bind": "*:8081"}], "sendTimeout": "1s"}
//	[{"ID": "0", "IP": "127.0.0.1", "Port": "8081"}]
//	{"ID": "0", "IP": "127.0.0.1", "Port": "8081"} {"ID": "1", "IP": "127.0.0.1", "Port1": 8082, "Port2": 9082}
//
// In the last two, ids and ports are strings or numbers, and Port2 is ignored.
// Fields that are not ours are kept in Extra, at the top and of each entry.
// Fields that the file leaves out are zero: their defaults come in with
// NewFromConfig.
func LoadConfig(path string) (Config, error) {
	data, err := readConfig(path)
	if err != nil {
		return Config{}, fmt.Errorf("cluster: reading the configuration: %w", err)
	}
	return parseConfig(path, data)
}

func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: syscall.EISDIR}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err == nil && len(data) > maxConfigFile {
		err = fmt.Errorf("%s: the file is larger than %d MiB", path, maxConfigFile>>20)
	}
	return data, err
}

// parseConfig is LoadConfig without the file.
func parseConfig(file string, data []byte) (Config, error) {
	c, p := parse(file, data)
	if !p.broken {
		p.faults = append(p.faults, c.check(&p.doubts)...)
	}
	if len(p.faults) > 0 {
		return Config{}, errors.Join(p.faults...)
	}
	return c, nil
}

// UnmarshalJSON reads what MarshalJSON and LoadConfig's file formats write,
// except one: entries one after another are not one JSON value. It replaces
// all of c but Logger. It reports what a file's form can have wrong; values out
// of range are left to NewFromConfig.
func (c *Config) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil // as is the custom
	}
	parsed, p := parse("", data)
	if len(p.faults) > 0 {
		return errors.Join(p.faults...)
	}
	parsed.Logger = c.Logger
	*c = parsed
	return nil
}

// MarshalJSON writes the shape {"cluster": …, "peers": […]}, with the fields in
// Extra beside it. It fails if these cannot be read again.
func (c Config) MarshalJSON() ([]byte, error) {
	out := struct {
		Cluster         string            `json:"cluster"`
		Peers           []json.RawMessage `json:"peers"`
		InboxSize       int               `json:"inboxSize,omitempty"`
		OutboxSize      int               `json:"outboxSize,omitempty"`
		SendTimeout     string            `json:"sendTimeout,omitempty"`
		QueueBytes      int               `json:"queueBytes,omitempty"`
		MaxMessageBytes int               `json:"maxMessageBytes,omitempty"`
		Linger          string            `json:"linger,omitempty"`
		KeyDir          string            `json:"keyDir,omitempty"`
	}{
		Cluster:         c.Cluster,
		Peers:           []json.RawMessage{},
		InboxSize:       c.InboxSize,
		OutboxSize:      c.OutboxSize,
		QueueBytes:      c.QueueBytes,
		MaxMessageBytes: c.MaxMessageBytes,
		KeyDir:          c.KeyDir,
	}
	if c.SendTimeout != 0 {
		out.SendTimeout = c.SendTimeout.String()
	}
	if c.Linger != 0 {
		out.Linger = c.Linger.String()
	}
	var faults []error
	for i, p := range c.Peers {
		raw, err := marshalWith(p, p.Extra, peerFields)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", entry(i, p.ID, true), err))
		}
		out.Peers = append(out.Peers, raw)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return marshalWith(out, c.Extra, topFields)
}

// marshalWith writes the struct v with these fields after its own, whose names
// are given too.
func marshalWith(v any, extra map[string]json.RawMessage, names []string) ([]byte, error) {
	if faults := checkExtra(extra, names); len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		b[len(b)-1] = ','
		b = append(append(b, key...), ':')
		b = append(append(b, extra[name]...), '}')
	}
	return b, nil
}

// parser collects the faults of one file.
type parser struct {
	file   string
	data   []byte
	faults []error
	broken bool // not JSON: there is no Config to check
	doubts doubts

	// The place that was asked for last, counted from 0: most come in order.
	offset, line, column int
}

// A member is a value in the file: a field of an object, or with no name an
// element of an array. Its offsets are those of the name and of the value.
type member struct {
	name       string
	nameAt, at int
	value      json.RawMessage
}

func parse(file string, data []byte) (Config, *parser) {
	p := &parser{file: file, data: bytes.TrimPrefix(data, []byte("\uFEFF"))}
	p.doubts.entry = make(map[int]doubt)
	c := Config{file: file}
	if bytes.HasPrefix(data, []byte("\xFF\xFE")) || bytes.HasPrefix(data, []byte("\xFE\xFF")) {
		p.broken = true
		p.fault(-1, "", "the file is in UTF-16: save it in UTF-8")
		return c, p
	}
	first, rest := p.next(0)
	switch {
	case p.broken:
	case first.value == nil:
		p.broken = true
		p.fault(-1, "", `the file is empty: want at least {"peers": [{"id": 0, "address": "127.0.0.1:8081"}]}`)
	case first.value[0] == '[':
		for _, e := range elements(first) {
			p.peer(&c, e, bareFields)
		}
		p.end(rest)
	case first.value[0] != '{':
		p.doubts.peers = true
		p.wrong(first, "", "an object")
		p.end(rest)
	case isBare(members(first)):
		for e := first; e.value != nil && !p.broken; e, rest = p.next(rest) {
			p.peer(&c, e, bareFields)
		}
	default:
		p.top(&c, first)
		p.end(rest)
	}
	return c, p
}

// isBare tells an entry of a bare sequence from a whole configuration.
func isBare(fields []member) bool {
	has := make(map[string]bool)
	for _, m := range fields {
		has[match(m.name, bareFields)] = true
		if match(m.name, topFields) == "peers" {
			return false
		}
	}
	return has["id"] && (has["ip"] || has["port"] || has["port1"] || has["address"])
}

// top reads a whole configuration.
func (p *parser) top(c *Config, object member) {
	f := p.sort(object, "", topFields)
	c.Extra = f.extra
	c.Cluster, _ = p.text(f, "cluster", "", "a string")
	for _, n := range []struct {
		into *int
		name string
		want string
	}{
		{&c.InboxSize, "inboxSize", "a whole number of envelopes, for example 1024"},
		{&c.OutboxSize, "outboxSize", "a whole number of envelopes, for example 1024"},
		{&c.QueueBytes, "queueBytes", "a whole number of bytes, for example 16777216"},
		{&c.MaxMessageBytes, "maxMessageBytes", "a whole number of bytes, for example 67108864"},
	} {
		if m, ok := f.ours[n.name]; ok {
			if *n.into, ok = whole(m.value, false); !ok {
				p.wrong(m, n.name, n.want)
			}
		}
	}
	c.SendTimeout = p.duration(f, "sendTimeout")
	c.Linger = p.duration(f, "linger")
	c.KeyDir, _ = p.text(f, "keyDir", "", `a string such as "keys"`)

	m, ok := f.ours["peers"]
	switch {
	case !ok && f.slips["peers"]:
		p.doubts.peers = true
	case !ok:
		if name := meant("peers", f.others); name != "" {
			p.doubts.peers = true
			p.fault(object.at, "", "peers is missing: did you mean it by %.60q?", name)
		}
	case m.value[0] != '[':
		p.doubts.peers = true
		p.wrong(m, "peers", `an array, as in [{"id": 0, "address": "127.0.0.1:8081"}]`)
	default:
		for _, e := range elements(m) {
			p.peer(c, e, peerFields)
		}
	}
}

// peer reads one more entry, in which our fields have these names.
func (p *parser) peer(c *Config, object member, names []string) {
	i := len(c.Peers)
	c.Peers = append(c.Peers, peercatalog.Peer{})
	peer, where := &c.Peers[i], entry(i, 0, false)
	if object.value[0] != '{' {
		p.doubts.entry[i] = doubt{id: true, address: true}
		p.wrong(object, where, `an object, as in {"id": 0, "address": "127.0.0.1:8081"}`)
		return
	}
	bare := len(names) == len(bareFields)
	for _, m := range members(object) {
		if strings.EqualFold(m.name, "id") {
			if id, ok := whole(m.value, bare); ok {
				where = entry(i, id, true)
			}
			break
		}
	}
	f := p.sort(object, where, names)
	peer.Extra = f.extra

	var d doubt
	if m, ok := f.ours["id"]; ok {
		if peer.ID, ok = whole(m.value, bare); !ok {
			d.id = true
			p.wrong(m, where+": id", "a whole number from 0 to 65535")
		}
	} else {
		d.id = true
		p.missing(object, where, "id", "a whole number from 0 to 65535", f)
	}
	peer.Bind, _ = p.text(f, "bind", where, `a string such as "*:8081"`)
	peer.PublicKey, _ = p.text(f, "public_key", where, "a string of 40 characters in Z85")
	peer.PreviousPublicKey, _ = p.text(f, "previous_public_key", where, "a string of 40 characters in Z85")

	given := func(name string) bool { _, ok := f.ours[name]; return ok }
	switch {
	case given("address"):
		for _, other := range []string{"ip", "port", "port1"} {
			if m, ok := f.ours[other]; ok {
				p.fault(m.nameAt, where, "%s beside address: want one of them", other)
			}
		}
		var ok bool
		peer.Address, ok = p.text(f, "address", where, `a string such as "127.0.0.1:8081"`)
		d.address = !ok
	case given("ip") || given("port") || given("port1"): // only if bare
		var ok bool
		peer.Address, ok = p.hostAndPort(object, where, f)
		d.address = !ok
	default:
		d.address = true
		p.missing(object, where, "address", "host:port, for example 127.0.0.1:8081", f)
	}
	if d.id || d.address {
		p.doubts.entry[i] = d
	}
}

// hostAndPort makes an address of the fields ip and port, or port1.
func (p *parser) hostAndPort(object member, where string, f fields) (address string, ok bool) {
	host, ok := p.text(f, "ip", where, `a string such as "127.0.0.1"`)
	if _, given := f.ours["ip"]; !given {
		p.missing(object, where, "ip", "an address such as 127.0.0.1", f)
	} else if ok && host == "" {
		ok = false
		p.fault(f.ours["ip"].at, where, "ip is empty: want an address such as 127.0.0.1")
	} else if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		host = "[" + host + "]"
	} else if strings.Contains(host, ":") {
		ok = false
		p.fault(f.ours["ip"].at, where, "ip %.120q: more than an address: want one such as 127.0.0.1", host)
	}
	m, given := f.ours["port"]
	m1, given1 := f.ours["port1"]
	switch {
	case given && given1:
		p.fault(m1.nameAt, where, "port1 beside port: want one of them")
		return "", false
	case given1:
		m = m1
	case !given:
		p.missing(object, where, "port", "a number from 1 to 65535", f)
		return "", false
	}
	port, good := whole(m.value, true)
	if !good {
		p.wrong(m, where+": "+match(m.name, bareFields), "a number from 1 to 65535")
		return "", false
	}
	return host + ":" + strconv.Itoa(port), ok
}

// fields are those of one object.
type fields struct {
	ours   map[string]member
	extra  map[string]json.RawMessage // the program's own
	others []string                   // the names in extra, in their order
	slips  map[string]bool            // which of ours some other name was taken for
}

// sort tells our fields, which have these names, from the program's own.
func (p *parser) sort(object member, where string, names []string) fields {
	f := fields{ours: make(map[string]member), slips: make(map[string]bool)}
	seen := make(map[string]int)
	for _, m := range members(object) {
		ours := match(m.name, names)
		name := ours
		if ours == "" {
			name = m.name
		}
		if first, ok := seen[name]; ok {
			line, column := p.position(first)
			p.fault(m.nameAt, where, "field %.60q is given twice, first at %d:%d", m.name, line, column)
			continue
		}
		seen[name] = m.nameAt
		if ours != "" {
			f.ours[ours] = m
		} else if ours = misspelt(m.name, names); ours != "" {
			f.slips[ours] = true
			p.fault(m.nameAt, where, "unknown field %.60q: did you mean %q?", m.name, ours)
		} else {
			if f.extra == nil {
				f.extra = make(map[string]json.RawMessage)
			}
			f.extra[m.name] = m.value
			f.others = append(f.others, m.name)
		}
	}
	return f
}

// missing reports that a field is, unless a slip of its name was reported.
func (p *parser) missing(object member, where, name, want string, f fields) {
	if f.slips[name] {
		return
	}
	hint := ""
	if other := meant(name, f.others); other != "" {
		hint = fmt.Sprintf("; did you mean it by %.60q?", other)
	}
	p.fault(object.at, where, "%s is missing: want %s%s", name, want, hint)
}

// text returns the string that the field holds. It reports false if the field
// is absent or, with a fault, holds something else.
func (p *parser) text(f fields, name, where, want string) (string, bool) {
	m, ok := f.ours[name]
	if !ok {
		return "", false
	}
	var s string
	if m.value[0] != '"' || json.Unmarshal(m.value, &s) != nil {
		if where != "" {
			name = where + ": " + name
		}
		p.wrong(m, name, want)
		return "", false
	}
	return s, true
}

func (p *parser) duration(f fields, name string) time.Duration {
	const want = `a string such as "1s" or "250ms"`
	s, ok := p.text(f, name, "", want)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		p.wrong(f.ours[name], name, want)
	}
	return d
}

// whole returns the integer that value is, or that the string holds that it is
// if that is allowed.
func whole(value json.RawMessage, orString bool) (int, bool) {
	s := string(value)
	if orString && s[0] == '"' {
		if json.Unmarshal(value, &s) != nil {
			return 0, false
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// next returns the JSON value at or after the offset, whose value is nil at the
// end, and the offset behind it.
func (p *parser) next(offset int) (m member, rest int) {
	m.at = skip(p.data, offset, jsonSpace)
	if m.at == len(p.data) {
		return m, m.at
	}
	dec := json.NewDecoder(bytes.NewReader(p.data[m.at:]))
	if dec.Decode(&m.value) == nil {
		return m, m.at + int(dec.InputOffset())
	}
	// The decoder does not tell the place; the other face of the package does.
	p.broken = true
	at, err := len(p.data), json.Unmarshal(p.data[m.at:], new(json.RawMessage))
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && syntax.Error() != "unexpected end of JSON input" {
		at = m.at + int(syntax.Offset) - 1
	}
	p.fault(at, "", "not valid JSON: %w", err)
	return member{}, len(p.data)
}

// end reports what follows the configuration.
func (p *parser) end(offset int) {
	if at := skip(p.data, offset, jsonSpace); at < len(p.data) {
		p.fault(at, "", "data after the end of the configuration: want nothing")
	}
}

const jsonSpace = " \t\r\n"

// skip returns the offset of the first byte, from offset on, that is not in set.
func skip(data []byte, offset int, set string) int {
	for offset < len(data) && strings.IndexByte(set, data[offset]) >= 0 {
		offset++
	}
	return offset
}

// members returns the fields of an object whose syntax has been checked.
func members(object member) []member {
	dec := json.NewDecoder(bytes.NewReader(object.value))
	var ms []member
	dec.Token()
	for dec.More() {
		m := member{nameAt: object.at + skip(object.value, int(dec.InputOffset()), jsonSpace+",")}
		name, _ := dec.Token()
		m.name, _ = name.(string)
		m.at = object.at + skip(object.value, int(dec.InputOffset()), jsonSpace+":")
		if dec.Decode(&m.value) != nil {
			break
		}
		ms = append(ms, m)
	}
	return ms
}

// elements returns those of an array whose syntax has been checked.
func elements(array member) []member {
	dec := json.NewDecoder(bytes.NewReader(array.value))
	var ms []member
	dec.Token()
	for dec.More() {
		m := member{at: array.at + skip(array.value, int(dec.InputOffset()), jsonSpace+",")}
		if dec.Decode(&m.value) != nil {
			break
		}
		ms = append(ms, m)
	}
	return ms
}

// wrong reports that a value is not what is wanted.
func (p *parser) wrong(m member, what, want string) {
	p.fault(m.at, what, "got %s: want %s", describe(m.value), want)
}

// fault adds one, at the offset if that is not negative.
func (p *parser) fault(offset int, where, format string, args ...any) {
	place := Config{file: p.file}.source()
	if offset >= 0 {
		line, column := p.position(offset)
		place = fmt.Sprintf("%s:%d:%d", place, line, column)
	}
	if where != "" {
		place += ": " + where
	}
	p.faults = append(p.faults, fmt.Errorf("%s: "+format, append([]any{place}, args...)...))
}

// position returns the line and the column, in characters, of an offset; both
// count from 1.
func (p *parser) position(offset int) (line, column int) {
	if offset < p.offset {
		p.offset, p.line, p.column = 0, 0, 0
	}
	passed := p.data[p.offset:offset]
	p.offset = offset
	if i := bytes.LastIndexByte(passed, '\n'); i >= 0 {
		p.line += bytes.Count(passed, []byte("\n"))
		p.column = 0
		passed = passed[i+1:]
	}
	p.column += utf8.RuneCount(passed)
	return p.line + 1, p.column + 1
}

// describe names a JSON value in an error.
func describe(value json.RawMessage) string {
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		var s string
		if err := json.Unmarshal(value, &s); err != nil {
			return "a string"
		}
		return fmt.Sprintf("the string %.60q", s)
	case 't', 'f', 'n':
		return string(value)
	}
	return fmt.Sprintf("the number %.40s", value)
}
