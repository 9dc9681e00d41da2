package stream

import (
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

func TestAnAcknowledgmentIsDueUntilAFrameHasCarriedIt(t *testing.T) {
	start := time.Unix(1000, 0)
	first := Ack{Incarnation: 9, UpTo: at(5), Due: start}
	for _, c := range []struct {
		name      string
		meanwhile Ack // what is to be told while the frame is written
		due       bool
	}{
		{"nothing new", first, false},
		{"more was taken", Ack{Incarnation: 9, UpTo: at(6), Due: start}, true},
		{"of another life", Ack{Incarnation: 10, UpTo: at(5), Due: start}, true},
		{"the program takes", Ack{Incarnation: 9, UpTo: at(5), Taking: true, Due: start}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTestSender(start)
			s.reach.state = Reached // and need not be asked whether it is there
			if !s.Acknowledge(first) || s.Acknowledge(first) {
				t.Error("it is not due, or due a second time")
			}
			if step, _ := s.Next(start); step != Write || s.Pending().Header.Ack != at(5) {
				t.Fatalf("%s, %+v", stepNames[step], s.Pending())
			}
			s.Acknowledge(c.meanwhile)
			s.Took(start)
			step, _ := s.Next(start)
			if (step == Write) != c.due {
				t.Fatalf("%s", stepNames[step])
			}
			if h := s.Pending().Header; c.due && (h.Ack != c.meanwhile.UpTo || h.AckIncarnation != c.meanwhile.Incarnation ||
				h.Flags&wire.FlagTaking != 0 != c.meanwhile.Taking) {
				t.Errorf("it says %+v", h)
			}
		})
	}
}
