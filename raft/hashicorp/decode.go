package hashicorp

//lint:file-ignore SA1019 Raft still fills its deprecated fields in, for servers of earlier versions.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"
)

// decodeRequest reads the body of a request. What it returns refers to the body, which must not be changed.
func decodeRequest(k kind, body []byte) (any, error) {
	r := &reader{rest: body}
	var args any
	switch k {
	case appendEntries:
		args = r.appendEntries()
	case requestVote:
		a := &raft.RequestVoteRequest{RPCHeader: r.header(), Term: r.uint(), Candidate: r.bytes()}
		a.LastLogIndex, a.LastLogTerm, a.LeadershipTransfer = r.uint(), r.uint(), r.bool()
		args = a
	case requestPreVote:
		args = &raft.RequestPreVoteRequest{RPCHeader: r.header(), Term: r.uint(), LastLogIndex: r.uint(), LastLogTerm: r.uint()}
	case installSnapshot:
		a := &raft.InstallSnapshotRequest{RPCHeader: r.header(), SnapshotVersion: raft.SnapshotVersion(r.int())}
		a.Term, a.Leader, a.LastLogIndex, a.LastLogTerm, a.Peers = r.uint(), r.bytes(), r.uint(), r.uint(), r.bytes()
		a.Configuration, a.ConfigurationIndex, a.Size = r.bytes(), r.uint(), r.int()
		args = a
	case timeoutNow:
		args = &raft.TimeoutNowRequest{RPCHeader: r.header()}
	default:
		return nil, fmt.Errorf("hashicorp: a request of %v, which this version does not know", k)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("hashicorp: malformed %v: %w", k, err)
	}
	return args, nil
}

// decodeResponse reads the body of a response into one of Raft's, to which resp points.
func decodeResponse(body []byte, resp any) error {
	r := &reader{rest: body}
	switch to := resp.(type) {
	case *raft.AppendEntriesResponse:
		to.RPCHeader, to.Term, to.LastLog = r.header(), r.uint(), r.uint()
		to.Success, to.NoRetryBackoff = r.bool(), r.bool()
	case *raft.RequestVoteResponse:
		to.RPCHeader, to.Term, to.Peers, to.Granted = r.header(), r.uint(), r.bytes(), r.bool()
	case *raft.RequestPreVoteResponse:
		to.RPCHeader, to.Term, to.Granted = r.header(), r.uint(), r.bool()
	case *raft.InstallSnapshotResponse:
		to.RPCHeader, to.Term, to.Success = r.header(), r.uint(), r.bool()
	case *raft.TimeoutNowResponse:
		to.RPCHeader = r.header()
	}
	if err := r.end(); err != nil {
		return fmt.Errorf("hashicorp: malformed response: %w", err)
	}
	return nil
}

// A reader takes fields from the front of a body. After the first that is wrong, all are zero, and end tells it.
type reader struct {
	rest []byte
	err  error
}

var (
	errShort = errors.New("it ends too early")
	errLong  = errors.New("it goes on beyond its end")
	errValue = errors.New("a value is out of its range")
)

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		r.err = errLong
	}
	return r.err
}

// take returns the next n bytes, or nil if there are less.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail(errShort)
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.rest)
	switch {
	case size == 0:
		r.fail(errShort)
	case size < 0:
		r.fail(errValue)
	default:
		r.rest = r.rest[size:]
		return n
	}
	return 0
}

func (r *reader) int() int64 {
	n := r.uint()
	if n > math.MaxInt64 {
		r.fail(errValue)
		return 0
	}
	return int64(n)
}

func (r *reader) fixed() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) bool() bool {
	b := r.byte()
	if b > 1 {
		r.fail(errValue)
	}
	return b == 1
}

func (r *reader) bytes() []byte {
	n := r.uint()
	if n == 0 {
		return nil
	}
	return r.take(n - 1)
}

func (r *reader) time() time.Time {
	if !r.bool() {
		return time.Time{}
	}
	sec, b := int64(r.fixed()), r.take(4)
	if b == nil {
		return time.Time{}
	}
	nsec := binary.LittleEndian.Uint32(b)
	if nsec >= 1e9 {
		r.fail(errValue)
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}

func (r *reader) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersion(r.int()), ID: r.bytes(), Addr: r.bytes()}
}

func (r *reader) appendEntries() *raft.AppendEntriesRequest {
	a := &raft.AppendEntriesRequest{RPCHeader: r.header(), Term: r.uint(), Leader: r.bytes()}
	a.PrevLogEntry, a.PrevLogTerm, a.LeaderCommitIndex = r.uint(), r.uint(), r.uint()
	n := r.uint()
	if n == 0 {
		return a
	}
	n--
	// Before anything is allocated for them: so many fit in what has come.
	if n > uint64(len(r.rest)/entryBytes) {
		r.fail(errShort)
		return a
	}
	logs := make([]raft.Log, n)
	a.Entries = make([]*raft.Log, n)
	for i := range logs {
		l := &logs[i]
		l.Index, l.Term, l.Type = r.fixed(), r.fixed(), raft.LogType(r.byte())
		l.AppendedAt, l.Data, l.Extensions = r.time(), r.bytes(), r.bytes()
		a.Entries[i] = l
	}
	return a
}
