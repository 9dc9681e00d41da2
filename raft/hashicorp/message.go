package hashicorp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

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
	cluster.Register("raft/hashicorp.response", response{})
	cluster.Register("raft/hashicorp.piece", piece{})
	cluster.Register("raft/hashicorp.progress", progress{})
}

// bulkBytes is from how many bytes of entries on a request is sent as a bulk.
const bulkBytes = 4 << 10

// A bulk is a request to append entries of many bytes. It travels as bytes, which the library neither copies nor gives to
// another goroutine to be decoded if they are many: this mark, the number as a uvarint, and the body.
var bulkMark = []byte("raft/hashicorp.bulk\x00")

func encodeBulk(number uint64, a *raft.AppendEntriesRequest) []byte {
	w := newWriter(len(bulkMark) + binary.MaxVarintLen64 + appendBytes(a))
	return append(w, bulkMark...).uint(number).appendEntries(a)
}

// decodeBulk reports whether bytes are a bulk, whose body refers to them. Others are the program's.
func decodeBulk(msg []byte) (request, bool) {
	body, ok := bytes.CutPrefix(msg, bulkMark)
	if !ok {
		return request{}, false
	}
	r := &reader{rest: body}
	number := r.uint()
	return request{number, appendEntries, r.rest}, r.err == nil
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
