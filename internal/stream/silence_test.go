package stream

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// standsFor looks every 10 ms for so long, in which the peer does what each says, and tells when the sender took the link for another.
func standsFor(s *Sender, from time.Time, d time.Duration, each func(now time.Time)) (told []string) {
	last := Standing(Standings)
	for at := time.Duration(0); at <= d; at += 10 * time.Millisecond {
		now := from.Add(at)
		s.Look(now)
		each(now)
		for range 10 {
			if step, _ := s.Next(now); step == Write {
				s.Took(now)
				continue
			}
			break
		}
		if standing, _ := s.Standing(); standing != last {
			last = standing
			told = append(told, fmt.Sprintf("%v at %v", standing, at.Round(100*time.Millisecond)))
		}
	}
	return told
}

func TestWhatShowsThatAPeerIsReachable(t *testing.T) {
	start := time.Unix(1000, 0)
	every := func(d time.Duration, now time.Time) bool { return now.Sub(start)%d == 0 && now != start }
	stranger := wire.Header{Incarnation: 9, AckIncarnation: 99} // acknowledges another life
	for _, c := range []struct {
		name   string
		large  int
		unseen bool // the transport does not tell whether bytes move
		each   func(s *Sender, now time.Time)
		want   []string
	}{
		{"nothing does", 0, false, func(*Sender, time.Time) {},
			[]string{"up at 0s", "unacknowledged at 1s", "down at 3s"}},
		{"it answers each time", 0, false, func(s *Sender, now time.Time) {
			if every(900*time.Millisecond, now) {
				s.Acked(report(at(2), at(2), at(2)), now)
			}
		}, []string{"up at 0s"}},
		{"bytes move towards it", 64 << 10, false, func(s *Sender, now time.Time) { s.Saw(true, uint64(now.Sub(start)/time.Millisecond), 1<<20, now) },
			[]string{"up at 0s"}},
		{"they have moved for a while", 64 << 10, false, func(s *Sender, now time.Time) {
			s.Saw(true, uint64(min(now.Sub(start), 10*time.Second)/time.Millisecond), 1<<20, now)
		}, []string{"up at 0s", "unacknowledged at 11s", "down at 13s"}},
		{"what waited has come, and only what was written later moves", 64 << 10, false, func(s *Sender, now time.Time) {
			s.Saw(true, uint64(now.Sub(start)/time.Millisecond)*64, 64<<10, now) // in a second
		}, []string{"up at 0s", "unacknowledged at 2s", "down at 4s"}},
		{"what waited has come to its machine, where much is that it has not answered, and what it is asked comes there, too", 256 << 10, false, func(s *Sender, now time.Time) {
			if now.Sub(start) < 50*time.Millisecond {
				s.Saw(true, 0, 64<<10, now)
			} else {
				s.Saw(true, 64<<10+106*uint64(now.Sub(start)/(250*time.Millisecond)), 0, now)
			}
		}, []string{"up at 0s", "unacknowledged at 1.1s", "down at 3.1s"}},
		{"hardly anything waits, and what is written later comes to its machine", 0, false, func(s *Sender, now time.Time) {
			s.Saw(true, uint64(now.Sub(start)/time.Millisecond), 100, now)
		}, []string{"up at 0s", "unacknowledged at 1s", "down at 3s"}},
		{"it says something else", 0, false, func(s *Sender, now time.Time) {
			if h := stranger; every(2900*time.Millisecond, now) && now.Sub(start) <= 12*time.Second {
				s.Acked(&h, now)
			}
		}, []string{"up at 0s", "unacknowledged at 1s", "down at 14.6s"}},
		{"it says something else for ever", 0, false, func(s *Sender, now time.Time) {
			if h := stranger; every(time.Second/2, now) {
				s.Acked(&h, now)
			}
		}, []string{"up at 0s", "unacknowledged at 1s", "down at 22.5s"}},
		{"nothing does, and a slow path would not show", 128 << 10, true, func(*Sender, time.Time) {},
			[]string{"up at 0s", "unacknowledged at 1s", "down at 5s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newResender(start)
			s.Acked(report(at(1), at(1), at(1)), start) // it has answered before
			s.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize, Large: c.large}, start)
			got := standsFor(s, start, 25*time.Second, func(now time.Time) {
				if !c.unseen && !s.SeeAt().IsZero() && !now.Before(s.SeeAt()) {
					s.Saw(true, 0, 0, now)
				}
				c.each(s, now)
			})
			if !slices.Equal(got, c.want) {
				t.Errorf("the link is %q, want %q", got, c.want)
			}
		})
	}
}

func TestAPeerHasAllOfItsTimeWhileThisEndDoesNotLook(t *testing.T) {
	start := time.Unix(1000, 0)
	s := newResender(start)
	s.Acked(report(at(1), at(1), at(1)), start)
	s.Load(small(1), start)
	s.writes(start)
	standsFor(s, start, 2500*time.Millisecond, func(time.Time) {})
	later := start.Add(time.Hour) // the process was stopped
	if got := standsFor(s, later, time.Second, func(time.Time) {}); !slices.Equal(got, []string{"unacknowledged at 0s", "down at 400ms"}) {
		t.Errorf("the link is %q", got)
	}
}

func TestAConnectionThatBreaksIsNoticedWithSomethingOnItsWay(t *testing.T) {
	start := time.Unix(1000, 0)
	s := newResender(start)
	s.Acked(report(at(1), at(1), at(1)), start)
	s.Load(small(1), start)
	s.writes(start)
	if should, idle := s.Stands(); !should || idle {
		t.Errorf("it should stand: %v, nothing is on its way: %v", should, idle)
	}
	s.Broke(start)
	var lost time.Time
	for now := start; now.Before(start.Add(time.Second)); now = now.Add(10 * time.Millisecond) {
		s.Look(now)
		s.Next(now)
		if standing, since := s.Standing(); standing == StandsDown && lost.IsZero() {
			lost = since
		}
	}
	if d := lost.Sub(start); d < brokenMost || d > brokenMost+20*time.Millisecond {
		t.Errorf("down after %v", d)
	}
}

// How long it takes for another connection to stand depends on how far the peer is.
func TestAPeerThatIsFarAwayHasLongerForAnotherConnection(t *testing.T) {
	for _, c := range []struct{ trip, silence, want time.Duration }{
		{time.Millisecond, 0, brokenMost},
		{200 * time.Millisecond, 0, brokenTrips * 200 * time.Millisecond},
		{900 * time.Millisecond, 0, DefaultSilence},
		{200 * time.Millisecond, time.Second, time.Second},
		{200 * time.Millisecond, 100 * time.Millisecond, brokenMost},
	} {
		t.Run(fmt.Sprintf("%v of %v", c.trip, c.silence), func(t *testing.T) {
			now := time.Unix(1000, 0)
			s := newResender(now)
			if c.silence > 0 {
				s.policy.Silence = c.silence
			}
			s.Load(small(1), now)
			s.writes(now)
			s.lookedAt = now.Add(c.trip) // it looked all the time
			now = now.Add(c.trip)
			s.Acked(report(at(2), at(2), at(2)), now)
			s.Broke(now)
			began, lost := now, time.Time{}
			for ; lost.IsZero() && now.Before(began.Add(time.Minute)); now = now.Add(10 * time.Millisecond) {
				s.Look(now)
				s.Next(now)
				if standing, since := s.Standing(); standing == StandsDown {
					lost = since
				}
			}
			if d := lost.Sub(began); d < c.want || d > c.want+20*time.Millisecond {
				t.Errorf("down after %v, want %v", d, c.want)
			}
		})
	}
}

// A frame of the peer that it wrote before it was asked answers nothing, and tells nothing of how long that takes.
func TestARoundTripIsNotMeasuredByAFrameThatAnswersSomethingElse(t *testing.T) {
	const trip = 200 * time.Millisecond
	start := time.Unix(1000, 0)
	asked := func(s *Sender, now time.Time) {
		s.reach.checkAt = now
		s.Look(now)
		if s.writes(now); s.reach.timed.at.IsZero() {
			t.Fatalf("the peer is not asked")
		}
	}
	answer := func(s *Sender, flags uint8, records uint32, now time.Time) {
		h := report(at(2), at(2), at(2))
		h.Flags, h.Count = h.Flags|flags, records
		s.lookedAt = now // it looked all the time
		s.Acked(h, now)
	}
	for _, c := range []struct {
		name string
		does func(s *Sender, now time.Time)
	}{
		{"the answer to what was asked on a connection that broke", func(s *Sender, now time.Time) {
			asked(s, now)
			s.Left(now.Add(trip / 2))
			s.Dialed(true, now.Add(trip/2))
			s.Writable(now.Add(trip / 2))
			asked(s, now.Add(trip-time.Millisecond))
			answer(s, 0, 0, now.Add(trip))
			answer(s, 0, 0, now.Add(2*trip-time.Millisecond))
		}},
		{"the peer's own question", func(s *Sender, now time.Time) {
			asked(s, now)
			answer(s, wire.FlagAckNow, 0, now.Add(time.Millisecond))
			answer(s, 0, 0, now.Add(trip))
		}},
		{"the peer's own message", func(s *Sender, now time.Time) {
			asked(s, now)
			answer(s, 0, 1, now.Add(time.Millisecond))
			answer(s, 0, 0, now.Add(trip))
		}},
		{"what it says long after its own question answered", func(s *Sender, now time.Time) {
			asked(s, now)
			answer(s, wire.FlagAckNow, 0, now.Add(trip))
			answer(s, 0, 0, now.Add(8*trip))
		}},
		{"the answer to an earlier question", func(s *Sender, now time.Time) {
			asked(s, now)
			s.reach.owed = time.Time{}
			asked(s, now.Add(trip-time.Millisecond))
			answer(s, 0, 0, now.Add(trip))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newResender(start)
			s.Load(small(1), start)
			s.writes(start)
			s.lookedAt = start.Add(trip)
			now := start.Add(trip)
			s.Acked(report(at(2), at(2), at(2)), now)
			if _, _, got := s.Answers(); got != trip {
				t.Fatalf("at first it is %v", got)
			}
			now = now.Add(10 * time.Second)
			c.does(s, now)
			if _, _, got := s.Answers(); got < trip-2*time.Millisecond || got > trip+2*time.Millisecond {
				t.Errorf("then it is %v, want %v", got, trip)
			}
		})
	}
}

func TestARoundTripIsMeasuredByWhatIsSentAnyway(t *testing.T) {
	start := time.Unix(1000, 0)
	answered := func(s *Sender, records uint64, wrote, now time.Time) time.Duration {
		s.Look(wrote)
		s.Load(small(1), wrote)
		s.writes(wrote)
		s.Look(now)
		s.Acked(report(at(records+1), at(records+1), at(records+1)), now)
		_, _, trip := s.Answers()
		return trip
	}
	s := newResender(start)
	if got := answered(s, 1, start, start.Add(20*time.Millisecond)); got != 20*time.Millisecond {
		t.Errorf("the first: %v", got)
	}
	if got := answered(s, 2, start.Add(time.Second), start.Add(time.Second+5*time.Millisecond)); got != 5*time.Millisecond {
		t.Errorf("a shorter one: %v", got)
	}
	if got := answered(s, 3, start.Add(2*time.Second), start.Add(time.Hour)); got != 5*time.Millisecond {
		t.Errorf("this process was stopped meanwhile: %v", got)
	}
	s = newResender(start)
	if got := answered(s, 1, start, start.Add(time.Hour)); got != 0 {
		t.Errorf("this process was stopped during the first: %v", got)
	}
	s = newResender(start)
	if got := answered(s, 1, start, start.Add(s.silenceLook()+time.Millisecond)); got != s.silenceLook()+time.Millisecond {
		t.Errorf("a long one: %v", got)
	}
}

func TestAPeerThatIsWatchedIsAskedWhenNothingElseIsWritten(t *testing.T) {
	start := time.Unix(1000, 0)
	newWatcher := func(watch time.Duration) *Sender {
		s := NewSender(Self{ID: 1, Incarnation: 7, Grant: 1 << 20}, 2, Policy{Patience: testPatience, Watch: watch}, start)
		s.Appeared(start)
		s.Dialed(false, start)
		return s
	}
	t.Run("and answers", func(t *testing.T) {
		s, asked := newWatcher(time.Second), 0
		got := standsFor(s, start, 10*time.Second, func(now time.Time) {
			if f := s.Pending(); f.Bare && f.Header.Flags&wire.FlagAckNow != 0 {
				asked++
				f.Header.Flags = 0
				s.Acked(report(at(1), at(1), at(1)), now)
			}
		})
		if !slices.Equal(got, []string{"connecting at 0s", "up at 0s"}) || asked < 9 || asked > 11 {
			t.Errorf("the link is %q, and it was asked %d times", got, asked)
		}
	})
	t.Run("and does not", func(t *testing.T) {
		s := newWatcher(time.Second)
		if got := standsFor(s, start, 5*time.Second, func(time.Time) {}); !slices.Equal(got, []string{"connecting at 0s", "unacknowledged at 1s", "down at 3s"}) {
			t.Errorf("the link is %q", got)
		}
	})
	for watch, want := range map[time.Duration][]string{time.Second: {"connecting at 0s", "down at 3s"}, 0: {"connecting at 0s"}} {
		s := newWatcher(watch)
		s.Full(start)                            // no connection comes about,
		s.Dialed(true, start.Add(2*time.Second)) // nor another one
		if got := standsFor(s, start, 5*time.Second, func(time.Time) {}); !slices.Equal(got, want) {
			t.Errorf("watched each %v, and without a connection, the link is %q, want %q", watch, got, want)
		}
	}
}

// A connection that takes all for longer than that of a process which is stopped shows that the peer runs, though nothing comes from it.
func TestAPeerThatTakesAllAndAnswersNothingIsKnownToRun(t *testing.T) {
	start := time.Unix(1000, 0)
	after := func(now time.Time) time.Duration { return now.Sub(start) }
	for _, c := range []struct {
		name  string
		takes func(now time.Time) bool // the connection
		looks func(now time.Time) bool // this end
		each  func(s *Sender, now time.Time)
		want  time.Duration // 0: it is not known
		still bool          // also at the end
	}{
		{"it takes all", nil, nil, nil, 6 * time.Second, true},
		{"its connection was broken for a moment", func(now time.Time) bool { return after(now)/time.Second != 4 }, nil, nil, 11 * time.Second, true},
		{"its connection takes nothing after four seconds", func(now time.Time) bool { return after(now) < 4*time.Second }, nil, nil, 0, false},
		{"it answers after five seconds", nil, nil, func(s *Sender, now time.Time) {
			if after(now) == 5*time.Second {
				s.Acked(report(at(2), at(2), at(2)), now)
			}
		}, 0, false},
		{"it answers after eight seconds", nil, nil, func(s *Sender, now time.Time) {
			if after(now) == 8*time.Second {
				s.Acked(report(at(2), at(2), at(2)), now)
			}
		}, 6 * time.Second, false},
		{"it says something else for ten seconds", nil, nil, func(s *Sender, now time.Time) {
			if after(now)%time.Second == 0 && after(now) <= 10*time.Second {
				s.Acked(&wire.Header{Incarnation: 9, AckIncarnation: 99}, now)
			}
		}, 16 * time.Second, true},
		{"it says something else", nil, nil, func(s *Sender, now time.Time) {
			if after(now)%time.Second == 0 {
				s.Acked(&wire.Header{Incarnation: 9, AckIncarnation: 99}, now)
			}
		}, 0, false},
		{"this end did not look for eight seconds", nil, func(now time.Time) bool { return after(now) < time.Second || after(now) > 9*time.Second }, nil, 14 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newResender(start)
			s.Acked(report(at(1), at(1), at(1)), start) // it has answered before
			s.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize}, start)
			known, still, due := time.Duration(0), false, start
			for now := start; after(now) <= 30*time.Second; now = now.Add(10 * time.Millisecond) {
				if c.looks != nil && !c.looks(now) || c.takes == nil && c.each == nil && now.Before(due) {
					continue // it looks when Next has said, if nothing happens
				}
				s.Look(now)
				if c.each != nil {
					c.each(s, now)
				}
				takes := c.takes == nil || c.takes(now)
				if takes {
					s.Writable(now)
				}
				for step := Write; step == Write; {
					if step, due = s.Next(now); step == Write && takes {
						s.Took(now)
					} else if step == Write {
						s.Full(now)
					}
				}
				if due.IsZero() {
					due = start.Add(time.Hour)
				}
				if still = s.Unheard(now); still && known == 0 {
					known = after(now)
				}
			}
			if (known - c.want).Abs() > 150*time.Millisecond {
				t.Errorf("it is known to run after %v, want %v", known, c.want)
			}
			if still != c.still {
				t.Errorf("at the end it is known: %v", still)
			}
		})
	}
}

// A peer that is heard long after its link went down, and where nobody listens, runs somewhere else. One that has started anew is soon connected to.
func TestAPeerThatIsHeardWhereNobodyReachesItIsElsewhere(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		name         string
		heard, takes func(at time.Duration) bool
		want         time.Duration // since when it is taken to be elsewhere; 0: never
		until        time.Duration // 0: to the end
	}{
		{"it is not heard", func(time.Duration) bool { return false }, func(time.Duration) bool { return false }, 0, 0},
		{"it is heard all the time", func(time.Duration) bool { return true }, func(time.Duration) bool { return false }, 4700 * time.Millisecond, 0},
		{"it is heard for ten seconds", func(at time.Duration) bool { return at <= 10*time.Second }, func(time.Duration) bool { return false }, 4700 * time.Millisecond, 13 * time.Second},
		{"it is heard as it starts anew, and connected to", func(at time.Duration) bool { return at >= time.Second }, func(at time.Duration) bool { return at >= 1200*time.Millisecond }, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newResender(start)
			s.Acked(report(at(1), at(1), at(1)), start) // it has answered before
			s.Broke(start)
			since, until := time.Duration(0), time.Duration(0)
			for now := start; now.Sub(start) <= 20*time.Second; now = now.Add(100 * time.Millisecond) {
				passed := now.Sub(start)
				s.Look(now)
				if passed > 0 && c.heard(passed) {
					s.Acked(&wire.Header{Incarnation: 9, AckIncarnation: 99}, now)
				}
				if c.takes(passed) {
					s.Writable(now)
				}
				for step := Write; step == Write; {
					if step, _ = s.Next(now); step == Write {
						s.Took(now)
					}
				}
				elsewhere := s.Elsewhere(now)
				if elsewhere && since == 0 {
					since = passed
				}
				if !elsewhere && since != 0 && until == 0 {
					until = passed
				}
			}
			if since.Round(200*time.Millisecond) != c.want.Round(200*time.Millisecond) || until.Round(200*time.Millisecond) != c.until {
				t.Errorf("it is elsewhere from %v to %v, want %v to %v", since, until, c.want, c.until)
			}
		})
	}
}

// What makes it a question whether a peer is there may make the program write something, too: that asks the same.
func TestAPeerIsNotAskedByAFrameOfItsOwnWhenSomethingIsWrittenAtOnce(t *testing.T) {
	start := time.Unix(1000, 0)
	asks := func(s *Sender, now time.Time) (questions int) {
		for step, _ := s.Next(now); step == Write; step, _ = s.Next(now) {
			if f := s.Pending(); f.Bare && f.Header.Flags&wire.FlagAckNow != 0 {
				questions++
			}
			s.Took(now)
		}
		return questions
	}
	for _, c := range []struct {
		name   string
		writes bool
		want   int
	}{{"something is written", true, 0}, {"nothing is", false, 1}} {
		t.Run(c.name, func(t *testing.T) {
			s := newResender(start)
			now := start.Add(time.Second)
			asks(s, now)
			s.Acked(report(at(1), at(1), at(1)), now)
			s.PeerBegan(false, now)
			if n := asks(s, now); n != 0 {
				t.Fatalf("it is asked at the very moment")
			}
			if _, until := s.Next(now); until.After(now.Add(checkPause)) {
				t.Fatalf("the sender sleeps for %v", until.Sub(now))
			}
			if c.writes {
				s.Load(small(1), now)
				asks(s, now)
			}
			if n := asks(s, now.Add(checkPause)); n != c.want {
				t.Errorf("it is asked %d times, want %d", n, c.want)
			}
		})
	}
}

// A question that an answer makes possible is asked in its time, and not when something else happens.
func TestWhoIsToAskIsWokenForThat(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newResender(now)
	s.Load(small(1), now)
	s.writes(now)
	s.PeerBegan(true, now) // it is to be asked, but for what was written
	if s.Next(now); s.mayCheck() {
		t.Fatal("it is asked for what it owes an answer for already")
	}
	if !s.Acked(report(at(2), at(2), at(2)), now) {
		t.Error("nobody is told that it is to be asked now")
	}
}

func TestATimerRunsOutAtAnEvenNanosecond(t *testing.T) {
	start := time.Unix(1000, 0)
	for d, want := range map[time.Duration]time.Duration{0: 0, 1: 2, 2: 2, 999_999_999: time.Second} {
		if got := Even(start.Add(d)).Sub(start); got != want {
			t.Errorf("after %v: %v, want %v", d, got, want)
		}
	}
	if !Even(time.Time{}).IsZero() {
		t.Error("no time is one")
	}
}

// Of a peer that says something all the time, the answer is known by what it is.
func TestTheRoundTripOfABusyPeerIsMeasured(t *testing.T) {
	const trip = 100 * time.Millisecond
	start := time.Unix(1000, 0)
	s := NewSender(Self{ID: 1, Incarnation: 7, Grant: 1 << 20, Knows: wire.CapResend}, 2, Policy{Patience: testPatience, Watch: time.Second}, start)
	s.Appeared(start)
	s.Dialed(false, start)
	s.Writable(start)
	var answer time.Time // to what it was asked last
	for i := range uint64(300) {
		now := start.Add(time.Duration(i) * 10 * time.Millisecond)
		s.Look(now)
		for step, _ := s.Next(now); step == Write; step, _ = s.Next(now) {
			if h := &s.Pending().Header; s.Pending().Bare && h.Flags&wire.FlagAckNow != 0 {
				answer = now.Add(trip)
			}
			s.Took(now)
		}
		h := report(at(1), at(1), at(1))
		h.Count, h.Start = 1, at(i+1)
		s.Acked(h, now)
		if !answer.IsZero() && !now.Before(answer) {
			answer, h.Count = time.Time{}, 0
			s.Acked(h, now)
		}
	}
	if _, _, got := s.Answers(); got < trip-10*time.Millisecond || got > trip+10*time.Millisecond {
		t.Errorf("it is %v, want %v", got, trip)
	}
}

// slowPath is what the transport tells of a path on which so many bytes a second come to the peer's machine, for so long, and as many wait.
func slowPath(s *Sender, start, now time.Time, rate int, moves time.Duration, waits uint64) {
	if at := s.SeeAt(); !at.IsZero() && !now.Before(at) {
		s.Saw(true, uint64(min(now.Sub(start), moves).Seconds()*float64(rate)), waits, now)
	}
}

// What is behind bytes that move towards the peer it could not have taken yet.
func TestAPeerHasItsPatienceFromWhenWhatWaitedLastMoved(t *testing.T) {
	start := time.Unix(1000, 0)
	const look = testPatience / looksPerPatience
	for _, c := range []struct {
		name    string
		unseen  bool // the transport does not tell
		closed  bool // the window is what keeps the next frame, and not the connection
		moves   time.Duration
		waits   uint64
		atLeast time.Duration
	}{
		{"it moves for a while", false, false, 10 * time.Second, 1 << 20, 10*time.Second + testPatience - 3*look},
		{"it moves for a while, and the window is closed", false, true, 10 * time.Second, 1 << 20, 10*time.Second + testPatience - 3*look},
		{"it does not move", false, false, 0, 1 << 20, testPatience},
		{"the transport does not tell", true, false, 10 * time.Second, 1 << 20, testPatience},
		{"what had waited has come, and only what was written later moves", false, false, time.Hour, 64 << 10, 2*PieceBytes/(64<<10)*time.Second + testPatience - 3*look},
		{"hardly anything waits, and the connection takes no more", false, false, time.Hour, 100, 2*PieceBytes/(64<<10)*time.Second + testPatience - 3*look},
		{"hardly anything waits, and the window is closed", false, true, time.Hour, 100, testPatience},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newResender(start)
			s.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize, Large: 16 * PieceBytes}, start)
			for range 2 {
				if step, _ := s.Next(start); step != Write {
					t.Fatalf("it does not write: %s", stepNames[step])
				}
				s.Took(start)
			}
			if c.closed {
				s.window.grant = s.window.bytes
			}
			for d := time.Duration(0); ; d += 10 * time.Millisecond {
				now := start.Add(d)
				s.Look(now)
				if !c.unseen {
					slowPath(s, start, now, 64<<10, c.moves, c.waits)
				}
				step, _ := s.Next(now)
				if step == Write && s.Pending().Bare {
					s.Took(now)
				} else if step == Write {
					s.Full(now)
				}
				if most := c.atLeast + 4*look; d > most || step == GiveUp {
					if step != GiveUp || d < c.atLeast {
						t.Errorf("after %v it is %s, want that it gives up between %v and %v", d, stepNames[step], c.atLeast, most)
					}
					return
				}
			}
		})
	}
}

// An urgent message waits for the same connection.
func TestAnUrgentMessageIsNotGivenUpWhileWhatWaitsMoves(t *testing.T) {
	s, u, start := twins(t, wire.CapResend|wire.CapUrgent)
	s.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize, Large: 16 * PieceBytes}, start)
	if step, _ := s.Next(start); step != Write {
		t.Fatalf("it does not write: %s", stepNames[step])
	}
	s.Took(start)
	s.Next(start)
	s.Full(start)
	const moves = 5 * time.Second
	loaded := false
	for d := time.Duration(0); d < 2*moves; d += 10 * time.Millisecond {
		now := start.Add(d)
		s.Look(now)
		u.Along(s, now)
		u.Look(now)
		if !loaded {
			u.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize}, now)
			loaded = true
		}
		slowPath(s, start, now, 64<<10, moves, 1<<20)
		if step, _ := u.Next(now); step == GiveUp {
			if d < moves {
				t.Errorf("it is given up after %v, and what waits has moved for %v", d, moves)
			}
			return
		}
		s.Next(now)
	}
	t.Error("it is not given up")
}
