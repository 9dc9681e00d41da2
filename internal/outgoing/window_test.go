package outgoing_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

func TestAWindowThatIsNeverAcknowledgedStopsTheSender(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		go func() {
			for range 1000 {
				a.Outbox() <- &cluster.Envelope{Pid: 1, Msg: make([]byte, 1000)}
			}
		}()
		got, probes := 0, 0
		var last wire.Header
		for end := time.Now().Add(testcluster.SendTimeout * 2); time.Now().Before(end); {
			h, body, ok := p.Next(time.Until(end))
			if !ok {
				break
			}
			got += wire.HeaderSize + len(body)
			if h.Bare() {
				probes++
				got -= wire.HeaderSize
			}
			last = h
		}
		if got > wire.InitialWindow || got < wire.InitialWindow/2 {
			t.Errorf("%d bytes were sent into a window of %d", got, wire.InitialWindow)
		}
		if probes < 5 || probes > 10 || last.Flags&wire.FlagAckNow == 0 {
			t.Errorf("%d frames asked for an acknowledgment in %v, the last with the flags %#x", probes, 2*testcluster.SendTimeout, last.Flags)
		}
		if s := testcluster.StatsOf(a, 1).State; s != cluster.LinkUnacknowledged {
			t.Errorf("the link is %v", s)
		}
		p.Send(0, cfg, wire.Header{AckIncarnation: a.Stats().Incarnation, Ack: last.Start}, nil)
		synctest.Wait()
		if s := testcluster.StatsOf(a, 1).State; s != cluster.LinkUp {
			t.Errorf("the link is %v after the acknowledgment", s)
		}
	})
}

func TestAnAcknowledgmentOfWhatWasNotSentIsIgnored(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		p.Send(0, cfg, wire.Header{}, nil)
		synctest.Wait()
		for i := range 10 {
			p.Send(0, cfg, wire.Header{AckIncarnation: a.Stats().Incarnation, Ack: wire.Position{Seq: 1 << 40}}, nil)
			testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: i})
		}
		synctest.Wait()
		if s := a.Stats().Sent; s.FlightBytes == 0 || s.Sent != 10 {
			t.Errorf("%+v", s)
		}
	})
}

func TestTheLossOfTheLastMessageIsNoticed(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		p.Send(0, cfg, wire.Header{}, nil)
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "lost with its connection"})
		p.Next(testcluster.Limit)
		p.Listener.Close()
		b := testcluster.Join(t, 1, cfg)
		_ = b
		time.Sleep(testcluster.Limit)
		synctest.Wait()
		if s := a.Stats().Sent; s.FlightBytes != 0 {
			t.Errorf("the sender still waits: %+v", s)
		}
	})
}

// A question that could not be written has not been asked: it is as soon as it can be.
func TestAProbeThatDidNotFitIsAskedOnceThereIsRoom(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		const frames = 32 // as many as the connection takes; together they fill the window
		for range frames + 1 {
			testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: make([]byte, wire.InitialWindow/frames-wire.HeaderSize-wire.RecordSize)})
			synctest.Wait() // each is a frame of its own
		}
		time.Sleep(10 * time.Millisecond)
		began := time.Now()
		for got := 0; ; {
			h, _, ok := p.Next(testcluster.Limit)
			if !ok {
				t.Fatal("nothing more comes")
			}
			if h.Bare() {
				if got != frames {
					t.Fatalf("it was asked after %d frames, so that the test tests nothing", got)
				}
				break
			}
			got++
		}
		if took := time.Since(began); took > 125*time.Millisecond {
			t.Errorf("it was asked %v after there was room", took)
		}
	})
}
