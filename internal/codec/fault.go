package codec

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// The errors a caller can tell apart; what Append and Decode return wraps one of them. The text of what they return does not
// repeat that one's: callers put their own words before it.
var (
	// ErrUnregistered: a Go type that Register was not told of, at the sender or at the receiver.
	ErrUnregistered = errors.New("cluster: type not registered")
	// ErrMalformed: bytes that are not the encoding of any value, or that name more types than their sender may.
	ErrMalformed = errors.New("cluster: malformed payload")
	// ErrNotEncodable: a value that no receiver could be given: a channel, a cycle, a typed nil pointer.
	ErrNotEncodable = errors.New("cluster: value cannot be sent")
	// ErrTooLarge: a value whose encoding, or whose cost, is beyond the limit.
	ErrTooLarge = errors.New("cluster: value too large")
	// ErrStopped: Limits.Stop was closed before the work was done.
	ErrStopped = errors.New("cluster: encoding or decoding was stopped")
)

const (
	maxText     = 1000 // bytes of an error's text
	maxCause    = 200  // bytes of it that are a method's own words
	shownFields = 6    // innermost names of a path; of longer paths the outermost is shown beside them
)

// fault is an error of a value or of a payload. Its text is made of types, field names and sizes, never of content: it may
// be logged, whoever sent the payload, and it keeps nothing of a message alive.
type fault struct {
	kind  error // one of the above
	text  string
	cause error // of a method of the sender's program; nil otherwise

	fields []string // on the way to the value, the innermost first
	outer  string   // the type in which the outermost lies
}

// faultf makes a fault. The arguments are types, field names and numbers.
func faultf(kind error, format string, args ...any) error {
	return &fault{kind: kind, text: cut(fmt.Sprintf(format, args...), maxText)}
}

func (f *fault) Error() string { return f.text }

func (f *fault) Unwrap() []error {
	if f.cause == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.cause}
}

// Class is the one of the errors above that an error of Append or Decode wraps; nil for others. Unlike errors.Is it calls no
// method of an error of the program's.
func Class(err error) error {
	if f, ok := err.(*fault); ok {
		return f.kind
	}
	return nil
}

// inField notes that err was met in a field of a value of type outer. Where a limit was reached says nothing.
func inField(err error, field string, outer fmt.Stringer) error {
	if f, ok := err.(*fault); ok && f.kind != ErrStopped && f.kind != ErrTooLarge {
		f.fields = append(f.fields, field)
		f.outer = cut(outer.String(), maxCause)
	}
	return err
}

// located puts the path to the value into the text, once it is complete.
func located(err error) error {
	f, ok := err.(*fault)
	if !ok || len(f.fields) == 0 {
		return err
	}
	var path strings.Builder
	n := len(f.fields)
	for i := n - 1; i >= 0; i-- {
		if n > shownFields+1 && i == n-2 {
			i = shownFields - 1
			fmt.Fprintf(&path, ".(%d fields).", n-1-shownFields)
		} else if i < n-1 {
			path.WriteByte('.')
		}
		path.WriteString(cut(f.fields[i], maxCause/4))
	}
	f.text = cut(fmt.Sprintf("field %s of %s: %s", path.String(), f.outer, f.text), maxText)
	f.fields, f.outer = nil, ""
	return f
}

// failed is the error of a method of the sender's program, which gets its own error back.
func failed(method string, t fmt.Stringer, cause error) error {
	return &fault{
		kind: ErrNotEncodable, cause: cause,
		text: cut(fmt.Sprintf("%s of %s: %s", method, cut(t.String(), maxCause), cut(cause.Error(), maxCause)), maxText),
	}
}

// rejected is the error of a method that did not take what a peer has sent. What the method says is left out: it often
// repeats its input.
func rejected(method string, t fmt.Stringer, size int, cause error) error {
	return faultf(ErrMalformed, "%s of %v does not take these %d bytes (%T)", method, t, size, cause)
}

// panicked is the error of a value or payload whose methods panicked. Package runtime's texts speak of types, indices and
// lengths; others may hold anything.
func panicked(kind error, what string, r any) error {
	if err, ok := r.(runtime.Error); ok {
		return faultf(kind, "%s panicked: %v", what, err)
	}
	return faultf(kind, "%s panicked with a value of type %T", what, r)
}

// cut shortens a text to n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "..."
}
