package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/abhishekg16/cluster"
)

// Question and Answer show that structs travel as what they are: a server that receives a Question replies with
// an Answer to whoever sent it.
type (
	Question struct{ Text string }
	Answer   struct{ Text string }
)

// An order is one line that the story writes to a server's standard input. The end of the input is the order to
// shut down, so no server outlives the story.
type order struct {
	Do   string // "send", "ask", "try", "stats"
	To   []int  // one id, cluster.BROADCAST, or several ids: a group
	Text string
}

// An event is one line that a server writes to its standard output, which all servers share: a line is one write,
// so the lines of all of them come in the order in which things happened.
type event struct {
	Server int    // who reports it
	What   string // "up", "received", "outcome", "stats", "closed", "failed"; "ended" is added by the story
	Peer   int    `json:",omitempty"` // received: from whom
	Text   string `json:",omitempty"`
	Books  books  `json:",omitzero"` // stats: what became of its messages so far, whoever they were for
}

type books struct{ Accepted, Sent, Queued, Dropped, Unlisted uint64 }

// serve is the whole life of one server, which the story knows as another number if as is not its id.
func serve(id, as int, config string) error {
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the story too, which then ends the servers
	cluster.Register("demo.Question", Question{})
	cluster.Register("demo.Answer", Answer{})

	report := func(e event) {
		e.Server = as
		line, _ := json.Marshal(e)
		os.Stdout.Write(append(line, '\n'))
	}
	node, err := cluster.New(id, config)
	if err != nil {
		report(event{What: "failed", Text: err.Error()})
		return err
	}
	report(event{What: "up", Text: fmt.Sprintf("process %d, peers %v", os.Getpid(), node.Peers())})

	received := make(chan struct{})
	go func() { // ends with the inbox, which Shutdown closes; the last lines of serve wait for it
		defer close(received)
		for env := range node.Inbox() {
			report(event{What: "received", Peer: env.Pid, Text: describe(env.Msg)})
			if q, ok := env.Msg.(Question); ok {
				answer := &cluster.Envelope{Pid: env.Pid, Msg: Answer{"yes, to: " + q.Text}}
				select {
				case node.Outbox() <- answer:
				case <-node.Done():
				}
			}
		}
	}()
	if err := obey(node, os.Stdin, report); err != nil {
		report(event{What: "failed", Text: err.Error()})
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = node.Shutdown(ctx)
	<-received
	report(event{What: "closed"})
	return err
}

// obey carries out what the story orders until its lines end.
func obey(node *cluster.Node, orders io.Reader, report func(event)) error {
	lines := bufio.NewScanner(orders)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("order %q: %w", lines.Text(), err)
		}
		if o.Do == "stats" {
			stats := node.Stats()
			report(event{What: "stats", Text: stats.String(), Books: books{
				stats.Sent.Accepted, stats.Sent.Sent, stats.Sent.Queued, stats.Sent.DroppedTotal(),
				stats.Refused[cluster.RefusedKey],
			}})
			continue
		}
		env := &cluster.Envelope{Pid: o.To[0], Msg: o.Text}
		if o.Do == "ask" {
			env.Msg = Question{o.Text}
		}
		if len(o.To) > 1 {
			group, err := node.Group(o.To...)
			if err != nil {
				return err
			}
			env.Pid = group
		}
		if o.Do == "try" { // for who wants to know at once what becomes of a message
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			report(event{What: "outcome", Text: fmt.Sprint(node.Send(ctx, env))})
			cancel()
			continue
		}
		node.Outbox() <- env
	}
	return lines.Err()
}

// describe is how the log shows a message, and by what the story recognises it.
func describe(msg any) string {
	if text, ok := msg.(string); ok {
		return strconv.Quote(text)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T%+v", msg, msg), "main.")
}
