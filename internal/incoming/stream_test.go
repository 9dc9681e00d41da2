package incoming_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

func TestAGapIsCountedAsLostAfterAWhile(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		frame := func(seq uint64, msgs ...any) {
			p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: seq}, Count: uint32(len(msgs))}, testcluster.Records(t, msgs...))
		}
		frame(1, "a", "b")
		frame(4, "d")
		frame(6, "f")
		for _, want := range []string{"a", "b"} {
			if e := testcluster.Take(t, a); e.Msg != want {
				t.Errorf("got %v, want %q", e.Msg, want)
			}
		}
		start := time.Now()
		frame(5, "e")
		if e := testcluster.Take(t, a); e.Msg != "d" || time.Since(start) != stream.HoldTime {
			t.Errorf("got %v after %v", e.Msg, time.Since(start))
		}
		for _, want := range []string{"e", "f"} {
			if e := testcluster.Take(t, a); e.Msg != want {
				t.Errorf("got %v, want %q", e.Msg, want)
			}
		}
		frame(3, "c")
		synctest.Wait()
		r := a.Stats().Received
		if r.Lost != 1 || r.Received != 5 || r.Refused[cluster.RefusedSequence] != 1 {
			t.Errorf("the books: %+v", r)
		}
	})
}

func TestWhatWasMissingAndComesInTimeIsNotLost(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		for _, i := range []int{1, 3, 5, 4, 2} {
			p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: uint64(i)}, Count: 1}, testcluster.Records(t, i))
			time.Sleep(stream.HoldTime / 10)
		}
		for i := 1; i <= 5; i++ {
			if e := testcluster.Take(t, a); e.Msg != i {
				t.Errorf("got %v, want %d", e.Msg, i)
			}
		}
		if r := a.Stats().Received; r.Lost != 0 || r.HeldBytes != 0 {
			t.Errorf("the books: %+v", r)
		}
	})
}

func TestAnEarlierIncarnationIsHeardOutAndThenRefused(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		send := func(incarnation, seq uint64, msg any) {
			p.Incarnation = incarnation
			p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: seq}, Count: 1}, testcluster.Records(t, msg))
		}
		send(100, 1, "old")
		send(50, 1, "new") // the numbers say nothing of the order
		send(100, 2, "on its way meanwhile")
		time.Sleep(stream.HoldTime)
		synctest.Wait()
		send(100, 3, "stale")
		send(50, 2, "more")
		for _, want := range []string{"old", "on its way meanwhile", "new", "more"} {
			if e := testcluster.Take(t, a); e.Msg != want {
				t.Errorf("got %v, want %q", e.Msg, want)
			}
		}
		r := a.Stats().Received
		if r.Restarts != 1 || r.Refused[cluster.RefusedIncarnation] != 1 || r.Lost != 0 {
			t.Errorf("the books: %+v", r)
		}
	})
}

func TestASenderThatIgnoresTheWindowIsBounded(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes = testcluster.MinQueueBytes
		cfg.InboxSize = 1
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		body := testcluster.Records(t, make([]byte, 60_000))
		for i := range 1000 {
			p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: uint64(i + 1)}, Count: 1}, body)
			synctest.Wait()
		}
		r := a.Stats().Received
		if r.Refused[cluster.RefusedWindow] < 900 || r.BacklogBytes > 3*wire.MaxFrame {
			t.Errorf("the books: %+v", r)
		}
	})
}

// The urgent stream of a sender is bounded by itself, also of one that has not announced it.
func TestASenderThatIgnoresTheWindowOfItsUrgentStreamIsBounded(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.InboxSize = 1
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		body := testcluster.Records(t, make([]byte, 60_000))
		for i := range 1000 {
			at := wire.Position{Seq: uint64(i + 1)}
			p.Send(0, cfg, wire.Header{Flags: wire.FlagResend | wire.FlagUrgent, Start: at, Count: 1, Resend: wire.Resend{Kept: wire.Position{Seq: 1}}}, body)
			synctest.Wait()
		}
		r := a.Stats().Received
		if r.Refused[cluster.RefusedWindow] < 900 || r.BacklogBytes+r.HeldBytes > 2*stream.UrgentWindow+wire.MaxFrame {
			t.Errorf("the books: %+v", r)
		}
	})
}

func TestALargeMessageThatBreaksOffIsLost(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		whole := testcluster.Records(t, make([]byte, 1000))
		piece := func(seq uint64, offset uint32, body []byte) {
			p.Send(0, cfg, wire.Header{Flags: wire.FlagPiece, Start: wire.Position{Seq: seq, Offset: offset}, Count: 1}, body)
		}
		piece(1, 0, whole[:wire.RecordSize+400])
		piece(1, 400, whole[wire.RecordSize+400:wire.RecordSize+700])
		p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: 2}, Count: 1}, testcluster.Records(t, "after"))
		piece(3, 0, whole[:wire.RecordSize+400])
		piece(3, 700, whole[wire.RecordSize+700:]) // the middle is missing
		p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: 4}, Count: 1}, testcluster.Records(t, "end"))
		piece(5, 0, whole[:wire.RecordSize+400])
		piece(5, 400, whole[wire.RecordSize+400:])
		for _, want := range []string{"after", "end"} {
			if e := testcluster.Take(t, a); e.Msg != want {
				t.Errorf("got %v, want %q", e.Msg, want)
			}
		}
		if e := testcluster.Take(t, a); len(e.Msg.([]byte)) != 1000 {
			t.Errorf("got %v", e.Msg)
		}
		if r := a.Stats().Received; r.Lost != 2 || r.Received != 3 {
			t.Errorf("the books: %+v", r)
		}
	})
}

func TestWhatCannotBeDecodedIsCountedAndNeverDeliveredHalf(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.MaxMessageBytes = 1000
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		bad := func(kind codec.Kind, payload string) []byte {
			head := wire.AppendRecordHeader(nil, 9, uint8(kind), len(payload))
			return append(head, payload...)
		}
		body := testcluster.Records(t, "first")
		body = append(body, bad(127, "?")...)
		body = append(body, bad(codec.Typed, "\x0a\x00"+"8:no.Such\xa0")...)
		body = append(body, testcluster.Records(t, make([]byte, 1001))...)
		body = append(body, testcluster.Records(t, "last")...)
		p.Send(0, cfg, wire.Header{Count: 5}, body)
		for _, want := range []string{"first", "last"} {
			if e := testcluster.Take(t, a); e.Msg != want {
				t.Errorf("got %v, want %q", e.Msg, want)
			}
		}
		got := fmt.Sprint(a.Stats().Received.Refused)
		if want := fmt.Sprint(map[cluster.Refusal]uint64{cluster.RefusedUndecodable: 1, cluster.RefusedUnregistered: 1, cluster.RefusedTooLarge: 1}); got != want {
			t.Errorf("refused %v, want %v", got, want)
		}
		// A frame is taken whole or not at all.
		p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: 6}, Count: 2}, testcluster.Records(t, "half"))
		p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: 6}, Count: 1}, testcluster.Records(t, "whole"))
		if e := testcluster.Take(t, a); e.Msg != "whole" {
			t.Errorf("got %v", e.Msg)
		}
	})
}

func TestManyGapsAreGivenUpTogether(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		p.Send(0, cfg, wire.Header{Count: 1}, testcluster.Records(t, "first"))
		testcluster.Take(t, a)
		for i := range 20 {
			p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: uint64(3 + 2*i)}, Count: 1}, testcluster.Records(t, i))
		}
		start := time.Now()
		for range 20 {
			testcluster.Take(t, a)
		}
		if took := time.Since(start); took > stream.HoldTime {
			t.Errorf("20 gaps that came together took %v", took)
		}
		if r := a.Stats().Received; r.Lost != 20 {
			t.Errorf("the books: %+v", r)
		}
	})
}

func TestALateFrameOfAnEarlierLifeIsRefusedAlsoAfterAReAdd(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		say := func(life, seq uint64, msg string) {
			p.Incarnation = life
			p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: seq}, Count: 1}, testcluster.Records(t, msg))
		}
		say(100, 1, "of the first life")
		testcluster.Take(t, a)
		time.Sleep(2 * stream.HoldTime)
		say(200, 1, "of the second")
		testcluster.Take(t, a)
		a.Catalog().Remove(1)
		synctest.Wait()
		if err := a.Catalog().Put(cfg.Peers[1]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		say(100, 2, "late")
		say(200, 2, "more of the second")
		if e := testcluster.Take(t, a); e.Msg != "more of the second" {
			t.Errorf("received %q", e.Msg)
		}
		if r := testcluster.StatsOf(a, 1).Received; r.Refused[cluster.RefusedIncarnation] != 1 || r.Lost != 0 {
			t.Errorf("the books: %+v", r)
		}
	})
}
