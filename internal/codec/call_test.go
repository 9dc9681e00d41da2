package codec

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestWhatIsWrappedIsUnwrapped(t *testing.T) {
	for _, v := range []any{nil, 7, "text", []byte("bytes"), map[string]int{"a": 1}} {
		payload, err := AppendWrapped([]byte("before"), 1<<63+5, v, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		number, kind, rest, err := Unwrap(payload[len("before"):])
		if err != nil || number != 1<<63+5 {
			t.Fatalf("%v: number %d, %v", v, number, err)
		}
		got, _, err := Decode(kind, rest, false, Limits{}, nil)
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("got %v, %v, want %v", got, err, v)
		}
		if n, ok := CallNumber(payload[len("before"):]); !ok || n != number {
			t.Errorf("the number alone is %d, %v", n, ok)
		}
	}
	if b, err := AppendWrapped([]byte("before"), 1, make(chan int), Limits{}); err == nil || string(b) != "before" {
		t.Errorf("a channel: %q, %v", b, err)
	}
}

func TestWhatIsNoRequestIsMalformed(t *testing.T) {
	for name, payload := range map[string]string{
		"nothing": "", "a number": "12345678", "a request in it": "12345678\x16x", "a reply in it": "12345678\x17x", "a failure in it": "12345678\x18x",
	} {
		if _, kind, _, err := Unwrap([]byte(payload)); !errors.Is(err, ErrMalformed) || kind != Invalid {
			t.Errorf("%s: kind %v, %v", name, kind, err)
		}
	}
	if _, ok := CallNumber([]byte("12345678")); ok {
		t.Error("8 bytes have the number of a call")
	}
	if _, _, err := ParseFailure([]byte("12345678")); !errors.Is(err, ErrMalformed) {
		t.Errorf("8 bytes are a failure: %v", err)
	}
	for k := range Kind(128) {
		if _, _, err := Decode(k, []byte("12345678\x01"), false, Limits{}, nil); k.OfCall() && !errors.Is(err, ErrMalformed) {
			t.Errorf("%v is a message by itself: %v", k, err)
		}
	}
}

func TestTheTextOfAFailureIsBounded(t *testing.T) {
	for text, want := range map[string]string{"": "", "why": "why", "\xff": "\uFFFD", strings.Repeat("x", 1<<16): strings.Repeat("x", FailureTextMost)} {
		why, got, err := ParseFailure(AppendFailure(nil, 9, 3, text))
		if why != 3 || got != want || err != nil {
			t.Errorf("%.20q: got %d, %.20q, %v", text, why, got, err)
		}
	}
	if _, got, _ := ParseFailure([]byte("123456789" + strings.Repeat("x", 1<<16))); len(got) != FailureTextMost {
		t.Errorf("of a long text %d bytes are read", len(got))
	}
}

// FuzzCall reads any bytes as each part of a call.
func FuzzCall(f *testing.F) {
	for _, v := range []any{nil, 7, "text", map[string]int{"a": 1}} {
		payload, err := AppendWrapped(nil, 1, v, Limits{})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Add(AppendFailure(nil, 2, 3, "why"))
	f.Add([]byte("12345678\x16x"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := bytes.Clone(payload)
		Quick(Request, payload)
		if number, kind, rest, err := Unwrap(payload); err == nil {
			if kind.OfCall() || len(rest) != len(payload)-WrapBytes {
				t.Errorf("kind %v, %d bytes", kind, len(rest))
			}
			if again, err := AppendWrapped(nil, number, nil, Limits{}); err != nil || !bytes.Equal(again[:8], payload[:8]) {
				t.Errorf("number %d is written as %x", number, again)
			}
			Decode(kind, rest, false, Limits{Bytes: 1 << 16}, NewTypes())
		}
		if why, text, err := ParseFailure(payload); err == nil {
			if why2, text2, err := ParseFailure(AppendFailure(nil, 1, why, text)); err != nil || why2 != why || len(text) <= FailureTextMost && text2 != text {
				t.Errorf("%d %q is read as %d %q", why, text, why2, text2)
			}
		}
		if !bytes.Equal(before, payload) {
			t.Error("the payload was changed")
		}
	})
}
