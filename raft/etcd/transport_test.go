package etcd_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/raft/etcd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is how long a test waits for what should come at once.
const deadline = 30 * time.Second

// A played is an etcd.Raft that a test plays.
type played struct {
	steps       chan *raftpb.Message
	unreachable chan uint64
	snapshots   chan result
	step        func(context.Context, *raftpb.Message) error // in the place of steps
}

type result struct {
	id     uint64
	status raft.SnapshotStatus
}

func newPlayed() *played {
	return &played{steps: make(chan *raftpb.Message, 10_000), unreachable: make(chan uint64, 10_000), snapshots: make(chan result, 1000)}
}

func (p *played) Step(ctx context.Context, m *raftpb.Message) error {
	if p.step != nil {
		return p.step(ctx, m)
	}
	p.steps <- m
	return nil
}

func (p *played) ReportUnreachable(id uint64) {
	select {
	case p.unreachable <- id:
	default:
	}
}

func (p *played) ReportSnapshot(id uint64, status raft.SnapshotStatus) {
	p.snapshots <- result{id, status}
}

// patient lets a server wait for another that a busy machine holds up, but not when the test is over.
func patient(cfg *cluster.Config) { cfg.SendTimeout, cfg.Linger = deadline, -1 }

func open(t *testing.T, node *cluster.Node, r etcd.Raft, o etcd.Options) *etcd.Transport {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = deadline
	}
	transport, err := etcd.New(node, r, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	return transport
}

// pair starts two servers over TCP, each with a transport and a played Raft.
func pair(t *testing.T, o etcd.Options, change ...func(*cluster.Config)) (a *etcd.Transport, ra, rb *played, nodes []*cluster.Node) {
	t.Helper()
	nodes = clustertest.StartLocal(t, 2, append([]func(*cluster.Config){patient}, change...)...)
	ra, rb = newPlayed(), newPlayed()
	open(t, nodes[1], rb, o)
	return open(t, nodes[0], ra, o), ra, rb, nodes
}

// next waits for what comes next.
func next[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(deadline):
		t.Fatalf("after %v there is no %s", deadline, what)
		panic("unreachable")
	}
}

// none fails the test if there is something already.
func none[T any](t *testing.T, c <-chan T, what string) {
	t.Helper()
	select {
	case v := <-c:
		t.Errorf("%s: %+v", what, v)
	default:
	}
}

// msg is a message of server 0 to server 1.
func msg(typ raftpb.MessageType, term uint64) *raftpb.Message {
	return &raftpb.Message{Type: typ.Enum(), To: new(etcd.ID(1)), From: new(etcd.ID(0)), Term: new(term)}
}

func entries(term uint64, data ...[]byte) *raftpb.Message {
	m := msg(raftpb.MsgApp, term)
	for i, d := range data {
		m.Entries = append(m.Entries, &raftpb.Entry{Term: new(term), Index: new(uint64(i) + 1), Data: d})
	}
	return m
}

func snap(term uint64, data []byte) *raftpb.Message {
	m := msg(raftpb.MsgSnap, term)
	m.Snapshot = &raftpb.Snapshot{Data: data, Metadata: &raftpb.SnapshotMetadata{
		Index: new(uint64(7)), Term: new(uint64(3)), ConfState: &raftpb.ConfState{Voters: []uint64{1, 2}},
	}}
	return m
}

func TestAnIDInRaftIsTheServersAndOne(t *testing.T) {
	for pid, id := range map[int]uint64{0: 1, 1: 2, 65535: 65536} {
		if got := etcd.ID(pid); got != id {
			t.Errorf("server %d is %d, want %d", pid, got, id)
		}
		if got, err := etcd.Pid(id); got != pid || err != nil {
			t.Errorf("%d is server %d, %v; want %d", id, got, err, pid)
		}
	}
	for _, id := range []uint64{0, 65537, math.MaxUint64, raft.LocalAppendThread} {
		if got, err := etcd.Pid(id); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("etcd: %d is no server's id", id)) {
			t.Errorf("%d is server %d, %v; want an error that says it", id, got, err)
		}
	}
}

// Over both transports of the network.
func TestAMessageArrivesAsItWasSent(t *testing.T) {
	full := &raftpb.Message{
		Type: raftpb.MsgAppResp.Enum(), To: new(etcd.ID(1)), From: new(etcd.ID(0)), Term: new(uint64(3)), LogTerm: new(uint64(4)),
		Index: new(uint64(5)), Commit: new(uint64(6)), Vote: new(uint64(7)), Reject: new(true), RejectHint: new(uint64(8)), Context: []byte("context"),
	}
	conf := entries(3, []byte("a"), nil)
	conf.Entries[1].Type = raftpb.EntryConfChangeV2.Enum()
	forwarded := msg(raftpb.MsgReadIndex, 1)
	forwarded.From = new(etcd.ID(7))
	sent := []*raftpb.Message{full, conf, forwarded}
	for _, typ := range []raftpb.MessageType{
		raftpb.MsgProp, raftpb.MsgApp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp,
		raftpb.MsgTransferLeader, raftpb.MsgTimeoutNow, raftpb.MsgReadIndex, raftpb.MsgReadIndexResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp,
	} {
		sent = append(sent, msg(typ, 1))
	}
	for _, transport := range []string{"libzmq", "go"} {
		t.Run(transport, func(t *testing.T) {
			a, _, rb, _ := pair(t, etcd.Options{}, func(cfg *cluster.Config) { cfg.Transport = transport })
			for _, m := range sent {
				a.Send([]*raftpb.Message{m})
				if got := next(t, rb.steps, m.GetType().String()); !proto.Equal(got, m) {
					t.Errorf("(-sent +arrived)\n-%v\n+%v", m, got)
				}
			}
		})
	}
}

func TestMessagesOfASortArriveInOrder(t *testing.T) {
	const count = 3000
	a, _, rb, nodes := pair(t, etcd.Options{Other: func(*cluster.Envelope) {}})
	meet(t, nodes[0], nodes[1])
	var all []*raftpb.Message
	for n := range uint64(count) {
		all = append(all, entries(n), msg(raftpb.MsgHeartbeat, n))
	}
	for len(all) > 0 {
		a.Send(all[:100])
		all = all[100:]
	}
	expected := map[raftpb.MessageType]uint64{}
	for range 2 * count {
		m := next(t, rb.steps, "message")
		if m.GetTerm() != expected[m.GetType()] {
			t.Fatalf("%v %d came in the place of %d", m.GetType(), m.GetTerm(), expected[m.GetType()])
		}
		expected[m.GetType()]++
	}
}

func TestLocalMessagesAreNotSent(t *testing.T) {
	a, ra, rb, nodes := pair(t, etcd.Options{})
	var local []*raftpb.Message
	for _, typ := range []raftpb.MessageType{
		raftpb.MsgHup, raftpb.MsgBeat, raftpb.MsgUnreachable, raftpb.MsgSnapStatus, raftpb.MsgCheckQuorum, raftpb.MsgForgetLeader,
		raftpb.MsgStorageAppend, raftpb.MsgStorageAppendResp, raftpb.MsgStorageApply, raftpb.MsgStorageApplyResp,
	} {
		local = append(local, msg(typ, 1))
	}
	for _, to := range []uint64{raft.None, etcd.ID(0), raft.LocalAppendThread, raft.LocalApplyThread} {
		for _, typ := range []raftpb.MessageType{raftpb.MsgAppResp, raftpb.MsgVoteResp, raftpb.MsgApp} {
			m := msg(typ, 1)
			m.To = new(to)
			local = append(local, m)
		}
	}
	a.Send(local)
	a.Send([]*raftpb.Message{msg(raftpb.MsgHeartbeat, 9)})
	if got := next(t, rb.steps, "message"); got.GetType() != raftpb.MsgHeartbeat {
		t.Errorf("got %v", got)
	}
	none(t, ra.unreachable, "dropped") // No drops either.
	if got := nodes[0].Stats().Sent.Accepted; got != 1 {
		t.Errorf("%d messages were sent", got)
	}
}

// closeNode closes a server, and waits until another finds that it is gone.
func closeNode(t *testing.T, gone, from *cluster.Node) {
	t.Helper()
	gone.Close()
	for end := time.Now().Add(deadline); ; time.Sleep(10 * time.Millisecond) {
		from.Outbox() <- &cluster.Envelope{Pid: gone.Pid(), Msg: "are you there?"}
		for _, p := range from.Stats().Peers {
			if p.ID == gone.Pid() && p.State == cluster.LinkDown {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatal("it is not found to be gone")
		}
	}
}

func TestEachDropIsReported(t *testing.T) {
	short := func(cfg *cluster.Config) { cfg.SendTimeout = time.Second }
	heartbeat := func(to uint64) *raftpb.Message {
		m := msg(raftpb.MsgHeartbeat, 1)
		m.To = new(to)
		return m
	}
	t.Run("the server is down", func(t *testing.T) {
		a, ra, _, nodes := pair(t, etcd.Options{}, short)
		closeNode(t, nodes[1], nodes[0])
		for range 5 {
			a.Send([]*raftpb.Message{heartbeat(2)})
			if got := next(t, ra.unreachable, "report"); got != 2 {
				t.Errorf("%d is reported", got)
			}
		}
	})
	t.Run("no server has the id", func(t *testing.T) {
		var log bytes.Buffer
		a, ra, _, _ := pair(t, etcd.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, short)
		for _, id := range []uint64{9, 1 << 40} {
			a.Send([]*raftpb.Message{heartbeat(id)})
			if got := next(t, ra.unreachable, "report"); got != id {
				t.Errorf("%d is reported, want %d", got, id)
			}
		}
		if !strings.Contains(log.String(), "1099511627776 is no server's id") {
			t.Errorf("the log says %s", &log)
		}
	})
	t.Run("it is too large", func(t *testing.T) {
		var log bytes.Buffer
		a, ra, rb, _ := pair(t, etcd.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(cfg *cluster.Config) { cfg.MaxMessageBytes = 100_000 })
		a.Send([]*raftpb.Message{entries(1, make([]byte, 200_000)), entries(2, make([][]byte, 1<<18+1)...), msg(raftpb.MsgApp, 3)})
		next(t, rb.steps, "message behind them")
		for range 2 {
			if got := next(t, ra.unreachable, "report"); got != 2 {
				t.Errorf("%d is reported", got)
			}
		}
		if got := strings.Count(log.String(), "MaxSizePerMsg"); got != 2 {
			t.Errorf("the log says what to do %d times: %s", got, &log)
		}
	})
	t.Run("more waits than there is room for", func(t *testing.T) {
		nodes := clustertest.StartLocal(t, 2, patient, func(cfg *cluster.Config) { cfg.QueueBytes = 64 << 10 })
		ra := newPlayed()
		a := open(t, nodes[0], ra, etcd.Options{})
		data := make([]byte, 1<<20)
		for range 200 { // Nobody takes from the other's Inbox.
			a.Send([]*raftpb.Message{entries(1, data)})
		}
		go func() { // ends with the node
			for range nodes[1].Inbox() {
			}
		}()
		if got := next(t, ra.unreachable, "report"); got != 2 {
			t.Errorf("%d is reported", got)
		}
	})
	t.Run("it goes down after it has got the last", func(t *testing.T) {
		a, ra, rb, nodes := pair(t, etcd.Options{}, short)
		a.Send([]*raftpb.Message{heartbeat(2)})
		next(t, rb.steps, "message")
		none(t, ra.unreachable, "reported before")
		closeNode(t, nodes[1], nodes[0])
		if got := next(t, ra.unreachable, "report"); got != 2 {
			t.Errorf("%d is reported", got)
		}
	})
}

func TestAServerThatIsDownAlreadyIsReported(t *testing.T) {
	nodes := clustertest.StartLocal(t, 2, func(cfg *cluster.Config) {
		cfg.SendTimeout, cfg.Linger = time.Hour, -1 // What is sent is not given up but by Close.
	})
	if err := nodes[0].Send(context.Background(), &cluster.Envelope{Pid: 1, Msg: "hello"}); err != nil {
		t.Fatal(err)
	}
	next(t, nodes[1].Inbox(), "message")
	closeNode(t, nodes[1], nodes[0])
	ra := newPlayed()
	a := open(t, nodes[0], ra, etcd.Options{})
	a.Send([]*raftpb.Message{msg(raftpb.MsgHeartbeat, 1)})
	if got := next(t, ra.unreachable, "report"); got != 2 {
		t.Errorf("%d is reported", got)
	}
}

// What a server that has started anew was sent before may be lost, also if it was away before anybody asked what became of it.
func TestAServerThatStartsAnewIsReported(t *testing.T) {
	etcd.SetWatchInterval(t, time.Second)
	var cfg cluster.Config
	nodes := clustertest.StartLocal(t, 2, patient, func(c *cluster.Config) { cfg = *c })
	ra := newPlayed()
	a := open(t, nodes[0], ra, etcd.Options{})
	hello := &cluster.Envelope{Pid: 0, Msg: "hello"}
	if err := nodes[1].Send(context.Background(), hello); err != nil {
		t.Fatal(err)
	}
	a.Send([]*raftpb.Message{msg(raftpb.MsgHeartbeat, 1)})
	next(t, nodes[1].Inbox(), "message")
	nodes[1].Close()
	again, err := cluster.NewFromConfig(1, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Send(context.Background(), hello); err != nil {
		t.Fatal(err)
	}
	if got := next(t, ra.unreachable, "report"); got != 2 {
		t.Errorf("%d is reported", got)
	}
}

// Heartbeats are behind what the node has taken, and before what waits for that.
func TestAHeartbeatOvertakesEntriesThatWait(t *testing.T) {
	nodes := clustertest.StartLocal(t, 2, patient, func(cfg *cluster.Config) { cfg.QueueBytes = 64 << 10 })
	ra, rb := newPlayed(), newPlayed()
	a := open(t, nodes[0], ra, etcd.Options{})
	const count = 400
	data := make([]byte, 64<<10)
	for range count { // Nobody takes from the other's Inbox yet.
		a.Send([]*raftpb.Message{entries(1, data)})
	}
	a.Send([]*raftpb.Message{msg(raftpb.MsgHeartbeat, 2), msg(raftpb.MsgVote, 3)})
	open(t, nodes[1], rb, etcd.Options{})
	before := map[raftpb.MessageType]int{}
	for i := range count + 2 {
		m := next(t, rb.steps, "message")
		before[m.GetType()] = i
	}
	for _, typ := range []raftpb.MessageType{raftpb.MsgHeartbeat, raftpb.MsgVote} {
		if got := before[typ]; got > count/2 {
			t.Errorf("%v came behind %d of %d messages with entries", typ, got, count)
		}
	}
}

// meet makes one server know that another has an urgent stream.
func meet(t *testing.T, from, to *cluster.Node) {
	t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(10 * time.Millisecond) {
		if err := from.SendUrgent(t.Context(), &cluster.Envelope{Pid: to.Pid(), Msg: "hello"}); err != nil {
			t.Fatal(err)
		}
		for _, p := range from.Stats().Peers {
			if p.ID == to.Pid() && p.Urgent {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("after %v server %d is not known to have an urgent stream", deadline, to.Pid())
		}
	}
}

// Nobody takes from the other server's Inbox, so that large entries and a snapshot fill the way to it, and there is no room for more. Heartbeats and
// votes pass them all the same.
func TestHeartbeatsAndVotesPassWhatFillsTheWay(t *testing.T) {
	nodes := clustertest.StartLocal(t, 2, patient, func(cfg *cluster.Config) { cfg.QueueBytes = 64 << 10 })
	ra, rb := newPlayed(), newPlayed()
	other := etcd.Options{Other: func(*cluster.Envelope) {}}
	a := open(t, nodes[0], ra, other)
	meet(t, nodes[0], nodes[1])
	const count = 12
	for range count {
		a.Send([]*raftpb.Message{entries(1, make([]byte, 2<<20))})
	}
	a.Send([]*raftpb.Message{snap(1, make([]byte, 4<<20))})
	for end := time.Now().Add(deadline); nodes[0].Stats().Sent.Queued == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing waits:\n%v", nodes[0].Stats())
		}
	}
	urgent := []raftpb.MessageType{raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp}
	before := nodes[0].Stats().Sent.Sent
	for _, typ := range urgent {
		a.Send([]*raftpb.Message{msg(typ, 2)})
	}
	for end := time.Now().Add(deadline); nodes[0].Stats().Sent.Sent < before+uint64(len(urgent)); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("they are not written:\n%v", nodes[0].Stats())
		}
	}
	open(t, nodes[1], rb, other)
	at := map[raftpb.MessageType]int{}
	for i := range count + 1 + len(urgent) {
		at[next(t, rb.steps, "message").GetType()] = i
	}
	for _, typ := range urgent {
		if got := at[typ]; got > count/2+len(urgent) {
			t.Errorf("%v is message %d of %d", typ, got, count+1+len(urgent))
		}
	}
}

// Raft takes no proposals as long as it has no leader, and needs votes to get one.
func TestAProposalDoesNotHoldUpTheRest(t *testing.T) {
	nodes := clustertest.StartLocal(t, 2, patient)
	rb := newPlayed()
	rb.step = func(ctx context.Context, m *raftpb.Message) error {
		if m.GetType() == raftpb.MsgProp {
			<-ctx.Done()
			return ctx.Err()
		}
		rb.steps <- m
		return nil
	}
	open(t, nodes[1], rb, etcd.Options{})
	a := open(t, nodes[0], newPlayed(), etcd.Options{})
	for range 10 {
		a.Send([]*raftpb.Message{msg(raftpb.MsgProp, 1)})
	}
	a.Send([]*raftpb.Message{msg(raftpb.MsgApp, 2), msg(raftpb.MsgVote, 2)})
	for range 2 {
		next(t, rb.steps, "message beside proposals")
	}
}

func TestARaftWithAnotherIDIsTold(t *testing.T) {
	var log bytes.Buffer
	a, ra, _, _ := pair(t, etcd.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	wrong := msg(raftpb.MsgHeartbeat, 1)
	wrong.From = new(uint64(7))
	snapshot := snap(1, nil)
	snapshot.From = new(uint64(7))
	a.Send([]*raftpb.Message{wrong, snapshot})
	next(t, ra.unreachable, "report")
	if got := next(t, ra.snapshots, "report of the snapshot"); got != (result{2, raft.SnapshotFailure}) {
		t.Errorf("got %+v", got)
	}
	a.Close()
	if !strings.Contains(log.String(), "it is from 7 in Raft, but this is server 0: let raft.Config.ID be etcd.ID(0), which is 1") {
		t.Errorf("the log says %s", &log)
	}
}

func TestANodeHasOneTransportAtATime(t *testing.T) {
	node := clustertest.StartLocal(t, 1)[0]
	first := open(t, node, newPlayed(), etcd.Options{})
	if _, err := etcd.New(node, newPlayed(), etcd.Options{}); err == nil || !strings.Contains(err.Error(), "server 0") {
		t.Errorf("a second one: %v", err)
	}
	first.Close()
	open(t, node, newPlayed(), etcd.Options{})
	first.Close() // does not open the way for a third
	if _, err := etcd.New(node, newPlayed(), etcd.Options{}); err == nil {
		t.Error("a third one is no error")
	}
}

func TestWrongOptionsAreAnErrorThatNamesTheField(t *testing.T) {
	node := clustertest.StartLocal(t, 1)[0]
	for _, n := range []int{-1, 1} {
		_, err := etcd.New(node, newPlayed(), etcd.Options{Timeout: time.Duration(n), SnapshotWindow: n, MaxSnapshotBytes: -1})
		for _, field := range []string{"Timeout", "SnapshotWindow", "MaxSnapshotBytes"} {
			if err == nil || !strings.Contains(err.Error(), "Options."+field+" ") {
				t.Errorf("%v does not name %s", err, field)
			}
		}
	}
}

func TestWhatIsNotRaftsGoesToOther(t *testing.T) {
	nodes := clustertest.StartLocal(t, 2, patient)
	others := make(chan *cluster.Envelope, 1)
	open(t, nodes[1], newPlayed(), etcd.Options{Other: func(env *cluster.Envelope) { others <- env }})
	if err := nodes[0].Send(context.Background(), &cluster.Envelope{Pid: 1, Msg: "hello"}); err != nil {
		t.Fatal(err)
	}
	if env := next(t, others, "message"); env.Pid != 0 || env.Msg != "hello" {
		t.Errorf("got %+v", env)
	}
}

func TestWhatNobodyTakesIsToldOncePerType(t *testing.T) {
	var log bytes.Buffer
	nodes := clustertest.StartLocal(t, 2, patient)
	rb := newPlayed()
	b := open(t, nodes[1], rb, etcd.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		for _, msg := range []any{"hello", 7} {
			if err := nodes[0].Send(context.Background(), &cluster.Envelope{Pid: 1, Msg: msg}); err != nil {
				t.Fatal(err)
			}
		}
	}
	open(t, nodes[0], newPlayed(), etcd.Options{}).Send([]*raftpb.Message{msg(raftpb.MsgHeartbeat, 1)})
	next(t, rb.steps, "message behind all of them")
	b.Close()
	if got := strings.Count(log.String(), "\n"); got != 2 || !strings.Contains(log.String(), "type string") || !strings.Contains(log.String(), "type int") {
		t.Errorf("the log says %d lines:\n%s", got, &log)
	}
}

// Both in a process that is shutting down, in any order.
func TestAClosedTransportDropsWithoutAWord(t *testing.T) {
	a, ra, _, nodes := pair(t, etcd.Options{})
	a.Close()
	a.Send([]*raftpb.Message{msg(raftpb.MsgHeartbeat, 1), snap(1, []byte("x")), entries(1)})
	a.Close()
	none(t, ra.unreachable, "reported after Close")
	none(t, ra.snapshots, "reported after Close")
	b := open(t, nodes[0], ra, etcd.Options{})
	nodes[0].Close()
	b.Send([]*raftpb.Message{msg(raftpb.MsgHeartbeat, 1), snap(1, []byte("x"))})
	if got := next(t, ra.snapshots, "report"); got != (result{2, raft.SnapshotFailure}) {
		t.Errorf("after the node has closed: %+v", got)
	}
}
