package cluster

import (
	"context"
	"fmt"
	"testing"
)

// BenchmarkOneWay measures both ends of one link, in one process.
func BenchmarkOneWay(b *testing.B) {
	for _, size := range []int{16, 1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			cfg := config(b, "tcp", 2)
			from, to := join(b, 0, cfg), join(b, 1, cfg)
			msg := make([]byte, size)
			go func() {
				for range b.N + 1 {
					from.Outbox() <- &Envelope{1, 0, msg}
				}
			}()
			<-to.Inbox()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				<-to.Inbox()
			}
		})
	}
}

// BenchmarkSend is BenchmarkOneWay by Send, one message at a time.
func BenchmarkSend(b *testing.B) {
	cfg := config(b, "tcp", 2)
	from, to := join(b, 0, cfg), join(b, 1, cfg)
	msg := make([]byte, 16)
	go func() {
		for range b.N {
			from.Send(context.Background(), &Envelope{1, 0, msg})
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		<-to.Inbox()
	}
}

// BenchmarkRoundTrip measures one message there and back, in one process.
func BenchmarkRoundTrip(b *testing.B) {
	cfg := config(b, "tcp", 2)
	near, far := join(b, 0, cfg), join(b, 1, cfg)
	go func() {
		for e := range far.Inbox() {
			far.Outbox() <- &Envelope{Pid: e.Pid, Msg: e.Msg}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		near.Outbox() <- &Envelope{1, 0, "x"}
		<-near.Inbox()
	}
}

// BenchmarkBroadcast counts deliveries: one message to seven peers.
func BenchmarkBroadcast(b *testing.B) {
	cfg := config(b, "tcp", 8)
	nodes := make([]*Node, 8)
	for i := range nodes {
		nodes[i] = join(b, i, cfg)
	}
	msg := make([]byte, 256)
	go func() {
		for range b.N {
			nodes[0].Outbox() <- &Envelope{BROADCAST, 0, msg}
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	done := make(chan struct{})
	for _, n := range nodes[1:] {
		go func() {
			for range b.N {
				<-n.Inbox()
			}
			done <- struct{}{}
		}()
	}
	for range nodes[1:] {
		<-done
	}
}
