package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// linKV checks that reads, writes and compare-and-sets are linearizable: that they could have happened one after another,
// each between its request and its answer.
type linKV struct {
	run   *run
	began time.Time

	mu      sync.Mutex
	history []porcupine.Operation
}

const (
	keys   = 4
	values = 5

	// never is when a request ends whose fate is not known: it may happen at any time.
	never = math.MaxInt64
)

// A kvOp is a request; of read, only the key counts, and of write, the value is to.
type kvOp struct {
	kind          string
	key, from, to int
}

// A kvResult is an answer.
type kvResult struct {
	outcome outcome
	noKey   bool // the error says that there is no such key
	differs bool // the error says that another value is there
	value   int  // of a read
}

func (w *linKV) request(c *client, chance *rand.Rand) {
	op := kvOp{
		kind: []string{"read", "read", "write", "cas"}[chance.IntN(4)],
		key:  chance.IntN(keys), from: chance.IntN(values), to: chance.IntN(values),
	}
	w.do(context.Background(), c, w.run.pick(chance), op)
}

// do makes a request and keeps it in the history. It reports whether it was done.
func (w *linKV) do(ctx context.Context, c *client, node string, op kvOp) bool {
	args := fields{"key": op.key}
	switch op.kind {
	case "write":
		args["value"] = op.to
	case "cas":
		args["from"], args["to"] = op.from, op.to
	}
	called := since(w.began)
	a := c.call(ctx, node, op.kind, args, op.kind+"_ok")
	returned := since(w.began)
	res := kvResult{outcome: a.outcome, noKey: a.code == codeNoKey, differs: a.code == codePrecondition}
	if a.outcome == ok && op.kind == "read" {
		var reply struct{ Value *int }
		if err := json.Unmarshal(a.body, &reply); err != nil || reply.Value == nil {
			w.run.fault("%s answered %v: want a value", node, a)
			return false
		}
		res.value = *reply.Value
	}
	switch {
	case res.outcome == failed && !res.noKey && !res.differs:
		return false // It has not happened and says nothing.
	case res.outcome == unknown && op.kind == "read":
		return false // It says nothing either.
	case res.outcome == unknown:
		returned = never
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, porcupine.Operation{Input: op, Call: called, Output: res, Return: returned})
	return a.outcome == ok
}

// settle waits until each server serves writes and reads of each key.
func (w *linKV) settle(ctx context.Context, c *client) {
	for _, node := range w.run.names {
		for key := range keys {
			for !w.do(ctx, c, node, kvOp{kind: "write", key: key, to: key}) || !w.do(ctx, c, node, kvOp{kind: "read", key: key}) {
				sleep(ctx, 20*time.Millisecond)
				if ctx.Err() != nil {
					w.run.fault("%v after the network became whole: %s does not serve key %d", w.run.cfg.Settle, node, key)
					return
				}
			}
		}
	}
}

// absent is the value of a key that is not there.
const absent = -1

// model is one key.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, keys)
		for _, o := range history {
			key := o.Input.(kvOp).key
			parts[key] = append(parts[key], o)
		}
		return parts
	},
	Init: func() any { return absent },
	Step: func(state, input, output any) (bool, any) {
		value, op, res := state.(int), input.(kvOp), output.(kvResult)
		return step(value, op, res)
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// step tells whether an op can end so when a key has the value, and the value after it.
func step(value int, op kvOp, res kvResult) (bool, int) {
	switch {
	case res.noKey:
		return value == absent && op.kind != "write", value
	case res.differs:
		return value != absent && value != op.from && op.kind == "cas", value
	case op.kind == "read":
		return value == res.value, value
	case op.kind == "write":
		return true, op.to
	case value == op.from:
		return true, op.to
	default: // a compare-and-set that cannot have been done
		return res.outcome == unknown, value
	}
}

// checkTimeout is how long it may take to find out.
const checkTimeout = time.Minute

func (w *linKV) check() {
	w.run.needOK()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch porcupine.CheckOperationsTimeout(model, w.history, checkTimeout) {
	case porcupine.Illegal:
		w.run.fault("the history of %d requests is not linearizable", len(w.history))
	case porcupine.Unknown:
		w.run.fault("whether the history of %d requests is linearizable is not known after %v", len(w.history), checkTimeout)
	}
}
