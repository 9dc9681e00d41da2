package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// pick is a server by chance.
func (r *run) pick(chance *rand.Rand) string { return r.names[chance.IntN(len(r.names))] }

// needOK tells if nothing was answered but what begin asks: such a run says nothing about the servers.
func (r *run) needOK() {
	r.mu.Lock()
	done, all := r.report.OK, r.report.OK+r.report.Failed+r.report.Unknown
	r.mu.Unlock()
	if done <= 2*len(r.names) {
		r.fault("only %d of %d requests were answered", done, all)
	}
}

// echo checks that what is sent comes back.
type echo struct{ run *run }

func (w *echo) request(c *client, chance *rand.Rand) {
	sent, err := json.Marshal([]any{
		"Please echo " + fmt.Sprint(chance.IntN(1000)), chance.Int64(), chance.Float64(), nil,
		map[string]any{"ö<&>\u2028\n\"": []int{}}, chance.IntN(2) == 0,
	})
	if err != nil {
		panic(err)
	}
	node := w.run.pick(chance)
	a := c.call(context.Background(), node, "echo", fields{"echo": json.RawMessage(sent)}, "echo_ok")
	if a.outcome != ok {
		w.run.fault("%s was asked to echo %s: %v", node, sent, a)
		return
	}
	var reply struct{ Echo json.RawMessage }
	if err := a.decode(&reply); err != nil || !same(reply.Echo, sent) {
		w.run.fault("%s echoed %s as %s", node, sent, reply.Echo)
	}
}

func (w *echo) settle(context.Context, *client) {}

func (w *echo) check() { w.run.needOK() }

// same reports whether two texts are the same JSON, but for the order of the fields of objects.
func same(a, b json.RawMessage) bool { return canonical(a) == canonical(b) }

// canonical is the same text for the same JSON; invalid JSON is itself.
func canonical(j json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(j))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return string(j)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return string(j)
	}
	return string(b)
}

// uniqueIDs checks that no id is given out twice.
type uniqueIDs struct {
	run *run

	mu   sync.Mutex
	seen map[string]string // ids, and who gave them out
}

func (w *uniqueIDs) request(c *client, chance *rand.Rand) {
	node := w.run.pick(chance)
	a := c.call(context.Background(), node, "generate", nil, "generate_ok")
	if a.outcome != ok {
		return
	}
	var reply struct{ ID json.RawMessage }
	if err := a.decode(&reply); err != nil || reply.ID == nil {
		w.run.fault("%s answered %v: want an id", node, a)
		return
	}
	id := canonical(reply.ID)
	w.mu.Lock()
	before, twice := w.seen[id]
	w.seen[id] = node
	w.mu.Unlock()
	if twice {
		w.run.fault("%s gave out the id %s, as %s had before", node, id, before)
	}
}

func (w *uniqueIDs) settle(context.Context, *client) {}

func (w *uniqueIDs) check() { w.run.needOK() }

// broadcast checks that all that is broadcast comes to all servers, once, and nothing else.
type broadcast struct {
	run  *run
	next atomic.Int64

	mu   sync.Mutex
	sent map[string]bool // values; true: the broadcast was answered
}

func (w *broadcast) request(c *client, chance *rand.Rand) {
	node := w.run.pick(chance)
	if chance.IntN(4) == 0 {
		w.read(context.Background(), c, node)
		return
	}
	value := w.next.Add(1)
	w.note(value, false)
	if a := c.call(context.Background(), node, "broadcast", fields{"message": value}, "broadcast_ok"); a.outcome == ok {
		w.note(value, true)
	}
}

func (w *broadcast) note(value int64, answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent[fmt.Sprint(value)] = answered
}

// read is what a server has. It checks that clients have sent that.
func (w *broadcast) read(ctx context.Context, c *client, node string) (has map[string]bool) {
	a := c.call(ctx, node, "read", nil, "read_ok")
	if a.outcome != ok {
		return nil
	}
	var reply struct{ Messages []json.RawMessage }
	if err := a.decode(&reply); err != nil || reply.Messages == nil {
		w.run.fault("%s answered %.200s: want a list messages", node, a.body)
		return nil
	}
	has = make(map[string]bool)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range reply.Messages {
		value := canonical(m)
		if _, sent := w.sent[value]; !sent || has[value] {
			w.run.fault("%s has the message %s, which is there twice or was not broadcast", node, value)
		}
		has[value] = true
	}
	return has
}

// settle waits until all servers have all messages.
func (w *broadcast) settle(ctx context.Context, c *client) {
	lacks := "no server has answered"
	for ctx.Err() == nil {
		now := w.lacks(ctx, c)
		if now == "" {
			return
		}
		if ctx.Err() == nil {
			lacks = now
		}
		sleep(ctx, 50*time.Millisecond)
	}
	w.run.fault("%v after the network became whole: %s", w.run.cfg.Settle, lacks)
}

// lacks tells what a server lacks; empty if none lacks anything.
func (w *broadcast) lacks(ctx context.Context, c *client) string {
	for _, node := range w.run.names {
		if missing := w.missing(w.read(ctx, c, node)); len(missing) > 0 {
			return fmt.Sprintf("%s lacks %d messages, such as %s", node, len(missing), missing[0])
		}
	}
	return ""
}

// missing are the messages whose broadcast was answered, and that are not in has.
func (w *broadcast) missing(has map[string]bool) (missing []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for value, answered := range w.sent {
		if answered && !has[value] {
			missing = append(missing, value)
		}
	}
	slices.Sort(missing)
	return missing
}

func (w *broadcast) check() { w.run.needOK() }
