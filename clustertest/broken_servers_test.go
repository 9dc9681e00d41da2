package clustertest_test

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// The rules that broken servers break.
const (
	ruleIdentity  = "Pid is the id and Peers lists the others"
	ruleSizes     = "Inbox and Outbox are as large as configured"
	ruleUnchanged = "an envelope that was handed over is not changed"
	ruleMsgID     = "a MsgId of 0 is given one and another is kept"
	ruleUnique    = "assigned ids are unique among servers"
	ruleOrder     = "what one server sends to another arrives in the order sent and never twice"
	ruleMixed     = "messages of different kinds keep their order"
	rulePayloads  = "payloads of different kinds keep their order and their types"
	ruleSender    = "a received envelope carries its sender's id"
	ruleFresh     = "a received envelope is fresh"
	ruleBroadcast = "BROADCAST goes to every other server"
	ruleOwn       = "a send to one's own id arrives in one's own Inbox"
	ruleTypes     = "a message arrives as the type that it was sent as"
	ruleLarge     = "a large message arrives whole"
	ruleUnsent    = "what cannot be sent disturbs nothing"
	rulePaced     = "while a peer takes nothing is dropped"
	ruleAnyOrder  = "servers start in any order within SendTimeout and lose nothing"
	ruleDead      = "a peer that is not there delays the others by one SendTimeout at most"
	ruleStalled   = "a peer whose program stops reading is given up until it reads again"
	ruleStale     = "a server that was down gets nothing stale"
	ruleObserver  = "an observer is nobody's peer"
	ruleRestart   = "a restarted server hears and is heard"
	ruleBooks     = "Stats accounts for every message"
	ruleTooLarge  = "a message that is too large for its receiver is refused"
	ruleSend      = "Send tells the outcome"
	ruleSendWaits = "Send waits for room as long as its context allows"
	ruleSendOrder = "what Send sends arrives in the order sent"
	ruleUrgent    = "what SendUrgent sends keeps an order of its own"
	ruleReceive   = "Receive takes from Inbox"
	ruleGroup     = "a group is a multicast address"
	ruleEnds      = "Close returns in time and ends a range over Inbox"
	ruleTaken     = "an address that is taken is an error"
	ruleFlush     = "closing Outbox flushes it and receiving goes on"
	ruleAgain     = "Close may be called again and concurrently"
	ruleDelivers  = "Close delivers what it had accepted"
	ruleFree      = "the address is free after Close"
	ruleLetGo     = "who was blocked on Outbox is let go"
	ruleShutdown  = "Shutdown delivers what it had accepted"
	ruleBounded   = "Shutdown is bounded by its context"
	ruleDone      = "Done is closed when the server has closed"
	ruleClosed    = "after closing Send returns ErrClosed"

	ruleCatalog    = "the catalogue counts from the next message on"
	ruleBroadcasts = "5 servers broadcast 10,000 each and every one arrives once and in order"
)

// brokenServers are the ways to break a server, and the rule in which the suite must
// notice.
var brokenServers = slices.Concat(brokenBasics, brokenMethods, brokenClosings, brokenDeliveries, brokenCalls, brokenEvents, brokenWays, brokenStandings, brokenWaits)

// A breakage is a way to break a server.
type breakage struct {
	name, rule string
	fault      func(b *broken)
}

// brokenBasics are those without servers that have a file of their own.
var brokenBasics = []breakage{
	// What was handed over.
	{"the sender's envelope is given its MsgId", ruleUnchanged, sending(func(b *broken, e *cluster.Envelope) *cluster.Envelope {
		sent := *e
		e.MsgId = 1
		return &sent
	})},
	{"the sender's envelope is given its sender", ruleUnchanged, sending(func(b *broken, e *cluster.Envelope) *cluster.Envelope {
		sent := *e
		e.Pid = b.Pid()
		return &sent
	})},
	{"the sender's map is emptied once it is encoded", ruleUnchanged, sending(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if m, ok := e.Msg.(map[string]any); ok {
			sent := *e
			sent.Msg = maps.Clone(m)
			clear(m)
			return &sent
		}
		return e
	})},
	{"the sender's large buffer is taken for another message", ruleUnchanged, sending(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if m, ok := e.Msg.([]byte); ok && len(m) > 32<<10 {
			sent := *e
			sent.Msg = slices.Clone(m)
			m[len(m)-1]++
			return &sent
		}
		return e
	})},

	// Message ids.
	{"every message is given an id", ruleMsgID, sending(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		sent := *e
		sent.MsgId = 0
		return &sent
	})},
	{"a MsgId of 0 stays 0", ruleMsgID, arriving(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if e.MsgId > 1<<40 && e.MsgId < 1<<62 {
			e.MsgId = 0
		}
		return e
	})},
	{"ids are kept to 32 bits", ruleMsgID, arriving(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		e.MsgId = int64(int32(e.MsgId))
		return e
	})},
	{"broadcasts are always given an id", ruleMsgID, sending(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if e.Pid != cluster.BROADCAST {
			return e
		}
		sent := *e
		sent.MsgId = 0
		return &sent
	})},
	{"ids are counted from 1 by each server", ruleUnique, func(b *broken) {
		b.sendEach(numbering(1))
	}},
	{"ids of all servers are those of one clock in seconds", ruleUnique, func(b *broken) {
		b.sendEach(numbering(time.Now().Unix()))
	}},
	{"the copies of a broadcast have ids of their own", ruleUnique, func(b *broken) {
		b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope {
			e.MsgId = e.MsgId<<3 | int64(b.Pid()&7)
			return e
		})
	}},

	// Order.
	{"neighbours are exchanged", ruleOrder, func(b *broken) {
		var kept *cluster.Envelope
		b.receive(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			if kept == nil {
				kept = e
				return
			}
			on(e)
			on(kept)
			kept = nil
		})
	}},
	{"duplicates are not noticed", ruleOrder, func(b *broken) {
		b.receive(everyTenth(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			again := *e
			on(e)
			on(&again)
		}))
	}},
	{"the sequence starts again", ruleOrder, nil}, // what carries the frames does it: see resetting
	{"one message in ten thousand is lost", ruleOrder, func(b *broken) {
		n := 0
		b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope {
			if n++; n%10_000 == 0 {
				return nil
			}
			return e
		})
	}},
	{"broadcasts overtake unicasts", ruleMixed, slowLane(func(e *cluster.Envelope) bool { return e.Pid >= 0 })},
	{"unicasts overtake broadcasts", ruleMixed, slowLane(func(e *cluster.Envelope) bool { return e.Pid == cluster.BROADCAST })},
	{"groups are sent behind all else", ruleMixed, slowLane(func(e *cluster.Envelope) bool { return e.Pid < cluster.BROADCAST })},
	{"small messages overtake large ones", ruleMixed, slowLane(func(e *cluster.Envelope) bool { return size(e) > 128<<10 })},
	{"small messages overtake those that fill a batch", ruleMixed, slowLane(func(e *cluster.Envelope) bool { return size(e) > 8<<10 && size(e) <= 128<<10 })},
	{"large messages overtake small ones", ruleMixed, slowLane(func(e *cluster.Envelope) bool { return size(e) < 8<<10 })},
	{"large broadcasts arrive twice", ruleMixed, func(b *broken) {
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			on(e)
			if e != nil && e.Pid == cluster.BROADCAST && size(e) > 128<<10 {
				again := *e
				on(&again)
			}
		})
	}},
	{"what needs no encoding overtakes the rest", rulePayloads, slowLane(func(e *cluster.Envelope) bool {
		k := reflect.ValueOf(e.Msg).Kind()
		return k == reflect.Map || k == reflect.Struct
	})},
	{"nil overtakes all else", rulePayloads, slowLane(func(e *cluster.Envelope) bool { return e.Msg != nil })},
	{"a message has the type of the one before", rulePayloads, func(b *broken) {
		var before any
		b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope {
			if v := reflect.ValueOf(e.Msg); v.CanInt() && reflect.ValueOf(before).CanInt() {
				e.Msg = v.Convert(reflect.TypeOf(before)).Interface()
			}
			before = e.Msg
			return e
		})
	}},

	// Who sent it.
	{"the receiver's id is not replaced", ruleSender, func(b *broken) {
		b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope {
			e.Pid = b.Pid()
			return e
		})
	}},
	{"a broadcast says that it is one", ruleSender, marking(func(e *cluster.Envelope) bool { return e.Pid == cluster.BROADCAST })},
	{"what was sent to a group says so", ruleSender, marking(func(e *cluster.Envelope) bool { return e.Pid < cluster.BROADCAST })},

	// Freshness.
	{"the sender's envelope is the receiver's", ruleFresh, func(b *broken) {
		b.inbox = make(chan *cluster.Envelope, cap(b.inbox))
		go relay(b.Node.Inbox(), b.inbox, b.Node.Done(), func(e *cluster.Envelope, on func(*cluster.Envelope)) { on(e) }) // ends as the node closes
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			if e == nil || e.Pid != b.Pid() {
				on(e)
				return
			}
			select {
			case b.inbox <- e:
			case <-b.Node.Done():
			}
		})
	}},
	{"maps are shared by sender and receivers", ruleFresh, sharing(func(v any) bool { return reflect.ValueOf(v).Kind() == reflect.Map })},
	{"slices are shared by sender and receivers", ruleFresh, sharing(func(v any) bool {
		return reflect.ValueOf(v).Kind() == reflect.Slice && reflect.TypeOf(v) != reflect.TypeFor[[]byte]()
	})},
	{"large messages are shared by sender and receivers", ruleFresh, sharing(func(v any) bool {
		b, ok := v.([]byte)
		return ok && len(b) > 32<<10
	})},
	{"structs share what they point to", ruleFresh, sharing(func(v any) bool { return reflect.ValueOf(v).Kind() == reflect.Struct })},

	// BROADCAST and oneself.
	{"a broadcast comes back to its sender", ruleBroadcast, func(b *broken) {
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			on(e)
			if e != nil && e.Pid == cluster.BROADCAST {
				on(&cluster.Envelope{Pid: b.Pid(), Msg: e.Msg})
			}
		})
	}},
	{"a broadcast does not reach the last server", ruleBroadcast, func(b *broken) {
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			if e == nil || e.Pid != cluster.BROADCAST {
				on(e)
				return
			}
			for _, id := range b.Node.Peers()[:3] {
				on(&cluster.Envelope{Pid: id, MsgId: e.MsgId, Msg: e.Msg})
			}
		})
	}},
	{"a large broadcast is none", ruleBroadcast, sending(func(b *broken, e *cluster.Envelope) *cluster.Envelope {
		if e.Pid == cluster.BROADCAST && size(e) > 128<<10 {
			return &cluster.Envelope{Pid: b.Node.Peers()[0], MsgId: e.MsgId, Msg: e.Msg}
		}
		return e
	})},
	{"what is sent to oneself is lost", ruleOwn, sending(func(b *broken, e *cluster.Envelope) *cluster.Envelope {
		if e.Pid == b.Pid() {
			return nil
		}
		return e
	})},
	{"what is sent to oneself is not encoded", ruleOwn, sharing(func(v any) bool { return reflect.ValueOf(v).Kind() == reflect.Pointer })},
	{"what is sent to oneself goes to the others", ruleOwn, sending(func(b *broken, e *cluster.Envelope) *cluster.Envelope {
		if e.Pid == b.Pid() {
			return &cluster.Envelope{Pid: cluster.BROADCAST, MsgId: e.MsgId, Msg: e.Msg}
		}
		return e
	})},

	// Types and sizes.
	{"integers arrive as int", ruleTypes, arriving(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if v := reflect.ValueOf(e.Msg); v.CanInt() {
			e.Msg = int(v.Int())
		}
		return e
	})},
	{"times are cut to milliseconds", ruleTypes, arriving(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if t, ok := e.Msg.(time.Time); ok {
			e.Msg = t.Truncate(time.Millisecond)
		}
		return e
	})},
	{"what is empty arrives as nil", ruleTypes, arriving(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if m, ok := e.Msg.([]byte); ok && len(m) == 0 {
			e.Msg = nil
		}
		return e
	})},
	{"numbers inside of any arrive as float64", ruleTypes, arriving(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if m, ok := e.Msg.(map[string]any); ok {
			for k, v := range m {
				if i, ok := v.(int); ok {
					m[k] = float64(i)
				}
			}
		}
		return e
	})},
	{"the last piece of a large message is missing", ruleLarge, arriving(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if m, ok := e.Msg.([]byte); ok && len(m) > 128<<10 {
			e.Msg = m[:128<<10]
		}
		return e
	})},
	{"a large string is no string", ruleLarge, arriving(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if m, ok := e.Msg.(string); ok && len(m) > 32<<10 {
			e.Msg = []byte(m)
		}
		return e
	})},
	{"what is larger than the queue is dropped", ruleLarge, sending(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if size(e) > 64<<10 {
			return nil
		}
		return e
	})},

	// Bounds.
	{"Inbox has a size of its own", ruleSizes, func(b *broken) {
		b.inbox = make(chan *cluster.Envelope, 3*cap(b.inbox))
		go relay(b.Node.Inbox(), b.inbox, b.Node.Done(), func(e *cluster.Envelope, on func(*cluster.Envelope)) { on(e) }) // ends as the node closes
	}},
	{"Outbox holds nothing", ruleSizes, func(b *broken) {
		b.outbox = make(chan *cluster.Envelope)
		go relay(b.outbox, b.Node.Outbox(), b.Node.Done(), func(e *cluster.Envelope, on func(*cluster.Envelope)) { on(e) }) // ends as the node closes
	}},
	{"Inbox is never full", ruleSizes, func(b *broken) {
		b.inbox = make(chan *cluster.Envelope, cap(b.inbox))
		go func() { // ends as the node closes
			<-b.Node.Done()
			close(b.inbox)
		}()
	}},
	{"the receiver believes the sender's limit", ruleTooLarge, believing(1 << 30)},
	{"what is too large is cut", ruleTooLarge, believing(1000)},
	{"what was refused as too large is not counted", ruleTooLarge, statistics(func(s *cluster.Stats) {
		for i := range s.Peers {
			s.Peers[i].Received.Refused = nil
		}
	})},

	// Pace.
	{"a sender that is too fast is not paced", rulePaced, func(b *broken) {
		b.send(func(e *cluster.Envelope, _ func(*cluster.Envelope)) {
			select {
			case b.Node.Outbox() <- e:
			default:
			}
		})
	}},
	{"what finds Inbox full is dropped", rulePaced, func(b *broken) {
		b.inbox = make(chan *cluster.Envelope, cap(b.inbox))
		go relay(b.Node.Inbox(), b.inbox, b.Node.Done(), func(e *cluster.Envelope, _ func(*cluster.Envelope)) { // ends as the node closes
			select {
			case b.inbox <- e:
			default:
			}
		})
	}},
	{"who waits for SendTimeout is dropped though the peer takes", rulePaced, func(b *broken) {
		began := time.Now()
		b.sendEach(func(e *cluster.Envelope) *cluster.Envelope {
			if time.Since(began) > time.Second {
				return nil
			}
			return e
		})
	}},
	{"the queue has no bound", rulePaced, statistics(func(s *cluster.Stats) { s.Sent.QueueBytes = 1 << 20 })},

	// Peers that are not there.
	{"what is sent before a peer is up is dropped", ruleAnyOrder, impatient(0)},
	{"a peer has half of SendTimeout to come up", ruleAnyOrder, impatient(20 * time.Millisecond)},
	{"nothing is received in the first half second", ruleAnyOrder, func(b *broken) {
		began := time.Now()
		b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope {
			if time.Since(began) < time.Second/2 {
				return nil
			}
			return e
		})
	}},
	{"each message for a dead peer takes a while", ruleDead, func(b *broken) {
		b.sendEach(func(e *cluster.Envelope) *cluster.Envelope {
			if e.Pid == 2 {
				time.Sleep(50 * time.Millisecond)
			}
			return e
		})
	}},
	{"a dead peer is waited for", ruleDead, func(b *broken) {
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			if e != nil && e.Pid == 2 {
				<-b.Node.Done()
				return
			}
			on(e)
		})
	}},
	{"what is sent while a peer is given up is dropped for all", ruleDead, func(b *broken) {
		n := 0
		b.sendEach(func(e *cluster.Envelope) *cluster.Envelope {
			if n++; e.Pid != 2 && n > 50 && n < 60 {
				return nil
			}
			return e
		})
	}},
	{"a stalled program holds all others up", ruleStalled, func(b *broken) {
		n := 0
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			if e != nil && e.Pid == 1 {
				if n++; n > 20 {
					<-b.Node.Done()
					return
				}
			}
			on(e)
		})
	}},
	{"who has stalled once is given up for ever", ruleStalled, func(b *broken) {
		gaveUp := false
		b.sendEach(func(e *cluster.Envelope) *cluster.Envelope {
			if gaveUp = gaveUp || e.Pid == 1 && down(b.Node, 1); gaveUp && e.Pid == 1 {
				return nil
			}
			return e
		})
	}},
	{"each message for a stalled program takes a while", ruleStalled, func(b *broken) {
		b.sendEach(func(e *cluster.Envelope) *cluster.Envelope {
			if e.Pid == 1 && b.Pid() == 0 {
				time.Sleep(20 * time.Millisecond)
			}
			return e
		})
	}},
	{"messages wait for a peer for ever", ruleStale, hoarding(func(e *cluster.Envelope) bool { return true })},
	{"the last message waits for a peer for ever", ruleStale, hoarding(func(e *cluster.Envelope) bool { return e.MsgId == 0 })},
	{"who was down when something was sent is down for ever", ruleStale, func(b *broken) {
		gone := false
		b.sendEach(func(e *cluster.Envelope) *cluster.Envelope {
			if gone = gone || e.Pid == 1 && !here.has(b.Catalog(), 1, 0); gone {
				return nil
			}
			return e
		})
	}},
	{"observers are peers like others", ruleObserver, func(b *broken) {
		b.peers = func() []int { return slices.DeleteFunc(b.Catalog().IDs(), func(id int) bool { return id == b.Pid() }) }
	}},
	{"a broadcast goes to observers, too", ruleObserver, func(b *broken) {
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			on(e)
			if e == nil || e.Pid != cluster.BROADCAST {
				return
			}
			for _, id := range b.Catalog().IDs() {
				if p, _ := b.Catalog().Get(id); p.Observer && id != b.Pid() {
					on(&cluster.Envelope{Pid: id, MsgId: e.MsgId, Msg: e.Msg})
				}
			}
		})
	}},
	{"an observer sends no broadcasts", ruleObserver, sending(func(b *broken, e *cluster.Envelope) *cluster.Envelope {
		if self, _ := b.Catalog().Get(b.Pid()); self.Observer && e.Pid == cluster.BROADCAST {
			return nil
		}
		return e
	})},
	{"an observer is sent nothing", ruleObserver, sending(func(b *broken, e *cluster.Envelope) *cluster.Envelope {
		if to, _ := b.Catalog().Get(e.Pid); to.Observer {
			return nil
		}
		return e
	})},
	{"a new life is taken for the old one", ruleRestart, remembering},
	{"a new life is heard after a while", ruleRestart, func(b *broken) {
		heard := make(map[int64]bool)
		b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope {
			if s := b.Node.Stats().Received.Restarts; s > 0 && !heard[int64(s)] {
				heard[int64(s)] = true
				return nil
			}
			return e
		})
	}},
	{"what a restarted server is sent goes to its former life", ruleRestart, func(b *broken) {
		b.sendEach(func(e *cluster.Envelope) *cluster.Envelope {
			if b.Node.Stats().Received.Restarts > 0 {
				return nil
			}
			return e
		})
	}},

	// Identity.
	{"a server is among its own peers", ruleIdentity, func(b *broken) {
		b.peers = func() []int { return append(b.Node.Peers(), b.Pid()) }
	}},
	{"Peers returns the server's own list", ruleIdentity, func(b *broken) {
		list := b.Node.Peers()
		b.peers = func() []int { return list }
	}},
	{"peers are in no order", ruleIdentity, func(b *broken) {
		b.peers = func() []int {
			ids := b.Node.Peers()
			slices.Reverse(ids)
			return ids
		}
	}},
	{"a server lists only the peers that it has heard", ruleIdentity, func(b *broken) {
		b.peers = func() []int {
			return slices.DeleteFunc(b.Node.Peers(), func(id int) bool { return received(b.Node, id).Received == 0 })
		}
	}},

	// What cannot be sent, and changes of the catalogue.
	{"what cannot be sent ends sending", ruleUnsent, func(b *broken) {
		over := false
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			if over = over || e == nil || b.Node.Stats().Unaddressed.DroppedTotal() > 5; !over {
				on(e)
			}
		})
	}},
	{"a message to nobody goes to all", ruleUnsent, sending(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if e.Pid == 99 || e.Pid == -99 {
			return &cluster.Envelope{Pid: cluster.BROADCAST, Msg: e.Msg}
		}
		return e
	})},
	{"what is behind a message that is too large is lost", ruleUnsent, func(b *broken) {
		large := false
		b.sendEach(func(e *cluster.Envelope) *cluster.Envelope {
			before := large
			if large = size(e) > 1000; before && !large {
				return nil
			}
			return e
		})
	}},
	{"what cannot be sent is not counted", ruleUnsent, statistics(func(s *cluster.Stats) { s.Unaddressed = cluster.SentStats{} })},
	{"a peer that is added is not heard", ruleCatalog, arriving(func(b *broken, e *cluster.Envelope) *cluster.Envelope {
		if b.Pid() == 0 && e.Pid == 4 {
			return nil
		}
		return e
	})},
	{"the first broadcast is for the peers of the start", ruleCatalog, func(b *broken) {
		peers := b.Node.Peers()
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			if e == nil || e.Pid != cluster.BROADCAST {
				on(e)
				return
			}
			for _, id := range peers {
				on(&cluster.Envelope{Pid: id, MsgId: e.MsgId, Msg: e.Msg})
			}
		})
	}},
	{"Peers are those of the start", ruleCatalog, func(b *broken) {
		peers := b.Node.Peers()
		b.peers = func() []int { return slices.Clone(peers) }
	}},

	// Broadcasts of all at once.
	{"a broadcast in ten thousand is lost", ruleBroadcasts, func(b *broken) {
		n := 0
		b.sendEach(func(e *cluster.Envelope) *cluster.Envelope {
			if n++; n == 9_999 {
				return nil
			}
			return e
		})
	}},
	{"a broadcast in ten thousand arrives twice at one server", ruleBroadcasts, func(b *broken) {
		n := 0
		b.receive(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			again := *e
			on(e)
			if n++; n == 9_999 {
				on(&again)
			}
		})
	}},
	{"what comes while Inbox is full comes later", ruleBroadcasts, func(b *broken) {
		n := 0
		var kept *cluster.Envelope
		b.receive(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			switch n++; {
			case n == 5_000:
				kept = e
			case n == 5_100:
				on(e)
				on(kept)
			default:
				on(e)
			}
		})
	}},
}

// The makings of broken servers.

// everyTenth calls odd for each tenth envelope instead of passing it on.
func everyTenth(odd pass) pass {
	n := 0
	return func(e *cluster.Envelope, on func(*cluster.Envelope)) {
		if n++; n%10 == 0 {
			odd(e, on)
			return
		}
		on(e)
	}
}

// sendEach lets f change each envelope that is sent; what is nil then is not.
func (b *broken) sendEach(f func(*cluster.Envelope) *cluster.Envelope) {
	b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
		if e == nil {
			on(nil)
		} else if e = f(e); e != nil {
			on(e)
		}
	})
}

// receiveEach lets f change each envelope that is received; what is nil then is not.
func (b *broken) receiveEach(f func(*cluster.Envelope) *cluster.Envelope) {
	b.receive(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
		if e = f(e); e != nil {
			on(e)
		}
	})
}

func sending(f func(*broken, *cluster.Envelope) *cluster.Envelope) func(*broken) {
	return func(b *broken) {
		b.sendEach(func(e *cluster.Envelope) *cluster.Envelope { return f(b, e) })
	}
}

func arriving(f func(*broken, *cluster.Envelope) *cluster.Envelope) func(*broken) {
	return func(b *broken) {
		b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope { return f(b, e) })
	}
}

// statistics lets f change what Stats returns.
func statistics(f func(*cluster.Stats)) func(*broken) {
	return func(b *broken) {
		b.stats = func() cluster.Stats {
			s := b.Node.Stats()
			f(&s)
			return s
		}
	}
}

// numbering gives ids from first on.
func numbering(next int64) func(*cluster.Envelope) *cluster.Envelope {
	return func(e *cluster.Envelope) *cluster.Envelope {
		if e.MsgId != 0 {
			return e
		}
		sent := *e
		sent.MsgId = next
		next++
		return &sent
	}
}

// size is that of a message, roughly.
func size(e *cluster.Envelope) int {
	switch m := e.Msg.(type) {
	case []byte:
		return len(m)
	case string:
		return len(m)
	}
	return 8
}

// slowLane sends what is slow by a way of its own, and a little later.
func slowLane(slow func(*cluster.Envelope) bool) func(*broken) {
	return func(b *broken) {
		lane := make(chan *cluster.Envelope, 10_000)
		go relay(lane, b.Node.Outbox(), b.Node.Done(), func(e *cluster.Envelope, on func(*cluster.Envelope)) { // ends as the node closes
			time.Sleep(time.Millisecond)
			on(e)
		})
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			if e != nil && e.Pid != b.Pid() && slow(e) {
				lane <- e
				return
			}
			on(e)
		})
	}
}

// A board is what broken servers of one test know of each other's messages.
type board struct {
	mu       sync.Mutex // guards what follows
	messages map[int64]*cluster.Envelope
	next     int64
}

var boards = board{messages: make(map[int64]*cluster.Envelope)}

// post remembers an envelope by its id, which it gets if it has none.
func (d *board) post(e *cluster.Envelope) *cluster.Envelope {
	d.mu.Lock()
	defer d.mu.Unlock()
	sent := *e
	if sent.MsgId == 0 {
		d.next++
		sent.MsgId = 1<<50 + d.next
	}
	d.messages[sent.MsgId] = e
	return &sent
}

func (d *board) get(id int64) *cluster.Envelope {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.messages[id]
}

// sharing lets receivers have the sender's own message.
func sharing(kind func(any) bool) func(*broken) {
	return func(b *broken) {
		b.sendEach(boards.post)
		b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope {
			if sent := boards.get(e.MsgId); sent != nil && kind(sent.Msg) {
				e.Msg = sent.Msg
			}
			return e
		})
	}
}

// marking leaves the address that some envelopes were sent to in them.
func marking(which func(*cluster.Envelope) bool) func(*broken) {
	return func(b *broken) {
		b.sendEach(boards.post)
		b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope {
			if sent := boards.get(e.MsgId); sent != nil && which(sent) {
				e.Pid = sent.Pid
			}
			return e
		})
	}
}

// believing delivers what should be refused for its size, up to so many bytes of it.
func believing(most int) func(*broken) {
	return func(b *broken) {
		b.sendEach(boards.post)
		b.receive(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			if before := boards.get(e.MsgId - 1); before != nil && size(before) > 1000 {
				m := before.Msg.([]byte)
				on(&cluster.Envelope{Pid: e.Pid, MsgId: e.MsgId - 1, Msg: m[:min(most, len(m))]})
			}
			on(e)
		})
	}
}

// impatient drops what is sent to a peer of which no link is up so long after the start.
func impatient(after time.Duration) func(*broken) {
	return func(b *broken) {
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			if e == nil {
				on(nil)
				return
			}
			ids := []int{e.Pid}
			if e.Pid == cluster.BROADCAST {
				ids = b.Node.Peers()
			}
			for _, id := range ids {
				one := &cluster.Envelope{Pid: id, MsgId: e.MsgId, Msg: e.Msg}
				if here.has(b.Catalog(), id, after) {
					on(one)
				}
			}
		})
	}
}

// A roll is which broken servers there are.
type roll struct {
	mu        sync.Mutex // guards what follows
	addresses map[string]bool
	starts    map[string]int
}

var here = roll{addresses: make(map[string]bool), starts: make(map[string]int)}

func (r *roll) set(address string, is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addresses[address] = is
	if is {
		r.starts[address]++
	}
}

// count is how many servers there have been at an address.
func (r *roll) count(address string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.starts[address]
}

// has reports whether a server of the catalogue is there, or is so much later.
func (r *roll) has(catalog *peercatalog.Catalog, id int, after time.Duration) bool {
	peer, ok := catalog.Get(id)
	is := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.addresses[peer.Address]
	}
	if !ok || is() {
		return true
	}
	time.Sleep(after)
	return is()
}

// down reports whether messages to a peer are dropped, since it takes none.
func down(n *cluster.Node, id int) bool {
	for _, p := range n.Stats().Peers {
		if p.ID == id {
			return p.State == cluster.LinkDown || p.State == cluster.LinkStalled
		}
	}
	return false
}

// hoarding keeps what is sent to a peer that is not there, and sends it when it is.
func hoarding(which func(*cluster.Envelope) bool) func(*broken) {
	return func(b *broken) {
		var kept []*cluster.Envelope
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			switch {
			case e == nil || here.has(b.Catalog(), e.Pid, 0):
				for _, k := range kept {
					on(k)
				}
				kept = nil
				on(e)
			case which(e):
				kept = append(kept, e)
			}
		})
	}
}

// remembering drops as many messages of a restarted peer as it has received before.
func remembering(b *broken) {
	type life struct {
		restarts uint64
		count    int
		old      int
	}
	peers := make(map[int]*life)
	b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope {
		l := peers[e.Pid]
		if l == nil {
			l = new(life)
			peers[e.Pid] = l
		}
		if r := b.Node.Stats().Received.Restarts; r != l.restarts {
			l.restarts, l.old, l.count = r, l.count, 0
		}
		if l.count++; l.count <= l.old {
			return nil
		}
		return e
	})
}

// cut closes a node at once.
func cut(n *cluster.Node) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n.Shutdown(ctx)
	return nil
}
