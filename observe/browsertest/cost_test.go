package browsertest

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/observe"
	"github.com/abhishekg16/cluster/peercatalog"
)

const (
	many = 64 // servers
	// costMost is how much of a core the page of many servers may take, of the browser and of the
	// servers together.
	costMost = 0.05
)

// startMany starts many servers inside this process, each with a page, of which each knows the
// others'. Each sends to all others once a second.
func startMany(t testing.TB) (pages []string) {
	t.Helper()
	var mu sync.Mutex // guards pages, which the handlers read
	cfg := cluster.Config{Cluster: "many"}
	for id := range many {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: fmt.Sprintf("mem://%s/%d", t.Name(), id)})
	}
	pageOf := func(p peercatalog.Peer) string {
		mu.Lock()
		defer mu.Unlock()
		return pages[p.ID]
	}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	mu.Lock()
	defer mu.Unlock()
	for id := range many {
		node, err := cluster.NewFromConfig(id, cfg)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(observe.Handler(node, observe.Options{Pages: pageOf}))
		t.Cleanup(server.Close)
		pages = append(pages, server.URL+"/")
		all.Go(func() { // The cleanup ends it.
			defer node.Close()
			talk(ctx, node)
		})
	}
	t.Cleanup(func() { stop(); all.Wait() })
	return pages
}

// talk sends to all others each second, and takes what comes, until ctx ends.
func talk(ctx context.Context, node *cluster.Node) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-second.C:
			select {
			case node.Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "hello"}:
			case <-ctx.Done():
			}
		case <-node.Inbox():
		case <-ctx.Done():
			return
		}
	}
}

func TestThePageOfManyServersCostsLittle(t *testing.T) {
	if !*long {
		t.Skip("it measures for a minute: -long does it")
	}
	pages := startMany(t)
	b := newBrowser(t)
	watch := func() {
		run(b, chromedp.Navigate(pages[0]))
		b.eventually("all links are up", func() bool {
			return b.eval(`document.querySelectorAll(".mesh td.up").length`) == strconv.Itoa(many*(many-1))
		})
		b.eval(`document.getElementById("links-title").scrollIntoView()`) // what changes most is painted
	}
	leave := func() {
		run(b, chromedp.Navigate("about:blank"))
		b.pause(6 * time.Second) // connections to the other servers' pages end
	}
	watch()
	b.picture("many", light)
	leave()
	before := measure(t, b)
	watch()
	watched := measure(t, b)
	leave()
	after := measure(t, b) // servers that have just started take more
	alone := use{(before.servers + after.servers) / 2, (before.browser + after.browser) / 2}
	cost := use{watched.servers - alone.servers, watched.browser - alone.browser}
	t.Logf("with the page: %v; without, before: %v; and after: %v; the page of %d servers costs %v", watched, before, after, many, cost)
	if cost.sum() > costMost {
		t.Errorf("that is more than %.0f %%", 100*costMost)
	}
}

// use is how much of a core is used by this process, which has the servers, and by the browser.
type use struct{ servers, browser float64 }

func (u use) sum() float64 { return u.servers + u.browser }

func (u use) String() string {
	return fmt.Sprintf("%.1f %% of a core (servers %.1f %%, browser %.1f %%)", 100*u.sum(), 100*u.servers, 100*u.browser)
}

// measure is what is used within some time.
func measure(t testing.TB, b *browser) use {
	t.Helper()
	const lasts = 15 * time.Second
	start := time.Now()
	servers, browser := computed(t)
	b.pause(lasts)
	servers2, browser2 := computed(t)
	d := time.Since(start).Seconds()
	return use{(servers2 - servers).Seconds() / d, (browser2 - browser).Seconds() / d}
}

// computed is the time that this process has computed, and that all that it has started have.
func computed(t testing.TB) (own, started time.Duration) {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	own = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	parents, ticks := make(map[int]int), make(map[int]int)
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Skip("this system does not tell in /proc what its processes do")
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ") // behind the name of the program
		fields := strings.Fields(rest)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		parents[pid], _ = strconv.Atoi(fields[1])
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		ticks[pid] = user + system
	}
	const tick = 10 * time.Millisecond // of Linux, as its programs see it
	for pid := range parents {
		for at := parents[pid]; at > 1; at = parents[at] {
			if at == os.Getpid() {
				started += time.Duration(ticks[pid]) * tick
				break
			}
		}
	}
	return own, started
}
