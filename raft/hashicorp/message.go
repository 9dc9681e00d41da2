package hashicorp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
)

// What travels between transports. Numbers are given by who makes a request, and are unique among its requests; what
// belongs to a request carries its number. What the bodies are is in encode.go.
type (
	request struct {
		Number uint64 `cbor:"n"`
		Kind   kind   `cbor:"k"`
		Body   []byte `cbor:"b"`
	}
	// A bulk is a request to append entries of many bytes, which are written straight into the message. What is small is
	// a request instead: the library decodes what has no methods of its own, and at most 4 KiB, without another goroutine.
	bulk struct {
		number uint64
		args   *raft.AppendEntriesRequest // of one that is to be sent
		body   []byte                     // of one that was received
	}
	response struct {
		Number uint64 `cbor:"n"`
		Failed string `cbor:"e,omitempty"` // the error of the other side's Raft
		Body   []byte `cbor:"b"`           // empty if Raft has given an error alone
	}
	// A piece of the snapshot of a request, in order.
	piece struct {
		Number uint64 `cbor:"n"`
		Offset uint64 `cbor:"o"`
		Data   []byte `cbor:"d"`
		Last   bool   `cbor:"l,omitempty"`
		Failed string `cbor:"e,omitempty"` // there is no more, for this reason
	}
	// A progress tells who sends a snapshot how far it may go, and that the receiver is at it.
	progress struct {
		Number uint64 `cbor:"n"`
		Limit  uint64 `cbor:"l"` // the offset up to which pieces may be sent
	}
)

func init() {
	cluster.Register("raft/hashicorp.request", request{})
	cluster.Register("raft/hashicorp.bulk", bulk{})
	cluster.Register("raft/hashicorp.response", response{})
	cluster.Register("raft/hashicorp.piece", piece{})
	cluster.Register("raft/hashicorp.progress", progress{})
}

// bulkBytes is from how many bytes of entries on a request is sent as a bulk.
const bulkBytes = 4 << 10

// AppendBinary writes the number as a uvarint, and the body behind it, which it makes room for first. Send calls it
// before it returns, so that the entries are not needed any more then.
func (b bulk) AppendBinary(to []byte) ([]byte, error) {
	w := slices.Grow(writer(to), headBytes+appendBytes(b.args))
	return w.uint(b.number).appendEntries(b.args), nil
}

// UnmarshalBinary leaves the body for when its turn comes. It keeps a copy, since from is the library's.
func (b *bulk) UnmarshalBinary(from []byte) error {
	r := &reader{rest: from}
	if b.number = r.uint(); r.err != nil {
		return fmt.Errorf("hashicorp: malformed %v: %w", appendEntries, r.err)
	}
	b.body = bytes.Clone(r.rest)
	return nil
}

// A kind is what a request is for.
type kind uint8

const (
	appendEntries kind = iota + 1
	requestVote
	requestPreVote
	installSnapshot
	timeoutNow
)

func (k kind) String() string {
	switch k {
	case appendEntries:
		return "AppendEntries"
	case requestVote:
		return "RequestVote"
	case requestPreVote:
		return "RequestPreVote"
	case installSnapshot:
		return "InstallSnapshot"
	case timeoutNow:
		return "TimeoutNow"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// maxFailure bounds the text of an error that travels.
const maxFailure = 4096

func failure(err error) string {
	text := err.Error()
	return text[:min(len(text), maxFailure)]
}

// into reads the response of the other side's Raft, and returns its error.
func (r response) into(resp any) error {
	if len(r.Body) > 0 {
		if err := decodeResponse(r.Body, resp); err != nil {
			return err
		}
	}
	switch {
	case r.Failed != "":
		return errors.New(r.Failed)
	case len(r.Body) == 0:
		return errors.New("hashicorp: an empty response")
	}
	return nil
}
