package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"
)

type fields map[string]any

// An outcome is what became of a request.
type outcome int

const (
	ok      outcome = iota
	failed          // It has not happened, and never will.
	unknown         // It may have happened, or not yet.
)

// An answer is what a client knows of its request.
type answer struct {
	outcome outcome
	body    json.RawMessage // of the reply, if there was one
	code    int             // of the error, if the reply is one
}

func (a answer) String() string {
	if a.body == nil {
		return "no answer"
	}
	return string(a.body)
}

// decode reads the fields of the reply.
func (a answer) decode(into any) error { return json.Unmarshal(a.body, into) }

// The codes of errors that the workloads look at, and those below reserved that are not definite.
const (
	codeTimeout      = 0
	codeCrash        = 13
	codeNoKey        = 20
	codePrecondition = 22
	reserved         = 1000
)

func outcomeOf(code int) outcome {
	if code == codeTimeout || code == codeCrash || code < 0 || code >= reserved {
		return unknown
	}
	return failed
}

// A client asks servers. Its name is that of Maelstrom's clients.
type client struct {
	name string
	net  *network

	mu    sync.Mutex // guards what follows
	last  int64      // msg_id
	calls map[int64]*call
}

// A call is a request that was made. It is kept after its reply, since a second one would be wrong.
type call struct {
	node  string
	reply chan json.RawMessage // has room for one
	got   bool
}

// call asks a server, and waits for its answer: one of the type want, or an error.
func (c *client) call(ctx context.Context, node, kind string, args fields, want string) answer {
	k := &call{node: node, reply: make(chan json.RawMessage, 1)}
	c.mu.Lock()
	c.last++
	id := c.last
	c.calls[id] = k
	c.mu.Unlock()
	body := fields{"type": kind, "msg_id": id}
	maps.Copy(body, args)
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // The workloads make it of what becomes JSON.
	}
	c.net.nodes[node].send(message{Src: c.name, Dest: node, Body: b})
	ctx, cancel := context.WithTimeout(ctx, c.net.run.cfg.Patience)
	defer cancel()
	select {
	case reply := <-k.reply:
		return c.note(c.judge(node, reply, want))
	case <-ctx.Done():
		return c.note(answer{outcome: unknown})
	}
}

// judge tells what a reply says of the request.
func (c *client) judge(node string, reply json.RawMessage, want string) answer {
	var head struct {
		Type string
		Code *int
	}
	err := json.Unmarshal(reply, &head)
	switch {
	case err == nil && head.Type == want:
		return answer{outcome: ok, body: reply}
	case err == nil && head.Type == "error" && head.Code != nil:
		return answer{outcome: outcomeOf(*head.Code), body: reply, code: *head.Code}
	default:
		c.net.run.fault("%s answered %.200q: want the type %s, or error with a code", node, reply, want)
		return answer{outcome: unknown, body: reply}
	}
}

// note counts an answer.
func (c *client) note(a answer) answer {
	r := c.net.run
	r.mu.Lock()
	defer r.mu.Unlock()
	switch a.outcome {
	case ok:
		r.report.OK++
	case failed:
		r.report.Failed++
	default:
		r.report.Unknown++
	}
	return a
}

// receive takes a message of a server.
func (c *client) receive(m message) {
	if wrong := c.accept(m); wrong != "" {
		c.net.run.fault("%s wrote %.200s to %s: %s", m.Src, m.Body, m.Dest, wrong)
	}
}

// accept gives a reply to the request that waits for it. It returns what is wrong with it, if anything is.
func (c *client) accept(m message) string {
	var head struct {
		InReplyTo *int64 `json:"in_reply_to"`
	}
	if err := json.Unmarshal(m.Body, &head); err != nil || head.InReplyTo == nil {
		return "want a number in_reply_to"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.calls[*head.InReplyTo]
	switch {
	case k == nil:
		return "there was no such request"
	case k.node != m.Src:
		return fmt.Sprintf("%s was asked that", k.node)
	case k.got:
		return "that was answered before"
	}
	k.got = true
	k.reply <- m.Body
	return ""
}

// since is a moment as a number that grows.
func since(began time.Time) int64 { return time.Since(began).Nanoseconds() }
