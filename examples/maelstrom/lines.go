package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
)

// A message is one line of Maelstrom's protocol.
type message struct {
	Src  string          `json:"src"`
	Dest string          `json:"dest"`
	Body json.RawMessage `json:"body"`
}

// A request is a message as its receiver sees it.
type request struct {
	from string
	kind string // its type
	id   int64
	body json.RawMessage
}

// request reads what all bodies have.
func (m message) request() (request, error) {
	var head struct {
		Type  string `json:"type"`
		MsgID int64  `json:"msg_id"`
	}
	if err := json.Unmarshal(m.Body, &head); err != nil {
		return request{}, fmt.Errorf("the body of a message from %q is %.100q: %w", m.Src, m.Body, err)
	}
	return request{from: m.Src, kind: head.Type, id: head.MsgID, body: m.Body}, nil
}

// decode reads the fields of the body.
func (r request) decode(into any) error { return json.Unmarshal(r.body, into) }

// Codes of errors, as Maelstrom has them. A definite one says that the operation has not happened and never will.
const (
	codeTimeout      = 0  // indefinite
	codeNotSupported = 10 // definite, like those that follow but codeCrash
	codeUnavailable  = 11
	codeMalformed    = 12
	codeCrash        = 13 // indefinite
	codeNoKey        = 20
	codePrecondition = 22
)

// reply answers a client. It waits until the line can be written.
func (s *server) reply(r request, kind string, fields map[string]any) {
	body := map[string]any{"type": kind, "in_reply_to": r.id}
	maps.Copy(body, fields)
	s.out.lines <- s.out.line(r.from, body)
}

// refuse answers a client with an error.
func (s *server) refuse(r request, code int, text string) {
	s.reply(r, "error", map[string]any{"code": code, "text": text})
}

// unsupported refuses a request that the workload does not have.
func (s *server) unsupported(r request) {
	s.refuse(r, codeNotSupported, fmt.Sprintf("this workload has no requests of type %q", r.kind))
}

// input reads messages.
type input struct{ d *json.Decoder }

func newInput(r io.Reader) *input { return &input{json.NewDecoder(bufio.NewReaderSize(r, 1<<20))} }

func (i *input) next() (m message, err error) {
	err = i.d.Decode(&m)
	return m, err
}

// output writes messages, each in a line of its own.
type output struct {
	self  string // this server's name; set before the first message
	lines chan []byte
	done  chan error // yields what was wrong when all is written
}

// queued is how many lines wait to be written.
const queued = 1024

func newOutput(w io.Writer) *output {
	o := &output{lines: make(chan []byte, queued), done: make(chan error, 1)}
	go func() { o.done <- o.write(bufio.NewWriterSize(w, 1<<20)) }() // close closes lines, and waits for done.
	return o
}

// write goes on to take lines after an error, so that nobody waits for it.
func (o *output) write(w *bufio.Writer) error {
	var failed error
	for line := range o.lines {
		if failed != nil {
			continue
		}
		_, failed = w.Write(line)
		if failed == nil && len(o.lines) == 0 {
			failed = w.Flush()
		}
	}
	if failed != nil {
		return fmt.Errorf("cannot write: %w", failed)
	}
	return nil
}

// line is a message from this server.
func (o *output) line(dest string, body any) []byte {
	b, err := json.Marshal(body)
	if err == nil {
		b, err = json.Marshal(message{Src: o.self, Dest: dest, Body: b})
	}
	if err != nil {
		panic(err) // Bodies are made of JSON and of what always becomes JSON.
	}
	return append(b, '\n')
}

// close waits until all lines are written. Nobody may write any more.
func (o *output) close() error {
	close(o.lines)
	return <-o.done
}
