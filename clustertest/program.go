package clustertest

import (
	"fmt"
	"slices"
	"testing"
)

// A program is what a network works for where there is no test.
type program struct {
	testing.TB // nil: only what follows is called
	cleanups   []func()
}

func (p *program) Helper()                   {}
func (p *program) Name() string              { return "" }
func (p *program) Failed() bool              { return false }
func (p *program) Cleanup(f func())          { p.cleanups = append(p.cleanups, f) }
func (p *program) Logf(string, ...any)       {}
func (p *program) Fatal(args ...any)         { panic(fmt.Sprint(args...)) }
func (p *program) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (p *program) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// Close ends a network that was made without a test.
func (n *Network) Close() {
	p, ok := n.t.(*program)
	if !ok {
		return // the end of the test does it
	}
	for _, f := range slices.Backward(p.cleanups) {
		f()
	}
	p.cleanups = nil
}
