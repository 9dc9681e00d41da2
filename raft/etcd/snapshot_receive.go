package etcd

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	errAnew  = errors.New("etcd: another snapshot is sent")
	errGap   = errors.New("etcd: a piece of the snapshot was lost")
	errFlood = errors.New("etcd: more of the snapshot came than there was room for")
	errBusy  = errors.New("etcd: Raft has not taken the snapshot before yet")
)

// A download is a snapshot as it comes.
type download struct {
	t      *Transport
	from   int
	number uint64
	head   []byte
	size   uint64
	news   chan struct{} // of one: something has come

	mu    sync.Mutex // guards what follows
	data  []byte     // as far as it has come
	limit uint64     // up to which the sender may send
	err   error      // why it is given up
	whole bool       // all has come: Raft is getting it
	over  bool       // Raft has answered
}

// announced begins to take in a snapshot, in the place of another of the same server.
func (t *Transport) announced(from int, s snapshot) {
	p := t.peer(from)
	if err := t.admit(p, s); err != nil {
		t.answer(from, outcome{s.Number, failure(err)})
		return
	}
	d := &download{t: t, from: from, number: s.Number, head: s.Head, size: s.Size, news: make(chan struct{}, 1)}
	d.limit = min(d.size, uint64(t.o.SnapshotWindow))
	p.snapshot = d
	t.start(d.attend)
}

// admit returns why a snapshot is not taken, and ends the one before if it is.
func (t *Transport) admit(p *peer, s snapshot) error {
	switch {
	case len(s.Head) > maxHeadBytes:
		return fmt.Errorf("etcd: the snapshot has %d bytes of metadata: %d are the most", len(s.Head), maxHeadBytes)
	case s.Size > uint64(t.o.MaxSnapshotBytes):
		return fmt.Errorf("etcd: the snapshot is of %d bytes, and Options.MaxSnapshotBytes of server %d is %d", s.Size, t.node.Pid(), t.o.MaxSnapshotBytes)
	}
	if _, err := join(s.Head, nil, p.pid, t.node.Pid()); err != nil {
		t.refuse(p.pid, err)
		return fmt.Errorf("etcd: the snapshot is refused: %w", err)
	}
	if p.snapshot != nil && !p.snapshot.fail(errAnew) {
		return errBusy
	}
	return nil
}

func failure(err error) string {
	text := err.Error()
	return text[:min(len(text), maxFailure)]
}

// answer sends a message about a snapshot to its sender. It never waits; if it is lost, the sender finds out by the silence.
func (t *Transport) answer(to int, msg any) { t.toward(ID(to)).put(msg, 64, true) }

// add takes in a piece. It never waits.
func (d *download) add(p piece) {
	d.mu.Lock()
	defer d.mu.Unlock()
	have := uint64(len(d.data))
	switch {
	case d.err != nil || d.whole:
		return
	case p.Offset != have:
		d.err = errGap
	case uint64(len(p.Data)) > d.limit-have:
		d.err = errFlood
	default:
		d.grow(have + uint64(len(p.Data)))
		d.data = append(d.data, p.Data...)
	}
	d.tell()
}

// grow makes room for n bytes, for what has come and not for what was announced: twice what there was, up to the size.
func (d *download) grow(n uint64) {
	if n <= uint64(cap(d.data)) {
		return
	}
	larger := make([]byte, len(d.data), max(n, min(d.size, 2*n)))
	copy(larger, d.data)
	d.data = larger
}

func (d *download) tell() {
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// fail gives the snapshot up, unless Raft is getting it: then it reports false.
func (d *download) fail(err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.whole {
		return d.over
	}
	if d.err == nil {
		d.err = err
	}
	d.data = nil
	d.tell()
	return true
}

// advance lets the sender go further, and returns how far, how much has come, and whether that is all.
func (d *download) advance() (limit, have uint64, whole bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	have = uint64(len(d.data))
	d.limit = max(d.limit, min(d.size, have+uint64(d.t.o.SnapshotWindow)))
	d.whole = d.err == nil && have == d.size
	return d.limit, have, d.whole, d.err
}

// step is by how much further the sender may go when it is told: what fills a message or more, but early enough that it need
// not wait.
func (d *download) step() uint64 { return min(uint64(d.t.o.SnapshotWindow)/2, 4*pieceBytes) }

// patience is how many times Options.Timeout a receiver waits for the next piece: the sender has given up long before.
const patience = 4

// attend tells who sends the snapshot how far to go, and that this server is at it, until Raft has it.
func (d *download) attend() {
	alive := time.NewTicker(d.t.o.Timeout / 4)
	defer alive.Stop()
	var told, before uint64
	heard, tick := time.Now(), true
	for {
		limit, have, whole, err := d.advance()
		if have > before {
			before, heard = have, time.Now()
		}
		switch {
		case err != nil:
			d.finish(err)
			return
		case whole:
			d.deliver(alive.C)
			return
		case tick || limit-told >= d.step() || limit == d.size && told < limit:
			told = limit
			d.t.answer(d.from, progress{d.number, limit})
		}
		select {
		case <-d.news:
			tick = false
		case <-alive.C:
			tick = true
			if silent := patience * d.t.o.Timeout; time.Since(heard) > silent {
				d.fail(fmt.Errorf("etcd: nothing of the snapshot has come for %v", silent))
			}
		case <-d.t.ctx.Done():
			return
		}
	}
}

// deliver gives the snapshot to Raft. While that takes, the sender hears of it.
func (d *download) deliver(alive <-chan time.Time) {
	m, err := join(d.head, d.take(), d.from, d.t.node.Pid())
	if err != nil { // It was tried before.
		d.finish(err)
		return
	}
	done := make(chan error, 1)
	if !d.t.start(func() { done <- d.t.raft.Step(d.t.ctx, m) }) {
		return
	}
	for {
		d.t.answer(d.from, progress{d.number, d.size})
		select {
		case err := <-done:
			d.finish(err)
			return
		case <-alive:
		case <-d.t.ctx.Done():
			return
		}
	}
}

// take is the data, which nothing refers to then but its receiver.
func (d *download) take() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	data := d.data
	d.data = nil
	return data
}

// finish tells the sender what became of the snapshot.
func (d *download) finish(err error) {
	d.mu.Lock()
	d.over, d.whole, d.data = true, true, nil
	d.mu.Unlock()
	o := outcome{Number: d.number}
	if err != nil {
		o.Failed = failure(err)
	}
	d.t.answer(d.from, o)
}
