package main

import (
	"fmt"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// What a client asked, and what it was told.
type (
	input struct {
		operation  operation // "" is a read
		key        string
		value, old string
	}
	output struct {
		unknown bool // the client was not told
		value   string
		found   bool // for a read
		outcome outcome
	}
)

// register is what one key should be like: a value, or none.
type register struct {
	value string
	found bool
}

// step says whether a key may answer like that, and what it is afterwards.
func step(before register, in input, out output) (bool, register) {
	written := register{in.value, true}
	result, after := done, written
	switch {
	case in.operation == "":
		return out.found == before.found && out.value == before.value, before
	case in.operation == put:
	case !before.found:
		result, after = missing, before
	case in.operation == remove:
		after = register{}
	case before.value != in.old:
		result, after = differs, before
	}
	return out.unknown || out.outcome == result, after
}

// model is that of the store, key by key.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		of := make(map[string]int)
		for _, op := range history {
			key := op.Input.(input).key
			if _, seen := of[key]; !seen {
				of[key] = len(parts)
				parts = append(parts, nil)
			}
			parts[of[key]] = append(parts[of[key]], op)
		}
		return parts
	},
	Init: func() any { return register{} },
	Step: func(before, in, out any) (bool, any) { return step(before.(register), in.(input), out.(output)) },
	DescribeOperation: func(in, out any) string {
		i, o := in.(input), out.(output)
		switch {
		case i.operation == "":
			return fmt.Sprintf("get -> %q %v", o.value, o.found)
		case o.unknown:
			return fmt.Sprintf("%s %q (old %q) -> unknown", i.operation, i.value, i.old)
		}
		return fmt.Sprintf("%s %q (old %q) -> %s", i.operation, i.value, i.old, o.outcome)
	},
}

// A history is what the clients of one round have seen. Its methods may be called concurrently.
type history struct {
	began time.Time

	mu       sync.Mutex // guards what follows
	all      []porcupine.Operation
	unknowns int
}

func (h *history) now() int64 { return h.at().Nanoseconds() }

func (h *history) at() time.Duration { return time.Since(h.began) }

// add notes what was asked at a time and has been answered now. Where it was not answered, it may still be carried out
// at any time.
func (h *history) add(client int, call int64, in input, out output) {
	op := porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: h.now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	if out.unknown {
		op.Return = math.MaxInt64
		h.unknowns++
	}
	h.all = append(h.all, op)
}

// linearizable reports whether there is one order of all that was asked, as if done by one server one by one, that
// fits all answers. What was tried is for draw.
func (h *history) linearizable(t *testing.T) (bool, porcupine.LinearizationInfo) {
	t.Helper()
	result, tried := porcupine.CheckOperationsVerbose(model, h.all, 2*time.Minute)
	if result == porcupine.Unknown {
		t.Fatalf("no order was found in two minutes for %d operations, of which %d are unknown", len(h.all), h.unknowns)
	}
	return result == porcupine.Ok, tried
}

// draw writes a page that shows where a history has no order.
func draw(t *testing.T, tried porcupine.LinearizationInfo) {
	t.Helper()
	page, err := os.CreateTemp("", "kv-history-*.html")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	if err := porcupine.Visualize(model, tried, page); err != nil {
		t.Error(err)
	}
	t.Logf("what was tried is drawn in %s", page.Name())
}
