//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func init() {
	const promise = "a name that cannot be looked up is felt by nobody but who sends to it: the others keep their rate and lose nothing, " +
		"Close takes no longer than Linger and a second, and the server is found again within %d s"
	for name, f := range nameFaults {
		register(row{
			name: name, promise: fmt.Sprintf(promise, f.within/time.Second), fault: f.text, needs: needNetwork,
			run: func(t *trial) error { return loseName(t, f) },
		})
	}
}

// A nameFault is what befalls the name of a server that is killed.
type nameFault struct {
	text   string
	host   int           // where the name server is
	within time.Duration // how soon the server is to be found when it and its name are back
	hurt   func(n *network, s *nameServer) error
	// heal undoes it, and tells how often the fault was met.
	heal func(n *network, s *nameServer) (met int, err error)
}

// namedVictim is the server that is killed in these rows.
const namedVictim = 2

var nameFaults = map[string]nameFault{
	"nameserver": {
		text: "one of three servers that know each other by names is killed, and for 12 s its machine, which is also the name server, does not answer at all (`nft drop`)",
		host: namedVictim,
		// A question that was lost is asked again after 5 s.
		within: 5*time.Second + foundAgain,
		hurt:   func(n *network, _ *nameServer) error { return n.filter(namedVictim, "") },
		heal:   func(n *network, _ *nameServer) (int, error) { return n.unfilter(namedVictim) },
	},
	"nameserver-nxdomain": {
		text:   "one of three servers that know each other by names is killed, and for 12 s the name server, elsewhere, says after 300 ms that there is no such name (NXDOMAIN)",
		host:   3,
		within: foundAgain,
		hurt: func(_ *network, s *nameServer) error {
			s.deny(hostName(namedVictim), 300*time.Millisecond)
			return nil
		},
		heal: func(_ *network, s *nameServer) (int, error) {
			s.admit(hostName(namedVictim), hostAddress(namedVictim))
			return s.denials(), nil
		},
	},
}

// closingLinger is Config.Linger in these rows.
const closingLinger = 2 * time.Second

// newNamedField plans servers that know each other by names, with a name server on a host.
func (t *trial) newNamedField(servers, nameServerHost int) (*network, *field, *nameServer, error) {
	n, err := t.newNetwork(servers + 1)
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := n.newNameServer(nameServerHost, servers)
	if err != nil {
		return nil, nil, nil, err
	}
	f, err := n.newField(servers)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, plan := range f.servers {
		plan.cfg.Linger = closingLinger
		for i := range plan.cfg.Peers {
			p := &plan.cfg.Peers[i]
			p.Bind, p.Address = p.Address, fmt.Sprintf("%s:%d", hostName(p.ID), serverPort)
		}
	}
	return n, f, s, nil
}

func loseName(t *trial, fault nameFault) error {
	const victim, closes = namedVictim, 1
	n, f, s, err := t.newNamedField(3, fault.host)
	if err != nil {
		return err
	}
	work := load{Rate: 200, Size: 500}
	if err := f.startUnder(work); err != nil {
		return err
	}
	before, err := t.calm(4 * time.Second)
	if err != nil {
		return err
	}
	t.say("server %d is killed, and its name cannot be looked up", victim)
	if err := fault.hurt(n, s); err != nil {
		return err
	}
	f.kill(victim)
	during, err := t.sleep(12 * time.Second)
	if err != nil {
		return err
	}
	if err := t.unharmed(f, f.living()); err != nil {
		return err
	}
	if err := t.saysWhy(f, 0, victim); err != nil {
		return err
	}
	t.say("server %d closes", closes)
	began := now()
	err = f.quit(closes)
	t.closedInTime(since(began, now()), closingLinger+time.Second)
	if err != nil {
		return err
	}
	met, err := fault.heal(n, s)
	if err != nil {
		return err
	}
	if met < 10 {
		t.fail(found(oracleVacuity, "the fault was met %d times", met))
	}
	return t.foundByName(f, work, fault.within, before, during)
}

// foundByName starts the servers that do not run, and has the books judged: who lived all the
// time is to have kept his rate, and everybody is to be found again.
func (t *trial) foundByName(f *field, work load, within time.Duration, before, during span) error {
	healthy := f.others(namedVictim)
	gone := f.others(f.living()...)
	t.say("servers %v start again, and the name is back", gone)
	if err := f.each(gone, f.start); err != nil {
		return err
	}
	if err := f.each(gone, func(id int) error { return f.load(id, work) }); err != nil {
		return err
	}
	back := now()
	after, err := t.sleep(within + 2*time.Second)
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	ratio, v := b.keptRate(before, during, among(healthy...))
	t.failIf(v)
	worst, vs := b.recovery(back, within, f.ids(), f.ids())
	t.fail(vs...)
	t.fail(b.traffic(1000, nil, before, during, after)...)
	was, is := b.usualDelay(before, among(healthy...)), b.usualDelay(during, among(healthy...))
	if is > was+delayMost {
		t.fail(found(oracleDelay, "messages between %v took %v during the fault, and %v before it; %v more are allowed", healthy, is, was, delayMost))
	}
	t.figure("rate of the others", "%.1f %%", 100*ratio)
	t.figure("their messages took, at the median", "%v (before: %v)", is.Round(10*time.Microsecond), was.Round(10*time.Microsecond))
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	return nil
}

// unharmed holds that servers have lost and dropped nothing of what they sent each other.
func (t *trial) unharmed(f *field, ids []int) error {
	for _, id := range ids {
		c, err := f.counters(id)
		if err != nil {
			return err
		}
		for _, other := range without(ids, id) {
			if p := c.Peers[other]; p.dropped() > 0 || p.Lost > 0 {
				t.fail(found(oracleConservation, "of what servers %d and %d, which are well, sent each other, %d were dropped (%v) and %d lost", id, other, p.dropped(), p.Dropped, p.Lost))
			}
		}
		if n := sum(c.Unaddressed); n > 0 {
			t.fail(found(oracleConservation, "server %d, which is well, dropped %d that nobody was to have (%v)", id, n, c.Unaddressed))
		}
	}
	return nil
}

// saysWhy holds that Stats of a server says that the name of another could not be looked up.
func (t *trial) saysWhy(f *field, id, other int) error {
	c, err := f.counters(id)
	if err != nil {
		return err
	}
	trouble := c.Peers[other].Trouble
	if want := fmt.Sprintf("looking up the name %q", hostName(other)); !strings.Contains(trouble, want) {
		t.fail(found(oracleError, "Stats of server %d does not say of server %d that %s failed, but %q", id, other, want, trouble))
	}
	t.figure("Stats says", "`%s`", trouble)
	return nil
}

// closedInTime holds that closing took no longer than it may.
func (t *trial) closedInTime(took, limit time.Duration) {
	if took > limit {
		t.fail(found(oracleHang, "closing took %v; %v is allowed", took.Round(time.Millisecond), limit))
	}
	t.figure("close and exit", "%v", took.Round(time.Millisecond))
}

// delayMost is how much longer than before messages between healthy servers may take while others
// are ill, at the median.
const delayMost = 20 * time.Millisecond

// usualDelay is the median of the times from where messages were handed over to where they were
// taken, of those that were taken in the span.
func (b *books) usualDelay(s span, which func(*record) bool) time.Duration {
	var delays []time.Duration
	b.deliveries(func(r *record) {
		if s.has(r.at) && which(r) {
			delays = append(delays, since(r.handed, r.at))
		}
	})
	if len(delays) == 0 {
		return 0
	}
	slices.Sort(delays)
	return delays[len(delays)/2]
}
