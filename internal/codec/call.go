package codec

import (
	"encoding/binary"
	"strings"
)

// The kinds of the messages of which a call consists. The payload of each begins with the number of the call.
const (
	Request Kind = 22 // then another kind, in one byte, and its payload
	Reply   Kind = 23 // likewise
	Failure Kind = 24 // instead of a reply: then a byte that says why, and a text
)

// WrapBytes is how many bytes a payload of Request or Reply has before that of the message in it.
const WrapBytes = 9

// FailureTextMost is how many bytes of text AppendFailure writes.
const FailureTextMost = 4 << 10

// OfCall reports whether k is a kind of the messages of which a call consists.
func (k Kind) OfCall() bool { return Request <= k && k <= Failure }

// Around is how many bytes of a payload of kind k do not count where the size of a message is limited.
func (k Kind) Around() int {
	if k.OfCall() {
		return WrapBytes
	}
	return 0
}

// AppendWrapped is Append for a message in a Request or Reply.
func AppendWrapped(dst []byte, number uint64, v any, lim Limits) ([]byte, error) {
	at := len(dst)
	b, k, err := Append(append(binary.LittleEndian.AppendUint64(dst, number), byte(Invalid)), v, lim)
	if err != nil {
		return dst, err
	}
	b[at+WrapBytes-1] = byte(k)
	return b, nil
}

// Renumber makes a payload of Request or Reply that of another call.
func Renumber(payload []byte, number uint64) { binary.LittleEndian.PutUint64(payload, number) }

// Unwrap reads what AppendWrapped has written: the number of the call, and the message's kind and payload.
func Unwrap(payload []byte) (number uint64, k Kind, rest []byte, err error) {
	if len(payload) < WrapBytes {
		return 0, Invalid, nil, faultf(ErrMalformed, "%d bytes are too few for a request or a reply", len(payload))
	}
	if k = Kind(payload[WrapBytes-1]); k.OfCall() {
		return 0, Invalid, nil, faultf(ErrMalformed, "a %v in a request or a reply", k)
	}
	return binary.LittleEndian.Uint64(payload), k, payload[WrapBytes:], nil
}

// CallNumber is the number of the call with which a payload of one of the kinds of a call begins; false if it is too short.
func CallNumber(payload []byte) (number uint64, ok bool) {
	if len(payload) < WrapBytes {
		return 0, false
	}
	return binary.LittleEndian.Uint64(payload), true
}

// AppendFailure appends the payload of a Failure.
func AppendFailure(dst []byte, number uint64, why uint8, text string) []byte {
	if len(text) > FailureTextMost {
		text = text[:FailureTextMost]
	}
	return append(append(binary.LittleEndian.AppendUint64(dst, number), why), text...)
}

// ParseFailure reads what AppendFailure has written. The text is valid UTF-8 and, whoever has written it, of a bounded size.
func ParseFailure(payload []byte) (why uint8, text string, err error) {
	if len(payload) < WrapBytes {
		return 0, "", faultf(ErrMalformed, "%d bytes are too few for a failure", len(payload))
	}
	rest := payload[WrapBytes:]
	return payload[WrapBytes-1], strings.ToValidUTF8(string(rest[:min(len(rest), FailureTextMost)]), "\uFFFD"), nil
}
