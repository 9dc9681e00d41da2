package zmtp

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

func errorIs(err, want error) bool {
	return err == nil && want == nil || want != nil && errors.Is(err, want)
}

// frameOf is a frame with these flags.
func frameOf(flags byte, body string) string {
	return string(append(appendHeader(nil, flags, len(body)), body...))
}

// decodeAll gives a decoder what comes in pieces of the sizes, and lists what it finds.
func decodeAll(d *decoder, sent string, sizes func() int) (all []string, err error) {
	for b := []byte(sent); len(b) > 0; {
		n := min(len(b), sizes())
		if into := d.room(); len(into) > 0 && rand.N(2) == 0 {
			// As a reader does that reads to where a frame belongs.
			n = copy(into, b[:n])
			d.took(n)
			b = b[n:]
			n = 0
		}
		piece := bytes.Clone(b[:n])
		b = b[n:]
		for {
			used, k, err := d.next(piece)
			if err != nil {
				return all, err
			}
			piece = piece[used:]
			if k == nothing {
				break
			}
			all = append(all, describe(d, k))
		}
	}
	return all, nil
}

func describe(d *decoder, k kind) string {
	switch k {
	case isMessage:
		return fmt.Sprintf("message %q", string(d.head)+string(d.tail))
	case isCommand:
		return fmt.Sprintf("command %q", d.body)
	case isTooMany:
		return "too many parts"
	}
	return "passed over"
}

func TestMessagesAndCommandsAreFoundInWhateverPiecesTheyCome(t *testing.T) {
	large := strings.Repeat("large ", 20_000)
	for name, c := range map[string]struct {
		sent string
		want []string
	}{
		"a short one":                   {frameOf(0, "x"), []string{`message "x"`}},
		"an empty one":                  {frameOf(0, ""), []string{`message ""`}},
		"a long one":                    {frameOf(0, large), []string{fmt.Sprintf("message %q", large)}},
		"of two parts":                  {frameOf(1, "ab") + frameOf(0, "cd"), []string{`message "abcd"`}},
		"two large parts":               {frameOf(1, large) + frameOf(0, large), []string{fmt.Sprintf("message %q", large+large)}},
		"of three parts":                {frameOf(1, "ab") + frameOf(1, "cd") + frameOf(0, large) + frameOf(0, "y"), []string{"too many parts", `message "y"`}},
		"a short size in the long form": {"\x02\x00\x00\x00\x00\x00\x00\x00\x01x", []string{`message "x"`}},
		"a command":                     {frameOf(4, "\x04PING\x00\x00") + frameOf(0, "x"), []string{`command "\x04PING\x00\x00"`, `message "x"`}},
		"a command between parts":       {frameOf(1, "a") + frameOf(4, "\x04PONG") + frameOf(0, "b"), []string{`command "\x04PONG"`, `message "ab"`}},
		"an empty command":              {frameOf(4, ""), []string{`command ""`}},
		"a long command":                {frameOf(4, large[:commandMost]), []string{fmt.Sprintf("command %q", large[:commandMost])}},
		"many":                          {strings.Repeat(frameOf(0, "x"), 100), slices.Repeat([]string{`message "x"`}, 100)},
	} {
		t.Run(name, func(t *testing.T) {
			for pieces, sizes := range map[string]func() int{
				"whole": func() int { return len(c.sent) }, "bytes": func() int { return 1 },
				"random": func() int { return 1 + rand.N(10_000) }, "reads": func() int { return scratchSize },
			} {
				got, err := decodeAll(&decoder{most: wire.MaxFrame}, c.sent, sizes)
				if err != nil {
					t.Errorf("%s: %v", pieces, err)
				}
				if d := cmp.Diff(c.want, got); d != "" {
					t.Errorf("%s (-want +got):\n%.2000s", pieces, d)
				}
			}
		})
	}
}

// Who reads may ask for room before it knows how much comes, and read to somewhere else.
func TestRoomThatIsNotUsedChangesNothing(t *testing.T) {
	for _, sent := range []string{frameOf(flagCommand, "\x04PONGctx"), frameOf(0, "message"), frameOf(flagMore, "two") + frameOf(0, "parts")} {
		want, err := decodeAll(&decoder{most: wire.MaxFrame}, sent, func() int { return len(sent) })
		if err != nil {
			t.Fatal(err)
		}
		d := &decoder{most: wire.MaxFrame}
		if _, k, err := d.next([]byte(sent[:headerShort])); k != nothing || err != nil {
			t.Fatal(k, err)
		}
		if len(d.room()) == 0 {
			t.Fatal("there is no room for a frame that was begun")
		}
		var got []string
		for rest := []byte(sent[headerShort:]); len(rest) > 0; {
			used, k, err := d.next(rest)
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[used:]
			got = append(got, describe(d, k))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", sent, d)
		}
	}
}

func TestWhatZMTPDoesNotAllowIsAnError(t *testing.T) {
	for name, sent := range map[string]string{
		"a reserved flag":            "\x08\x01x",
		"a command of several parts": "\x05\x01x",
		"too large a frame":          "\x02\x00\x00\x00\x00\x00\x04\x00\x01",
		"the largest size":           "\x02\xff\xff\xff\xff\xff\xff\xff\xff",
		"a negative size":            "\x02\x80\x00\x00\x00\x00\x00\x00\x00",
		"too large a command":        string(appendHeader(nil, flagCommand, commandMost+1)),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := decodeAll(&decoder{most: wire.MaxFrame}, sent, func() int { return 1 }); !errors.Is(err, errProtocol) {
				t.Errorf("got %q, %v, want an error", got, err)
			}
		})
	}
}

func TestShortMessagesArePassedOverWhole(t *testing.T) {
	d := &decoder{most: wire.MaxFrame, least: 64}
	long := strings.Repeat("l", 64)
	sent := frameOf(0, "short") + frameOf(1, "short") + frameOf(1, long) + frameOf(0, long) + frameOf(4, "\x04PONG") + frameOf(0, long) + frameOf(1, long) + frameOf(0, "s")
	got, err := decodeAll(d, sent, func() int { return 7 })
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"passed over", "passed over", `command "\x04PONG"`, fmt.Sprintf("message %q", long), fmt.Sprintf("message %q", long+"s")}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestWhatAFrameAnnouncesTakesNoMemoryBeforeItHasCome(t *testing.T) {
	for name, prefix := range map[string]string{"the first part": "", "the second part": frameOf(1, "x")} {
		t.Run(name, func(t *testing.T) {
			d := &decoder{most: wire.MaxFrame}
			header := appendHeader(nil, 0, wire.MaxFrame)
			if got, err := decodeAll(d, prefix+string(header), func() int { return 100 }); got != nil || err != nil {
				t.Fatal(got, err)
			}
			for came := 0; came < wire.MaxFrame-1; {
				piece := make([]byte, min(1000, wire.MaxFrame-1-came))
				if _, k, err := d.next(piece); k != nothing || err != nil {
					t.Fatal(k, err)
				}
				came += len(piece)
				// A buffer of the pool is up to twice as large as what it is for.
				if got := d.unfinished(); got > 2*max(leastBuffer, growth*came)+1000 {
					t.Fatalf("%d bytes are held where %d have come", got, came)
				}
			}
		})
	}
}

// The payload of a frame with one large record becomes the message itself, in memory of no more than its size, and others
// are read to buffers that are used again.
func TestAPayloadThatBecomesTheMessageIsInMemoryOfItsOwn(t *testing.T) {
	const headers, payload = wire.HeaderSize + wire.RecordSize, 64 << 10
	one := make([]byte, headers+payload)
	h := wire.Header{Incarnation: 1, Start: wire.Position{Seq: 1}, Count: 1}
	h.Put(one)
	many := bytes.Clone(one)
	h.Count = 2
	h.Put(many)
	for name, c := range map[string]struct {
		frame []byte
		cut   bool
	}{"one record": {one, true}, "several": {many, false}} {
		for pieces, size := range map[string]int{"whole": 1 << 20, "in pieces": 1000, "in bytes": 1} {
			t.Run(name+" "+pieces, func(t *testing.T) {
				d := &decoder{most: wire.MaxFrame}
				if _, err := decodeAll(d, frameOf(0, string(c.frame)), func() int { return size }); err != nil {
					t.Fatal(err)
				}
				if got := string(d.head) + string(d.tail); got != string(c.frame) {
					t.Error("it is another frame")
				}
				if cut := len(d.tail) > 0; cut != c.cut {
					t.Errorf("it was cut: %v, want %v", cut, c.cut)
				}
				if c.cut && (cap(d.head) > 2*headers || cap(d.tail) != payload) {
					t.Errorf("%d and %d bytes of memory hold headers of %d and a payload of %d", cap(d.head), cap(d.tail), headers, payload)
				}
				if pooled := transport.IsPooled(d.head) || transport.IsPooled(d.tail); pooled == c.cut {
					t.Errorf("it is in a buffer of the pool: %v, want %v", pooled, !c.cut)
				}
			})
		}
	}
}

// A payload of 64 KiB and its headers are a little more than scratch: read there, each would be copied.
func TestBehindALargePayloadLittleIsReadAheadUntilOthersCome(t *testing.T) {
	large := make([]byte, 64<<10)
	h := wire.Header{Incarnation: 1, Start: wire.Position{Seq: 1}, Count: 1}
	h.Put(large)
	several := bytes.Clone(large)
	h.Count = 2
	h.Put(several)
	scratch := make([]byte, scratchSize)
	s := newStream("", nil, "")
	for _, step := range []struct {
		what   string
		frames []string
		want   int
	}{
		{"nothing", nil, scratchSize},
		{"a large payload", []string{string(large)}, aheadSize},
		{"small frames behind it", slices.Repeat([]string{"small"}, 12), scratchSize},
		{"a large payload again", []string{string(large)}, aheadSize},
		{"a frame full of records", []string{string(several)}, scratchSize},
	} {
		for _, f := range step.frames {
			if _, k, err := s.next([]byte(frameOf(0, f))); k != isMessage || err != nil {
				t.Fatalf("after %s: %v, %v", step.what, k, err)
			}
		}
		if got := len(s.space(nil, scratch)); got != step.want {
			t.Errorf("after %s %d bytes are read at once, want %d", step.what, got, step.want)
		}
	}
	// What is missing of a frame at hand is read to where it belongs.
	if n, k, err := s.next([]byte(frameOf(0, string(large)))[:scratchSize/2]); n != scratchSize/2 || k != nothing || err != nil {
		t.Fatal(n, k, err)
	}
	if got := len(s.space(s.room(), scratch)); got != aheadSize {
		t.Errorf("behind a frame at hand %d bytes are read, want %d", got, aheadSize)
	}
}

func TestReceivingIntoTheBuffersOfThePoolAllocatesNothing(t *testing.T) {
	d := &decoder{most: wire.MaxFrame}
	sent := []byte(frameOf(0, strings.Repeat("x", 60<<10)))
	if got := testing.AllocsPerRun(100, func() {
		for b := sent; len(b) > 0; {
			n, k, err := d.next(b[:min(len(b), 16<<10)])
			if err != nil {
				t.Fatal(err)
			}
			if b = b[n:]; k == isMessage {
				transport.PutBuffer(d.head)
			}
		}
	}); got >= 1 {
		t.Errorf("%v allocations a frame", got)
	}
}
