package wire_test

import (
	"testing"

	"github.com/abhishekg16/cluster/internal/wire"
)

func TestAnnouncementsTravelWhereNothingIsAcknowledged(t *testing.T) {
	const future = wire.Capabilities(1) << 63
	for _, c := range []struct {
		name   string
		make   func(h *wire.Header)
		want   wire.Capabilities
		wantOK bool
	}{
		{"a server that knows of no capabilities", func(*wire.Header) {}, 0, true},
		{"one capability", func(h *wire.Header) { h.Announce(wire.CapValues) }, wire.CapValues, true},
		{"one that is not known yet", func(h *wire.Header) { h.Announce(wire.CapValues | future) }, wire.CapValues | future, true},
		{"an acknowledgment", func(h *wire.Header) { h.AckIncarnation, h.Ack.Seq = 9, 1 }, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := wire.Header{To: 1, From: 2, Incarnation: 3, Start: wire.Position{Seq: 4}, Window: 5}
			c.make(&h)
			frame := make([]byte, wire.HeaderSize)
			h.Put(frame)
			got, err := wire.ParseHeader(frame)
			if err != nil {
				t.Fatal(err)
			}
			if got != h {
				t.Errorf("got %+v, want %+v", got, h)
			}
			if caps, ok := got.Announced(); caps != c.want || ok != c.wantOK {
				t.Errorf("got %b, %v, want %b, %v", caps, ok, c.want, c.wantOK)
			}
		})
	}
}

func TestWhoResendsTellsFromWhereOnItKeepsWhatItWrote(t *testing.T) {
	at := func(seq uint64, offset uint32) wire.Position { return wire.Position{Seq: seq, Offset: offset} }
	for _, c := range []struct {
		name        string
		start, kept wire.Position
		told        wire.Position
		ok          bool
	}{
		{"nothing", at(5, 0), at(5, 0), at(5, 0), true},
		{"some records", at(5, 0), at(2, 0), at(2, 0), true},
		{"a part of a record", at(5, 0), at(4, 9), at(4, 0), true},
		{"all since the first record", at(1, 7), at(1, 0), at(1, 0), true},
		{"too many", at(1<<40, 0), at(1, 0), at(0, 0), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := wire.Header{Start: c.start}
			h.Announce(wire.CapResend)
			h.AnnounceKept(c.kept)
			if got, ok := h.KeptFrom(); got != c.told || ok != c.ok {
				t.Errorf("announced: %v, %v; want %v, %v", got, ok, c.told, c.ok)
			}
			h = wire.Header{Start: c.start, Flags: wire.FlagResend, AckIncarnation: 1, Resend: wire.Resend{Kept: c.kept}}
			if got, ok := h.KeptFrom(); got != c.kept || !ok {
				t.Errorf("with each frame: %v, %v; want %v", got, ok, c.kept)
			}
		})
	}
	for name, h := range map[string]wire.Header{
		"who acknowledges something":  {Start: at(5, 0), AckIncarnation: 9, Ack: at(uint64(wire.CapResend), 1)},
		"who does not resend":         {Start: at(5, 0), Ack: at(uint64(wire.CapValues), 1)},
		"who announces nothing of it": {Start: at(5, 0), Ack: at(uint64(wire.CapResend), 0)},
		"who keeps more than it has":  {Start: at(5, 0), Ack: at(uint64(wire.CapResend), 6)},
	} {
		if _, ok := h.KeptFrom(); ok {
			t.Errorf("%s tells it", name)
		}
	}
}

func TestCapabilitiesAreHeldTogether(t *testing.T) {
	both := wire.CapValues | 1<<5
	for _, c := range []struct {
		has, want wire.Capabilities
		ok        bool
	}{{both, wire.CapValues, true}, {both, both, true}, {wire.CapValues, both, false}, {0, wire.CapValues, false}, {0, 0, true}} {
		if got := c.has.Has(c.want); got != c.ok {
			t.Errorf("%b has %b: got %v, want %v", c.has, c.want, got, c.ok)
		}
	}
}
