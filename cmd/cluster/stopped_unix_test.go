//go:build unix

package main

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAServerThatIsStoppedIsTold(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	l := listening(t, dir, "Config.json", "-id", "1")
	if err := l.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	call(t, dir, "", "check", "Config.json", "--wait", "300ms").want(t, 1,
		"no: connected, and nothing was said", "by a server that is stopped or by another program", "1 fault:")
	call(t, dir, "", "ping", "Config.json", "-id", "0", "--to", "1", "-n", "1", "--wait", "300ms").want(t, 1, "or it is stopped", "0 of 1 answered")
}

func TestSendTellsThatAServerWhichStartedAnewMayNotHaveGotAll(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	l := listening(t, dir, "Config.json", "-id", "1")
	p := running(t, dir, "send", "Config.json", "-id", "0", "--to", "1", "-")
	say := func(lines int, text string) {
		t.Helper()
		if _, err := io.WriteString(p.in, strings.Repeat(text+"\n", lines)); err != nil {
			t.Fatal(err)
		}
	}
	heard := func(l *process, text string) {
		t.Helper()
		for !strings.Contains(l.line(t), text) {
		}
	}
	say(1, "before")
	heard(l, "before")
	if err := l.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// So many that the first have long been written when the last is read. What was not may come to the next life.
	say(5000, "to a server that does not run"+strings.Repeat(".", 70))
	if err := l.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	l.ended(t)
	l = listening(t, dir, "Config.json", "-id", "1")
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline, heard := time.After(limit), false; !heard; { // until it is known that it runs again
		select {
		case <-again.C:
			say(1, "after")
		case line := <-l.lines:
			heard = strings.Contains(line, "after")
		case <-deadline:
			t.Fatalf("nothing came within %v; it said:\n%s", limit, p.stderr())
		}
	}
	go func() { // It ends with the process; its cleanup waits for that.
		for range l.lines {
		}
	}()
	p.in.(io.Closer).Close()
	if code := p.ended(t); code != exitFailed {
		t.Errorf("it ended with %d, want %d", code, exitFailed)
	}
	if said := p.stderr(); !strings.Contains(said, "not acknowledged: it has started anew") {
		t.Errorf("it said:\n%s%s", strings.Join(p.said, "\n"), said)
	}
}
