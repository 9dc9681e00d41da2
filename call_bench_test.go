package cluster_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// BenchmarkCall measures a call beside a round trip by Send and Receive, which is BenchmarkRoundTrip without channels, in turns: for a program
// that reads by Receive, and beside one by Outbox and Inbox for a program that takes from Inbox.
func BenchmarkCall(b *testing.B) {
	for _, inbox := range []bool{false, true} {
		name := "Receive"
		if inbox {
			name = "Inbox"
		}
		b.Run(name, func(b *testing.B) {
			call, roundTrip := caller(b, inbox), asker(b, inbox)
			var took [2][]time.Duration
			b.ReportAllocs()
			for b.Loop() {
				for i, one := range []func(){call, roundTrip} {
					for range 100 {
						began := time.Now()
						one()
						took[i] = append(took[i], time.Since(began))
					}
				}
			}
			p50 := func(of []time.Duration) float64 {
				slices.Sort(of)
				return float64(of[len(of)/2].Nanoseconds()) / 1e3
			}
			b.ReportMetric(p50(took[0]), "p50-µs/call")
			b.ReportMetric(p50(took[1]), "p50-µs/roundtrip")
			b.ReportMetric(p50(took[0])/p50(took[1]), "call/roundtrip")
		})
	}
}

func pairOf(b *testing.B) (near, far *cluster.Node) {
	cfg := testcluster.Config(b, "tcp", 2)
	return testcluster.Join(b, 0, cfg), testcluster.Join(b, 1, cfg)
}

// serve gives f what comes, one message after the other.
func serve(n *cluster.Node, inbox bool, f func(*cluster.Envelope)) {
	if inbox {
		for e := range n.Inbox() {
			f(e)
		}
		return
	}
	for {
		e, err := n.Receive(context.Background())
		if err != nil {
			return
		}
		f(e)
	}
}

func caller(b *testing.B, inbox bool) func() {
	near, far := pairOf(b)
	ctx := context.Background()
	go serve(far, inbox, func(e *cluster.Envelope) {
		r := e.Msg.(*cluster.Request)
		r.Reply(ctx, r.Msg)
	})
	if inbox {
		near.Inbox()
	}
	return func() {
		if _, err := near.Call(ctx, 1, "x"); err != nil {
			b.Fatal(err)
		}
	}
}

func asker(b *testing.B, inbox bool) func() {
	near, far := pairOf(b)
	ctx := context.Background()
	if inbox {
		go serve(far, true, func(e *cluster.Envelope) { far.Outbox() <- &cluster.Envelope{Pid: e.Pid, Msg: e.Msg} })
		return func() {
			near.Outbox() <- &cluster.Envelope{1, 0, "x"}
			<-near.Inbox()
		}
	}
	go serve(far, false, func(e *cluster.Envelope) { far.Send(ctx, &cluster.Envelope{Pid: e.Pid, Msg: e.Msg}) })
	return func() {
		if err := near.Send(ctx, &cluster.Envelope{1, 0, "x"}); err != nil {
			b.Fatal(err)
		}
		if _, err := near.Receive(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
