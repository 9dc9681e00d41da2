package zmtp

import (
	"fmt"
	"slices"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// What a frame announces costs nothing by itself: a buffer for it is as large as the frames that
	// have come whole on the connection lately, or growth times as large as what has come of it, but at
	// least leastBuffer.
	leastBuffer = 4000
	growth      = 4
)

// A kind is what a decoder has found.
type kind uint8

const (
	nothing    kind = iota // there is no more in what it was given
	isMessage              // head and tail
	isCommand              // body
	isTooMany              // a message of more than two parts
	isTooShort             // a message that was passed over
	isBroken               // what the protocol does not allow: the connection is of no use any more
)

// A decoder takes the messages and commands out of what comes on a connection, in whatever
// pieces. It is used by one goroutine at a time.
type decoder struct {
	most int            // how long a frame may be
	seal *curve.Session // opens the frames; nil: they are not sealed
	// least is how long the first part of a message is that is not passed over. It counts where
	// frames are not sealed.
	least int

	// What was found last. The caller owns head and tail; body is valid until the next call.
	head, tail []byte
	body       []byte

	header [headerLong + curve.HeadSize]byte // of the frame at hand, with the head of its seal
	got    int                               // bytes of it, if it came in pieces

	inFrame bool
	flags   byte   // of the frame at hand, unless it is sealed
	size    int    // of the frame at hand
	done    int    // bytes of it that have come
	front   []byte // the first of those, if the rest is a payload that gets memory of its own
	buf     []byte // the others, unless they are skipped
	skip    bool   // they are

	usual int  // size of the frames that came lately
	cuts  bool // the latest that was not small was cut: see cut

	parts         int // complete ones of the message at hand
	first, second []byte
	short         bool // its first part was shorter than least
}

// next takes the bytes that came, up to the end of the first message or command in them, and
// reports how many that were. It may change them. After an error the connection is of no use.
func (d *decoder) next(b []byte) (used int, k kind, err error) {
	for {
		if !d.inFrame {
			n, ok, err := d.begin(b[used:])
			used += n
			if err != nil || !ok {
				return used, nothing, err
			}
		}
		used += d.take(b[used:])
		if d.done < d.size {
			return used, nothing, nil
		}
		if k, err = d.finish(); k != nothing || err != nil {
			return used, k, err
		}
	}
}

// unfinished is how much memory holds what has come of a message or command that is not complete.
func (d *decoder) unfinished() int { return cap(d.front) + cap(d.buf) + cap(d.first) + cap(d.second) }

// begin reads the header of a frame, and reports whether all of it is there.
func (d *decoder) begin(b []byte) (used int, ok bool, err error) {
	h := b
	if d.got > 0 || d.seal != nil {
		used = copy(d.header[d.got:], b)
		h = d.header[:d.got+used]
	}
	if len(h) < d.headerSize(h) {
		if d.got == 0 && d.seal == nil {
			used = copy(d.header[:], b)
		}
		d.got += used
		return used, false, nil
	}
	if err := d.open(h); err != nil {
		return 0, false, err
	}
	used, d.got = d.headerSize(h)-d.got, 0
	return used, true, nil
}

// headerSize is the length of a header that begins with h, with the head of the seal behind it.
func (d *decoder) headerSize(h []byte) int {
	size := headerShort
	if len(h) > 0 {
		size = headerSize(h[0])
	}
	if d.seal != nil {
		size += curve.HeadSize
	}
	return size
}

// open begins a frame with that header.
func (d *decoder) open(h []byte) error {
	flags, size, err := parseHeader(h)
	if err != nil {
		return err
	}
	most := d.most
	switch {
	case d.seal != nil:
		if size < uint64(curve.HeadSize) {
			return fmt.Errorf("%w: a frame that is not encrypted", errProtocol)
		}
		size -= uint64(curve.HeadSize)
	case flags&flagCommand != 0:
		most = commandMost
	}
	if size > uint64(most) {
		return fmt.Errorf("%w: a frame of %d bytes", errProtocol, size)
	}
	d.inFrame, d.flags, d.size, d.done, d.front, d.buf = true, flags, int(size), 0, nil, nil
	d.skip = d.seal == nil && flags&flagCommand == 0 && (d.parts >= 2 || d.short || d.parts == 0 && d.size < d.least)
	return nil
}

// take takes bytes of the frame at hand.
func (d *decoder) take(b []byte) (used int) {
	missing := d.size - d.done
	if d.skip {
		used = min(missing, len(b))
		d.done += used
		return used
	}
	if d.done == 0 && len(b) >= missing && d.isCommand() {
		d.body, d.done = b[:missing], missing // where it lies, also if there is room for it that was not used
		transport.PutBuffer(d.buf)
		d.buf = nil
		return missing
	}
	for missing > 0 && len(b) > used {
		if d.isFull() {
			n := d.grow(b[used:])
			used, missing = used+n, missing-n
		}
		n := copy(d.buf[d.done-len(d.front):], b[used:])
		d.done += n
		used, missing = used+n, missing-n
	}
	return used
}

// isCommand reports whether the frame at hand is known to be a command.
func (d *decoder) isCommand() bool { return d.seal == nil && d.flags&flagCommand != 0 }

// isLarge reports whether the frames that came lately carry large payloads, one each, so that the next one is expected to.
func (d *decoder) isLarge() bool { return d.cuts && d.usual >= directLeast }

// room is where the next bytes of the frame at hand belong: empty if they are none of its. took
// is to be told how many were put there.
func (d *decoder) room() []byte {
	if !d.inFrame || d.skip || d.done == d.size {
		return nil
	}
	if d.isFull() {
		d.grow(nil)
	}
	return d.buf[d.done-len(d.front):]
}

// isFull reports whether there is no room for the next byte of the frame at hand.
func (d *decoder) isFull() bool { return len(d.front)+len(d.buf) == d.done }

// took notes that bytes were put into room.
func (d *decoder) took(n int) { d.done += n }

// grow makes more room for the frame at hand, the next bytes of which are there, and returns how many of them it has taken.
// As soon as it shows that the frame carries one large payload, that gets memory of its own, of no more than its size.
func (d *decoder) grow(next []byte) (used int) {
	size := min(d.size, max(leastBuffer, d.usual, growth*(d.done+len(next))))
	old, rest := d.buf, d.buf
	if at := d.cutsAt(next); at > 0 && d.done == 0 {
		d.front, d.done, used = slices.Clone(next[:at]), at, at
	} else if at > 0 {
		d.front, rest = slices.Clone(old[:at]), old[at:]
	}
	size -= len(d.front)
	if d.front != nil || d.cuts && d.seal != nil && d.size >= leastBuffer {
		d.buf = transport.OwnBuffer(size) // the payload will be the message
	} else {
		d.buf = transport.GetBuffer(size)
	}
	copy(d.buf, rest)
	transport.PutBuffer(old)
	return used
}

// cutsAt is where the payload of the frame at hand begins, the next bytes of which are there, if it is to be cut there and
// that shows for the first time; 0 otherwise.
func (d *decoder) cutsAt(next []byte) (at int) {
	begin := d.buf
	if d.done == 0 {
		begin = next
	}
	if d.front == nil && d.mayCut() && len(begin) >= wire.HeaderSize {
		at = wire.CutAhead(begin, d.size)
	}
	if at > len(begin) {
		return 0
	}
	return at
}

// mayCut reports whether the frame at hand is known to be a message of one part.
func (d *decoder) mayCut() bool {
	return d.seal == nil && d.parts == 0 && d.flags&(flagMore|flagCommand) == 0
}

// finish is called when all of a frame is there.
func (d *decoder) finish() (kind, error) {
	d.inFrame = false
	d.usual = max(d.size, d.usual-d.usual/8)
	b := d.buf[:min(d.size-len(d.front), len(d.buf))]
	d.buf = nil
	if d.seal != nil {
		h := d.header[headerSize(d.header[0]):]
		sealed, err := d.seal.Open(h[:curve.HeadSize], b)
		if err != nil {
			return nothing, fmt.Errorf("%w: %w", errProtocol, err)
		}
		if d.flags = sealedFlags(sealed); d.flags&flagCommand != 0 && len(b) > commandMost {
			return nothing, fmt.Errorf("%w: a command of %d bytes", errProtocol, len(b))
		}
	}
	if d.flags&flagCommand != 0 {
		if b != nil || d.size == 0 {
			d.body = b
		}
		return isCommand, nil
	}
	d.part(b)
	if d.flags&flagMore != 0 {
		return nothing, nil
	}
	return d.message(), nil
}

// part takes a part of a message.
func (d *decoder) part(b []byte) {
	d.parts++
	switch {
	case d.parts == 1:
		d.first, d.short = b, d.skip
	case d.parts == 2 && !d.short:
		d.second = b
	default:
		transport.PutBuffer(b)
	}
}

// message is called when the last part of a message is complete.
func (d *decoder) message() kind {
	head, tail, parts, short := d.first, d.second, d.parts, d.short
	d.first, d.second, d.parts, d.short = nil, nil, 0, false
	switch {
	case short:
		return isTooShort
	case parts > 2:
		transport.PutBuffer(head)
		transport.PutBuffer(tail)
		return isTooMany
	case d.front != nil:
		head, tail = d.front, head
		d.front, d.cuts = nil, true
	case parts == 1:
		at := wire.Cut(head)
		if len(head) >= leastBuffer {
			d.cuts = at > 0
		}
		if at > 0 {
			head, tail = cut(head, at)
		}
	}
	d.head, d.tail = head, tail
	return isMessage
}

// cut makes two slices of a frame, of which the second is to be the message that the program is
// given: it must not be of a pool.
func cut(frame []byte, at int) (head, tail []byte) {
	head, tail = frame[:at:at], frame[at:]
	if !transport.IsPooled(frame) && !transport.IsPooled(tail) {
		return head, tail
	}
	head, tail = slices.Clone(head), append([]byte(nil), tail...)
	transport.PutBuffer(frame)
	return head, tail
}
