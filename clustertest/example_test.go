package clustertest_test

import (
	"fmt"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

// One message overtakes another, since the network holds that one. Outside of a test
// a network works in real time.
func ExampleNetwork_Watch() {
	net := clustertest.NewNetwork(nil, 1, 3)
	defer net.Close()
	nodes := net.Start()
	held := make(chan bool, 1)
	net.Watch(func(m clustertest.Message) clustertest.Verdict {
		if m.From == 0 {
			held <- true
			return clustertest.Hold
		}
		return clustertest.Pass
	})

	nodes[0].Outbox() <- &cluster.Envelope{Pid: 2, Msg: "I was first"}
	<-held
	nodes[1].Outbox() <- &cluster.Envelope{Pid: 2, Msg: "I was second"}
	e := <-nodes[2].Inbox()
	fmt.Printf("from %d: %v\n", e.Pid, e.Msg)

	net.Release()
	e = <-nodes[2].Inbox()
	fmt.Printf("from %d: %v\n", e.Pid, e.Msg)
	// Output:
	// from 1: I was second
	// from 0: I was first
}

// What is lost on the way is counted by its receiver, once a later message has come.
func ExampleNetwork() {
	net := clustertest.NewNetwork(nil, 1, 2)
	defer net.Close()
	nodes := net.Start()
	net.Watch(func(m clustertest.Message) clustertest.Verdict {
		if m.Text == "two" {
			return clustertest.Drop
		}
		return clustertest.Pass
	})
	for _, text := range []string{"one", "two", "three"} {
		nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: text}
	}
	fmt.Println((<-nodes[1].Inbox()).Msg)
	fmt.Println((<-nodes[1].Inbox()).Msg)
	fmt.Println("lost:", nodes[1].Stats().Received.Lost)
	// Output:
	// one
	// three
	// lost: 1
}

// A History is told what was sent and received, and finds what is wrong with it.
func ExampleHistory() {
	var h clustertest.History
	for _, text := range []string{"a", "b", "c"} {
		h.Sent(0, &cluster.Envelope{Pid: 1, Msg: text})
	}
	// It has numbered the messages; these are received as they come out of an Inbox.
	h.Received(1, &cluster.Envelope{Pid: 0, MsgId: 2, Msg: "b"})
	h.Received(1, &cluster.Envelope{Pid: 0, MsgId: 1, Msg: "a"})
	h.Received(1, &cluster.Envelope{Pid: 0, MsgId: 1, Msg: "a"})
	fmt.Println(h.Check())
	// Output:
	// message 1 from 0 to 1: inversion: it was sent as number 1, and number 2 had been received before
	// message 1 from 0 to 1: duplicate: received 2 times
	// unexplained loss: of 3 messages from 0 to 1, 1 did not arrive, the first of them message 3
}
