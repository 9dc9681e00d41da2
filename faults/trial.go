//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A row is one promise, and the fault that it is held against. Each is registered by the
// file that has it.
type row struct {
	name    string
	promise string // for the report
	fault   string // likewise
	needs   []need
	quick   bool // part of the quick campaign
	last    bool // after all others, with the time that is left
	run     func(*trial) error
}

var rows []row

func register(r ...row) { rows = append(rows, r...) }

// A need is something that the machine must have for a row. A row whose needs are not
// met is skipped, and says so.
type need struct {
	what  string
	check func() error
}

var needRoot = need{"root", func() error {
	if os.Geteuid() != 0 {
		return errors.New("this is not root")
	}
	return nil
}}

// A trial is a row while it runs.
type trial struct {
	ctx         context.Context // it ends when the campaign is interrupted
	row         *row
	quick       bool
	long        bool
	seed        uint64
	limit       time.Duration // for rows that take as long as they are given
	dir         string        // for the trial's files
	exe         string        // of the servers
	environment []string      // likewise
	transport   string        // one of transports
	fields      []*field
	lives       atomic.Int32 // of all servers so far
	began       time.Time
	report      func(line string)

	verdicts []violation
	figures  []figure
	undo     []func() // what heals what is still ill, if the row ends early
}

// A figure is something that was measured.
type figure struct{ Name, Value string }

// say tells what happens.
func (t *trial) say(format string, args ...any) {
	t.report(fmt.Sprintf("%6.1f s  %s", time.Since(t.began).Seconds(), fmt.Sprintf(format, args...)))
}

// figure notes something that was measured.
func (t *trial) figure(name, format string, args ...any) {
	t.figures = append(t.figures, figure{name, fmt.Sprintf(format, args...)})
}

// fail notes violations.
func (t *trial) fail(vs ...violation) {
	for _, v := range vs {
		t.say("FAILED %v", v)
	}
	t.verdicts = append(t.verdicts, vs...)
}

// failIf notes the violation if there is one.
func (t *trial) failIf(v *violation) {
	if v != nil {
		t.fail(*v)
	}
}

// judge asks the oracles of the contract.
func (t *trial) judge(b *books) {
	t.say("the books: %d handed over, %d delivered, by %d processes", b.handedAll, b.received, len(b.lives))
	t.fail(b.contract()...)
}

// scale is a quantity that is smaller in the quick campaign.
func scale[T any](t *trial, full, quick T) T {
	if t.quick {
		return quick
	}
	return full
}

// sleep waits, and returns the span that it waited.
func (t *trial) sleep(d time.Duration) (span, error) {
	from := now()
	select {
	case <-time.After(d):
		return span{from, now()}, nil
	case <-t.ctx.Done():
		return span{from, now()}, t.ctx.Err()
	}
}

// calm waits for a second, in which connections are made, and then for d: the
// span before a fault, with which the spans behind it are compared.
func (t *trial) calm(d time.Duration) (span, error) {
	if _, err := t.sleep(time.Second); err != nil {
		return span{}, err
	}
	return t.sleep(d)
}

// await waits until the condition holds. what says what is missing then.
func (t *trial) await(limit time.Duration, what string, ok func() (bool, error)) error {
	for end := time.Now().Add(limit); ; {
		if done, err := ok(); done || err != nil {
			return err
		}
		if time.Now().After(end) {
			return found(oracleHang, "%s: not in %v", what, limit)
		}
		if _, err := t.sleep(20 * time.Millisecond); err != nil {
			return err
		}
	}
}

// onEnd has something undone at the end of the trial, however it ends.
func (t *trial) onEnd(undo func()) { t.undo = append(t.undo, undo) }

// carryOut runs the row.
func (t *trial) carryOut() {
	t.began = time.Now()
	err := t.guarded()
	for _, f := range slices.Backward(t.undo) {
		f()
	}
	for _, f := range t.fields {
		f.abandon()
		if err != nil {
			t.tell(f)
		}
	}
	t.fail(violations(err)...)
}

func (t *trial) guarded() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = found(oracleSetup, "panic: %v", p)
		}
	}()
	return t.row.run(t)
}

// tell shows the last words of the servers of a trial that went wrong.
func (t *trial) tell(f *field) {
	for _, l := range f.lives {
		if l.proc == nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(l.proc.words()), "\n")
		for _, line := range lines[max(0, len(lines)-5):] {
			if line != "" {
				t.say("%v: %s", l, line)
			}
		}
	}
}

// violations takes an error apart.
func violations(err error) (vs []violation) {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range many.Unwrap() {
			vs = append(vs, violations(err)...)
		}
		return vs
	}
	var v violation
	if errors.As(err, &v) {
		v.text = strings.Replace(err.Error(), v.oracle+": ", "", 1)
		return []violation{v}
	}
	return []violation{{oracleSetup, err.Error()}}
}

// newTrial makes a trial with a directory of its own, which remove removes.
func newTrial(ctx context.Context, r *row, o options) (t *trial, remove func(), err error) {
	dir, err := os.MkdirTemp(o.dir, "faults-"+r.name+"-")
	if err != nil {
		return nil, nil, err
	}
	t = &trial{ctx: ctx, row: r, quick: o.quick, long: o.long, seed: o.seed, dir: dir, exe: o.exe, environment: o.environment, transport: o.transport, report: o.report}
	return t, func() { os.RemoveAll(dir) }, nil
}

// path names a file of the trial's own.
func (t *trial) path(name string) string { return filepath.Join(t.dir, name) }
