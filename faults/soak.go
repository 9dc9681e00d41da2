//go:build linux

package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

func init() {
	register(row{
		name:    "soak",
		promise: "all of the above, whatever happens next",
		fault:   "faults drawn from the seed, one after the other, a quarter of the time none",
		quick:   true,
		last:    true,
		run:     soakAll,
	})
}

// A soakFault is one that the soak draws. Begin does it to the victims, and returns what
// ends it. A fault whose needs are not met is drawn all the same, and is quiet.
type soakFault struct {
	name  string
	needs []need
	begin func(s *soak, p period) (heal func() error, err error)
	// after is how long TCP itself may take to go on once the fault has ended: it repeats
	// what was lost at intervals that double each time.
	after time.Duration
}

// A soak is the cluster of the row while it runs. Each server is behind a proxy.
type soak struct {
	*field
	proxies   map[int]*proxy
	work      load
	shiftable bool // its clocks can be set
	healings  []healing
}

// A healing is the end of a period, and when it was.
type healing struct {
	period
	at int64
}

// soakFaults are in the order of their names; another fault changes what a seed stands for.
var soakFaults = []soakFault{
	{name: "clock", needs: []need{needSources}, begin: func(s *soak, p period) (func() error, error) {
		jump := time.Hour
		if p.length%2 == 0 {
			jump = -jump
		}
		_, err := s.ask(p.victims[0], command{Do: "shift", Pause: jump})
		return nil, err
	}},
	{name: "crossed frames", begin: func(s *soak, p period) (func() error, error) { return s.pass(p.victims[:2], disturbed(0, 5)) }},
	{name: "delay", begin: func(s *soak, p period) (func() error, error) {
		return s.pass(p.victims[:2], delayed(75*time.Millisecond, 50*time.Millisecond))
	}},
	{name: "hole", begin: func(s *soak, p period) (func() error, error) { return s.hole(p, true, true) }},
	{name: "hole one way", begin: func(s *soak, p period) (func() error, error) { return s.hole(p, p.length%2 == 0, p.length%2 != 0) }},
	{name: "kill a majority", begin: func(s *soak, p period) (func() error, error) { return s.slay(p.victims[:3]) }},
	{name: "kill a minority", begin: func(s *soak, p period) (func() error, error) { return s.slay(p.victims[:2]) }},
	{name: "kill one", begin: func(s *soak, p period) (func() error, error) { return s.slay(p.victims[:1]) }},
	{name: "loss 10 %", needs: []need{needRoot, tool("nft")}, begin: (*soak).lossy, after: 4 * time.Second},
	{name: "pause", begin: func(s *soak, p period) (func() error, error) {
		victim := p.victims[0]
		return func() error { return s.signal(victim, syscall.SIGCONT) }, s.signal(victim, syscall.SIGSTOP)
	}},
	{name: "resets", begin: (*soak).resetting},
	{name: "slow reader", begin: func(s *soak, p period) (func() error, error) {
		pace := func(pause time.Duration) error {
			_, err := s.ask(p.victims[0], command{Do: "pace", Pause: pause})
			return err
		}
		return func() error { return pace(0) }, pace(20 * time.Millisecond)
	}},
	{name: "twice", begin: func(s *soak, p period) (func() error, error) { return s.pass(p.victims[:2], disturbed(3, 0)) }},
}

func (s *soak) pass(ids []int, how passing) (func() error, error) {
	all := func(how passing) {
		for _, id := range ids {
			s.proxies[id].change(how)
		}
	}
	all(how)
	return func() error { all(nil); return nil }, nil
}

func (s *soak) hole(p period, up, down bool) (func() error, error) {
	hole := s.proxies[p.victims[0]]
	hole.shut(up, down)
	return func() error { hole.unshut(); return nil }, nil
}

func (s *soak) slay(ids []int) (func() error, error) {
	for _, id := range ids {
		s.kill(id)
	}
	return func() error {
		return s.each(ids, func(id int) error {
			if err := s.start(id); err != nil {
				return err
			}
			return s.load(id, s.work)
		})
	}, nil
}

func (s *soak) resetting(p period) (func() error, error) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() { // The function below ends it, and waits.
		defer close(ended)
		for {
			select {
			case <-over:
				return
			case <-time.After(resetInterval):
				for _, id := range p.victims[:2] {
					s.proxies[id].reset()
				}
			}
		}
	}()
	return func() error { close(over); <-ended; return nil }, nil
}

// lossy drops a tenth of the packets of the loopback to and from the victim's proxy.
func (s *soak) lossy(p period) (func() error, error) {
	_, port, _ := strings.Cut(s.proxies[p.victims[0]].address(), ":")
	table := fmt.Sprintf("faults%d", os.Getpid())
	remove := func() error { return runCommand("nft", "delete", "table", "inet", table) }
	rules := fmt.Sprintf(`table inet %s {
		chain lossy {
			type filter hook input priority 0
			tcp dport %s numgen random mod 100 < 10 drop
			tcp sport %s numgen random mod 100 < 10 drop
		}
	}`, table, port, port)
	if err := runCommand("nft", rules); err != nil {
		return nil, err
	}
	return remove, nil
}

const (
	// soakTail is how long after each fault there is none.
	soakTail = 2 * time.Second
	// soakEnd is what the books take at the end.
	soakEnd = 40 * time.Second
	soaked  = time.Second // until the first delivery after healing
)

func soakAll(t *trial) error {
	f, err := t.newField(5, nil)
	if err != nil {
		return err
	}
	s := &soak{field: f, work: load{Rate: 50, Size: 500}}
	if needSources.check() == nil && !t.quick {
		if f.exe, err = buildShiftable(t.ctx, t.dir); err != nil {
			return err
		}
		s.shiftable = true
	}
	if s.proxies, err = f.behind(f.ids()...); err != nil {
		return err
	}
	if err := f.startUnder(s.work); err != nil {
		return err
	}
	before, err := t.sleep(2 * time.Second)
	if err != nil {
		return err
	}
	held, err := f.holdings(0)
	if err != nil {
		return err
	}
	if err := s.disturb(scale(t, t.limit-soakEnd, 12*time.Second)); err != nil {
		return err
	}
	calm, err := t.sleep(time.Second)
	if err != nil {
		return err
	}
	b, err := f.finishHolding(held)
	if err != nil {
		return err
	}
	t.fail(b.traffic(500, nil, before, calm)...)
	s.judge(b)
	return nil
}

// disturb does what is drawn, one period after the other, for some time.
func (s *soak) disturb(d time.Duration) error {
	var names []string
	for _, fault := range soakFaults {
		names = append(names, fault.name)
	}
	drawn := newSchedule(s.t.seed, names, s.others(0))
	s.t.say("seed %d", s.t.seed)
	for end := time.Now().Add(d); time.Now().Before(end); {
		p := drawn.next()
		if err := s.endure(p); err != nil {
			return err
		}
		s.healings = append(s.healings, healing{p, now()})
		if _, err := s.t.sleep(soakTail); err != nil {
			return err
		}
	}
	return nil
}

// endure is one period, with its fault.
func (s *soak) endure(p period) error {
	heal, err := s.begin(p)
	if err != nil {
		return err
	}
	_, err = s.t.sleep(p.length)
	if heal != nil {
		err = cmp.Or(err, heal()) // It is healed however the sleep ended.
	}
	return err
}

// judge holds that all went on soon after each period, and tells what became of the messages.
func (s *soak) judge(b *books) {
	t, worst, after, quiet := s.t, time.Duration(0), "", 0
	for i, h := range s.healings {
		within := soaked
		switch f := faultNamed(h.fault); {
		case f >= 0:
			within += soakFaults[f].after
		default:
			quiet++
		}
		took, vs := b.recovery(h.at, within, s.ids(), s.ids())
		if took > worst {
			worst, after = took, h.period.String()
		}
		for _, v := range few(vs) {
			v.text = fmt.Sprintf("period %d (%v): %s", i+1, h.period, v.text)
			t.fail(v)
		}
	}
	unexplained, lost, dropped := 0, 0, 0
	for _, a := range b.pids() {
		for _, z := range b.pids() {
			x := b.balance(a, z)
			unexplained, lost, dropped = unexplained+x.unexplained, lost+x.lost, dropped+x.dropped
		}
	}
	t.figure("periods", "%d, %d of them quiet, with %d lives of 5 servers", len(s.healings), quiet, len(b.lives))
	t.figure("messages", "%d handed over, %d delivered, %d dropped and %d lost and counted, %d on their way at a kill",
		b.handedAll, b.received, dropped, lost, unexplained)
	t.figure("first delivery after, at the latest", "%v (%s)", worst.Round(time.Millisecond), after)
}

// faultNamed is the index of a fault, or -1 for quiet.
func faultNamed(name string) int {
	return slices.IndexFunc(soakFaults, func(f soakFault) bool { return f.name == name })
}

// begin does what the period says.
func (s *soak) begin(p period) (heal func() error, err error) {
	s.t.say("%v", p)
	i := faultNamed(p.fault)
	if i < 0 {
		return nil, nil
	}
	for _, n := range soakFaults[i].needs {
		if err := n.check(); err != nil || p.fault == "clock" && !s.shiftable {
			s.t.say("quiet instead: it needs %s", n.what)
			return nil, nil
		}
	}
	return soakFaults[i].begin(s, p)
}
