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
