package gobdiff

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// own declares a type with methods that encode it, some of which are exact, and some not.
func (g *generator) own(name string) {
	r := strings.NewReplacer("NAME", name, "RECEIVER", pick(g, []string{"", "*"})+name)
	g.printf("%s\n", r.Replace(pick(g, ownTypes)))
	if g.kinds[g.at] == ownType && g.lastIsWhole() {
		g.whole = append(g.whole, name)
	}
}

// lastIsWhole reports whether what was written last is a struct with unexported fields, which its methods keep.
func (g *generator) lastIsWhole() bool {
	s := g.out.String()
	s = s[strings.LastIndex(s, "\ntype "):]
	return strings.Contains(s, "; b string") && !strings.Contains(s, "half")
}

var ownTypes = []string{
	`type NAME struct { A int; b string }
func (o RECEIVER) MarshalBinary() ([]byte, error)  { return gobdiff.Pack(o.A, o.b), nil }
func (o *NAME) UnmarshalBinary(p []byte) error { return gobdiff.Unpack(p, &o.A, &o.b) }`,
	`type NAME struct { a int; b string }
func (o RECEIVER) AppendBinary(p []byte) ([]byte, error) { return append(p, gobdiff.Pack(o.a, o.b)...), nil }
func (o *NAME) UnmarshalBinary(p []byte) error { return gobdiff.Unpack(p, &o.a, &o.b) }`,
	`type NAME struct { A int; b string }
func (o RECEIVER) GobEncode() ([]byte, error)  { return gobdiff.Pack(o.A, o.b), nil }
func (o *NAME) GobDecode(p []byte) error { return gobdiff.Unpack(p, &o.A, &o.b) }`,
	`type NAME int
func (o NAME) GobEncode() ([]byte, error)  { return gobdiff.Pack(int(o), ""), nil }
func (o *NAME) GobDecode(p []byte) error { var s string; return gobdiff.Unpack(p, (*int)(o), &s) }`,
	`type NAME struct { a int; b string }
func (o RECEIVER) MarshalText() ([]byte, error)  { return gobdiff.Pack(o.a, o.b), nil }
func (o *NAME) UnmarshalText(p []byte) error { return gobdiff.Unpack(p, &o.a, &o.b) }`,
	`type NAME struct { A int; b string } // loses b
func (o RECEIVER) MarshalText() ([]byte, error)  { return gobdiff.Pack(o.A, ""), nil }
func (o *NAME) UnmarshalText(p []byte) error { return gobdiff.Unpack(p, &o.A, &o.b) }`,
	`type NAME string // loses the case
func (o NAME) MarshalText() ([]byte, error)  { return gobdiff.Lower(string(o)), nil }
func (o *NAME) UnmarshalText(p []byte) error { *o = NAME(p); return nil }`,
	`type NAME int // loses the sign
func (o NAME) MarshalText() ([]byte, error)  { return gobdiff.Pack(max(int(o), -int(o)), ""), nil }
func (o *NAME) UnmarshalText(p []byte) error { var s string; return gobdiff.Unpack(p, (*int)(o), &s) }`,
	`type NAME struct { A int; b string }
func (o RECEIVER) MarshalCBOR() ([]byte, error)  { return gobdiff.PackCBOR(o.A, o.b), nil }
func (o *NAME) UnmarshalCBOR(p []byte) error { return gobdiff.UnpackCBOR(p, &o.A, &o.b) }`,
	`type NAME struct { A int; b string } // half a pair
func (o RECEIVER) MarshalBinary() ([]byte, error)  { return nil, nil }`,
	`type NAME struct { a int; b string } // half a pair, and nothing else to send
func (o RECEIVER) MarshalText() ([]byte, error)  { return nil, nil }`,
	`type NAME struct { Own; C int; b string } // its own methods, over promoted ones
func (o RECEIVER) MarshalBinary() ([]byte, error)  { return append(gobdiff.Pack(o.C, o.b), gobdiff.Pack(o.A, o.Own.b)...), nil }
func (o *NAME) UnmarshalBinary(p []byte) error { return gobdiff.Unpack(p, &o.C, &o.b, &o.A, &o.Own.b) }`,
	`type NAME struct { Own; C int; b string } // its own format for gob, over a promoted one that comes first
func (o RECEIVER) GobEncode() ([]byte, error)  { return append(gobdiff.Pack(o.C, o.b), gobdiff.Pack(o.A, o.Own.b)...), nil }
func (o *NAME) GobDecode(p []byte) error { return gobdiff.Unpack(p, &o.C, &o.b, &o.A, &o.Own.b) }`,
	`type NAME struct { Own; C int } // one method of its own, one promoted: no half
func (o RECEIVER) MarshalBinary() ([]byte, error)  { return gobdiff.Pack(o.C, ""), nil }`,
	`type NAME struct { Own } // all of it promoted`,
	`type NAME struct { time.Time }`,
}

// Pack encodes a number and a text.
func Pack(n int, s string) []byte {
	b := binary.AppendVarint(nil, int64(n))
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Unpack reads what Pack wrote, several times in a row perhaps: into pointers to int and string.
func Unpack(b []byte, to ...any) error {
	r := bytes.NewReader(b)
	for len(to) > 0 {
		n, err := binary.ReadVarint(r)
		if err != nil {
			return err
		}
		size, err := binary.ReadUvarint(r)
		if err != nil || size > uint64(r.Len()) {
			return errors.New("not what Pack writes")
		}
		text := make([]byte, size)
		r.Read(text)
		*to[0].(*int), *to[1].(*string) = int(n), string(text)
		to = to[2:]
	}
	if r.Len() > 0 {
		return errors.New("more than Pack writes")
	}
	return nil
}

// PackCBOR is Pack as an item of CBOR.
func PackCBOR(n int, s string) []byte {
	b, err := cbor.Marshal(Pack(n, s))
	if err != nil {
		panic(err)
	}
	return b
}

// UnpackCBOR reads what PackCBOR wrote.
func UnpackCBOR(b []byte, n *int, s *string) error {
	var packed []byte
	if err := cbor.Unmarshal(b, &packed); err != nil {
		return err
	}
	return Unpack(packed, n, s)
}

// Lower is a text that has lost its capitals.
func Lower(s string) []byte { return []byte(strings.ToLower(s)) }
