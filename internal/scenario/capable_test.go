//go:build unix

package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// These tests check that docs/wire.md says what it takes to resend, to confirm, to call and to send urgent messages: a server that follows
// the text, testdata/capable.py, does all of it with the library.

// startCapable starts it as the server 1 beside a node, which is the server 0. What hangUp ends are all connections between the two.
func startCapable(t *testing.T, transport string, env ...string) (n *cluster.Node, p *pythonServer, hangUp func()) {
	t.Helper()
	needPython(t)
	cfg := testcluster.Config(t, "tcp", 2)
	cfg.Transport = transport
	toPython := newProxy(t, strings.TrimPrefix(cfg.Peers[1].Address, "tcp://"))
	toNode := newProxy(t, strings.TrimPrefix(cfg.Peers[0].Address, "tcp://"))
	seen := func(peer int, at string) cluster.Config {
		c := cfg
		c.Peers = append(c.Peers[:0:0], c.Peers...)
		c.Peers[peer].Address = at
		return c
	}
	file := testcluster.WriteConfig(t, seen(0, toNode.address()))
	n = testcluster.Join(t, 0, seen(1, toPython.address()))
	cmd := exec.Command(python, "-B", "testdata/capable.py", file, "1")
	cmd.Env = append(os.Environ(), env...)
	p = runPython(t, cmd)
	t.Cleanup(func() {
		p.end(t)
		if p.stderr.Len() > 0 {
			t.Errorf("the Python server says:\n%s", p.stderr.String())
		}
	})
	return n, p, func() { toPython.hangUp(); toNode.hangUp() }
}

// tell passes a line to the Python server.
func (p *pythonServer) tell(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.stdin, line); err != nil {
		t.Fatal(err)
	}
}

// counts asks the Python server what it has counted.
func (p *pythonServer) counts(t *testing.T) (counts map[string]int) {
	t.Helper()
	p.tell(t, "counts")
	text, ok := strings.CutPrefix(p.line(t), "counts ")
	if err := json.Unmarshal([]byte(text), &counts); err != nil || !ok {
		t.Fatalf("the Python server says %q: %v", text, err)
	}
	return counts
}

func TestAServerThatFollowsTheTextHasAllCapabilities(t *testing.T) {
	for _, transport := range []string{"libzmq", "go"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			n, p, _ := startCapable(t, transport)
			ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit)
			defer cancel()
			back := func(want any) {
				t.Helper()
				if e := testcluster.Receive(t, n); e.Msg != want || e.Pid != 1 {
					t.Errorf("%.100v came back, want %.100v", e.Msg, want)
				}
			}
			for _, msg := range []string{"first", "second", strings.Repeat("large ", 500_000)} {
				if err := n.Deliver(ctx, &cluster.Envelope{Pid: 1, Msg: msg}); err != nil {
					t.Errorf("Deliver: %v", err)
				}
				back(msg)
			}
			var refused *cluster.RefusedError
			if err := n.Deliver(ctx, &cluster.Envelope{Pid: 1, Msg: "refuse"}); !errors.As(err, &refused) || refused.Refusal != cluster.RefusedUndecodable {
				t.Errorf("Deliver of what is refused: %v", err)
			}
			for _, msg := range []string{"ask", "twice"} {
				if r, err := n.Call(ctx, 1, msg); err != nil || r.Msg != msg {
					t.Errorf("Call: %v, %v", r, err)
				}
			}
			var remote *cluster.RemoteError
			if _, err := n.Call(ctx, 1, "fail"); !errors.As(err, &remote) || remote.Text != "as it was asked" {
				t.Errorf("Call that fails: %v", err)
			}
			if _, err := n.Call(ctx, 1, "refuse"); !errors.As(err, &refused) || refused.Refusal != cluster.RefusedUnregistered {
				t.Errorf("Call that is refused: %v", err)
			}
			for i := range 5 {
				msg := fmt.Sprint("urgent ", i)
				if err := n.SendUrgent(ctx, &cluster.Envelope{Pid: 1, Msg: msg}); err != nil {
					t.Errorf("SendUrgent: %v", err)
				}
				back(msg)
			}
			if !testcluster.StatsOf(n, 1).Urgent {
				t.Error("it is not known to have an urgent stream")
			}
			for _, c := range []struct {
				answer func(*cluster.Request) error
				want   string
			}{
				{func(r *cluster.Request) error { return r.Reply(ctx, "answer") }, fmt.Sprint("reply ", int(codec.String), " answer")},
				{func(r *cluster.Request) error { return r.Fail(ctx, errors.New("a fault")) }, "failure 0 a fault"},
			} {
				p.tell(t, "call question")
				r, ok := testcluster.Receive(t, n).Msg.(*cluster.Request)
				if !ok || r.Msg != "question" {
					t.Fatalf("got %v, want its request", r)
				}
				if err := c.answer(r); err != nil {
					t.Error(err)
				}
				if got := p.line(t); got != c.want {
					t.Errorf("it has got %q, want %q", got, c.want)
				}
			}
			p.tell(t, "strange")
			if got := p.line(t); got != "named 3" {
				t.Errorf("of its message of a type that is not registered it says %q", got)
			}
			r := testcluster.StatsOf(n, 1).Received
			if r.Refused[cluster.RefusedLate] != 1 || r.Refused[cluster.RefusedUnregistered] != 1 || r.RefusedTotal() != 2 || r.Lost+r.Missed > 0 {
				t.Errorf("the books: %+v", r)
			}
		})
	}
}

// Nothing is lost as long as its link is up. On a machine that is busy it may be longer without a connection than that allows: then it has another try.
func TestAServerThatFollowsTheTextLosesNothingWhenConnectionsBreak(t *testing.T) {
	for _, transport := range []string{"libzmq", "go"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			for up, tries := false, 0; !up; tries++ {
				if tries == 5 {
					t.Fatalf("the link went down each of %d times", tries)
				}
				if !t.Run(fmt.Sprint(tries), func(t *testing.T) { up = losesNothingByHangingUp(t, transport) }) {
					return
				}
			}
		})
	}
}

// losesNothingByHangingUp reports whether the link was up all the time. If it was not, nothing is said.
func losesNothingByHangingUp(t *testing.T, transport string) (up bool) {
	n, p, hangUp := startCapable(t, transport, "LOSS=0.1")
	const messages = 300
	msg := func(i int) string { return fmt.Sprint("message ", i) }
	wentDown := func() bool { return testcluster.StatsOf(n, 1).Flaps > 0 }
	sent := make(chan error, 1)
	go func() { // It ends at the first error, or by itself, and is waited for.
		for i := range messages {
			send := n.Send
			if i%10 == 0 {
				send = n.Deliver // which waits, so that the next goes in another frame
			}
			if err := send(t.Context(), &cluster.Envelope{Pid: 1, Msg: msg(i)}); err != nil {
				sent <- fmt.Errorf("message %d: %w", i, err)
				return
			}
			if i%100 == 50 {
				hangUp()
			}
		}
		sent <- nil
	}()
	deadline := time.After(testcluster.Limit)
	for i := 0; i < messages; {
		select {
		case e := <-n.Inbox():
			if e.Msg != msg(i) && !wentDown() {
				t.Fatalf("%v came, want %q", e.Msg, msg(i))
			}
			i++
		case <-time.After(100 * time.Millisecond):
		case <-deadline:
			t.Fatalf("%q has not come", msg(i))
		}
		if wentDown() {
			t.Logf("the link went down, with %q to come", msg(i))
			<-sent
			return false
		}
	}
	err := <-sent
	testcluster.Eventually(t, "each knows that the other has all", func() bool {
		s := testcluster.StatsOf(n, 1).Sent
		return wentDown() || s.Confirmed == messages && p.counts(t)["open"] == 0
	})
	if wentDown() {
		return false
	}
	if err != nil {
		t.Error(err)
	}
	counts, s := p.counts(t), testcluster.StatsOf(n, 1)
	if counts["dropped in"] == 0 || counts["dropped out"] == 0 || counts["resent"] == 0 || s.Sent.Resent == 0 {
		t.Errorf("too little was lost to show anything: %v, and %d frames were sent again to it", counts, s.Sent.Resent)
	}
	if counts["given up"] > 0 || s.Received.Lost+s.Received.Missed+s.Received.RefusedTotal() > 0 || s.Sent.Unconfirmed > 0 {
		t.Errorf("the books: %v, %+v", counts, s)
	}
	return true
}

// It asserts by itself that no frame has what it has not announced.
func TestAServerThatFollowsTheTextIsSentNothingThatItHasNotAnnounced(t *testing.T) {
	const resend, confirm, calls, urgent = 2, 4, 8, 16
	for _, caps := range []int{0, 1, resend, confirm, resend | confirm, calls, resend | calls, urgent, resend | urgent, 31 | 1<<40} {
		t.Run(fmt.Sprint(caps), func(t *testing.T) {
			t.Parallel()
			n, _, _ := startCapable(t, "", fmt.Sprint("CAPS=", caps))
			ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit)
			defer cancel()
			err := n.Deliver(ctx, &cluster.Envelope{Pid: 1, Msg: "delivered"})
			if can := caps&(resend|confirm) == resend|confirm; can != (err == nil) || !can && !errors.Is(err, cluster.ErrUnsupported) {
				t.Errorf("Deliver: %v", err)
			}
			if err == nil {
				testcluster.Receive(t, n)
			}
			_, err = n.Call(ctx, 1, "called")
			if can := caps&calls != 0; can != (err == nil) || !can && !errors.Is(err, cluster.ErrNoCalls) {
				t.Errorf("Call: %v", err)
			}
			const messages = 50
			came := make(map[any]bool)
			for i := range messages {
				if err := n.SendUrgent(ctx, &cluster.Envelope{Pid: 1, Msg: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			}
			for range messages {
				came[testcluster.Receive(t, n).Msg] = true
			}
			if s := testcluster.StatsOf(n, 1); len(came) != messages || s.Urgent != (caps&(resend|urgent) == resend|urgent) || s.Received.RefusedTotal() > 0 {
				t.Errorf("%d of %d came; the books: %+v", len(came), messages, s)
			}
		})
	}
}
