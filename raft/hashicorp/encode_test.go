package hashicorp

//lint:file-ignore SA1019 Raft still fills its deprecated fields in, for servers of earlier versions.

import (
	"bytes"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

var header = raft.RPCHeader{ProtocolVersion: 3, ID: []byte("id"), Addr: []byte("7")}

// Each field has a value of its own, so that none can stand in the place of another.
var requests = []struct {
	name string
	kind kind
	args any
}{
	{"AppendEntries", appendEntries, &raft.AppendEntriesRequest{
		RPCHeader: header, Term: 1, Leader: []byte("leader"), PrevLogEntry: 2, PrevLogTerm: 3, LeaderCommitIndex: 4,
		Entries: []*raft.Log{
			{Index: 5, Term: 6, Type: raft.LogConfiguration, Data: []byte("data"), Extensions: []byte("more"), AppendedAt: time.Unix(7, 8).UTC()},
			{Index: math.MaxUint64, Term: math.MaxUint64, Type: 255, Data: []byte{}, AppendedAt: time.Date(1600, 1, 2, 3, 4, 5, 6, time.UTC)},
			{},
		},
	}},
	{"AppendEntries of no entries", appendEntries, &raft.AppendEntriesRequest{Entries: []*raft.Log{}}},
	{"a heartbeat", appendEntries, &raft.AppendEntriesRequest{RPCHeader: header, Term: 1}},
	{"RequestVote", requestVote, &raft.RequestVoteRequest{
		RPCHeader: header, Term: 1, Candidate: []byte("c"), LastLogIndex: 2, LastLogTerm: 3, LeadershipTransfer: true,
	}},
	{"RequestPreVote", requestPreVote, &raft.RequestPreVoteRequest{RPCHeader: header, Term: 1, LastLogIndex: 2, LastLogTerm: 3}},
	{"InstallSnapshot", installSnapshot, &raft.InstallSnapshotRequest{
		RPCHeader: header, SnapshotVersion: 1, Term: 2, Leader: []byte("l"), LastLogIndex: 3, LastLogTerm: 4,
		Peers: []byte("p"), Configuration: []byte("c"), ConfigurationIndex: 5, Size: 6,
	}},
	{"TimeoutNow", timeoutNow, &raft.TimeoutNowRequest{RPCHeader: header}},
}

var responses = []struct {
	name      string
	resp, out any
}{
	{"AppendEntries", &raft.AppendEntriesResponse{RPCHeader: header, Term: 1, LastLog: 2, Success: true}, new(raft.AppendEntriesResponse)},
	{"AppendEntries, no backoff", &raft.AppendEntriesResponse{NoRetryBackoff: true}, new(raft.AppendEntriesResponse)},
	{"RequestVote", &raft.RequestVoteResponse{RPCHeader: header, Term: 1, Peers: []byte("p"), Granted: true}, new(raft.RequestVoteResponse)},
	{"RequestPreVote", &raft.RequestPreVoteResponse{RPCHeader: header, Term: 1, Granted: true}, new(raft.RequestPreVoteResponse)},
	{"InstallSnapshot", &raft.InstallSnapshotResponse{RPCHeader: header, Term: 1, Success: true}, new(raft.InstallSnapshotResponse)},
	{"TimeoutNow", &raft.TimeoutNowResponse{RPCHeader: header}, new(raft.TimeoutNowResponse)},
}

func encodeRequest(args any) []byte { return newWriter(requestBytes(args)).request(args) }

func TestAMessageArrivesAsItWasSent(t *testing.T) {
	messages := []any{
		response{Number: math.MaxUint64, Failed: "no disk", Body: []byte("body")},
		response{Number: 1, Body: []byte("body")},
		response{Failed: "no disk", Body: []byte{}},
	}
	for _, tt := range requests {
		messages = append(messages, request{7, tt.kind, encodeRequest(tt.args)})
	}
	for _, sent := range messages {
		var msg []byte
		body := 0
		switch m := sent.(type) {
		case request:
			args, err := decodeRequest(m.Kind, m.Body)
			if err != nil {
				t.Fatal(err)
			}
			msg, body = requestMessage(m.Number, m.Kind, args).Append(nil), len(m.Body)
		case response:
			msg, body = m.message(), len(m.Body)
		}
		if diff := cmp.Diff(sent, decodeMessage(msg)); diff != "" {
			t.Errorf("(-sent +arrived)\n%s", diff)
		}
		for n := range len(msg) - body {
			if got := decodeMessage(msg[:n]); got != nil {
				t.Errorf("the first %d of %d bytes are taken for %+v", n, len(msg), got)
			}
		}
	}
	for _, programs := range []string{"", "raft/hashicorp", "raft/hashicorp\x00", "raft/hashicorp\x00x\x01\x01", "raft/hashicorq\x00q\x01\x01"} {
		if got := decodeMessage([]byte(programs)); got != nil {
			t.Errorf("%q is taken for %+v", programs, got)
		}
	}
}

func TestARequestArrivesAsItWasSent(t *testing.T) {
	for _, tt := range requests {
		t.Run(tt.name, func(t *testing.T) {
			body := encodeRequest(tt.args)
			got, err := decodeRequest(tt.kind, body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.args, got); diff != "" {
				t.Errorf("(-sent +arrived)\n%s", diff)
			}
			for n := range body {
				if got, err := decodeRequest(tt.kind, body[:n]); err == nil {
					t.Errorf("the first %d of %d bytes are no error, but %+v", n, len(body), got)
				}
			}
			if _, err := decodeRequest(tt.kind, append(body, 0)); err == nil {
				t.Error("a byte too many is no error")
			}
		})
	}
}

func TestAResponseArrivesAsItWasSent(t *testing.T) {
	for _, tt := range responses {
		t.Run(tt.name, func(t *testing.T) {
			body, err := encodeResponse(tt.resp)
			if err != nil {
				t.Fatal(err)
			}
			if err := decodeResponse(body, tt.out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.resp, tt.out); diff != "" {
				t.Errorf("(-sent +arrived)\n%s", diff)
			}
			for n := range body {
				if decodeResponse(body[:n], tt.out) == nil {
					t.Errorf("the first %d of %d bytes are no error", n, len(body))
				}
			}
			if decodeResponse(append(body, 0), tt.out) == nil {
				t.Error("a byte too many is no error")
			}
		})
	}
}

func TestAMalformedRequestIsAnError(t *testing.T) {
	head := newWriter(0).header(header).uint(1).bytes(nil).uint(2).uint(3).uint(4)
	entry := func(rest ...byte) []byte {
		return append(append(bytes.Clone(head.uint(2)), make([]byte, 17)...), rest...)
	}
	for _, tt := range []struct {
		name string
		kind kind
		body []byte
	}{
		{"of no kind", 0, nil},
		{"of a kind of another version", 6, []byte{1}},
		{"without a body", requestVote, nil},
		{"with more entries than bytes", appendEntries, head.uint(math.MaxUint64)},
		{"with bytes that are longer than it", timeoutNow, newWriter(0).uint(3).uint(math.MaxUint64)},
		{"with a number that is too large", timeoutNow, newWriter(0).uint(math.MaxUint64)},
		{"with a number that does not end", timeoutNow, bytes.Repeat([]byte{0x80}, 20)},
		{"with a boolean that is neither", requestVote, append(newWriter(0).header(header).uint(1).bytes(nil).uint(2).uint(3), 2)},
		{"with a time whose nanoseconds are a second", appendEntries, append(entry(1, 0, 0, 0, 0, 0, 0, 0, 0), 0x00, 0xca, 0x9a, 0x3b, 0, 0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := decodeRequest(tt.kind, tt.body); err == nil {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestWhatIsAllocatedForARequestIsBoundedByItsBytes(t *testing.T) {
	small := &raft.AppendEntriesRequest{}
	for range 50_000 {
		small.Entries = append(small.Entries, &raft.Log{})
	}
	body := encodeRequest(small)
	claim := append(bytes.Clone(body[:len(body)-1]), 200) // the last entry is broken
	for _, b := range [][]byte{body, claim} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		decodeRequest(appendEntries, b)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 8*uint64(len(b)) {
			t.Errorf("%d bytes were allocated for %d", got, len(b))
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, tt := range requests {
		f.Add(uint8(tt.kind), encodeRequest(tt.args))
	}
	f.Fuzz(func(t *testing.T, k uint8, body []byte) {
		args, err := decodeRequest(kind(k), body)
		if err != nil {
			return
		}
		again, err := decodeRequest(kind(k), encodeRequest(args))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(args, again); diff != "" {
			t.Errorf("(-first +again)\n%s", diff)
		}
	})
}
