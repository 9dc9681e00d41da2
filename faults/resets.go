//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

func init() {
	const promise = "between servers that live a broken connection costs nothing: what was on its way is sent again"
	register(row{
		name:    "resets",
		promise: promise,
		fault:   "every 100 ms a proxy resets all connections (linger 0), while 100,000 messages are sent; bare PUSH and PULL beside it",
		quick:   true,
		run:     func(t *trial) error { return resets(t, byProxy) },
	}, row{
		name:    "resets-kernel",
		promise: promise,
		fault:   "the same, where the kernel ends all connections (`ss -K`)",
		needs:   []need{needRoot, tool("ss")},
		run:     func(t *trial) error { return resets(t, byKernel) },
	}, row{
		name:    "resets-filter",
		promise: promise,
		fault:   "the same, where for some milliseconds every segment is answered by a reset (`nft … reject with tcp reset`)",
		needs:   []need{needRoot, tool("nft")},
		run:     func(t *trial) error { return resets(t, byFilter) },
	})
}

// A breaker breaks all connections to some ports of this machine, and returns how many it is known to have ended.
type breaker func(ports []string) (ended int, err error)

// byProxy stands for the proxies' own resets.
var byProxy breaker

func byKernel(ports []string) (ended int, err error) {
	var of []string
	for _, p := range ports {
		of = append(of, "sport = :"+p, "dport = :"+p)
	}
	return endEstablished(nil, "( "+strings.Join(of, " or ")+" )")
}

// endEstablished has the kernel end all connections that a filter of ss finds, and returns how many it found. Prefix goes before the command, such
// as one that enters a namespace.
func endEstablished(prefix []string, filter ...string) (ended int, err error) {
	line := slices.Concat(prefix, []string{"ss", "-H", "-K", "-t", "state", "established"}, filter)
	out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(line, " "), err, out)
	}
	return strings.Count(string(out), "\n"), nil // a line for each
}

func byFilter(ports []string) (ended int, err error) {
	table := fmt.Sprintf("faults%d", os.Getpid())
	set := strings.Join(ports, ", ")
	err = runCommand("nft", fmt.Sprintf(`table inet %s {
		chain broken {
			type filter hook input priority 0
			tcp dport { %s } tcp flags & rst == 0 reject with tcp reset
			tcp sport { %s } tcp flags & rst == 0 reject with tcp reset
		}
	}`, table, set, set))
	if err != nil {
		return 0, err
	}
	time.Sleep(3 * tick) // so that there are segments, at the pace of the senders
	return 0, runCommand("nft", "delete", "table", "inet", table)
}

// portOf is the port of an address.
func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address) // it is one of ours
	return port
}

const resetInterval = 100 * time.Millisecond

func resets(t *trial, broken breaker) error {
	f, err := t.newField(2, nil)
	if err != nil {
		return err
	}
	var proxies map[int]*proxy
	var ports []string
	if broken == nil {
		if proxies, err = f.behind(0, 1); err != nil {
			return err
		}
	}
	for _, p := range f.cfg.Peers {
		ports = append(ports, portOf(p.Address))
	}
	if err := f.startAll(); err != nil {
		return err
	}
	bare, err := newBarePair(broken == nil)
	if err != nil {
		return err
	}
	defer bare.close()
	ports = append(ports, bare.port)
	// Both servers send, and the bare sender sends at the rate of one.
	rate, each := 5000, scale(t, 50_000, 15_000)
	work := load{Rate: rate, Size: 256, Count: each}
	if err := f.loadAll(load{Rate: 500, Size: 256}); err != nil {
		return err
	}
	before, err := t.sleep(time.Second)
	if err != nil {
		return err
	}
	t.say("each of two servers sends %d messages, and a bare PUSH socket as many; every %v all connections are reset", each, resetInterval)
	held, err := f.holdings(0)
	if err != nil {
		return err
	}
	var sending sync.WaitGroup
	sending.Go(func() { bare.send(t.ctx, each, 256, rate) })
	ended := 0
	// Not in step with the senders, who send every tick: between two of those it costs nothing.
	during, times, err := f.whileSending(work, resetInterval+tick/5, func() error {
		if broken != nil {
			closed, err := broken(ports)
			ended += closed
			return err
		}
		for _, p := range proxies {
			p.reset()
		}
		bare.proxy.reset()
		return nil
	})
	if err != nil {
		return err
	}
	sending.Wait()
	healed := now()
	if err := f.loadAll(load{Rate: 500, Size: 256}); err != nil {
		return err
	}
	after, err := t.sleep(2 * time.Second)
	if err != nil {
		return err
	}
	b, err := f.finishHolding(held)
	if err != nil {
		return err
	}
	worst, vs := b.recovery(healed, time.Second, f.ids(), f.ids())
	t.fail(vs...)
	t.fail(b.traffic(100, nil, before, after)...)
	t.fail(b.traffic(each, nil, during)...)
	resent := t.nothingLost(b)
	t.figure("connections reset", "%d times", times)
	bareLost := bare.lost()
	t.figure("bare PUSH and PULL", "%d of %d lost without a word (%.2f %%)", bareLost, each, 100*float64(bareLost)/float64(each))
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	// A connection that is ended while it is empty costs nothing.
	if resent == 0 && bareLost == 0 && ended == 0 {
		t.fail(found(oracleVacuity, "the resets have ended no connection, and cost neither the servers nor the bare pair anything"))
	}
	return nil
}

// whileSending has all servers send what the load says, and does something every interval until all of it was handed over. It
// returns how often that was.
func (f *field) whileSending(work load, interval time.Duration, do func() error) (during span, times int, err error) {
	if err := f.loadAll(work); err != nil {
		return span{}, 0, err
	}
	during.from = now()
	for handed := false; !handed; {
		if _, err := f.t.sleep(interval); err != nil {
			return span{}, 0, err
		}
		if err := do(); err != nil {
			return span{}, 0, err
		}
		if times++; times%max(1, int(time.Second/interval)) != 0 {
			continue // to ask takes time, too
		}
		handed = true
		for _, id := range f.ids() {
			a, err := f.ask(id, command{Do: "counters"})
			if err != nil {
				return span{}, 0, err
			}
			handed = handed && a.Handed >= uint64(work.Count)
		}
		if since(during.from, now()) > 2*time.Minute {
			return span{}, 0, found(oracleHang, "not all of %d messages of each server were handed over in two minutes", work.Count)
		}
	}
	during.to = now()
	return during, times, nil
}

// nothingLost fails the trial if a message was lost, dropped or left unconfirmed. It returns how many frames were sent again.
func (t *trial) nothingLost(b *books) (resent uint64) {
	lost, dropped, unconfirmed := 0, 0, uint64(0)
	for _, to := range b.pids() {
		for _, from := range b.pids() {
			if from != to {
				x := b.balance(from, to)
				lost += x.lost + x.missed
				dropped += x.dropped
			}
		}
	}
	for i := range b.lives {
		for _, p := range b.lives[i].counters.Peers {
			resent += p.Resent
			unconfirmed += p.Unconfirmed
		}
	}
	t.figure("messages", "%d", b.handedAll)
	t.figure("lost", "%d; dropped: %d; unconfirmed: %d; frames sent again: %d", lost, dropped, unconfirmed, resent)
	if lost+dropped > 0 || unconfirmed > 0 {
		t.fail(found(oracleConservation, "%d messages were lost, %d dropped and %d not confirmed, though all servers live", lost, dropped, unconfirmed))
	}
	return resent
}
