package wire

import "math"

// Capabilities are what a server knows beyond the first servers of version 1, a bit for each thing. A frame that acknowledges
// nothing may announce them, in the field of the acknowledged number: servers that do not know the field ignore it there, and
// write 0. Bits that a receiver does not know it ignores. A server sends a peer nothing that this has not announced, unless
// servers that do not know the thing refuse it and count it.
type Capabilities uint64

// The capabilities. A number is never given to another; the next thing takes the next bit.
const (
	// CapValues: payloads of kind 21, in which types that have two forms are in the second.
	CapValues Capabilities = 1 << iota
	// CapResend: frames with FlagResend. Who announces it sends again what was lost, and waits for what is missing
	// until it is told that it will not come.
	CapResend
	// CapConfirm: frames with FlagConfirm. Who announces it tells what became of the records that it is asked about. It is of
	// use only beside CapResend.
	CapConfirm
	// CapCalls: payloads of kinds 22 to 24, requests and what is replied to them.
	CapCalls
)

// CapUrgent: frames with FlagUrgent, which are of a stream of their own. It is of use only beside CapResend.
const CapUrgent Capabilities = 1 << 4

// Has reports whether c holds all of want.
func (c Capabilities) Has(want Capabilities) bool { return c&want == want }

// Announce makes h announce what its sender knows. It may be a header only that acknowledges nothing.
func (h *Header) Announce(c Capabilities) { h.Ack = Position{Seq: uint64(c)} }

// AnnounceKept makes h, which announces CapResend, tell that its sender keeps what it has written from a place on, which is not
// after its Start. Of a place within a record it tells where that record begins, and of one that is too far back nothing.
func (h *Header) AnnounceKept(from Position) {
	if n := h.Start.Seq - from.Seq + 1; n <= math.MaxUint32 {
		h.Ack.Offset = uint32(n)
	}
}

// Announced returns what h announces. A header that acknowledges something says nothing about it: ok is then false, and
// what the sender announced before in its incarnation still counts.
func (h *Header) Announced() (c Capabilities, ok bool) {
	if h.AckIncarnation != 0 {
		return 0, false
	}
	return Capabilities(h.Ack.Seq), true
}

// ShowsResending reports whether h shows that its sender has CapResend.
func (h *Header) ShowsResending() bool {
	c, ok := h.Announced()
	return h.Flags&FlagResend != 0 || ok && c.Has(CapResend)
}

// KeptFrom is the place from which on the sender of h keeps what it has written, or one before it; ok is false if h does not
// tell.
func (h *Header) KeptFrom() (from Position, ok bool) {
	if h.Flags&FlagResend != 0 {
		return h.Kept, true
	}
	if n := uint64(h.Ack.Offset); h.ShowsResending() && 0 < n && n <= h.Start.Seq {
		return Position{Seq: h.Start.Seq - n + 1}, true
	}
	return Position{}, false
}
