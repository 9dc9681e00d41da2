package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// Two servers; one asks and the other replies. Programs that run each server in
// a process of its own call New with a file instead, and give TCP addresses.
func Example() {
	cfg := cluster.Config{Peers: []peercatalog.Peer{
		{ID: 0, Address: "mem://example/0"},
		{ID: 1, Address: "mem://example/1"},
	}}
	alice, err := cluster.NewFromConfig(0, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()
	bob, err := cluster.NewFromConfig(1, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close()

	alice.Outbox() <- &cluster.Envelope{Pid: 1, Msg: "how are you?"}

	question := <-bob.Inbox()
	fmt.Printf("from %d: %v\n", question.Pid, question.Msg)
	bob.Outbox() <- &cluster.Envelope{Pid: question.Pid, Msg: "well, thank you"}

	answer := <-alice.Inbox()
	fmt.Printf("from %d: %v\n", answer.Pid, answer.Msg)

	// Output:
	// from 0: how are you?
	// from 1: well, thank you
}

// What is sent to BROADCAST goes to every server but the sender.
func Example_broadcast() {
	nodes := startNodes("broadcast", 3)
	defer closeNodes(nodes)

	nodes[0].Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "hello there"}

	for _, n := range nodes[1:] {
		env := <-n.Inbox()
		fmt.Printf("server %d, from %d: %v\n", n.Pid(), env.Pid, env.Msg)
	}

	// Output:
	// server 1, from 0: hello there
	// server 2, from 0: hello there
}

// New takes the id of this server and the file that lists all of them.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "Config.json")
	err = os.WriteFile(path, []byte(`{
		"peers": [
			{ "id": 0, "address": "mem://new/0" },
			{ "id": 1, "address": "mem://new/1" },
			{ "id": 2, "address": "mem://new/2" }
		]
	}`), 0o600)
	if err != nil {
		log.Fatal(err)
	}

	server, err := cluster.New(1, path)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	fmt.Println("I am", server.Pid(), "and my peers are", server.Peers())

	// This process runs server 1 from that file already.
	again, err := cluster.New(1, path)
	fmt.Println("the same:", again == server, err)

	_, err = cluster.New(7, path)
	fmt.Println("no server 7:", errors.Is(err, cluster.ErrUnknownPeer))

	// Output:
	// I am 1 and my peers are [0 2]
	// the same: true <nil>
	// no server 7: true
}

// A configuration that the program makes itself, here of servers that all live
// in this process. All faults of one are reported at once.
func ExampleNewFromConfig() {
	cfg := cluster.Config{
		SendTimeout: 500 * time.Millisecond,
		Peers: []peercatalog.Peer{
			{ID: 0, Address: "mem://from-config/0"},
			{ID: 1, Address: "mem://from-config/1"},
		},
	}
	node, err := cluster.NewFromConfig(0, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	fmt.Println("peers:", node.Peers())

	cfg.QueueBytes = 1
	cfg.Peers[1] = peercatalog.Peer{ID: 0, Address: "localhost"}
	_, err = cluster.NewFromConfig(0, cfg)
	fmt.Println(err)

	// Output:
	// peers: [1]
	// config: queueBytes 1 is too small: want at least 65536, or 0 for the default of 16777216
	// config: peers[1] (id 0): address "localhost": no port: want host:port, for example 127.0.0.1:8081
	// config: peers[1] (id 0): id 0 is also that of peers[0]
}

// Vote is a message type of the program.
type Vote struct {
	Term    int
	Granted bool
}

// Structs travel under the name that every program of the cluster registers them
// with, and arrive as what they are.
func ExampleRegister() {
	cluster.Register("example.Vote", Vote{})
	nodes := startNodes("register", 2)
	defer closeNodes(nodes)

	nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: Vote{Term: 3, Granted: true}}
	nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: &Vote{Term: 4}} // arrives as a Vote

	for range 2 {
		switch msg := (<-nodes[1].Inbox()).Msg.(type) {
		case Vote:
			fmt.Printf("term %d: %t\n", msg.Term, msg.Granted)
		default:
			fmt.Printf("unexpected: %T\n", msg)
		}
	}

	type secret struct{ X int }
	err := nodes[0].Send(context.Background(), &cluster.Envelope{Pid: 1, Msg: secret{1}})
	fmt.Println("not registered:", errors.Is(err, cluster.ErrNotEncodable))

	// Output:
	// term 3: true
	// term 4: false
	// not registered: true
}

// A group is an address for some of the servers.
func ExampleNode_Events() {
	cfg := cluster.Config{Peers: []peercatalog.Peer{{ID: 0, Address: "mem://events/0"}, {ID: 1, Address: "mem://events/1"}}, Watch: true}
	var nodes []*cluster.Node
	for id := range cfg.Peers {
		node, err := cluster.NewFromConfig(id, cfg)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer node.Close()
		nodes = append(nodes, node)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for e := range nodes[0].Events(ctx) {
		switch e.Kind {
		case cluster.EventUp:
			fmt.Println("server", e.Peer, "is up")
			nodes[1].Close()
		case cluster.EventDown:
			fmt.Println("server", e.Peer, "is down")
			return
		}
	}
	// Output:
	// server 1 is up
	// server 1 is down
}

func ExampleNode_Group() {
	nodes := startNodes("group", 4)
	defer closeNodes(nodes)

	some, err := nodes[0].Group(1, 3)
	if err != nil {
		log.Fatal(err)
	}
	nodes[0].Outbox() <- &cluster.Envelope{Pid: some, Msg: "for two of you"}
	nodes[0].Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "for all"}

	for _, n := range nodes[1:] {
		for msg := any(""); msg != "for all"; {
			msg = (<-n.Inbox()).Msg
			fmt.Printf("server %d: %v\n", n.Pid(), msg)
		}
	}

	// Output:
	// server 1: for two of you
	// server 1: for all
	// server 2: for all
	// server 3: for two of you
	// server 3: for all
}

// Send does what Outbox does, and tells what came of it. Server 1 is never
// started here. Its messages wait for SendTimeout, in case it is only late; then
// they are dropped, and Send says so.
func ExampleNode_Send() {
	node, err := cluster.NewFromConfig(0, cluster.Config{
		SendTimeout: 50 * time.Millisecond,
		Peers: []peercatalog.Peer{
			{ID: 0, Address: "mem://send/0"},
			{ID: 1, Address: "mem://send/1"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()

	env := &cluster.Envelope{Pid: 1, Msg: "are you there?"}
	err = node.Send(context.Background(), env)
	fmt.Println("at first:", err)
	for err == nil {
		time.Sleep(10 * time.Millisecond)
		err = node.Send(context.Background(), env)
	}
	fmt.Println("later:", err)
	fmt.Println(errors.Is(err, cluster.ErrUnreachable))

	// Output:
	// at first: <nil>
	// later: peer 1: cluster: peer is unreachable
	// true
}

// Receive waits for one message, and no longer than its context. Who asks and waits for the answer had better Call: to Receive, an answer that
// comes too late looks like that to the next question.
func ExampleNode_Receive() {
	nodes := startNodes("receive", 2)
	defer closeNodes(nodes)

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := nodes[0].Send(ctx, &cluster.Envelope{Pid: 1, Msg: "hello"}); err != nil {
		log.Fatal(err)
	}
	env, err := nodes[1].Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(env.Msg)

	short, stop := context.WithTimeout(context.Background(), time.Millisecond)
	defer stop()
	_, err = nodes[1].Receive(short)
	fmt.Println("nothing else:", err)

	// Output:
	// hello
	// nothing else: context deadline exceeded
}

// answer serves requests until its node closes. What is only sent it ignores.
func answer(n *cluster.Node) {
	for {
		env, err := n.Receive(context.Background())
		if err != nil {
			return
		}
		request, ok := env.Msg.(*cluster.Request)
		if !ok {
			continue
		}
		if question, ok := request.Msg.(string); ok {
			err = request.Reply(context.Background(), question+"? Yes.")
		} else {
			err = request.Fail(context.Background(), fmt.Errorf("%v is no question", request.Msg))
		}
		if err != nil {
			log.Print(err)
		}
	}
}

// Call asks and waits for the answer. An error says whether the request may have been seen: what was certainly not may be asked
// again without harm.
func ExampleNode_Call() {
	nodes := startNodes("call", 2)
	defer closeNodes(nodes)
	go answer(nodes[1]) // It ends when its node has closed.

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	reply, err := nodes[0].Call(ctx, 1, "are you there")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply.Msg)

	_, err = nodes[0].Call(ctx, 1, 42)
	var remote *cluster.RemoteError
	if errors.As(err, &remote) {
		fmt.Println("the other program says:", remote.Text)
	}

	_, err = nodes[0].Call(ctx, 7, "are you there")
	var failed *cluster.CallError
	if errors.As(err, &failed) {
		fmt.Println("may have been seen:", failed.MaybeSeen)
	}

	// Output:
	// are you there? Yes.
	// the other program says: 42 is no question
	// may have been seen: false
}

// CallAll asks several servers at a time. Who has the replies of a majority breaks off.
func ExampleNode_CallAll() {
	nodes := startNodes("call-all", 5)
	defer closeNodes(nodes)
	for _, n := range nodes[1:] {
		go answer(n) // It ends when its node has closed.
	}

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	votes := 1 // its own
	for reply, err := range nodes[0].CallAll(ctx, cluster.BROADCAST, "your vote") {
		if err != nil {
			continue // one server more or less
		}
		if reply.Msg == "your vote? Yes." {
			votes++
		}
		if votes > len(nodes)/2 {
			break
		}
	}
	fmt.Println("votes:", votes)

	// Output:
	// votes: 3
}

// Shutdown delivers what was accepted, closes Inbox, and leaves nothing running.
func ExampleNode_Shutdown() {
	nodes := startNodes("shutdown", 2)
	defer closeNodes(nodes)

	for i := range 3 {
		nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: i}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := nodes[0].Shutdown(ctx); err != nil {
		log.Fatal(err)
	}

	for range 3 {
		fmt.Println("received", (<-nodes[1].Inbox()).Msg)
	}
	for range nodes[0].Inbox() {
		fmt.Println("never printed: it is empty, and closed")
	}
	fmt.Println(nodes[0].Send(ctx, &cluster.Envelope{Pid: 1, Msg: "more"}))

	// Output:
	// received 0
	// received 1
	// received 2
	// cluster: closed
}

// Stats tells what became of each message, and may be asked for at any time,
// also after the node has closed.
func ExampleNode_Stats() {
	nodes := startNodes("stats", 3)
	defer closeNodes(nodes)

	nodes[0].Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "hello"}
	nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: "and hello again"}
	nodes[0].Outbox() <- &cluster.Envelope{Pid: 99, Msg: "nobody has this id"}
	if err := nodes[0].Close(); err != nil {
		log.Fatal(err)
	}

	stats := nodes[0].Stats()
	for _, peer := range stats.Peers {
		fmt.Printf("to %d: accepted %d, sent %d\n", peer.ID, peer.Sent.Accepted, peer.Sent.Sent)
	}
	fmt.Println("dropped:", stats.Sent.Dropped)
	fmt.Println("unknown peer:", stats.Sent.Dropped[cluster.ReasonUnknownPeer])

	// Output:
	// to 1: accepted 2, sent 2
	// to 2: accepted 1, sent 1
	// dropped: map[unknown peer:1]
	// unknown peer: 1
}

// A program may keep settings of its own in the same file, at the top and in
// each entry.
func ExampleConfig_extra() {
	file, err := os.CreateTemp("", "Config-*.json")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	fmt.Fprint(file, `{
		"peers": [
			{ "id": 0, "address": "127.0.0.1:8081", "role": "leader" },
			{ "id": 1, "address": "127.0.0.1:8082" }
		],
		"electionTimeout": "150ms"
	}`)

	cfg, err := cluster.LoadConfig(file.Name())
	if err != nil {
		log.Fatal(err)
	}
	var role, timeout string
	if err := json.Unmarshal(cfg.Peers[0].Extra["role"], &role); err != nil {
		log.Fatal(err)
	}
	if err := json.Unmarshal(cfg.Extra["electionTimeout"], &timeout); err != nil {
		log.Fatal(err)
	}
	fmt.Println(role, timeout)

	// Output:
	// leader 150ms
}

// startNodes runs count servers in this process.
func startNodes(name string, count int) []*cluster.Node {
	var cfg cluster.Config
	for id := range count {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: fmt.Sprintf("mem://%s/%d", name, id)})
	}
	var nodes []*cluster.Node
	for id := range count {
		n, err := cluster.NewFromConfig(id, cfg)
		if err != nil {
			log.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func closeNodes(nodes []*cluster.Node) {
	for _, n := range nodes {
		if err := n.Close(); err != nil {
			log.Print(err)
		}
	}
}

// One goroutine has up to 100 messages on their way, and knows of each what became of it.
func ExampleNode_StartDelivery() {
	nodes := startNodes("startdelivery", 2)
	defer closeNodes(nodes)
	alice, bob := nodes[0], nodes[1]
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	delivered := 0
	wait := func(d *cluster.Delivery) {
		if err := d.Wait(ctx); err != nil {
			log.Print(err)
			return
		}
		delivered++
	}
	var underWay []*cluster.Delivery
	for i := range 1000 {
		if len(underWay) == 100 {
			wait(underWay[0])
			underWay = underWay[1:]
		}
		underWay = append(underWay, alice.StartDelivery(ctx, &cluster.Envelope{Pid: bob.Pid(), Msg: i}))
	}
	for _, d := range underWay {
		wait(d)
	}
	fmt.Println(delivered)

	// Output: 1000
}

// Deliver to several servers says which of them it did not reach.
func ExamplePeerError() {
	cfg := cluster.Config{SendTimeout: 10 * time.Millisecond, Peers: []peercatalog.Peer{
		{ID: 0, Address: "mem://peererror/0"},
		{ID: 1, Address: "mem://peererror/1"}, // nobody runs this one
		{ID: 2, Address: "mem://peererror/2"}, // nor this one
	}}
	alice, err := cluster.NewFromConfig(0, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()

	err = alice.Deliver(context.Background(), &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "hello there"})
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range several.Unwrap() {
			var failed *cluster.PeerError
			if errors.As(err, &failed) {
				fmt.Printf("server %d: not delivered: %v\n", failed.Peer, !errors.Is(failed, cluster.ErrUnconfirmed))
			}
		}
	}

	// Unordered output:
	// server 1: not delivered: true
	// server 2: not delivered: true
}
