package hashicorp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/codec"
)

// What travels between transports. Numbers are given by who makes a request, and are unique among its requests; what
// belongs to a request carries its number. What the bodies are is in encode.go.
type (
	// Requests and responses travel as bytes: see message.
	request struct {
		Number uint64
		Kind   kind
		Body   []byte
	}
	response struct {
		Number uint64
		Failed string // the error of the other side's Raft
		Body   []byte // empty if Raft has given an error alone
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
	cluster.Register("raft/hashicorp.piece", piece{})
	cluster.Register("raft/hashicorp.progress", progress{})
}

// Bytes are what the library is quickest with: if they are many, it neither copies them nor gives them to another goroutine to be decoded.
// The first of them tell a program's own from the transport's, and the next is what it is. Then comes the number as a uvarint.
var mark = []byte("raft/hashicorp\x00")

const (
	isRequest  = 'q' // then its kind, and its body
	isResponse = 'r' // then its error as bytes of a body are, and its body
)

// messageBytes is the most that a message has before the kind of a request, or the error of a response.
var messageBytes = len(mark) + 1 + binary.MaxVarintLen64

func (w writer) head(what byte, number uint64) writer {
	return append(append(w, mark...), what).uint(number)
}

// requestMessage is a request, which is written into memory that the library uses again: what Raft replicates is copied into it for each server;
// args is a pointer to one of Raft's.
func requestMessage(number uint64, k kind, args any) *codec.Written {
	return &codec.Written{
		Size:   messageBytes + headBytes + requestBytes(args),
		Append: func(b []byte) []byte { return append(writer(b).head(isRequest, number), byte(k)).request(args) },
	}
}

func (r response) message() []byte {
	w := newWriter(messageBytes+binary.MaxVarintLen64+len(r.Failed)+len(r.Body)).head(isResponse, r.Number)
	return append(w.bytes([]byte(r.Failed)), r.Body...)
}

// decodeMessage is the request or response that bytes are, and whose body refers to them; nil if they are the program's.
func decodeMessage(msg []byte) any {
	rest, ok := bytes.CutPrefix(msg, mark)
	if !ok || len(rest) == 0 {
		return nil
	}
	r := &reader{rest: rest[1:]}
	number := r.uint()
	switch rest[0] {
	case isRequest:
		if k := kind(r.byte()); r.err == nil {
			return request{number, k, r.rest}
		}
	case isResponse:
		if failed := r.bytes(); r.err == nil {
			return response{number, string(failed), r.rest}
		}
	}
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
