package clustertest

import (
	"slices"
	"time"
)

// A path is one direction between two servers: what its sender has handed over, and
// what is on its way. The network's mu guards it.
type path struct {
	link Link
	// waiting is what InFlight leaves no room for, in the order of sending. Frames are
	// taken nevertheless, up to a bound (see crowded), and their messages wait one by one:
	// how many are in one depends on how the node's goroutines happen to run, and would
	// otherwise decide which of them the node drops, and when the others leave.
	waiting []*parcel
	backlog int       // bytes of waiting
	parcels []*parcel // on their way, in the order of arrival
	bytes   int       // of the messages among parcels, but for urgent ones
	// Of each of the two streams: when the last of those messages is due that keep their order, and when the last byte so far has
	// been put on the line.
	latest, free [2]time.Time
	earlier      [2]time.Time // latest, before the messages of the present moment
	lately       [2]time.Time // which that is
	said         [2]moment    // what was said last in each
	flows        map[flowKey]*flow
	room         chan struct{}
	connection

	// The next that happens on it, and where it is in the network's queue.
	head  time.Time
	order float64 // among what happens at the same time
	steps bool    // it is a step of the connection, and no parcel that arrives
	place int     // -1: it is not there
}

// carrier is the network as package mem sees it.
type carrier struct{ *Network }

// Carry implements mem.Carrier. What may be lost, delayed or held is decided for each
// message of the frame alone.
func (c carrier) Carry(head, tail []byte, deliver func(head, tail []byte) bool) bool {
	n := c.Network
	parcels := n.unpack(head, tail, deliver)
	if len(parcels) == 0 {
		deliver(head, tail) // the nodes have to refuse it
		return true
	}
	x := parcels[len(parcels)-1] // the others are words
	n.mu.Lock()
	p := n.path(x.link())
	if !x.word && !n.ended { // a question is not left to chance
		p.want(n)
	}
	crowded := p.stands && x.bare == 0 && !x.urgent && n.crowded(p)
	n.paced = n.paced || crowded
	full := !p.stands || crowded
	goes := !full && (x.bare != 0 || n.goes(p, x))
	if x.asks {
		p.comesFirst(x)
	}
	watcher := n.watcher
	n.mu.Unlock()
	if full {
		return false
	}
	if goes && watcher != nil && x.bare == 0 {
		x.verdict = n.judged(watcher(x.Message))
	}
	for _, y := range parcels {
		if y != x || goes {
			n.post(y)
		}
	}
	return true
}

// Full implements mem.Carrier.
func (c carrier) Full(from, to string) (again <-chan struct{}) {
	n := c.Network
	n.mu.Lock()
	defer n.mu.Unlock()
	sender, known := n.idOf(from)
	receiver, listed := n.idOf(to)
	if !known || !listed {
		return nil
	}
	p := n.path(Link{sender, receiver})
	if p.stands && !n.crowded(p) {
		return nil
	}
	if p.room == nil {
		p.room = make(chan struct{})
	}
	return p.room
}

// Stands implements mem.Carrier.
func (c carrier) Stands(from, to string) bool {
	n := c.Network
	n.mu.Lock()
	defer n.mu.Unlock()
	sender, known := n.idOf(from)
	receiver, listed := n.idOf(to)
	return !known || !listed || n.path(Link{sender, receiver}).stands
}

// path is the path of a link. The caller holds mu.
func (n *Network) path(l Link) *path {
	p := n.paths[l]
	if p == nil {
		p = &path{link: l, place: -1}
		n.paths[l] = p
	}
	return p
}

// sortedPaths are all paths in the order of their links: that of a map would make one
// run differ from the next. The caller holds mu.
func (n *Network) sortedPaths() []*path {
	var all []*path
	for _, p := range n.paths {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *path) int { return a.link.compare(b.link) })
	return all
}

// post takes a parcel over from its sender. What a server hands over while it is being
// killed was never sent.
func (n *Network) post(x *parcel) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended || n.dead[x.From] {
		return
	}
	p := n.path(x.link())
	x.receiver = p.receiver
	if x.bare == 0 && !x.urgent && (len(p.waiting) > 0 || !n.hasRoom(p, x)) {
		p.waiting = append(p.waiting, x)
		p.backlog += x.size()
		return
	}
	n.leave(p, x)
}

// hasRoom reports whether InFlight lets a message leave: one that is larger than that
// goes alone. Where nobody receives, all have room, since nothing stays there. The caller holds mu.
func (n *Network) hasRoom(p *path, x *parcel) bool {
	return p.bytes == 0 || p.bytes+x.size() <= n.faultsOf(p.link).inFlight() || n.dead[p.link.To]
}

// advance lets those leave that wait for room, as far as there is some, and then the
// sender hand over more. The caller holds mu.
func (n *Network) advance(p *path) {
	for len(p.waiting) > 0 && n.hasRoom(p, p.waiting[0]) {
		var x *parcel
		x, p.waiting = pop(p.waiting)
		p.backlog -= x.size()
		n.leave(p, x)
	}
	if p.room != nil && p.stands && !n.crowded(p) {
		close(p.room)
		p.room = nil
	}
}

// crowded reports whether so much waits that no more is taken of the sender: 16 times
// what may be on its way, but at least 256 KiB, and at most 1 MiB, which is less than the
// window of a node as it is configured by itself. The caller holds mu.
func (n *Network) crowded(p *path) bool {
	return p.backlog > min(max(256<<10, 16*n.faultsOf(p.link).inFlight()), 1<<20)
}

// pop takes the first of some parcels from the others.
func pop(parcels []*parcel) (x *parcel, rest []*parcel) {
	x = parcels[0]
	parcels[0] = nil
	return x, parcels[1:]
}

// leave sends a parcel on its way, unless it is lost or held. The caller holds mu.
func (n *Network) leave(p *path, x *parcel) {
	x.Sent = time.Since(n.start)
	n.sent(x)
	switch {
	case n.dead[p.link.To]:
		n.lost(x, byCrash)
	case x.verdict == Drop:
		n.gone(x, byTest)
	case x.verdict == Hold:
		n.held = append(n.held, x)
		n.note(Event{Kind: Held, Message: x.Message, From: x.From, To: x.To})
	default:
		n.depart(x)
	}
}

// overtakenLeast is the least of the most time that a message which others may overtake
// takes longer: where messages take no time at all, none would be overtaken otherwise.
const overtakenLeast = 3 * time.Millisecond

// depart puts a parcel on its path, or loses it by chance. The caller holds mu.
func (n *Network) depart(x *parcel) {
	p := n.path(x.link())
	f := n.faultsOf(p.link)
	switch {
	case f.Loss > 0 && n.chance("loss", x) < f.Loss:
		n.gone(x, "loss")
		return
	case !p.stands:
		n.lost(x, byBreak) // while the test held it
		return
	case p.sticks(n, x):
		p.stuck = append(p.stuck, x)
		p.count(x, 1)
		return
	}
	now := time.Now()
	x.due = now.Add(n.delay(f, x, "delay"))
	if x.asks {
		x.due = latest(x.due, p.behind(x, now))
	}
	if x.word || x.asks {
		n.say(p, x)
		return
	}
	if f.Bandwidth > 0 && x.bare == 0 {
		p.line(n, x, f.Bandwidth, now)
	}
	last := &p.latest[x.stream()]
	if f.Reorder > 0 && n.chance("reorder", x) < f.Reorder {
		most := max(3*x.due.Sub(now), overtakenLeast)
		x.due = x.due.Add(time.Duration(n.chance("overtaken", x) * float64(most)))
	} else {
		x.due = latest(x.due, p.behind(x, now))
		if x.bare == 0 {
			*last = x.due
		}
	}
	n.add(p, x)
	if f.Duplicate > 0 && x.bare == 0 && !x.again && n.chance("duplicate", x) < f.Duplicate {
		copied := *x
		copied.again = true
		copied.due = x.due.Add(n.delay(f, x, "second"))
		n.add(p, &copied)
	}
}

// behind is when a parcel arrives at the earliest that does not overtake others: a question comes before what is sent at its moment.
func (p *path) behind(x *parcel, now time.Time) time.Time {
	i := x.stream()
	if !p.lately[i].Equal(now) {
		p.lately[i], p.earlier[i] = now, p.latest[i]
	}
	if x.asks {
		return p.earlier[i]
	}
	return p.latest[i]
}

// line has a message wait until it has been put on the line. Urgent ones do not wait for the others.
func (p *path) line(n *Network, x *parcel, bandwidth int, now time.Time) {
	free := &p.free[x.stream()]
	if free.Before(now) {
		*free = now
	}
	x.due = x.due.Add(free.Sub(now))
	took := time.Duration(float64(x.size()) / float64(bandwidth) * float64(time.Second))
	*free, x.due = free.Add(took), x.due.Add(took)
	if !x.urgent {
		p.lineChanged(n) // a heartbeat may have to wait for too long behind it
	}
}

// add puts a parcel among the others, behind those that are due at the same moment. The
// caller holds mu.
func (n *Network) add(p *path, x *parcel) {
	x.turn = n.chance("turn", x)
	i := len(p.parcels)
	for i > 0 && x.due.Before(p.parcels[i-1].due) {
		i--
	}
	p.parcels = slices.Insert(p.parcels, i, x)
	p.count(x, 1)
	n.queue(p)
}

// count adds a parcel to bytes, or takes it out again. A copy was sent once.
func (p *path) count(x *parcel, sign int) {
	if x.bare == 0 && !x.again && !x.urgent {
		p.bytes += sign * x.size()
	}
}

// resume lets go of what waited while the receiver was paused. That of each path comes at
// another moment, drawn from the seed. The caller holds mu.
func (p *path) resume(n *Network) {
	now := time.Since(n.start)
	drawn := n.chance("resume", &parcel{Message: Message{From: p.link.From, To: p.link.To}, bare: uint64(now)})
	due := n.start.Add(now + time.Duration(drawn*float64(time.Millisecond)))
	for _, x := range p.parcels {
		if x.due.Before(due) {
			x.due = due
		}
	}
	for i := range p.latest {
		p.latest[i] = latest(p.latest[i], due)
	}
	p.goOn(n, due)
	n.queue(p)
}

// arrive delivers the first parcel of a path. The caller holds mu.
func (p *path) arrive(n *Network) {
	var x *parcel
	x, p.parcels = pop(p.parcels)
	p.count(x, -1)
	switch {
	case n.dead[p.link.To]:
		n.lost(x, byCrash)
	case x.bare != 0:
		p.correct(n, x)
		x.arrive()
	default:
		p.correct(n, x)
		if x.receiver != n.births[p.link.To] || !x.arrive() {
			n.lost(x, "the receiver has closed")
			break
		}
		n.path(p.link.reverse()).want(n)
		l := p.flow(x)
		n.came(x, x.number < l.greatest)
		l.arrived(x)
	}
	n.advance(p)
}

// clear loses all that is on its way. The caller holds mu.
func (p *path) clear(n *Network, why string) {
	for _, x := range p.parcels {
		if why != "" {
			n.lost(x, why)
		}
	}
	if why != "" {
		p.loseStuck(n, why)
	}
	p.parcels, p.stuck, p.bytes = nil, nil, 0
	if n.ended {
		p.waiting, p.backlog = nil, 0
	}
	p.flows = nil
	n.advance(p)
	n.queue(p)
}

// forget loses the acknowledgments of a sender that has crashed, or the receiver would
// take it for alive a moment longer, what it had not sent yet, and what its machine would have had to
// repeat. The caller holds mu.
func (p *path) forget(n *Network) {
	p.waiting, p.backlog = nil, 0
	p.loseStuck(n, byBreak)
	p.connection = connection{number: p.number}
	p.parcels = slices.DeleteFunc(p.parcels, func(x *parcel) bool { return x.bare != 0 })
	n.advance(p)
	n.queue(p)
}
