package etcd

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/abhishekg16/cluster"
)

// What travels between transports. A snapshot has a number, which its sender gives, and what belongs to it carries that.
type (
	// A message is one of Raft's, as its own marshaller writes it. It is not a snapshot.
	message struct {
		Body []byte `cbor:"b"`
	}
	// A snapshot announces a MsgSnap: the message without its data, and how much data there is.
	snapshot struct {
		Number uint64 `cbor:"n"`
		Head   []byte `cbor:"h"`
		Size   uint64 `cbor:"s"`
	}
	// A piece of the data, in order.
	piece struct {
		Number uint64 `cbor:"n"`
		Offset uint64 `cbor:"o"`
		Data   []byte `cbor:"d"`
	}
	// A progress tells who sends a snapshot how far it may go, and that the receiver is at it.
	progress struct {
		Number uint64 `cbor:"n"`
		Limit  uint64 `cbor:"l"` // the offset up to which pieces may be sent
	}
	// An outcome says that the receiver's Raft has taken a snapshot, or why not.
	outcome struct {
		Number uint64 `cbor:"n"`
		Failed string `cbor:"e,omitempty"`
	}
)

func init() {
	cluster.Register("raft/etcd.message", message{})
	cluster.Register("raft/etcd.snapshot", snapshot{})
	cluster.Register("raft/etcd.piece", piece{})
	cluster.Register("raft/etcd.progress", progress{})
	cluster.Register("raft/etcd.outcome", outcome{})
}

const (
	// maxEntries is how many entries a message has at most. Each takes some 170 bytes once it is decoded, however short.
	maxEntries = 1 << 18
	// maxHeadBytes bounds a MsgSnap without its data: the ids of 65,536 servers take a fifth of it.
	maxHeadBytes = 1 << 20
	// maxFailure bounds the text of an error that travels.
	maxFailure = 4096
)

// isLocal reports whether messages of a type stay within their Raft.
func isLocal(t raftpb.MessageType) bool { return raft.IsLocalMsg(t) || t == raftpb.MsgForgetLeader }

// isForwarded reports whether messages of a type may name another server than the one that sends them as the one
// that they are from: who asked whoever sends them on.
func isForwarded(t raftpb.MessageType) bool {
	return t == raftpb.MsgTransferLeader || t == raftpb.MsgReadIndex
}

// isBulky reports whether messages of a type carry what is to be replicated, so that others do not wait for them.
func isBulky(t raftpb.MessageType) bool { return t == raftpb.MsgApp || t == raftpb.MsgProp }

// isUrgent reports whether messages of a type are sent apart from all others: they are short, and a leader is lost where they are late.
func isUrgent(t raftpb.MessageType) bool {
	switch t {
	case raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp:
		return true
	}
	return false
}

// maxUrgentBytes is the longest that is sent so: who reads without the log may give Raft a context of any length, which heartbeats carry.
const maxUrgentBytes = 64 << 10

// A head is what is to be known of a message before it is decoded.
type head struct {
	typ      raftpb.MessageType
	to, from uint64
}

var (
	errResponses = errors.New("it carries responses, which stay within their Raft")
	errEntries   = fmt.Errorf("it has more than %d entries", maxEntries)
)

// headOf reads the head of an encoded message. It allocates nothing, and returns an error if decoding the message could take
// memory out of proportion to what has come.
func headOf(body []byte) (h head, err error) {
	entries := 0
	for rest := body; len(rest) > 0; {
		field, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return h, protowire.ParseError(n)
		}
		rest = rest[n:]
		var number uint64
		if kind == protowire.VarintType {
			number, n = protowire.ConsumeVarint(rest)
		} else {
			n = protowire.ConsumeFieldValue(field, kind, rest)
		}
		if n < 0 {
			return h, protowire.ParseError(n)
		}
		rest = rest[n:]
		switch {
		case field == entriesField:
			if entries++; entries > maxEntries {
				return h, errEntries
			}
		case field == responsesField:
			return h, errResponses
		case kind != protowire.VarintType:
		case field == typeField:
			h.typ = raftpb.MessageType(number)
		case field == toField:
			h.to = number
		case field == fromField:
			h.from = number
		}
	}
	return h, nil
}

// The numbers of the fields of Raft's messages that headOf looks at.
const (
	typeField      = 1
	toField        = 2
	fromField      = 3
	entriesField   = 7
	responsesField = 14
)

// check returns what is wrong with a message that has come from one server to another.
func (h head) check(from, to int) error {
	sender, err := Pid(h.from)
	switch {
	case h.typ < 0:
		return fmt.Errorf("it is of type %d", h.typ)
	case isLocal(h.typ):
		return fmt.Errorf("a %v stays within its Raft", h.typ)
	case h.to != ID(to):
		return fmt.Errorf("it is for %d in Raft, and this server is %d there", h.to, ID(to))
	case err != nil:
		return err
	case sender != from && !isForwarded(h.typ):
		return fmt.Errorf("it says that it is from %d in Raft, and is from %d", h.from, ID(from))
	}
	return nil
}

// decode reads a message of one server to another.
func decode(body []byte, from, to int) (*raftpb.Message, error) {
	h, err := headOf(body)
	if err == nil {
		err = h.check(from, to)
	}
	if err != nil {
		return nil, err
	}
	m := new(raftpb.Message)
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, err
	}
	return m, nil
}

// split encodes a MsgSnap without the data of its snapshot, and returns that beside it. It does not change the message.
func split(m *raftpb.Message) (head, data []byte, err error) {
	from := m.ProtoReflect()
	to := from.New()
	shallow(to, from)
	if s := m.GetSnapshot(); s != nil {
		bare := new(raftpb.Snapshot)
		shallow(bare.ProtoReflect(), s.ProtoReflect())
		bare.Data = nil
		to.Interface().(*raftpb.Message).Snapshot = bare
	}
	head, err = proto.Marshal(to.Interface())
	return head, m.GetSnapshot().GetData(), err
}

// join is the reverse of split, for a message of one server to another.
func join(head, data []byte, from, to int) (*raftpb.Message, error) {
	m, err := decode(head, from, to)
	switch {
	case err != nil:
		return nil, err
	case m.GetType() != raftpb.MsgSnap:
		return nil, fmt.Errorf("it is a %v, and no snapshot", m.GetType())
	case raft.IsEmptySnap(m.GetSnapshot()):
		return nil, errors.New("its snapshot is empty")
	}
	m.Snapshot.Data = data
	return m, nil
}

// shallow copies the fields of a message into an empty one, which then refers to what the first refers to.
func shallow(to, from protoreflect.Message) {
	from.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		to.Set(field, value)
		return true
	})
	to.SetUnknown(from.GetUnknown())
}
