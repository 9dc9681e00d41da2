//go:build linux

package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// A story is books in the making: server 0 (life 1) sends to server 1 (life 2).
type story struct {
	t *testing.T
	b books
}

// millisecond is the step of a story's time.
const millisecond = int64(time.Millisecond)

// newStory tells of count messages, a millisecond apart, of which those in arrive are
// taken in that order, each ten milliseconds after the last was sent.
func newStory(t *testing.T, count int, arrive ...uint64) *story {
	s := &story{t: t, b: books{queue: 16 << 20, inbox: 1024}}
	sender := lifeBook{pid: 0, number: 1, counters: counters{Peers: map[int]peerCounters{1: {Accepted: uint64(count), Sent: uint64(count)}}}}
	receiver := lifeBook{pid: 1, number: 2, ended: 1000 * millisecond,
		counters: counters{Peers: map[int]peerCounters{0: {Received: uint64(len(arrive)), Lost: uint64(max(0, count-len(arrive)))}}}}
	for n := range uint64(count) {
		r := record{kind: sent, from: 0, to: 1, life: 1, number: n + 1, at: int64(n) * millisecond, size: 100, sum: uint32(n)}
		sender.sent = append(sender.sent, r)
	}
	for i, n := range arrive {
		receiver.received = append(receiver.received, s.taken(n, int64(count+10+i)*millisecond))
	}
	s.b.add(sender)
	s.b.add(receiver)
	return s
}

func (s *story) taken(n uint64, at int64) record {
	return record{kind: received, from: 0, to: 1, life: 1, number: n, at: at, handed: int64(n-1) * millisecond, size: 100, sum: uint32(n - 1)}
}

func (s *story) receiver() *lifeBook { return &s.b.lives[1] }

// counts changes what a server says about the other.
func (s *story) counts(life, peer int, change func(*peerCounters)) {
	c := &s.b.lives[life].counters
	p := c.Peers[peer]
	p.Dropped, p.Refused = maps.Clone(p.Dropped), maps.Clone(p.Refused)
	change(&p)
	c.Peers[peer] = p
}

func TestOracleOfTheContract(t *testing.T) {
	for _, c := range []struct {
		name   string
		want   []string
		happen func(t *testing.T) *story
	}{
		{"all is well", nil, func(t *testing.T) *story { return newStory(t, 3, 1, 2, 3) }},
		{"a gap is counted", nil, func(t *testing.T) *story { return newStory(t, 3, 1, 3) }},
		{"a drop is counted", nil, func(t *testing.T) *story {
			s := newStory(t, 3, 1, 3)
			s.counts(0, 1, func(p *peerCounters) { p.Sent, p.Dropped = 2, map[string]uint64{"timed out": 1} })
			s.counts(1, 0, func(p *peerCounters) { p.Lost = 0 })
			return s
		}},
		{"nobody sent it", []string{oracleConservation, oraclePhantom}, func(t *testing.T) *story {
			s := newStory(t, 3, 1, 2, 3)
			s.receiver().received = append(s.receiver().received, s.taken(4, 99))
			s.counts(1, 0, func(p *peerCounters) { p.Received++ })
			return s
		}},
		{"it was for another", []string{oraclePhantom}, func(t *testing.T) *story {
			s := newStory(t, 3, 1, 2, 3)
			s.receiver().received[2].to = 2
			return s
		}},
		{"its checksum is wrong", []string{oracleCorruption}, func(t *testing.T) *story {
			s := newStory(t, 3, 1, 2, 3)
			s.receiver().received[1].corrupt = 1
			return s
		}},
		{"it is another's payload", []string{oracleCorruption}, func(t *testing.T) *story {
			s := newStory(t, 3, 1, 2, 3)
			s.receiver().received[1].sum++
			return s
		}},
		{"it comes twice", []string{oracleDuplicate}, func(t *testing.T) *story {
			s := newStory(t, 3, 1, 2, 2)
			s.counts(1, 0, func(p *peerCounters) { p.Lost = 1 })
			return s
		}},
		{"it comes late", []string{oracleInversion}, func(t *testing.T) *story { return newStory(t, 3, 1, 3, 2) }},
		{"a gap is not counted", []string{oracleConservation}, func(t *testing.T) *story {
			s := newStory(t, 3, 1, 3)
			s.counts(1, 0, func(p *peerCounters) { p.Lost = 0 })
			return s
		}},
		{"a gap is counted that is none", []string{oracleConservation}, func(t *testing.T) *story {
			s := newStory(t, 3, 1, 2, 3)
			s.counts(1, 0, func(p *peerCounters) { p.Lost = 1 })
			return s
		}},
		{"a drop is not counted", []string{oracleConservation}, func(t *testing.T) *story {
			s := newStory(t, 3, 1, 3)
			s.counts(0, 1, func(p *peerCounters) { p.Sent = 2 })
			s.counts(1, 0, func(p *peerCounters) { p.Lost = 0 })
			return s
		}},
		{"its sender does not know of it", []string{oracleConservation}, func(t *testing.T) *story {
			s := newStory(t, 3, 1, 2, 3)
			s.counts(0, 1, func(p *peerCounters) { p.Accepted, p.Sent = 2, 2 })
			return s
		}},
		{"an earlier life comes after a later", []string{oracleIncarnation}, func(t *testing.T) *story {
			s := newStory(t, 3, 1, 2, 3)
			again := lifeBook{pid: 0, number: 3, counters: counters{Peers: map[int]peerCounters{1: {Accepted: 1, Sent: 1}}}}
			again.sent = []record{{kind: sent, to: 1, life: 3, number: 1, size: 100}}
			s.b.add(again)
			r := &s.receiver().received
			*r = append((*r)[:2:2], record{kind: received, to: 1, life: 3, number: 1, size: 100}, (*r)[2])
			s.counts(1, 0, func(p *peerCounters) { p.Received = 4 })
			return s
		}},
		{"a killed receiver takes along what was on its way", nil, func(t *testing.T) *story {
			s := newStory(t, 3, 1)
			s.receiver().killed, s.receiver().ended = true, 5*millisecond
			s.counts(1, 0, func(p *peerCounters) { p.Lost = 0 })
			return s
		}},
		{"a killed receiver takes along what was not", []string{oracleConservation}, func(t *testing.T) *story {
			s := newStory(t, 3, 1)
			s.receiver().killed, s.receiver().ended = true, 5*millisecond+int64(time.Hour)
			s.counts(1, 0, func(p *peerCounters) { p.Lost = 0 })
			return s
		}},
		{"a receiver that closes and begins again was sent what nobody confirmed", nil, func(t *testing.T) *story {
			s := newStory(t, 3, 1)
			s.counts(1, 0, func(p *peerCounters) { p.Lost = 0 })
			s.counts(0, 1, func(p *peerCounters) { p.Confirmed, p.Unconfirmed = 1, 2 })
			s.b.add(lifeBook{pid: 1, number: 3})
			return s
		}},
		{"a receiver that closes and begins again was sent what it has confirmed", []string{oracleConservation}, func(t *testing.T) *story {
			s := newStory(t, 3, 1)
			s.counts(1, 0, func(p *peerCounters) { p.Lost = 0 })
			s.counts(0, 1, func(p *peerCounters) { p.Confirmed, p.Unconfirmed = 2, 1 })
			s.b.add(lifeBook{pid: 1, number: 3})
			return s
		}},
		{"a receiver that lives was sent what nobody confirmed", []string{oracleConservation}, func(t *testing.T) *story {
			s := newStory(t, 3, 1)
			s.counts(1, 0, func(p *peerCounters) { p.Lost = 0 })
			s.counts(0, 1, func(p *peerCounters) { p.Confirmed, p.Unconfirmed = 1, 2 })
			return s
		}},
		{"a killed sender takes along what was not acknowledged", nil, func(t *testing.T) *story {
			s := newStory(t, 5, 1)
			s.b.lives[0].killed = true
			s.counts(0, 1, func(p *peerCounters) { p.Accepted, p.Sent, p.FlightBytes = 3, 3, 200 })
			s.counts(1, 0, func(p *peerCounters) { p.Lost = 0 })
			return s
		}},
		{"a killed sender takes along what was acknowledged", []string{oracleConservation}, func(t *testing.T) *story {
			s := newStory(t, 5, 1)
			s.b.lives[0].killed = true
			s.counts(0, 1, func(p *peerCounters) { p.Accepted, p.Sent, p.FlightBytes = 5, 5, 0 })
			s.counts(1, 0, func(p *peerCounters) { p.Lost = 0 })
			return s
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.happen(t)
			var got []string
			for _, v := range s.b.contract() {
				got = append(got, v.oracle)
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v: %v", got, c.want, s.b.contract())
			}
		})
	}
}

func TestOracleOfRecovery(t *testing.T) {
	s := newStory(t, 3, 1, 2, 3) // taken from 13 ms on
	for _, c := range []struct {
		name    string
		healed  int64
		within  time.Duration
		problem string
	}{
		{"in time", 3, 10 * time.Millisecond, ""},
		{"too late", 3, 9 * time.Millisecond, "10ms after healing"},
		{"never", 50, time.Second, "nothing came from 0 to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, vs := s.b.recovery(c.healed*millisecond, c.within, []int{0}, []int{1})
			expect(t, vs, oracleRecovery, c.problem)
		})
	}
}

func TestOracleOfTheRate(t *testing.T) {
	paced := func(during int) *books {
		var l lifeBook
		for second := range 10 {
			n := 100
			if second >= 5 {
				n = during
			}
			for i := range n {
				l.received = append(l.received, record{at: int64(time.Second)*int64(second) + int64(i)*millisecond})
			}
		}
		b := new(books)
		b.add(l)
		return b
	}
	before, during := span{0, int64(5 * time.Second)}, span{int64(5 * time.Second), int64(10 * time.Second)}
	all := func(*record) bool { return true }
	for _, c := range []struct {
		name    string
		n       int
		oracle  string
		problem string
	}{
		{"kept", 95, oracleRate, ""},
		{"not kept", 94, oracleRate, "94.0 %"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, v := paced(c.n).keptRate(before, during, all)
			expect(t, listed(v), c.oracle, c.problem)
		})
	}
	t.Run("of nothing", func(t *testing.T) {
		_, v := new(books).keptRate(before, during, all)
		expect(t, listed(v), oracleVacuity, "no traffic")
	})
}

func TestOracleOfVacuity(t *testing.T) {
	s := newStory(t, 3, 1, 2, 3)
	whole := span{0, int64(time.Second)}
	expect(t, s.b.traffic(3, nil, whole), oracleVacuity, "")
	expect(t, s.b.traffic(4, nil, whole), oracleVacuity, "3 messages")
	expect(t, s.b.traffic(1, from(1, 0), whole), oracleVacuity, "0 messages")
}

func TestOracleOfStaleMessages(t *testing.T) {
	s := newStory(t, 3, 1, 2, 3) // 13, 13 and 13 ms old
	_, v := s.b.stale(12*time.Millisecond, 3, from(0, 1))
	expect(t, listed(v), oracleStale, "")
	_, v = s.b.stale(12*time.Millisecond, 2, from(0, 1))
	expect(t, listed(v), oracleStale, "3 messages")
}

func TestOracleOfLeaks(t *testing.T) {
	before := holdings{10, 20, 8, 10 << 20}
	for _, c := range []struct {
		after   holdings
		problem string
	}{
		{before, ""},
		{holdings{13, 20, 8, 10 << 20}, "goroutines"},
		{holdings{10, 23, 8, 10 << 20}, "descriptors"},
		{holdings{10, 20, 13, 10 << 20}, "threads"},
		{holdings{10, 20, 8, 40 << 20}, "resident"},
	} {
		expect(t, leaks("it", before, c.after), oracleLeak, c.problem)
	}
}

func listed(v *violation) []violation {
	if v == nil {
		return nil
	}
	return []violation{*v}
}

// expect fails the test unless exactly this was found; nothing, if problem is empty.
func expect(t *testing.T, got []violation, oracle, problem string) {
	t.Helper()
	switch {
	case problem == "" && len(got) > 0:
		t.Errorf("found %v, want nothing", got)
	case problem != "" && (len(got) != 1 || got[0].oracle != oracle || !strings.Contains(got[0].text, problem)):
		t.Errorf("found %v, want one of %s that says %q", got, oracle, problem)
	}
}
