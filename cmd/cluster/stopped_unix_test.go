//go:build unix

package main

import (
	"syscall"
	"testing"
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
