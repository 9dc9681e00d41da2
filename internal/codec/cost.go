package codec

import (
	"math"
	"math/bits"
	"reflect"
)

// The cost of a value is the memory, in bytes, that it takes once it is decoded, estimated by rules that the sender can
// follow as well as the receiver. Encoder and decoder embed the same meter and charge for the same things in the same
// order of nesting, so both come to the same sum (docs/wire.md, section 10, says it for others):
//
//	allocation of n bytes   n, rounded up to a multiple of 8
//	string, []byte          an allocation of its length
//	other slice             an allocation of length times size of the element
//	pointer that is not nil an allocation of the size of what it points to; also an embedded one
//	interface, top level    an allocation of the size of the value that it holds; nothing if it holds nothing
//	map without entries     mapHeader
//	map, 1 to 8 entries     mapHeader and one group: 8 slots, and 8 bytes
//	map, more entries       mapHeader and for each entry two slots of which each takes a byte more: tables are filled by
//	                        half to seven eighths
//	big key or element      of a map, over 128 bytes: a pointer in the slot, and an allocation for each entry
//	time.Time               zoneBytes for an offset from UTC for which package time keeps no location
//	big.Int, own methods    an allocation of the length of the encoding (and bigIntSlack); what else methods of the program's
//	                        types allocate is not known
//
// Nothing else is charged: array elements and fields of structs lie in what was charged for. Sizes are those of the
// machine's types. Live memory is below 1.3 times the cost and a constant, since the allocator rounds up more coarsely
// than to 8 bytes; TestLiveMemoryIsWithinTheCost holds that.
const (
	mapHeader   = 48
	groupSlots  = 8
	groupHead   = 8
	maxInSlot   = 128 // larger keys and elements lie outside of the map's groups
	zoneBytes   = 160
	bigIntSlack = 32 // package big allocates four words more than it needs

	// minCost is the least limit of the cost that is worth having.
	minCost = 1 << 20
	// costFactor relates the limit of the cost to that of the payload. Slices of structs cost about twice their
	// encoding, small maps of any ten times: of those a message may have three quarters of the longest payload.
	costFactor = 8
	// maxPayload is the longest payload that a record can have.
	maxPayload = 1 << 30
	// pollInterval is how many elements are encoded or decoded between two looks at Limits.Stop.
	pollInterval = 512
)

// CostLimit is the limit of a decoded message's cost that goes with a limit of its payload: eight times that, and at
// least 1 MiB.
func CostLimit(maxMessageBytes int) int {
	return max(costFactor*min(maxMessageBytes, math.MaxInt/costFactor), minCost)
}

// Limits bounds an encoding or a decoding. The zero value stands for the most that the wire format allows.
type Limits struct {
	// Bytes is the longest payload that Append makes; 0 means 1 GiB. Append does not do more work than for that many bytes.
	Bytes int
	// Cost is the most memory that the decoded value may take, by the cost model; 0 means CostLimit(Bytes).
	Cost int
	// Stop ends the work with ErrStopped, within some hundred elements, once it is closed. It may be nil.
	Stop <-chan struct{}
	// Yield is called each time that some hundred elements are done, if it is not nil.
	Yield func()
}

func (l Limits) bytes() int {
	if l.Bytes <= 0 {
		return maxPayload
	}
	return l.Bytes
}

func (l Limits) cost() int {
	if l.Cost <= 0 {
		return CostLimit(l.bytes())
	}
	return l.Cost
}

// overheads are the costs of messages of the kinds, without what text and bytes themselves take: of what an interface
// holds.
var overheads = [...]int{
	Invalid: 0, Nil: 0, False: 0, True: 0, Int: 8, Int8: 8, Int16: 8, Int32: 8, Int64: 8, Uint: 8, Uint8: 8, Uint16: 8,
	Uint32: 8, Uint64: 8, Float32: 8, Float64: 8, String: 16, Bytes: 24, NilBytes: 24, Typed: 0, Binary: 0,
}

// Cost is that of a message of a known kind other than Typed and Binary, with a payload of n bytes.
func (k Kind) Cost(n int) int {
	if k == String || k == Bytes {
		return overheads[k] + rounded(n)
	}
	return overheads[k]
}

// rounded is the cost of an allocation of n bytes.
func rounded(n int) int { return (n + 7) &^ 7 }

// costs is what the cost model has to know of a type.
type costs struct {
	size int // of a value

	// Of maps.
	slot  int // of a key and its element in a group
	entry int // of what lies outside of the groups, for each entry
}

func costsOf(t reflect.Type) costs {
	c := costs{size: int(t.Size())}
	if t.Kind() != reflect.Map {
		return c
	}
	at, align := 0, 1
	for _, part := range []reflect.Type{t.Key(), t.Elem()} {
		size, a := int(part.Size()), part.Align()
		if size > maxInSlot {
			c.entry += rounded(size)
			size, a = bits.UintSize/8, bits.UintSize/8
		}
		at = (at+a-1)/a*a + size
		align = max(align, a)
	}
	if t.Elem().Size() == 0 {
		at++ // a struct whose last field is empty is a byte longer, so that the field's address lies within it
	}
	c.slot = (at + align - 1) / align * align
	return c
}

// meter adds up the cost of one value, and sees when it is time to stop.
type meter struct {
	limit int
	left  int // negative once the limit was exceeded, which ends the work
	stop  <-chan struct{}
	yield func()
	steps int
}

func newMeter(l Limits) meter {
	n := l.cost()
	return meter{limit: n, left: n, stop: l.Stop, yield: l.Yield}
}

// cost is what was charged so far.
func (m *meter) cost() int { return m.limit - m.left }

// charge is called before, or instead of, an allocation of n bytes.
func (m *meter) charge(n int) error {
	if m.left -= rounded(n); m.left < 0 {
		return m.exceeded()
	}
	return nil
}

// chargeTimes is called before an allocation of n things of the given size.
func (m *meter) chargeTimes(n, size int) error {
	hi, lo := bits.Mul64(uint64(n), uint64(size))
	if hi != 0 || lo > uint64(m.left) {
		return tooCostly(m.limit)
	}
	return m.charge(int(lo))
}

// chargeMap is for a map of n entries, without what its keys and elements point to.
func (m *meter) chargeMap(n int, c *costs) error {
	if err := m.charge(mapHeader); err != nil || n == 0 {
		return err
	}
	if c.entry > 0 {
		if err := m.chargeTimes(n, c.entry); err != nil {
			return err
		}
	}
	if n <= groupSlots {
		return m.charge(groupHead + groupSlots*c.slot)
	}
	return m.chargeTimes(n, 2*(c.slot+1))
}

// chargeZone is for the location of a time at that offset from UTC, in seconds. Package time has one for each whole hour.
func (m *meter) chargeZone(offset int) error {
	if offset%3600 == 0 && offset >= -12*3600 && offset <= 14*3600 {
		return nil
	}
	return m.charge(zoneBytes)
}

// chargeOwn is for a value whose encoding of n bytes is made by its type's own methods.
func (m *meter) chargeOwn(n int, o op) error {
	if o == opBigInt {
		n += bigIntSlack
	}
	return m.charge(n)
}

//go:noinline // charge is inlined thanks to that
func (m *meter) exceeded() error { return tooCostly(m.limit) }

//go:noinline // so that what calls it keeps its variables in registers
func tooCostly(limit int) error {
	return faultf(ErrTooLarge, "more than %d bytes of memory when decoded", limit)
}

//go:noinline // likewise
func tooLong(limit int) error { return faultf(ErrTooLarge, "more than %d bytes encoded", limit) }

// step is called for each element of what may have many.
func (m *meter) step() error {
	if m.steps++; m.steps%pollInterval == 0 {
		return m.poll()
	}
	return nil
}

//go:noinline // step is inlined thanks to that
func (m *meter) poll() error {
	if m.yield != nil {
		m.yield()
	}
	select {
	case <-m.stop:
		return faultf(ErrStopped, "stopped")
	default:
		return nil
	}
}
