//go:build linux

package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/abhishekg16/cluster"
)

// counters are what a server says about itself, in a form that can be read again.
type counters struct {
	At          int64 // see now
	Incarnation uint64
	OutboxLen   int
	InboxLen    int
	Peers       map[int]peerCounters
	Unaddressed map[string]uint64 // dropped, by reason
	Refused     map[string]uint64 // of nobody, by reason
}

type peerCounters struct {
	State, Trouble          string
	Since                   int64  // of State, as the process's clock has it
	Flaps                   uint64 // times that the link went down
	Accepted, Sent, Queued  uint64
	Dropped                 map[string]uint64
	QueueBytes, FlightBytes int
	SentBytes               uint64
	Received, Lost, Missed  uint64
	ReceivedBytes           uint64 // of Received
	Confirmed, Unconfirmed  uint64 // of Sent
	Resent, Repeated        uint64 // frames: written again, and those that had come before
	Restarts                uint64
	Refused                 map[string]uint64
	BacklogBytes, HeldBytes int
}

// oneByOne are the refusals that are counted once for each message.
var oneByOne = []cluster.Refusal{
	cluster.RefusedTooLarge, cluster.RefusedUnregistered, cluster.RefusedUndecodable, cluster.RefusedClosed,
}

func (p peerCounters) dropped() (total uint64) { return sum(p.Dropped) }

// came is how many messages of the peer's are accounted for as having come, or being
// missing, or having been sent before.
func (p peerCounters) came() uint64 { return p.Received + p.Lost + p.Missed + p.refused() }

// refused is how many messages, and not frames, were refused.
func (p peerCounters) refused() (total uint64) {
	for _, r := range oneByOne {
		total += p.Refused[r.String()]
	}
	return total
}

func sum(m map[string]uint64) (total uint64) {
	for _, n := range m {
		total += n
	}
	return total
}

func count(s cluster.Stats) counters {
	c := counters{
		At: now(), Incarnation: s.Incarnation, OutboxLen: s.OutboxLen, InboxLen: s.InboxLen,
		Peers: make(map[int]peerCounters), Unaddressed: named(s.Unaddressed.Dropped), Refused: named(s.Refused),
	}
	for _, p := range s.Peers {
		c.Peers[p.ID] = peerCounters{
			State:    p.State.String(),
			Trouble:  p.Trouble,
			Since:    p.Since.UnixNano(),
			Flaps:    p.Flaps,
			Accepted: p.Sent.Accepted, Sent: p.Sent.Sent, Queued: p.Sent.Queued, Dropped: named(p.Sent.Dropped),
			QueueBytes: p.Sent.QueueBytes, FlightBytes: p.Sent.FlightBytes, SentBytes: p.Sent.Bytes,
			Received: p.Received.Received, Lost: p.Received.Lost, Missed: p.Received.Missed, ReceivedBytes: p.Received.Bytes,
			Confirmed: p.Sent.Confirmed, Unconfirmed: p.Sent.Unconfirmed,
			Resent: p.Sent.Resent, Repeated: p.Received.Repeated,
			Restarts: p.Received.Restarts, Refused: named(p.Received.Refused),
			BacklogBytes: p.Received.BacklogBytes, HeldBytes: p.Received.HeldBytes,
		}
	}
	return c
}

func named[K interface {
	comparable
	String() string
}](m map[K]uint64) map[string]uint64 {
	if len(m) == 0 {
		return nil
	}
	byName := make(map[string]uint64, len(m))
	for k, n := range m {
		byName[k.String()] = n
	}
	return byName
}

// holdings are what a process holds of the machine.
type holdings struct {
	Goroutines, Descriptors, Threads int
	AnonymousBytes                   int // resident, without files, such as the journal
}

// hold measures this process, after Go and the C library have given back what they keep free.
func hold() holdings {
	debug.FreeOSMemory()
	trim()
	h := holdings{Goroutines: runtime.NumGoroutine()}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		h.Descriptors = len(entries) - 1 // without the directory itself
	}
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "Threads:":
			h.Threads = n
		case "RssAnon:":
			h.AnonymousBytes = n << 10
		}
	}
	return h
}
