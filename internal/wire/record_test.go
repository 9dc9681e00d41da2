package wire_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/wire"
)

// goldenHex is the record of goldenRecord, as it is on other machines.
// And shortHex is that of a record with the next message id, after it.
const (
	goldenHex = "10 000000 03000000 0102030405060788 616263"
	shortHex  = "91 0200 6465"
)

var (
	goldenRecord = wire.Record{MsgID: -0x77f8f9fafbfcfdff, Kind: 16, Payload: []byte("abc")}
	shortRecord  = wire.Record{MsgID: goldenRecord.MsgID + 1, Kind: 17, Payload: []byte("de")}
)

func appendRecord(b []byte, r wire.Record) []byte {
	return append(wire.AppendRecordHeader(b, r.MsgID, r.Kind, len(r.Payload)), r.Payload...)
}

// appendShort appends a record with a short header.
func appendShort(b []byte, r wire.Record) []byte {
	b = append(b, make([]byte, wire.ShortSize)...)
	wire.PutShortHeader(b[len(b)-wire.ShortSize:], r.Kind, len(r.Payload))
	return append(b, r.Payload...)
}

// appendAgain appends a record that was read from the start of read, as it was there.
func appendAgain(b []byte, r wire.Record, read []byte) []byte {
	if wire.IsShort(read) {
		return appendShort(b, r)
	}
	return appendRecord(b, r)
}

func appendPiece(b []byte, p wire.Piece, offset uint32) []byte {
	if offset == 0 {
		b = wire.AppendRecordHeader(b, p.MsgID, p.Kind, p.Total)
	}
	return append(b, p.Data...)
}

func TestRecordGolden(t *testing.T) {
	want := unhex(t, goldenHex)
	if got := appendRecord(nil, goldenRecord); !bytes.Equal(got, want) {
		t.Errorf("got\n%x, want\n%x", got, want)
	}
	short := unhex(t, shortHex)
	if got := appendShort(nil, shortRecord); !bytes.Equal(got, short) {
		t.Errorf("got\n%x, want\n%x", got, short)
	}
	got, rest := wire.NextRecord(append(want, short...), 5)
	if diff := cmp.Diff(goldenRecord, got); diff != "" || !bytes.Equal(rest, short) {
		t.Errorf("NextRecord leaves %x, and (-want +got):\n%s", rest, diff)
	}
	got, rest = wire.NextRecord(rest, got.MsgID)
	if diff := cmp.Diff(shortRecord, got); diff != "" || len(rest) > 0 {
		t.Errorf("NextRecord leaves %x, and (-want +got):\n%s", rest, diff)
	}
}

// with is b with one byte changed.
func with(b []byte, i int, to byte) []byte {
	b = bytes.Clone(b)
	b[i] = to
	return b
}

func TestCheckRecords(t *testing.T) {
	one := appendRecord(nil, goldenRecord)
	empty := appendRecord(nil, wire.Record{MsgID: 1, Kind: 1})
	long := appendRecord(nil, wire.Record{Kind: 127, Payload: bytes.Repeat([]byte("x"), 70000)})
	short := appendShort(nil, shortRecord)
	longest := appendShort(nil, wire.Record{Kind: 127, Payload: bytes.Repeat([]byte("x"), wire.MaxShort)})
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, c := range []struct {
		name  string
		body  []byte
		count uint32
		want  error
		says  string
	}{
		{"none announced", one, 0, wire.ErrMalformed, "19 bytes after the last"},
		{"one too few", join(one, one), 1, wire.ErrMalformed, "19 bytes after the last"},
		{"one too many", join(one, one), 3, wire.ErrMalformed, "0 bytes are less"},
		{"as many as there can be", one, 1<<32 - 1, wire.ErrMalformed, "0 bytes are less"},
		{"nothing", nil, 1, wire.ErrMalformed, "0 bytes are less"},
		{"a header cut off", empty[:15], 1, wire.ErrMalformed, "15 bytes are less"},
		{"the second header cut off", join(one, empty[:15]), 2, wire.ErrMalformed, "15 bytes are less"},
		{"a payload cut off", one[:18], 1, wire.ErrMalformed, "record 1 of 1 announces 3 bytes, and 2 are left"},
		{"the second payload cut off", join(empty, one[:18]), 2, wire.ErrMalformed, "record 2 of 2"},
		{"a byte too many", join(one, []byte{0}), 1, wire.ErrMalformed, "1 bytes after the last"},
		{"first reserved byte", with(one, 1, 1), 1, wire.ErrMalformed, "reserved"},
		{"last reserved byte", with(one, 3, 1), 1, wire.ErrMalformed, "reserved"},
		{"a short header at the beginning", append(short, one...), 2, wire.ErrMalformed, "without a message id"},
		{"a short header cut off", join(one, short[:2]), 2, wire.ErrMalformed, "2 bytes are less"},
		{"a payload behind a short header cut off", join(one, short[:4]), 2, wire.ErrMalformed, "record 2 of 2 announces 2 bytes, and 1 are left"},
		{"a payload of a gigabyte and a byte", wire.AppendRecordHeader(nil, 1, 1, wire.MaxPayload+1), 1, wire.ErrMalformed, "1073741825 bytes"},
		{"a payload of 4 GB", wire.AppendRecordHeader(nil, 1, 1, 1<<32-1), 1, wire.ErrMalformed, "4294967295 bytes"},
		{"a gigabyte that is not there", wire.AppendRecordHeader(nil, 1, 1, wire.MaxPayload), 1, wire.ErrMalformed, "and 0 are left"},

		{"bare", nil, 0, nil, ""},
		{"one", one, 1, nil, ""},
		{"one without a payload", empty, 1, nil, ""},
		{"several", join(empty, one, empty, long, one), 5, nil, ""},
		{"several with short headers", join(one, short, short, empty, longest, short), 6, nil, ""},
		{"a short header and no payload", join(one, appendShort(nil, wire.Record{Kind: 1})), 2, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := wire.CheckRecords(c.body, c.count)
			checkRefusal(t, err, c.want, c.says)
			if err != nil {
				return
			}
			var again []byte
			rest := c.body
			before := int64(100)
			for range c.count {
				read := rest
				var r wire.Record
				r, rest = wire.NextRecord(rest, before)
				if short := wire.IsShort(read); short && r.MsgID != before+1 {
					t.Errorf("a record with a short header behind message id %d has %d", before, r.MsgID)
				}
				before = r.MsgID
				if len(r.Payload) != cap(r.Payload) {
					t.Errorf("an append to the payload would overwrite the next record: length %d, capacity %d", len(r.Payload), cap(r.Payload))
				}
				again = appendAgain(again, r, read)
			}
			if !bytes.Equal(again, c.body) || len(rest) > 0 {
				t.Errorf("written again it is %x with %x left, want %x", again, rest, c.body)
			}
		})
	}
}

func TestParsePiece(t *testing.T) {
	head := func(total int) []byte { return wire.AppendRecordHeader(nil, 7, 17, total) }
	first := func(total int, data string) []byte { return append(head(total), data...) }
	for _, c := range []struct {
		name   string
		body   []byte
		tail   []byte
		offset uint32
		want   error
		says   string
		piece  wire.Piece
	}{
		{"nothing at the beginning", nil, nil, 0, wire.ErrMalformed, "0 bytes are less", wire.Piece{}},
		{"nothing later", nil, nil, 5, wire.ErrMalformed, "empty piece", wire.Piece{}},
		{"a header cut off", head(9)[:15], nil, 0, wire.ErrMalformed, "15 bytes are less", wire.Piece{}},
		{"a header and no more", head(9), nil, 0, wire.ErrMalformed, "empty piece", wire.Piece{}},
		{"an empty record", head(0), nil, 0, wire.ErrMalformed, "empty piece", wire.Piece{}},
		{"reserved bytes", with(first(9, "abc"), 1, 1), nil, 0, wire.ErrMalformed, "reserved", wire.Piece{}},
		{"too large a total", first(wire.MaxPayload+1, "abc"), nil, 0, wire.ErrMalformed, "1073741825 bytes", wire.Piece{}},
		{"a first piece that is all", first(3, "abc"), nil, 0, wire.ErrMalformed, "3 bytes of 3", wire.Piece{}},
		{"a first piece that is all, in two parts", first(3, "a"), []byte("bc"), 0, wire.ErrMalformed, "3 bytes of 3", wire.Piece{}},
		{"a first piece of more than all", first(2, "abc"), nil, 0, wire.ErrMalformed, "3 bytes of 2", wire.Piece{}},

		{"the first", first(4, "abc"), nil, 0, nil, "", wire.Piece{MsgID: 7, Kind: 17, Total: 4, Data: []byte("abc")}},
		{"the first, split after the header", head(4), []byte("abc"), 0, nil, "", wire.Piece{MsgID: 7, Kind: 17, Total: 4, Data: []byte("abc")}},
		{"the first, split within the header", first(4, "abc")[:5], first(4, "abc")[5:], 0, nil, "", wire.Piece{MsgID: 7, Kind: 17, Total: 4, Data: []byte("abc")}},
		{"the first of the largest", first(wire.MaxPayload, "abc"), nil, 0, nil, "", wire.Piece{MsgID: 7, Kind: 17, Total: wire.MaxPayload, Data: []byte("abc")}},
		{"a later one", []byte("abc"), nil, 3, nil, "", wire.Piece{Data: []byte("abc")}},
		{"a later one in the second part", nil, []byte("abc"), 3, nil, "", wire.Piece{Data: []byte("abc")}},
		{"a later one in two parts", []byte("a"), []byte("bc"), 1<<32 - 1, nil, "", wire.Piece{Data: []byte("abc")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := bytes.Clone(c.body)
			got, err := wire.ParsePiece(c.body, c.tail, c.offset)
			checkRefusal(t, err, c.want, c.says)
			if !bytes.Equal(body, c.body) {
				t.Errorf("the body is now %x, want %x", c.body, body)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(c.piece, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if again, all := appendPiece(nil, got, c.offset), append(body, c.tail...); !bytes.Equal(again, all) {
				t.Errorf("written again it is %x, want %x", again, all)
			}
		})
	}
}

func TestParseSplit(t *testing.T) {
	head := wire.AppendRecordHeader(nil, 7, 17, 3)
	for _, c := range []struct {
		name       string
		body, tail []byte
		count      uint32
		ok         bool
	}{
		{"between header and payload", head, []byte("abc"), 1, true},
		{"an empty payload", wire.AppendRecordHeader(nil, 7, 17, 0), nil, 1, true},
		{"no record", nil, nil, 0, false},
		{"header without a record", head, []byte("abc"), 0, false},
		{"two records", head, []byte("abc"), 2, false},
		{"within the header", head[:15], append(head[15:16:16], "abc"...), 1, false},
		{"within the payload", append(head[:16:16], 'a'), []byte("bc"), 1, false},
		{"a byte between header and payload", append(head[:16:16], 'x'), []byte("abc"), 1, false},
		{"not split", append(head[:16:16], "abc"...), nil, 1, false},
		{"too short a payload", head, []byte("ab"), 1, false},
		{"too long a payload", head, []byte("abcd"), 1, false},
		{"reserved bytes", with(head, 1, 1), []byte("abc"), 1, false},
		{"after a short header", []byte{0x91, 3, 0}, []byte("abc"), 1, false},
		{"too large a payload", wire.AppendRecordHeader(nil, 7, 17, wire.MaxPayload+1), []byte("abc"), 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, ok := wire.ParseSplit(c.body, c.tail, c.count)
			if ok != c.ok {
				t.Fatalf("got %v, want %v", ok, c.ok)
			}
			if !ok {
				return
			}
			if diff := cmp.Diff(wire.Record{MsgID: 7, Kind: 17, Payload: c.tail}, r); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestJoin(t *testing.T) {
	whole := []byte("abcdef")
	for _, c := range []struct {
		name   string
		a, b   []byte
		want   string
		shares []byte // what the result is part of; nil: a copy
	}{
		{"only the first", whole[:3], nil, "abc", whole},
		{"only the second", nil, whole[:3], "abc", whole},
		{"both", whole[:3], []byte("XYZ"), "abcXYZ", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := wire.Join(c.a, c.b)
			if string(got) != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if shares := &got[0] == &whole[0]; shares != (c.shares != nil) {
				t.Errorf("shares its memory: %v, want %v", shares, c.shares != nil)
			}
			if string(whole) != "abcdef" {
				t.Errorf("what followed the first is now %q", whole)
			}
		})
	}
}

// FuzzPiece takes bytes for what follows the header of a frame, in one part and
// in two: the place of the cut must not matter.
func FuzzPiece(f *testing.F) {
	f.Add(append(wire.AppendRecordHeader(nil, 7, 17, 9), "abc"...), 16, uint32(0), uint32(1))
	f.Add([]byte("abc"), 1, uint32(262144), uint32(0))
	f.Fuzz(func(t *testing.T, content []byte, cut int, offset, count uint32) {
		cut = min(max(cut, 0), len(content))
		body, tail := content[:cut:cut], content[cut:]
		before := bytes.Clone(content)
		var got wire.Piece
		var err error
		limit := uint64(4*len(content) + 64<<10)
		if bytesMade := allocated(limit, func() { got, err = wire.ParsePiece(body, tail, offset) }); bytesMade > limit {
			t.Errorf("%d bytes made %d, want at most %d", len(content), bytesMade, limit)
		}
		if err != nil && !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("got %v, want ErrMalformed", err)
		}
		if err == nil && !bytes.Equal(appendPiece(nil, got, offset), content) {
			t.Errorf("written again: got\n%x, want\n%x", appendPiece(nil, got, offset), content)
		}
		whole, wholeErr := wire.ParsePiece(content, nil, offset)
		if (err == nil) != (wholeErr == nil) {
			t.Errorf("in two parts: %v; in one: %v", err, wholeErr)
		} else if diff := cmp.Diff(whole, got); err == nil && diff != "" {
			t.Errorf("in one part and in two (-one +two):\n%s", diff)
		}
		if r, ok := wire.ParseSplit(body, tail, count); ok {
			if err := wire.CheckRecords(content, count); err != nil {
				t.Errorf("ParseSplit takes what CheckRecords refuses: %v", err)
			} else if want, _ := wire.NextRecord(content, 0); !cmp.Equal(want.Payload, r.Payload) && len(r.Payload) > 0 || want.MsgID != r.MsgID || want.Kind != r.Kind {
				t.Errorf("ParseSplit: got %+v, want %+v", r, want)
			}
		}
		if !bytes.Equal(content, before) {
			t.Errorf("the content is now %x, want %x", content, before)
		}
	})
}
