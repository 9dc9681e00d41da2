package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/wire"
)

// full is a header in which no two bytes are the same but those that must be.
func full() wire.Header {
	return wire.Header{
		Flags:          wire.FlagPiece | wire.FlagAckNow | wire.FlagTaking,
		To:             0x1211,
		From:           0x1413,
		Cluster:        0x2827262524232221,
		Incarnation:    0x3837363534333231,
		Start:          wire.Position{Seq: 0x0847464544434241, Offset: 0x9c9b9a99},
		AckIncarnation: 0x5857565554535251,
		Ack:            wire.Position{Seq: 0x6867666564636261, Offset: 0x74737271},
		Window:         0x84838281,
		Count:          1,
	}
}

const fullHex = "01 07 1112 1314 0000 2122232425262728 3132333435363738 4142434445464708 5152535455565758" +
	"6162636465666768 71727374 81828384 01000000 999a9b9c"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put is the header as bytes, followed by more.
func put(h wire.Header, more ...byte) []byte {
	b := make([]byte, h.Size())
	h.Put(b)
	return append(b, more...)
}

// TestHeaderGolden holds the format still: these bytes are on other machines.
func TestHeaderGolden(t *testing.T) {
	want := unhex(t, fullHex)
	if got := put(full()); !bytes.Equal(got, want) {
		t.Errorf("Put: got\n%x, want\n%x", got, want)
	}
	got, err := wire.ParseHeader(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), got); diff != "" {
		t.Errorf("ParseHeader (-want +got):\n%s", diff)
	}
}

func TestConstants(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uint64
	}{
		{"Version", wire.Version, 1},
		{"HeaderSize", wire.HeaderSize, 64},
		{"RecordSize", wire.RecordSize, 16},
		{"ShortSize", wire.ShortSize, 3},
		{"MaxShort", wire.MaxShort, 65535},
		{"MaxFrame", wire.MaxFrame, 262144},
		{"MaxPayload", wire.MaxPayload, 1073741824},
		{"InitialWindow", wire.InitialWindow, 262144},
		{"FlagPiece", wire.FlagPiece, 1},
		{"FlagAckNow", wire.FlagAckNow, 2},
		{"FlagTaking", wire.FlagTaking, 4},
		{"FlagResend", wire.FlagResend, 8},
		{"FlagUrgent", wire.FlagUrgent, 32},
		{"ResendSize", wire.ResendSize, 40},
		{"CapValues", uint64(wire.CapValues), 1},
		{"CapResend", uint64(wire.CapResend), 2},
		{"CapUrgent", uint64(wire.CapUrgent), 16},
		{`ClusterHash("")`, wire.ClusterHash(""), 0x141cfc9842c4b0e3},
		{`ClusterHash("demo")`, wire.ClusterHash("demo"), 0x84684b356c51972a},
	} {
		if c.got != c.want {
			t.Errorf("%s is %#x, want %#x", c.name, c.got, c.want)
		}
	}
}

func TestParseHeader(t *testing.T) {
	change := func(f func(h *wire.Header)) []byte {
		h := wire.Header{Incarnation: 1, Start: wire.Position{Seq: 1}}
		f(&h)
		return put(h)
	}
	resend := func(f func(h *wire.Header)) []byte {
		return change(func(h *wire.Header) {
			h.Flags, h.Start, h.Kept = wire.FlagResend, wire.Position{Seq: 5}, wire.Position{Seq: 2, Offset: 3}
			f(h)
		})
	}
	set := func(i int, to byte) []byte {
		b := change(func(*wire.Header) {})
		b[i] = to
		return b
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  error
		says  string
	}{
		{"nothing", nil, wire.ErrMalformed, "empty"},
		{"version 0", set(0, 0), wire.ErrVersion, "0"},
		{"version 2", set(0, 2), wire.ErrVersion, "2"},
		{"a short frame of another version", []byte{2}, wire.ErrVersion, "2"},
		{"version alone", []byte{1}, wire.ErrMalformed, "1 bytes"},
		{"one byte short", set(0, 1)[:wire.HeaderSize-1], wire.ErrMalformed, "63 bytes"},
		{"an unknown flag", set(1, 64), wire.ErrMalformed, "flags"},
		{"an urgent frame without resending", set(1, 32), wire.ErrMalformed, "urgent"},
		{"an urgent piece", resend(func(h *wire.Header) { h.Flags |= 32 | wire.FlagPiece; h.Count = 1 }), wire.ErrMalformed, "urgent"},
		{"an urgent frame that asks to confirm", resend(func(h *wire.Header) { h.Flags |= 32 | 16 }), wire.ErrMalformed, "urgent"},
		{"a question without resending", set(1, 16), wire.ErrMalformed, "resend"},
		{"the last flag", set(1, 0x80), wire.ErrMalformed, "flags"},
		{"first reserved byte", set(6, 1), wire.ErrMalformed, "reserved"},
		{"second reserved byte", set(7, 1), wire.ErrMalformed, "reserved"},
		{"no incarnation", change(func(h *wire.Header) { h.Incarnation = 0 }), wire.ErrMalformed, "incarnation"},
		{"sequence 0", change(func(h *wire.Header) { h.Start.Seq = 0 }), wire.ErrMalformed, "sequence"},
		{"sequence too large", change(func(h *wire.Header) { h.Start.Seq = 1<<62 + 1 }), wire.ErrMalformed, "sequence"},
		{"a bare piece", change(func(h *wire.Header) { h.Flags = wire.FlagPiece }), wire.ErrMalformed, "piece"},
		{"a piece of two records", change(func(h *wire.Header) { h.Flags, h.Count = wire.FlagPiece, 2 }), wire.ErrMalformed, "piece"},
		{"an offset without a piece", change(func(h *wire.Header) { h.Start.Offset, h.Count = 1, 1 }), wire.ErrMalformed, "offset"},

		{"without its part for resending", set(1, wire.FlagResend), wire.ErrMalformed, "resending"},
		{"one byte short of it", resend(func(*wire.Header) {})[:wire.HeaderSize+wire.ResendSize-1], wire.ErrMalformed, "103 bytes"},
		{"reserved bytes of it", append(resend(func(*wire.Header) {})[:wire.HeaderSize+wire.ResendSize-1], 1), wire.ErrMalformed, "reserved"},
		{"nothing is kept from 0 on", resend(func(h *wire.Header) { h.Kept.Seq = 0 }), wire.ErrMalformed, "kept"},
		{"what begins before what is kept", resend(func(h *wire.Header) { h.Kept.Seq = 6 }), wire.ErrMalformed, "kept"},

		{"an urgent frame", resend(func(h *wire.Header) { h.Flags |= 32; h.Count = 3 }), nil, ""},
		{"nothing is kept", resend(func(h *wire.Header) { h.Kept = h.Start }), nil, ""},
		{"what is missing", resend(func(h *wire.Header) {
			h.Wanted, h.Held = wire.Position{Seq: 7, Offset: 1}, wire.Position{Seq: 9, Offset: 2}
		}), nil, ""},
		{"bare", change(func(*wire.Header) {}), nil, ""},
		{"bare within a record", change(func(h *wire.Header) { h.Start.Offset = 1 }), nil, ""},
		{"bare, asking", change(func(h *wire.Header) { h.Flags = wire.FlagAckNow }), nil, ""},
		{"the last sequence", change(func(h *wire.Header) { h.Start.Seq = 1 << 62 }), nil, ""},
		{"a piece", change(func(h *wire.Header) { h.Flags, h.Count, h.Start.Offset = wire.FlagPiece, 1, 1 }), nil, ""},
		{"records", change(func(h *wire.Header) { h.Count = 1<<32 - 1 }), nil, ""},
		{"any acknowledgment", change(func(h *wire.Header) { h.Ack, h.AckIncarnation = wire.Position{Seq: 1<<64 - 1, Offset: 1<<32 - 1}, 0 }), nil, ""},
		{"all of it", put(full()), nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := bytes.Clone(c.frame)
			h, err := wire.ParseHeader(c.frame)
			checkRefusal(t, err, c.want, c.says)
			if !bytes.Equal(c.frame, before) {
				t.Errorf("the frame is now %x, want %x", c.frame, before)
			}
			if err == nil && !bytes.Equal(put(h), c.frame) {
				t.Errorf("written again it is %x, want %x", put(h), c.frame)
			}
			if bare := err == nil && h.Count == 0; bare != (err == nil && h.Bare()) {
				t.Errorf("Bare is %v with %d records", h.Bare(), h.Count)
			}
		})
	}
}

// checkRefusal checks that err is want, and that it says something of the cause.
func checkRefusal(t *testing.T, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	if err != nil && !strings.Contains(err.Error(), says) {
		t.Errorf("got error %q, want %q in it", err, says)
	}
}

func TestPositionBefore(t *testing.T) {
	// In order; each is before all that follow it, and before nothing else.
	order := []wire.Position{{}, {Seq: 1}, {Seq: 1, Offset: 1}, {Seq: 1, Offset: 1<<32 - 1}, {Seq: 2}, {Seq: 1 << 62}, {Seq: 1<<64 - 1, Offset: 1}}
	for i, p := range order {
		for j, q := range order {
			if got, want := p.Before(q), i < j; got != want {
				t.Errorf("%v.Before(%v) is %v, want %v", p, q, got, want)
			}
		}
	}
}

// FuzzFrame takes bytes for a whole frame. What is accepted must be what a
// sender would have written: the same bytes come out again.
func FuzzFrame(f *testing.F) {
	f.Add(put(full(), unhex(f, goldenHex)...))
	f.Add(exampleFrame(f))
	f.Add(put(wire.Header{Flags: wire.FlagResend, Incarnation: 1, Start: wire.Position{Seq: 5}, Resend: wire.Resend{Kept: wire.Position{Seq: 2}}}))
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := bytes.Clone(frame)
		var again []byte
		var err error
		limit := uint64(8*len(frame) + 64<<10)
		if got := allocated(limit, func() { again, err = reencode(t, frame) }); got > limit {
			t.Errorf("%d bytes made %d, want at most %d", len(frame), got, limit)
		}
		if !bytes.Equal(frame, before) {
			t.Errorf("the frame is now %x", frame)
		}
		switch {
		case err == nil && !bytes.Equal(again, frame):
			t.Errorf("written again: got\n%x, want\n%x", again, frame)
		case err != nil && !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, wire.ErrVersion):
			t.Errorf("got %v, want one of the package's errors", err)
		}
	})
}

// reencode reads a frame as a receiver does, and writes what it read.
func reencode(t *testing.T, frame []byte) ([]byte, error) {
	h, err := wire.ParseHeader(frame)
	if err != nil {
		return nil, err
	}
	out := make([]byte, h.Size(), len(frame)+wire.RecordSize)
	h.Put(out)
	body := frame[h.Size():]
	if h.Flags&wire.FlagPiece != 0 {
		p, err := wire.ParsePiece(body, nil, h.Start.Offset)
		if err != nil {
			return nil, err
		}
		return appendPiece(out, p, h.Start.Offset), nil
	}
	if err := wire.CheckRecords(body, h.Count); err != nil {
		return nil, err
	}
	for range h.Count {
		read := body
		var r wire.Record
		r, body = wire.NextRecord(body, 0)
		out = appendAgain(out, r, read)
	}
	if len(body) > 0 {
		t.Errorf("%d bytes are left after %d records", len(body), h.Count)
	}
	return out, nil
}

// allocated is roughly how many bytes f allocates: what is small may be counted
// late. Unlike runtime.ReadMemStats it does not stop the world. The count is that
// of the whole process, whose other goroutines allocate as well, so a result over
// the limit is measured again before it is believed.
func allocated(limit uint64, f func()) uint64 {
	total := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	least := uint64(math.MaxUint64)
	for range 10 {
		before := total()
		f()
		if least = min(least, total()-before); least <= limit {
			break
		}
	}
	return least
}

// point is the registered struct of the example in docs/wire.md.
type point struct {
	X, Y int
	Name string
}

func init() { codec.Register("main.Point", point{}) }

// exampleFrame is the frame that docs/wire.md spells out.
func exampleFrame(t testing.TB) []byte {
	t.Helper()
	var records []byte
	messages := []struct {
		after int64 // microseconds
		msg   any
	}{{0, "hi"}, {1, -2}, {10, point{X: 1, Y: -2, Name: "p"}}}
	for _, m := range messages {
		payload, kind, err := codec.Append(nil, m.msg, codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		id := int64(2)<<47 | (1_700_000_000_000_000+m.after)&(1<<47-1)
		appendNext := appendRecord
		if m.after == 1 {
			appendNext = appendShort
		}
		records = appendNext(records, wire.Record{MsgID: id, Kind: uint8(kind), Payload: payload})
	}
	return put(wire.Header{
		Flags:          wire.FlagAckNow,
		To:             1,
		From:           2,
		Cluster:        wire.ClusterHash("demo"),
		Incarnation:    0x1122334455667788,
		Start:          wire.Position{Seq: 5},
		AckIncarnation: 0x99aabbccddeeff01,
		Ack:            wire.Position{Seq: 42},
		Window:         1 << 20,
		Count:          uint32(len(messages)),
	}, records...)
}

const document = "../../docs/wire.md"

func readDocument(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDocumentExample checks the bytes in docs/wire.md, and the offset that
// each of its lines begins with.
func TestDocumentExample(t *testing.T) {
	want := exampleFrame(t)
	_, block, ok := strings.Cut(readDocument(t), "```hex\n")
	block, _, closed := strings.Cut(block, "```")
	if !ok || !closed {
		t.Fatalf("%s has no block that is marked as hex", document)
	}
	var got []byte
	for line := range strings.Lines(block) {
		at, rest, _ := strings.Cut(line, "  ")
		if offset, err := strconv.Atoi(strings.TrimSpace(at)); err != nil || offset != len(got) {
			t.Errorf("the line %q begins with offset %q, want %d", line, at, len(got))
		}
		digits, _, _ := strings.Cut(rest, "#")
		got = append(got, unhex(t, digits)...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the example in %s is\n%s, want\n%s", document, hex.Dump(got), hex.Dump(want))
	}
}

// TestDocumentKinds checks the table of kinds in docs/wire.md.
func TestDocumentKinds(t *testing.T) {
	_, section, _ := strings.Cut(readDocument(t), "\n## 8. Kinds\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| (\w[\w ]*) \|`).FindAllStringSubmatch(section, -1)
	kinds := map[string]string{}
	for _, r := range rows {
		kinds[r[1]] = r[2]
	}
	for k := codec.Nil; k <= codec.Failure; k++ {
		n := fmt.Sprint(uint8(k))
		if kinds[n] != k.String() {
			t.Errorf("kind %s is %q in %s, want %q", n, kinds[n], document, k)
		}
		delete(kinds, n)
	}
	if len(kinds) > 0 {
		t.Errorf("%s has kinds that do not exist: %v", document, kinds)
	}
}
