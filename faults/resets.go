//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

func init() {
	const promise = "what a broken connection has cost is counted by the receiver, as a gap in the sequence"
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

// A breaker breaks all connections to some ports of this machine.
type breaker func(ports []string) error

// byProxy stands for the proxies' own resets.
var byProxy breaker

func byKernel(ports []string) error {
	var of []string
	for _, p := range ports {
		of = append(of, "sport = :"+p, "dport = :"+p)
	}
	return runCommand("ss", "-K", "-t", "state", "established", "( "+strings.Join(of, " or ")+" )")
}

func byFilter(ports []string) error {
	table := fmt.Sprintf("faults%d", os.Getpid())
	set := strings.Join(ports, ", ")
	err := runCommand("nft", fmt.Sprintf(`table inet %s {
		chain broken {
			type filter hook input priority 0
			tcp dport { %s } tcp flags & rst == 0 reject with tcp reset
			tcp sport { %s } tcp flags & rst == 0 reject with tcp reset
		}
	}`, table, set, set))
	if err != nil {
		return err
	}
	time.Sleep(3 * tick) // so that there are segments, at the pace of the senders
	return runCommand("nft", "delete", "table", "inet", table)
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
	if err := f.loadAll(work); err != nil {
		return err
	}
	var sending sync.WaitGroup
	sending.Go(func() { bare.send(t.ctx, each, 256, rate) })
	during := span{from: now()}
	times := 0
	for n := 0; ; n++ {
		// Not in step with the senders, who send every tick: between two of those it costs nothing.
		if _, err := t.sleep(resetInterval + tick/5); err != nil {
			return err
		}
		times++
		if broken != nil {
			if err := broken(ports); err != nil {
				return err
			}
		} else {
			for _, p := range proxies {
				p.reset()
			}
			bare.proxy.reset()
		}
		if n%10 != 0 {
			continue
		}
		a, err := f.ask(0, command{Do: "counters"})
		if err != nil {
			return err
		}
		z, err := f.ask(1, command{Do: "counters"})
		if err != nil {
			return err
		}
		if min(a.Handed, z.Handed) >= uint64(each) {
			break
		}
		if since(during.from, now()) > 2*time.Minute {
			return found(oracleHang, "%d and %d of %d messages were handed over in two minutes", a.Handed, z.Handed, each)
		}
	}
	during.to = now()
	sending.Wait()
	healed := now()
	if err := f.loadAll(load{Rate: 500, Size: 256}); err != nil {
		return err
	}
	after, err := t.sleep(2 * time.Second)
	if err != nil {
		return err
	}
	if err := t.returnsTo(f, 0, held); err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	t.judge(b)
	worst, vs := b.recovery(healed, time.Second, f.ids(), f.ids())
	t.fail(vs...)
	t.fail(b.traffic(100, nil, before, after)...)
	t.fail(b.traffic(each, nil, during)...)
	lost, dropped := 0, 0
	for _, to := range f.ids() {
		x := b.balance(1-to, to)
		lost += x.lost + x.missed
		dropped += x.dropped
	}
	t.figure("messages", "%d, with all connections reset %d times", b.handedAll, times)
	t.figure("lost, all counted", "%d (%.2f %%); dropped and counted: %d", lost, 100*float64(lost)/float64(b.handedAll), dropped)
	bareLost := bare.lost()
	t.figure("bare PUSH and PULL", "%d of %d lost without a word (%.2f %%)", bareLost, each, 100*float64(bareLost)/float64(each))
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	if lost == 0 {
		t.fail(found(oracleVacuity, "the resets have cost nothing"))
	}
	return nil
}
