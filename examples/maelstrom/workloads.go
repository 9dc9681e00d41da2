package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
)

// echo returns what clients send.
func echo(s *server) error {
	for r := range s.requests {
		var body struct {
			Echo json.RawMessage `json:"echo"`
		}
		switch {
		case r.kind != "echo":
			s.unsupported(r)
		case r.decode(&body) != nil || body.Echo == nil:
			s.refuse(r, codeMalformed, "echo: want a field echo")
		default:
			s.reply(r, "echo_ok", map[string]any{"echo": body.Echo})
		}
	}
	return nil
}

// uniqueIDs gives out ids of messages, which are unique in the cluster: the library gives one to each message that a
// server sends, also to those that it sends to itself.
func uniqueIDs(s *server) error {
	waiting := make(map[int64]request)
	for count := int64(1); ; {
		select {
		case r, ok := <-s.requests:
			if !ok {
				return nil
			}
			if r.kind != "generate" {
				s.unsupported(r)
				continue
			}
			waiting[count] = r
			s.node.Outbox() <- &cluster.Envelope{Pid: s.node.Pid(), Msg: count}
			count++
		case env := <-s.node.Inbox():
			if n, ok := env.Msg.(int64); ok && env.Pid == s.node.Pid() {
				s.reply(waiting[n], "generate_ok", map[string]any{"id": env.MsgId})
				delete(waiting, n)
			}
		}
	}
}

// gossip tells other servers values that clients have broadcast, each as JSON, and got says that they have come.
type (
	gossip struct{ Values []string }
	got    struct{ Values []string }
)

func init() {
	cluster.Register("maelstrom.gossip", gossip{})
	cluster.Register("maelstrom.got", got{})
}

// again is after what time a value is sent again to a server that has not said that it has it.
const again = 200 * time.Millisecond

// broadcast brings each value that a client sends to one server to all of them.
func broadcast(s *server) error { return spread(s, again) }

// spread is broadcast with another interval between two tries.
func spread(s *server, again time.Duration) error {
	known := make(map[string]bool)
	missing := make(map[int]map[string]bool) // what we got from clients and another server may not have
	for _, pid := range s.node.Peers() {
		missing[pid] = make(map[string]bool)
	}
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		select {
		case r, ok := <-s.requests:
			if !ok {
				return nil
			}
			if value := s.broadcastRequest(r, known); value != "" {
				for pid := range missing {
					missing[pid][value] = true
				}
				s.node.Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: gossip{[]string{value}}}
			}
		case env := <-s.node.Inbox():
			switch m := env.Msg.(type) {
			case gossip:
				for _, v := range m.Values {
					known[v] = true
				}
				s.node.Outbox() <- &cluster.Envelope{Pid: env.Pid, Msg: got(m)}
			case got:
				for _, v := range m.Values {
					delete(missing[env.Pid], v)
				}
			}
		case <-tick.C:
			for pid, values := range missing {
				if len(values) > 0 {
					s.node.Outbox() <- &cluster.Envelope{Pid: pid, Msg: gossip{slices.Collect(maps.Keys(values))}}
				}
			}
		}
	}
}

// broadcastRequest answers a client. It returns the value that the client broadcasts, if that is new.
func (s *server) broadcastRequest(r request, known map[string]bool) (value string) {
	switch r.kind {
	case "topology": // Each server reaches all.
		s.reply(r, "topology_ok", nil)
	case "read":
		messages := make([]json.RawMessage, 0, len(known))
		for v := range known {
			messages = append(messages, json.RawMessage(v))
		}
		s.reply(r, "read_ok", map[string]any{"messages": messages})
	case "broadcast":
		var body struct {
			Message json.RawMessage `json:"message"`
		}
		if r.decode(&body) != nil || body.Message == nil {
			s.refuse(r, codeMalformed, "broadcast: want a field message")
			return ""
		}
		if v := compact(body.Message); !known[v] {
			known[v] = true
			value = v
		}
		s.reply(r, "broadcast_ok", nil)
	default:
		s.unsupported(r)
	}
	return value
}

// compact is valid JSON without spaces, so that what is the same value is the same text.
func compact(j json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, j); err != nil {
		panic(err) // json.RawMessage is valid when it comes from the decoder.
	}
	return b.String()
}
