//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A journal is a file that is mapped into memory, to which a server adds what it does.
// A store to it survives the process at once, and no call of the system comes between
// that and the deed: when the process is killed nothing that it did is missing.
//
// It begins with two places for a copy of the server's counters, the newer of which
// counts, and goes on with records in the order in which they were begun.
type journal struct {
	file []byte
	next atomic.Int64 // of the next record: its index

	mu    sync.Mutex // guards what follows
	turns uint32
}

const (
	journalBytes  = 2 << 30 // the file is sparse: only what was written takes room
	countersBytes = 64 << 10
	recordsOffset = 2 * countersBytes
)

// A record is one deed. Its first field is written last: a record without it was
// under way when the process died.
type record struct {
	kind    uint32
	stream  uint16
	corrupt uint16 // of what was received: its checksum was wrong
	from    uint16
	to      uint16
	life    uint32 // of the sender
	number  uint64
	at      int64 // when it was handed over, or taken
	handed  int64 // of what was received: when it was handed over
	size    uint32
	sum     uint32
	msgID   int64
	told    int64 // of what was sent by Deliver: when that returned, and in the last two bits what; zero: it did not
}

const (
	sent      = iota + 1 // is about to be handed over
	received             // was taken from Inbox
	withdrawn            // was not handed over after all
)

// recordBytes is a power of two, so that no record lies on two pages.
const recordBytes = 64

var _ [recordBytes]byte = [unsafe.Sizeof(record{})]byte{}

// now is a clock that all processes of the machine share, and that nobody sets.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // every Linux has it
	}
	return ts.Nano()
}

func createJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the mapping stays
	if err := f.Truncate(journalBytes); err != nil {
		return nil, err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, journalBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", path, err)
	}
	return &journal{file: b}, nil
}

func (j *journal) record(i int64) *record {
	offset := recordsOffset + i*recordBytes
	if offset+recordBytes > int64(len(j.file)) {
		panic("the journal is full")
	}
	return (*record)(unsafe.Pointer(&j.file[offset]))
}

// add writes a record of that kind, and returns it. It may be called concurrently.
func (j *journal) add(kind uint32, r record) *record {
	p := j.record(j.next.Add(1) - 1)
	r.kind = 0
	*p = r
	atomic.StoreUint32(&p.kind, kind)
	return p
}

// What Deliver has said of a message, in the last bits of told.
const (
	saidDelivered = iota + 1 // nil
	saidUnknown              // ErrUnconfirmed
	saidNot                  // another error: it was certainly not delivered
)

// tell notes what Deliver says of the message.
func (r *record) tell(what int64) { atomic.StoreInt64(&r.told, now()&^3|what) }

// sends writes down that a message is about to be handed over.
func (j *journal) sends(m message, size int, sum uint32) *record {
	return j.add(sent, record{
		stream: m.stream, from: uint16(m.from), to: uint16(m.to), life: m.life,
		number: m.number, at: m.at, size: uint32(size), sum: sum,
	})
}

// withdraw takes a record back.
func (r *record) withdraw() { atomic.StoreUint32(&r.kind, withdrawn) }

// Each place for counters begins with the number of the copy, which is written last,
// and the length of its JSON.
const countersHead = 16

// keep writes a copy of the counters.
func (j *journal) keep(c counters) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if len(text) > countersBytes-countersHead {
		return errors.New("the counters do not fit into the journal")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.turns++
	place := j.file[int(j.turns%2)*countersBytes:][:countersBytes]
	number := (*uint32)(unsafe.Pointer(&place[0]))
	atomic.StoreUint32(number, 0) // it is being written
	*(*uint32)(unsafe.Pointer(&place[4])) = uint32(len(text))
	copy(place[countersHead:], text)
	atomic.StoreUint32(number, j.turns)
	return nil
}

// A chronicle is a journal that is read, by another process or after the writer's end.
type chronicle struct{ journal }

func openChronicle(path string) (*chronicle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, journalBytes, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", path, err)
	}
	return &chronicle{journal{file: b}}, nil
}

func (c *chronicle) close() error { return unix.Munmap(c.file) }

// records calls f for each record, in order. A gap of maxSenders records that were
// never finished is taken for the end.
func (c *chronicle) records(f func(*record)) {
	end := int64(len(c.file)-recordsOffset) / recordBytes
	gap := 0
	for i := int64(0); i < end && gap < maxSenders; i++ {
		r := c.record(i)
		if atomic.LoadUint32(&r.kind) == 0 {
			gap++
			continue
		}
		gap = 0
		f(r)
	}
}

// maxSenders is more than ever write one journal at once.
const maxSenders = 256

// counters returns the last copy that was kept, if there is one.
func (c *chronicle) counters() (newest counters, ok bool) {
	most := uint32(0)
	for i := range 2 {
		place := c.file[i*countersBytes:][:countersBytes]
		number := (*uint32)(unsafe.Pointer(&place[0]))
		turn := atomic.LoadUint32(number)
		length := *(*uint32)(unsafe.Pointer(&place[4]))
		if turn <= most || length > countersBytes-countersHead {
			continue
		}
		text := append([]byte(nil), place[countersHead:][:length]...)
		var copied counters
		if json.Unmarshal(text, &copied) == nil && atomic.LoadUint32(number) == turn {
			newest, ok, most = copied, true, turn
		}
	}
	return newest, ok
}

// since is the time from a to b, both of now.
func since(a, b int64) time.Duration { return time.Duration(b - a) }
