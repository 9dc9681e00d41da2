package stream

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// TestConfirmationModel lets a server send records of which it waits to hear what became, to another one that refuses some. Connections
// break, frames are lost with them, links go down, and both may be started anew, as a seed says. Whatever is told of a record is true; and what is
// written after the last fault is told of for certain.
func TestConfirmationModel(t *testing.T) {
	for seed := range uint64(400) {
		m := newConfirmModel(seed)
		if err := m.run(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// A confirmEnd is one of the two servers.
type confirmEnd struct {
	s    *Sender
	r    *Receiver
	life uint64
	way  []Frame // to the other end, in order
	due  []Delivery
}

type confirmModel struct {
	rnd      *rand.Rand
	now      time.Time
	ends     [2]*confirmEnd
	limits   Limits
	next     int            // messages that were loaded by end 0
	of       map[uint64]int // by number of the record, in this life of end 0: its message
	waiting  []uint64       // numbers of records of which nothing was told, in order
	loaded   uint64         // the number of the record that is the load; 0: there is none
	inInbox  map[int]bool   // messages that end 1 has delivered
	refused  map[int]bool   // that it has refused
	told     map[int]string // what end 0 was told of each
	stale    []Frame        // of earlier lives of end 0, which the network has held up
	lastSure int            // messages from here on were sent after the last fault
	lives    uint64
	err      error
}

func newConfirmModel(seed uint64) *confirmModel {
	m := &confirmModel{
		rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1000, 0),
		limits:  Limits{Window: 256 << 10, MaxMessage: 1 << 20, Resends: true},
		inInbox: make(map[int]bool), refused: make(map[int]bool), told: make(map[int]string),
		lastSure: 1 << 30,
	}
	m.start(0)
	m.start(1)
	return m
}

// start begins a life of an end, which the other one hears of by its frames.
func (m *confirmModel) start(i int) {
	m.lives++
	e := &confirmEnd{life: m.lives, r: NewReceiver(&m.limits)}
	self := Self{ID: uint16(i), Incarnation: m.lives, Grant: 256 << 10, Knows: wire.CapResend | wire.CapConfirm}
	e.s = NewSender(self, uint16(1-i), Policy{Patience: time.Second}, m.now)
	e.s.Appeared(m.now)
	e.s.Dialed(false, m.now)
	if old := m.ends[i]; old != nil {
		m.ends[1-i].way = nil
		if i == 0 && m.rnd.IntN(2) == 0 {
			m.stale = append(m.stale, old.way...)
		}
	}
	m.ends[i] = e
	if i == 0 {
		m.of, m.loaded = make(map[uint64]int), 0
		m.waiting = nil // nobody of that life waits any more
	}
}

// refuses reports whether a message is refused.
func refuses(message int) bool { return message%5 == 0 }

// load gives end 0 another message to write, of which it waits to hear.
func (m *confirmModel) load() {
	e := m.ends[0]
	if m.loaded != 0 || e.s.Confirming() != Confirms {
		e.s.Query(m.now)
		return
	}
	if verdict, _ := e.s.Admit(true, false); verdict != Accept {
		return
	}
	m.next++
	m.loaded = e.s.NextNumber()
	m.of[m.loaded] = m.next
	m.waiting = append(m.waiting, m.loaded)
	e.s.Await(m.loaded + 1)
	e.s.Queued(m.rnd.IntN(2) == 0)
	e.s.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize, Confirm: true}, m.now)
}

// drive lets an end write what it has to.
func (m *confirmModel) drive(i int) {
	e := m.ends[i]
	for range 100 {
		e.s.Look(m.now)
		step, _ := e.s.Next(m.now)
		if step == GiveUp {
			e.s.Abandon()
			m.dropLoad(i, "dropped")
			m.settle(nil)
			continue
		}
		if step != Write {
			return
		}
		f := e.s.Pending()
		frame := Frame{Header: f.Header, Came: m.now}
		switch {
		case f.Names != nil:
			frame.Body = wire.AppendUndelivered(nil, f.Names)
		case !f.Bare:
			number := f.Header.Start.Seq
			frame.Body = wire.AppendRecordHeader(nil, int64(m.of[number]), 0, 0)
			if i == 0 && !f.Again && !f.Confirm {
				m.tell(number, "unknown")
			}
		}
		e.way = append(e.way, frame)
		if e.s.Took(m.now) && i == 0 {
			m.loaded = 0
		}
		if i == 0 {
			m.settle(nil)
		}
	}
	m.err = fmt.Errorf("end %d writes on and on", i)
}

// dropLoad drops the load of end 0.
func (m *confirmModel) dropLoad(i int, how string) {
	if i == 0 && m.loaded != 0 {
		m.tell(m.loaded, how)
		delete(m.of, m.loaded)
		m.loaded = 0
	}
}

// tell notes what end 0 hears of a record, unless it was told of it before.
func (m *confirmModel) tell(number uint64, what string) {
	for i, n := range m.waiting {
		if n == number {
			m.waiting = append(m.waiting[:i:i], m.waiting[i+1:]...)
			m.told[m.of[number]] = what
			if message := m.of[number]; what == "delivered" && !m.inInbox[message] {
				m.err = fmt.Errorf("message %d is told to be delivered before it is", message)
			}
			return
		}
	}
}

// settle tells what is known, as package outgoing does.
func (m *confirmModel) settle(names []byte) {
	s := m.ends[0].s
	for len(m.waiting) > 0 {
		number := m.waiting[0]
		switch {
		case number < s.Done().Seq:
			what := "delivered"
			for rest := names; len(rest) > 0; {
				var u wire.Undelivered
				if u, rest = wire.SplitUndelivered(rest); number-u.From < uint64(u.Count) {
					if what = "refused"; u.Why == wire.WhyUnknown {
						what = "unknown"
					}
					break
				}
			}
			m.tell(number, what)
		case number < s.KeptFrom().Seq:
			m.tell(number, "unknown")
		default:
			return
		}
	}
}

// arrive lets the first frame that is on its way to end i come.
func (m *confirmModel) arrive(i int) {
	from := m.ends[1-i]
	if len(from.way) == 0 {
		return
	}
	f := from.way[0]
	from.way = from.way[1:]
	m.hear(i, f)
}

// hear lets a frame come to end i.
func (m *confirmModel) hear(i int, f Frame) {
	f.Came = m.now
	if err := f.Check(); err != nil {
		m.err = err
		return
	}
	m.carryOut(i, m.ends[i].r.Arrive(f))
}

func (m *confirmModel) carryOut(i int, effects []Effect) {
	e := m.ends[i]
	for _, f := range effects {
		switch f.Do {
		case Deliver:
			e.due = append(e.due, f.Delivery)
		case Present:
			e.s.Acked(&f.Header, m.now)
			if i == 0 {
				m.settle(f.Names)
			}
		case NewLife:
			e.s.PeerBegan(f.First, m.now)
			m.settle(nil)
		case AckNow:
			e.s.Acknowledge(e.r.Ack(false, m.now))
		}
	}
}

// take has the program of end 1 take the first that waits.
func (m *confirmModel) take() {
	e := m.ends[1]
	if len(e.due) == 0 {
		return
	}
	d := e.due[0]
	e.due = e.due[1:]
	r, _ := wire.NextRecord(d.Body, 0)
	if message := int(r.MsgID); refuses(message) {
		m.refused[message] = true
		e.r.Undelivered(d.Place, d.End.Seq-1, RefusedUndecodable)
	} else {
		m.inInbox[message] = true
	}
	when := e.r.Taken(d.Place, 1, 0)
	due := time.Time{}
	if when == AckPrompt || when == AckAtOnce {
		due = m.now
	} else if when == AckSoon {
		due = m.now.Add(50 * time.Millisecond)
	}
	e.s.Acknowledge(e.r.Ack(false, due))
}

// fault does something that is not to happen.
func (m *confirmModel) fault() {
	switch i := m.rnd.IntN(2); m.rnd.IntN(12) {
	case 0, 1, 2, 3, 4: // the connection breaks, and what is on it is lost
		m.ends[i].way = nil
		m.ends[i].s.Left(m.now)
		m.ends[i].s.Dialed(true, m.now)
		m.ends[i].s.Writable(m.now)
	case 5: // it fails for good
		m.ends[i].way = nil
		m.ends[i].s.Failed(m.now)
		m.dropFailed(i)
		m.ends[i].s.Dialed(false, m.now)
	case 6:
		m.now = m.now.Add(time.Duration(m.rnd.IntN(3000)) * time.Millisecond)
	case 7:
		if m.rnd.IntN(3) == 0 {
			m.start(1)
		}
	case 8:
		if m.rnd.IntN(3) == 0 {
			m.start(0)
		}
	case 9:
		if len(m.stale) > 0 {
			m.hear(1, m.stale[0])
			m.stale = m.stale[1:]
		}
	}
	m.settle(nil)
}

func (m *confirmModel) dropFailed(i int) {
	m.ends[i].s.Abandon()
	m.dropLoad(i, "dropped")
	m.settle(nil)
}

// step does one thing.
func (m *confirmModel) step(faults bool) {
	switch m.rnd.IntN(10) {
	case 0, 1:
		m.load()
	case 2, 3, 4:
		m.arrive(m.rnd.IntN(2))
	case 5:
		m.take()
	case 6:
		m.now = m.now.Add(time.Duration(m.rnd.IntN(20)) * time.Millisecond)
	case 7:
		if faults && m.rnd.IntN(4) == 0 {
			m.fault()
		}
	}
	m.rest()
}

func (m *confirmModel) rest() {
	for i, e := range m.ends {
		m.carryOut(i, e.r.Overdue(m.now))
		m.drive(i)
	}
}

// quiet lets all that is to happen happen, for a while.
func (m *confirmModel) quiet(d time.Duration) {
	const quietStep = 25 * time.Millisecond
	for end := m.now.Add(d); m.now.Before(end) && m.err == nil; m.now = m.now.Add(quietStep) {
		for range 5 {
			m.arrive(0)
			m.arrive(1)
			m.take()
			m.rest()
		}
	}
}

func (m *confirmModel) run() error {
	for range 300 {
		m.step(true)
		if m.err != nil {
			return m.err
		}
	}
	m.quiet(10 * time.Second)
	m.lastSure = m.next
	for range 100 {
		m.step(false)
		m.quiet(time.Millisecond)
	}
	m.quiet(time.Second)
	if m.err != nil {
		return m.err
	}
	if len(m.waiting) > 0 {
		return fmt.Errorf("nothing was told of the records %v", m.waiting)
	}
	if m.next == m.lastSure {
		return fmt.Errorf("after the faults nothing could be sent: %v", m.ends[0].s.state)
	}
	for message, what := range m.told {
		switch {
		case what == "delivered" && !m.inInbox[message], what == "refused" && !m.refused[message]:
			return fmt.Errorf("message %d is told to be %s, and is not", message, what)
		case what == "refused" && m.inInbox[message], what == "dropped" && (m.inInbox[message] || m.refused[message]):
			return fmt.Errorf("message %d is told to be %s, and was delivered", message, what)
		case message > m.lastSure && (what == "unknown" || what == "dropped"):
			return fmt.Errorf("message %d was sent after the faults, and is told to be %s", message, what)
		}
	}
	return nil
}
