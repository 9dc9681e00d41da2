package etcd

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

const deadline = 30 * time.Second

// A silent is a Raft that keeps what it gets.
type silent struct {
	steps     chan *raftpb.Message
	snapshots chan raft.SnapshotStatus
}

func (s silent) Step(_ context.Context, m *raftpb.Message) error { s.steps <- m; return nil }
func (silent) ReportUnreachable(uint64)                          {}
func (s silent) ReportSnapshot(_ uint64, status raft.SnapshotStatus) {
	s.snapshots <- status
}

// A book is a log that may be read while it is written.
type book struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// facing starts a transport on server 1, and server 0, whose messages the test plays.
func facing(t *testing.T, o Options) (*Transport, silent, *cluster.Node, *book) {
	t.Helper()
	nodes := clustertest.StartLocal(t, 2, func(cfg *cluster.Config) { cfg.SendTimeout, cfg.Linger = deadline, -1 })
	r, log := silent{make(chan *raftpb.Message, 100), make(chan raft.SnapshotStatus, 100)}, new(book)
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	transport, err := New(nodes[1], r, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	return transport, r, nodes[0], log
}

func say(t *testing.T, node *cluster.Node, messages ...any) {
	t.Helper()
	for _, msg := range messages {
		if err := node.Send(context.Background(), &cluster.Envelope{Pid: 1, Msg: msg}); err != nil {
			t.Fatal(err)
		}
	}
}

// heard is the next message of a type.
func heard[T any](t *testing.T, node *cluster.Node) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for {
		env, err := node.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if msg, ok := env.Msg.(T); ok {
			return msg
		}
	}
}

// body is an encoded message of a type, from server 0 to server 1.
func body(t testing.TB, typ raftpb.MessageType, change ...func(*raftpb.Message)) []byte {
	t.Helper()
	m := &raftpb.Message{Type: typ.Enum(), To: new(ID(1)), From: new(ID(0)), Term: new(uint64(1))}
	for _, f := range change {
		f(m)
	}
	text, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func snapHead(t testing.TB) []byte {
	return body(t, raftpb.MsgSnap, func(m *raftpb.Message) {
		m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(5)), Term: new(uint64(1))}}
	})
}

func TestWhatRaftMustNotSeeIsRefused(t *testing.T) {
	from := func(id uint64) func(*raftpb.Message) { return func(m *raftpb.Message) { m.From = new(id) } }
	number := func(field protowire.Number, n uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), n)
	}
	for _, tt := range []struct {
		name string
		body []byte
		want string
	}{
		{"nothing", nil, "a MsgHup stays within its Raft"},
		{"one that is local", body(t, raftpb.MsgBeat), "a MsgBeat stays within its Raft"},
		{"one that lets a leader be forgotten", body(t, raftpb.MsgForgetLeader), "a MsgForgetLeader stays within its Raft"},
		{"one of a type below all", append(body(t, raftpb.MsgApp), number(typeField, math.MaxUint64)...), "it is of type -1"},
		{"one for another", body(t, raftpb.MsgApp, func(m *raftpb.Message) { m.To = new(ID(0)) }), "it is for 1 in Raft, and this server is 2 there"},
		{"one in another's name", body(t, raftpb.MsgApp, from(ID(1))), "it says that it is from 2 in Raft, and is from 1"},
		{"one in nobody's name", body(t, raftpb.MsgApp, from(0)), "it means nobody"},
		{"one in the name of a thread", body(t, raftpb.MsgReadIndex, from(raft.LocalAppendThread)), "is no server's id in Raft"},
		{"one with responses", body(t, raftpb.MsgApp, func(m *raftpb.Message) { m.Responses = []*raftpb.Message{{}} }), "responses"},
		{"one with too many entries", body(t, raftpb.MsgApp, func(m *raftpb.Message) {
			for range maxEntries + 1 {
				m.Entries = append(m.Entries, &raftpb.Entry{})
			}
		}), "more than 262144 entries"},
		{"a snapshot that is not sent as one", snapHead(t), "it is a snapshot, and not sent as one"},
		{"half of one", body(t, raftpb.MsgApp, func(m *raftpb.Message) { m.Context = []byte("long") })[:9], "unexpected EOF"},
		{"one with an entry that is none", append(body(t, raftpb.MsgApp), protowire.AppendBytes(protowire.AppendTag(nil, entriesField, protowire.BytesType), []byte{0xff})...), "cannot parse"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, r, other, log := facing(t, Options{})
			say(t, other, message{tt.body}, message{body(t, raftpb.MsgHeartbeat)})
			select {
			case m := <-r.steps:
				if m.GetType() != raftpb.MsgHeartbeat {
					t.Errorf("Raft got %v", m)
				}
			case <-time.After(deadline):
				t.Fatal("what comes behind it has not come")
			}
			if !strings.Contains(log.String(), tt.want) || !strings.Contains(log.String(), "server 0 is refused") {
				t.Errorf("the log lacks %q: %s", tt.want, log)
			}
		})
	}
}

func TestASnapshotThatIsNotAsItShouldBeIsRefused(t *testing.T) {
	const window = pieceBytes
	first := piece{1, 0, []byte("0123")}
	for _, tt := range []struct {
		name string
		said []any
		want string
	}{
		{"a piece is missing", []any{snapshot{1, snapHead(t), 100}, first, piece{1, 8, []byte("89")}}, "a piece of the snapshot was lost"},
		{"a piece comes twice", []any{snapshot{1, snapHead(t), 100}, first, first}, "a piece of the snapshot was lost"},
		{"more comes than was announced", []any{snapshot{1, snapHead(t), 5}, first, piece{1, 4, []byte("45")}}, "more of the snapshot came"},
		{"more comes than there is room for", []any{snapshot{1, snapHead(t), 1 << 20}, piece{1, 0, make([]byte, window+1)}}, "more of the snapshot came"},
		{"it is another message", []any{snapshot{1, body(t, raftpb.MsgApp), 0}}, "it is a MsgApp, and no snapshot"},
		{"it is of another server", []any{snapshot{1, body(t, raftpb.MsgSnap, func(m *raftpb.Message) { m.From = new(uint64(9)) }), 0}}, "it says that it is from 9"},
		{"it has no snapshot", []any{snapshot{1, body(t, raftpb.MsgSnap), 0}}, "its snapshot is empty"},
		{"its metadata are large", []any{snapshot{1, make([]byte, maxHeadBytes+1), 0}}, "bytes of metadata"},
		{"it is larger than anything", []any{snapshot{1, snapHead(t), math.MaxUint64}}, "Options.MaxSnapshotBytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, r, other, _ := facing(t, Options{SnapshotWindow: window})
			say(t, other, tt.said...)
			if got := heard[outcome](t, other); got.Number != 1 || !strings.Contains(got.Failed, tt.want) {
				t.Errorf("the sender gets %+v, want one that says %q", got, tt.want)
			}
			if len(r.steps) > 0 {
				t.Error("Raft got it")
			}
			// The next is taken.
			say(t, other, snapshot{2, snapHead(t), 4}, piece{2, 0, []byte("0123")})
			if got := heard[outcome](t, other); got != (outcome{Number: 2}) {
				t.Errorf("the next: %+v", got)
			}
		})
	}
}

// Of each server one snapshot at a time is held, and one is with Raft.
func TestSnapshotsOfOneServerDoNotPileUp(t *testing.T) {
	transport, _, other, _ := facing(t, Options{})
	free := make(chan struct{})
	transport.raft = stuck{silent{}, free}
	defer close(free)
	say(t, other, snapshot{1, snapHead(t), 0})
	heard[progress](t, other) // As there is nothing to wait for, Raft is getting it.
	say(t, other, snapshot{2, snapHead(t), 0})
	if got := heard[outcome](t, other); got != (outcome{2, errBusy.Error()}) {
		t.Errorf("got %+v", got)
	}
}

// A stuck is a Raft that takes nothing until it is set free.
type stuck struct {
	silent
	free chan struct{}
}

func (s stuck) Step(context.Context, *raftpb.Message) error { <-s.free; return nil }

// The sender sends what its receiver has room for, and the receiver gives up when nothing comes.
func TestNoMoreOfASnapshotIsSentThanThereIsRoomFor(t *testing.T) {
	t.Parallel() // It mostly waits.
	transport, r, other, _ := facing(t, Options{Timeout: 2 * time.Second})
	m := &raftpb.Message{}
	if err := proto.Unmarshal(snapHead(t), m); err != nil {
		t.Fatal(err)
	}
	m.To, m.From = new(ID(0)), new(ID(1))
	m.Snapshot.Data = make([]byte, 1<<20)
	transport.Send([]*raftpb.Message{m})
	s := heard[snapshot](t, other)
	got := 0
	for limit := firstWindow; limit <= firstWindow+300_000; limit += 100_000 {
		for got < limit {
			got += len(heard[piece](t, other).Data)
		}
		if got > limit {
			t.Errorf("%d bytes came, and there was room for %d", got, limit)
		}
		say(t, other, progress{s.Number, uint64(limit + 100_000)}, progress{s.Number, 1})
	}
	select {
	case status := <-r.snapshots:
		if status != raft.SnapshotFailure {
			t.Errorf("got %v", status)
		}
	case <-time.After(deadline):
		t.Error("nothing is reported, though nothing was heard")
	}
}

// What belongs to no snapshot is no reason for anything.
func TestWhatBelongsToNoSnapshotIsIgnored(t *testing.T) {
	_, r, other, _ := facing(t, Options{})
	say(t, other, piece{5, 0, []byte("x")}, progress{5, 1}, outcome{5, ""}, message{body(t, raftpb.MsgHeartbeat)})
	select {
	case <-r.steps:
	case <-time.After(deadline):
		t.Fatal("the message behind them has not come")
	}
}

func TestWhatIsAllocatedForAMessageIsBounded(t *testing.T) {
	many := body(t, raftpb.MsgApp, func(m *raftpb.Message) {
		for range maxEntries {
			m.Entries = append(m.Entries, &raftpb.Entry{})
		}
	})
	nested := body(t, raftpb.MsgApp, func(m *raftpb.Message) {
		for range 1 << 17 {
			m.Responses = append(m.Responses, &raftpb.Message{})
		}
	})
	voters := body(t, raftpb.MsgApp, func(m *raftpb.Message) {
		m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{ConfState: &raftpb.ConfState{Voters: make([]uint64, 1<<17)}}}
	})
	for _, tt := range []struct {
		name string
		body []byte
		most int
	}{
		{"as many entries as may be", many, 64 << 20},
		{"one more entry", append(bytes.Clone(many), protowire.AppendBytes(protowire.AppendTag(nil, entriesField, protowire.BytesType), nil)...), 4096},
		{"messages in a message", nested, 4096},
		{"numbers", voters, 40 * len(voters)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			decode(tt.body, 0, 1)
			runtime.ReadMemStats(&after)
			if got := int(after.TotalAlloc - before.TotalAlloc); got > tt.most {
				t.Errorf("%d bytes were allocated for %d, want %d at most", got, len(tt.body), tt.most)
			}
		})
	}
}

func TestUrgentMessagesAreFirstAndAQueueIsBounded(t *testing.T) {
	var got []string
	begun, free, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	overflows := 0
	q := queue{start: func(f func()) bool { go func() { f(); close(done) }(); return true }, full: func() { overflows++ }}
	q.work = func(msg any) {
		if msg == "first" {
			close(begun)
			<-free
		}
		got = append(got, fmt.Sprint(msg))
	}
	q.put("first", 1, false)
	<-begun
	for i := range maxWaiting {
		if !q.put(i, 1, false) {
			t.Fatalf("no room for %d", i)
		}
	}
	if q.put("more", 1, false) {
		t.Error("there is room for more than maxWaiting")
	}
	if !q.put("large", maxWaitingBytes+1, true) || q.put("urgent", 1, true) {
		t.Error("one that is large may wait, and nothing beside it")
	}
	close(free)
	<-done
	if len(got) != maxWaiting+2 || got[1] != "large" || got[2] != "0" || got[maxWaiting+1] != fmt.Sprint(maxWaiting-1) {
		t.Errorf("%d were done: %.20q", len(got), got)
	}
	if overflows != 1 {
		t.Errorf("full was called %d times", overflows)
	}
}

func FuzzDecode(f *testing.F) {
	for typ := range raftpb.MessageType(24) {
		f.Add(body(f, typ))
	}
	f.Add(snapHead(f))
	f.Add(body(f, raftpb.MsgApp, func(m *raftpb.Message) {
		m.Entries = []*raftpb.Entry{{Index: new(uint64(1)), Term: new(uint64(1)), Type: raftpb.EntryConfChange.Enum(), Data: []byte("data")}, {}}
	}))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := decode(text, 0, 1)
		if err != nil {
			return
		}
		if isLocal(m.GetType()) || m.GetTo() != ID(1) || len(m.GetResponses()) > 0 || len(m.GetEntries()) > maxEntries {
			t.Errorf("Raft would get %v", m)
		}
		head, data, err := split(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(head, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if s := again.GetSnapshot(); s != nil {
			s.Data = data
		}
		if !proto.Equal(m, again) {
			t.Errorf("(-first +again)\n-%v\n+%v", m, again)
		}
	})
}
