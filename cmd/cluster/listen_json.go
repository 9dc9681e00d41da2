package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"unicode/utf8"

	"github.com/abhishekg16/cluster"
)

// A line is a message as JSON. The id is a string, since many readers of JSON do not
// keep integers of its size.
type line struct {
	From  int    `json:"from"`
	ID    string `json:"id"`
	Type  string `json:"type"`
	Value any    `json:"value"`
	// Request tells that it was sent by Call.
	Request bool `json:"request,omitempty"`
	// Encoding says what Value is where JSON cannot hold it: "base64" of a string or
	// []byte, or "go" for text as in a Go program. Empty: the value itself.
	Encoding string `json:"encoding,omitempty"`
}

// writeJSON prints a message as a line of JSON.
func writeJSON(w io.Writer, e *cluster.Envelope) error {
	msg, request := content(e)
	l := line{From: e.Pid, ID: fmt.Sprint(e.MsgId), Type: typeName(msg), Value: msg, Request: request}
	switch v := msg.(type) {
	case []byte:
		l.Value, l.Encoding = base64.StdEncoding.EncodeToString(v), "base64"
	case string:
		if !utf8.ValidString(v) {
			l.Value, l.Encoding = base64.StdEncoding.EncodeToString([]byte(v)), "base64"
		}
	default:
		if !allUTF8(reflect.ValueOf(v)) {
			l.Value, l.Encoding = text(v), "go"
		}
	}
	b, err := marshal(l)
	if err != nil { // NaN, or a map with other keys than strings and integers
		l.Value, l.Encoding = text(msg), "go"
		if b, err = marshal(l); err != nil {
			return err
		}
	}
	_, err = w.Write(b)
	return err
}

func marshal(l line) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(l)
	return b.Bytes(), err
}

// allUTF8 reports whether JSON can hold every string in a value.
func allUTF8(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return utf8.ValidString(v.String())
	case reflect.Interface, reflect.Pointer:
		return v.IsNil() || allUTF8(v.Elem())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !allUTF8(v.Index(i)) {
				return false
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if !allUTF8(it.Key()) || !allUTF8(it.Value()) {
				return false
			}
		}
	}
	return true
}
