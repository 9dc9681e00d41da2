package stream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// TestUrgentModel joins two servers, each with both streams, by one connection each way, which breaks and blocks. Frames are lost with
// it, links go down, programs stop taking, and servers are started anew, of a version that has an urgent stream or of one that has not, as a
// seed says. It checks that each stream is in order by itself and nothing comes twice, that the books of both close, that no
// life of a peer is sent what it has not announced, that urgent frames do not disturb a message that comes in pieces, and that
// after the last fault all arrives.
func TestUrgentModel(t *testing.T) {
	urgent := 0
	for seed := range uint64(200) {
		m := newUrgentModel(seed)
		if err := m.run(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		urgent += m.urgent
	}
	if urgent < 5000 {
		t.Errorf("in all runs came %d urgent messages, want at least 5000", urgent)
	}
}

// An urgentEnd is one of the two servers.
type urgentEnd struct {
	s, u    *Sender
	r, ru   *Receiver
	knows   wire.Capabilities
	way     []Frame // to the other end, in order
	blocked bool    // the connection takes no frame
	stopped bool    // the program takes nothing
	due     []urgentDelivery
	queued  []int // messages that wait for s
	loads   [2]urgentLoad
	sent    [2]uint64 // records that both senders have written whole
	latest  map[urgentStream]int
}

// An urgentLoad is a message that a sender has as its load.
type urgentLoad struct {
	message int // 0: none
	of      map[uint64]int
}

type urgentStream struct {
	life   uint64
	urgent bool
}

type urgentDelivery struct {
	Delivery
	life   uint64
	urgent bool
}

type urgentModel struct {
	rnd       *rand.Rand
	now       time.Time
	ends      [2]*urgentEnd
	limits    [2]Limits
	known     map[uint64]wire.Capabilities // of each life
	next      int
	after     int // messages beyond it were sent after the last fault
	delivered map[int]bool
	urgent    int
	lives     uint64
	err       error
}

const urgentLarge = 3*PieceBytes + 5 // bytes of each third message of the ordinary stream

func isLarge(message int) bool { return message%3 == 0 }

func newUrgentModel(seed uint64) *urgentModel {
	l := Limits{Window: 256 << 10, MaxMessage: 1 << 20, Resends: true}
	m := &urgentModel{
		rnd: rand.New(rand.NewPCG(seed, 2)), now: time.Unix(1000, 0), limits: [2]Limits{l, l},
		known: make(map[uint64]wire.Capabilities), delivered: make(map[int]bool),
	}
	m.start(0, m.rnd.IntN(4) > 0)
	m.start(1, m.rnd.IntN(4) > 0)
	return m
}

// start begins a life of an end.
func (m *urgentModel) start(i int, urgent bool) {
	m.lives++
	e := &urgentEnd{r: NewReceiver(&m.limits[0]), ru: NewReceiver(&m.limits[1]), latest: make(map[urgentStream]int)}
	e.knows = wire.CapResend | wire.CapConfirm
	if urgent {
		e.knows |= wire.CapUrgent
	}
	m.known[m.lives] = e.knows
	self := Self{ID: uint16(i), Incarnation: m.lives, Grant: 256 << 10, Knows: e.knows}
	e.s = NewSender(self, uint16(1-i), Policy{Patience: time.Second}, m.now)
	e.u = NewUrgent(e.s, m.now)
	e.s.Appeared(m.now)
	e.s.Dialed(false, m.now)
	e.loads = [2]urgentLoad{{of: make(map[uint64]int)}, {of: make(map[uint64]int)}}
	if old := m.ends[i]; old != nil {
		m.ends[1-i].way = nil
	}
	m.ends[i] = e
}

// send gives an end a message to send, by one stream or the other.
func (m *urgentModel) send(i int, urgent bool) {
	e := m.ends[i]
	m.next++
	if urgent && e.s.Urgent() != 0 {
		e.u.Along(e.s, m.now)
		if v, _ := e.s.Admit(true, false); v == Accept && !e.u.IsDown() && e.loads[1].message == 0 {
			m.load(e, 1, m.next)
		}
		return
	}
	if urgent {
		e.s.AskUrgent(m.now)
	}
	if v, _ := e.s.Admit(len(e.queued) < 4, false); v == Accept {
		e.queued = append(e.queued, m.next)
	}
}

// load makes a message the load of one of the senders.
func (m *urgentModel) load(e *urgentEnd, which, message int) {
	s, l := e.s, Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize}
	if which == 1 {
		s = e.u
	} else if isLarge(message) {
		l.Large = urgentLarge
	}
	e.loads[which].message = message
	e.loads[which].of[s.NextNumber()] = message
	s.Load(l, m.now)
}

// drive lets an end write what it has to, as package outgoing does.
func (m *urgentModel) drive(i int) {
	e := m.ends[i]
	for range 200 {
		if e.s.GivenUp() {
			m.gone(e, 0)
		}
		if e.loads[0].message == 0 && len(e.queued) > 0 {
			m.load(e, 0, e.queued[0])
			e.queued = e.queued[1:]
		}
		e.s.Look(m.now)
		e.u.Along(e.s, m.now)
		e.u.Look(m.now)
		if e.u.Urgent() == 0 {
			if l := &e.loads[1]; l.message != 0 {
				e.u.Abandon()
				e.queued = append(e.queued, l.message)
				l.message = 0
				continue
			}
		} else if done := !e.s.HasWord() && m.turn(i, 1); done {
			continue
		}
		if !m.turn(i, 0) {
			return
		}
	}
	m.err = fmt.Errorf("end %d writes on and on", i)
}

// gone takes in that the load of a sender is written whole, or given up.
func (m *urgentModel) gone(e *urgentEnd, which int) {
	e.sent[which]++
	e.loads[which].message = 0
}

// turn lets one of the senders do something, and reports whether it has.
func (m *urgentModel) turn(i, which int) bool {
	e := m.ends[i]
	s, other := e.s, e.u
	if which == 1 {
		s, other = e.u, e.s
	}
	step, _ := s.Next(m.now)
	if which == 1 && s.Silent() {
		e.s.Doubt()
		return true
	}
	switch step {
	case GiveUp:
		if which == 1 && !s.Starves() {
			e.s.Exhaust(m.now)
		}
		if which == 0 || !s.Starves() {
			m.dropLoad(e, 0)
			e.queued = nil
		}
		m.dropLoad(e, 1)
		return true
	case Write:
	default:
		return false
	}
	if e.blocked {
		s.Full(m.now)
		other.Carried(false, m.now)
		return true
	}
	e.way = append(e.way, m.frame(e, which, s.Pending()))
	other.Carried(true, m.now)
	if s.Took(m.now) {
		m.gone(e, which)
	}
	return true
}

func (m *urgentModel) dropLoad(e *urgentEnd, which int) {
	if e.loads[which].message == 0 {
		return
	}
	if which == 0 && e.s.Abandon() {
		m.gone(e, 0)
		return
	} else if which == 1 {
		e.u.Abandon()
	}
	e.loads[which].message = 0
}

// frame is what a sender writes.
func (m *urgentModel) frame(e *urgentEnd, which int, f *Outbound) Frame {
	h := f.Header
	urgent := h.Flags&wire.FlagUrgent != 0
	if urgent != (which == 1) {
		m.err = fmt.Errorf("sender %d writes %+v", which, h)
	}
	if heard := e.r.incarnation; urgent && heard != 0 && !m.known[heard].Has(wire.CapUrgent) {
		m.err = fmt.Errorf("life %d, which has no urgent stream, is sent %+v", heard, h)
	}
	head := make([]byte, h.Size())
	h.Put(head)
	if _, err := wire.ParseHeader(head); err != nil {
		m.err = err
	}
	frame := Frame{Header: h}
	if f.Bare {
		return frame
	}
	message := e.loads[which].of[h.Start.Seq]
	size := f.End - f.Offset
	if f.Offset == 0 {
		total := 0
		if which == 0 && isLarge(message) {
			total = urgentLarge
		}
		frame.Body = wire.AppendRecordHeader(nil, int64(message), 0, total)
	}
	frame.Body = append(frame.Body, make([]byte, size)...)
	return frame
}

// arrive lets the first frame that is on its way to end i come.
func (m *urgentModel) arrive(i int) {
	from := m.ends[1-i]
	if len(from.way) == 0 {
		return
	}
	f := from.way[0]
	from.way = from.way[1:]
	if f.Came = m.now; f.Flags&wire.FlagUrgent != 0 && !m.ends[i].knows.Has(wire.CapUrgent) {
		return // it is malformed there
	}
	if err := f.Check(); err != nil {
		m.err = err
		return
	}
	if f.Flags&wire.FlagUrgent != 0 {
		m.carryOut(i, true, m.ends[i].ru.Arrive(f))
	} else {
		m.carryOut(i, false, m.ends[i].r.Arrive(f))
	}
}

func (m *urgentModel) carryOut(i int, urgent bool, effects []Effect) {
	e := m.ends[i]
	for _, f := range effects {
		switch f.Do {
		case Deliver:
			r := e.r
			if urgent {
				r = e.ru
			}
			e.due = append(e.due, urgentDelivery{f.Delivery, r.incarnation, urgent})
		case Present:
			switch {
			case !urgent:
				e.s.Acked(&f.Header, m.now)
			case e.s.Urgent() != f.Header.Incarnation:
				e.s.Query(m.now)
				fallthrough
			default:
				if e.u.About(f.Header.Incarnation) {
					e.u.Acked(&f.Header, m.now)
				}
			}
		case NewLife:
			if !urgent {
				e.s.PeerBegan(f.First, m.now)
			}
		case AckNow:
			m.acknowledge(e, urgent, m.now)
		}
	}
}

func (m *urgentModel) acknowledge(e *urgentEnd, urgent bool, due time.Time) {
	if urgent {
		e.u.Acknowledge(e.ru.Ack(false, due))
	} else {
		e.s.Acknowledge(e.r.Ack(false, due))
	}
}

// take has the program of an end take one of those that wait, of either stream.
func (m *urgentModel) take(i int) {
	e := m.ends[i]
	if len(e.due) == 0 || e.stopped {
		return
	}
	urgent := m.rnd.IntN(2) == 0
	n := max(0, slices.IndexFunc(e.due, func(d urgentDelivery) bool { return d.urgent == urgent }))
	d := e.due[n]
	e.due = slices.Delete(e.due, n, n+1)
	if d.Count > 0 {
		rec := d.Record
		if !d.Assembled {
			rec, _ = wire.NextRecord(d.Body, 0)
		}
		message, of := int(rec.MsgID), urgentStream{d.life, d.urgent}
		switch {
		case m.delivered[message]:
			m.err = fmt.Errorf("message %d comes twice", message)
		case message <= e.latest[of]:
			m.err = fmt.Errorf("message %d comes behind %d in stream %v", message, e.latest[of], of)
		case !d.urgent && isLarge(message) && len(rec.Payload) != urgentLarge:
			m.err = fmt.Errorf("message %d comes with %d bytes", message, len(rec.Payload))
		}
		m.delivered[message] = true
		if e.latest[of] = message; d.urgent {
			m.urgent++
		}
	}
	r := e.r
	if d.urgent {
		r = e.ru
	}
	due := time.Time{}
	switch r.Taken(d.Place, d.Count, 0) {
	case AckNever:
		return
	case AckAtOnce, AckPrompt:
		due = m.now
	case AckSoon:
		due = m.now.Add(50 * time.Millisecond)
	}
	m.acknowledge(e, d.urgent, due)
}

// breaks loses what is on the connection of an end, which makes another one.
func (m *urgentModel) breaks(i int) {
	e := m.ends[i]
	e.way, e.blocked = nil, false
	e.s.Left(m.now)
	e.s.Dialed(true, m.now)
	e.s.Writable(m.now)
}

// unblock lets the connection of an end take frames again.
func (m *urgentModel) unblock(i int) {
	m.ends[i].blocked = false
	m.ends[i].s.Writable(m.now)
}

// fault does something that is not to happen.
func (m *urgentModel) fault() {
	switch i := m.rnd.IntN(2); m.rnd.IntN(10) {
	case 0, 1, 2:
		m.breaks(i)
	case 3:
		m.ends[i].blocked = true
	case 4:
		m.unblock(i)
	case 5:
		m.ends[i].stopped = !m.ends[i].stopped
	case 6:
		m.now = m.now.Add(time.Duration(m.rnd.IntN(3000)) * time.Millisecond)
	case 7:
		if m.rnd.IntN(3) == 0 {
			m.start(i, m.rnd.IntN(4) > 0)
		}
	case 8: // it fails for good
		e := m.ends[i]
		e.way = nil
		e.s.Failed(m.now)
		m.dropLoad(e, 0)
		m.dropLoad(e, 1)
		e.queued = nil
		e.s.Dialed(false, m.now)
	case 9: // removed from the catalogue, and added again
		if m.rnd.IntN(3) == 0 {
			e := m.ends[i]
			e.s.Vanished(m.now)
			m.dropLoad(e, 0)
			m.dropLoad(e, 1)
			e.queued = nil
			m.drive(i)
			e.s.Appeared(m.now)
		}
	}
}

// step does one thing.
func (m *urgentModel) step(faults bool) {
	switch i := m.rnd.IntN(2); m.rnd.IntN(12) {
	case 0, 1, 2:
		m.send(i, true)
	case 3:
		m.send(i, false)
	case 4, 5, 6, 7:
		m.arrive(i)
	case 8, 9:
		m.take(i)
	case 10:
		m.now = m.now.Add(time.Duration(m.rnd.IntN(20)) * time.Millisecond)
	case 11:
		if faults && m.rnd.IntN(4) == 0 {
			m.fault()
		}
	}
	m.rest()
}

func (m *urgentModel) rest() {
	for i, e := range m.ends {
		m.carryOut(i, false, e.r.Overdue(m.now))
		m.carryOut(i, true, e.ru.Overdue(m.now))
		m.drive(i)
		for which, s := range []*Sender{e.s, e.u} {
			b := s.Books
			if e.sent[which] != b.Confirmed+b.Unconfirmed+uint64(s.window.count) {
				m.err = fmt.Errorf("sender %d of end %d has written %d records: %+v and %d that are kept", which, i, e.sent[which], b, s.window.count)
			}
			if which == 1 && s.window.bytes > UrgentWindow {
				m.err = fmt.Errorf("%d bytes are on their way in the urgent stream", s.window.bytes)
			}
		}
	}
}

// quiet lets all that is to happen happen, for a while.
func (m *urgentModel) quiet(d time.Duration) {
	const quietStep = 25 * time.Millisecond
	for end := m.now.Add(d); m.now.Before(end) && m.err == nil; m.now = m.now.Add(quietStep) {
		for range 5 {
			for i := range m.ends {
				m.arrive(i)
				m.take(i)
				m.take(i)
			}
			m.rest()
		}
	}
}

func (m *urgentModel) run() error {
	for range 400 {
		m.step(true)
		if m.err != nil {
			return m.err
		}
	}
	for i := range m.ends {
		m.ends[i].stopped = false
		m.unblock(i)
	}
	m.quiet(10 * time.Second)
	m.after = m.next
	var sent []int
	for n := range 60 {
		i, urgent := m.rnd.IntN(2), n%2 == 0
		if e := m.ends[i]; urgent && n > 30 && m.ends[0].knows.Has(wire.CapUrgent) && m.ends[1].knows.Has(wire.CapUrgent) && e.s.Urgent() == 0 {
			return fmt.Errorf("end %d does not know that its peer has an urgent stream: %+v", i, e.s.twin)
		}
		m.send(i, urgent)
		sent = append(sent, m.next)
		m.quiet(time.Millisecond)
		m.quiet(time.Duration(m.rnd.IntN(100)) * time.Millisecond)
	}
	m.quiet(time.Second)
	for _, message := range sent {
		if !m.delivered[message] && m.err == nil {
			return fmt.Errorf("message %d was sent after the last fault, and did not come: %v", message, m.ends[0].s.state)
		}
	}
	for i, e := range m.ends {
		if n := e.s.OnItsWay() + e.u.OnItsWay(); n > 0 && m.err == nil {
			return fmt.Errorf("%d bytes of end %d are on their way though nothing was sent for long", n, i)
		}
	}
	return m.err
}
