package stream

import (
	"fmt"
	"testing"
	"time"
)

func TestPolicyOf(t *testing.T) {
	for _, c := range []struct {
		timeout time.Duration
		want    Policy
	}{
		{3 * time.Second, Policy{Patience: 3 * time.Second}},
		{-1, Policy{Patience: time.Second, NeverWait: true}},
	} {
		if got := PolicyOf(c.timeout, time.Second); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.timeout, got, c.want)
		}
	}
}

func TestAdmit(t *testing.T) {
	type verdict struct {
		Admission
		Reason
	}
	accept, wait := verdict{Accept, 0}, verdict{Wait, 0}
	refuse := func(r Reason) verdict { return verdict{Refuse, r} }
	// Columns: it fits; it does not, and its sender would wait; it does not, and nobody waits.
	for _, c := range []struct {
		phase Phase
		peer  PeerState
		want  [3]verdict
	}{
		{Open, Idle, [3]verdict{refuse(UnknownPeer), refuse(UnknownPeer), refuse(UnknownPeer)}},
		{Open, Connecting, [3]verdict{accept, wait, refuse(TimedOut)}},
		{Open, Up, [3]verdict{accept, wait, refuse(TimedOut)}},
		{Open, Down, [3]verdict{refuse(Unreachable), refuse(Unreachable), refuse(Unreachable)}},
		{Open, Starved, [3]verdict{refuse(Unreachable), refuse(Unreachable), refuse(Unreachable)}},
		{Draining, Idle, [3]verdict{refuse(Closed), refuse(Closed), refuse(Closed)}},
		{Draining, Up, [3]verdict{refuse(Closed), refuse(Closed), refuse(Closed)}},
		{Cut, Connecting, [3]verdict{refuse(Closed), refuse(Closed), refuse(Closed)}},
		{Cut, Down, [3]verdict{refuse(Closed), refuse(Closed), refuse(Closed)}},
	} {
		for i, ask := range []struct {
			name       string
			fits, wait bool
		}{{"fits", true, true}, {"waits", false, true}, {"does not wait", false, false}} {
			t.Run(fmt.Sprintf("phase %d/%s/%s", c.phase, peerNames[c.peer], ask.name), func(t *testing.T) {
				for _, never := range []bool{false, true} {
					s := &Sender{phase: c.phase, state: State{c.peer, Clear}, policy: Policy{NeverWait: never}}
					want := c.want[i]
					if never && want == wait {
						want = refuse(TimedOut)
					}
					if a, r := s.Admit(ask.fits, ask.wait); (verdict{a, r}) != want {
						t.Errorf("with NeverWait %v: %v, want %v", never, verdict{a, r}, want)
					}
				}
			})
		}
	}
}
