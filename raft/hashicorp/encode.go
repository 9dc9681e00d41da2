package hashicorp

//lint:file-ignore SA1019 Raft still fills its deprecated fields in, for servers of earlier versions.

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// The bodies of requests and responses are the fields of Raft's structs one after another, without names: numbers as
// uvarints, bytes behind their length and 1 (0 stands for nil), booleans as 0 or 1. The entries of a log, which are most
// of what travels, have a part of fixed length. decode.go reads it.

// requestBytes is about what the body of a request takes beyond headBytes; args is a pointer to one of Raft's.
func requestBytes(args any) int {
	switch a := args.(type) {
	case *raft.AppendEntriesRequest:
		return appendBytes(a)
	case *raft.InstallSnapshotRequest:
		return len(a.Peers) + len(a.Configuration)
	}
	return 0
}

// request writes the body of a request.
func (w writer) request(args any) writer {
	switch a := args.(type) {
	case *raft.AppendEntriesRequest:
		return w.appendEntries(a)
	case *raft.RequestVoteRequest:
		w = w.header(a.RPCHeader).uint(a.Term).bytes(a.Candidate)
		return w.uint(a.LastLogIndex).uint(a.LastLogTerm).bool(a.LeadershipTransfer)
	case *raft.RequestPreVoteRequest:
		return w.header(a.RPCHeader).uint(a.Term).uint(a.LastLogIndex).uint(a.LastLogTerm)
	case *raft.InstallSnapshotRequest:
		w = w.header(a.RPCHeader).uint(uint64(a.SnapshotVersion))
		w = w.uint(a.Term).bytes(a.Leader).uint(a.LastLogIndex).uint(a.LastLogTerm).bytes(a.Peers)
		return w.bytes(a.Configuration).uint(a.ConfigurationIndex).uint(uint64(a.Size))
	case *raft.TimeoutNowRequest:
		return w.header(a.RPCHeader)
	}
	panic(fmt.Sprintf("hashicorp: a request of type %T", args)) // a mistake of this package: Raft cannot bring it about
}

// encodeResponse is the body of a response. An error means that Raft has answered with something else than it should.
func encodeResponse(resp any) ([]byte, error) {
	switch r := resp.(type) {
	case *raft.AppendEntriesResponse:
		w := newWriter(0).header(r.RPCHeader).uint(r.Term).uint(r.LastLog)
		return w.bool(r.Success).bool(r.NoRetryBackoff), nil
	case *raft.RequestVoteResponse:
		return newWriter(len(r.Peers)).header(r.RPCHeader).uint(r.Term).bytes(r.Peers).bool(r.Granted), nil
	case *raft.RequestPreVoteResponse:
		return newWriter(0).header(r.RPCHeader).uint(r.Term).bool(r.Granted), nil
	case *raft.InstallSnapshotResponse:
		return newWriter(0).header(r.RPCHeader).uint(r.Term).bool(r.Success), nil
	case *raft.TimeoutNowResponse:
		return newWriter(0).header(r.RPCHeader), nil
	}
	return nil, fmt.Errorf("hashicorp: a response of type %T", resp)
}

// appendBytes is the most that the entries of a request take.
func appendBytes(a *raft.AppendEntriesRequest) (size int) {
	for _, l := range a.Entries {
		size += entryBytes + 2*binary.MaxVarintLen64 + timeBytes + len(l.Data) + len(l.Extensions)
	}
	return size
}

func (w writer) appendEntries(a *raft.AppendEntriesRequest) writer {
	w = w.header(a.RPCHeader).uint(a.Term).bytes(a.Leader).uint(a.PrevLogEntry).uint(a.PrevLogTerm)
	w = w.uint(a.LeaderCommitIndex)
	if a.Entries == nil {
		return w.uint(0)
	}
	w = w.uint(uint64(len(a.Entries)) + 1)
	for _, l := range a.Entries {
		w = w.fixed(l.Index).fixed(l.Term)
		w = append(w, byte(l.Type))
		w = w.time(l.AppendedAt).bytes(l.Data).bytes(l.Extensions)
	}
	return w
}

const (
	headBytes  = 128               // more than what is not entries usually takes
	entryBytes = 8 + 8 + 1 + 1 + 2 // the least that an entry takes: index, term, type, no time, two lengths
	timeBytes  = 8 + 4             // a time that is not zero
)

// A writer is a body as far as it is written.
type writer []byte

func newWriter(size int) writer { return make(writer, 0, headBytes+size) }

func (w writer) uint(n uint64) writer  { return binary.AppendUvarint(w, n) }
func (w writer) fixed(n uint64) writer { return binary.LittleEndian.AppendUint64(w, n) }

func (w writer) bool(b bool) writer {
	if b {
		return append(w, 1)
	}
	return append(w, 0)
}

func (w writer) bytes(b []byte) writer {
	if b == nil {
		return append(w, 0)
	}
	return append(w.uint(uint64(len(b))+1), b...)
}

// time is the instant in seconds and nanoseconds since 1970, without zone.
func (w writer) time(t time.Time) writer {
	if t.IsZero() {
		return append(w, 0)
	}
	w = append(w, 1).fixed(uint64(t.Unix()))
	return binary.LittleEndian.AppendUint32(w, uint32(t.Nanosecond()))
}

func (w writer) header(h raft.RPCHeader) writer {
	return w.uint(uint64(h.ProtocolVersion)).bytes(h.ID).bytes(h.Addr)
}
