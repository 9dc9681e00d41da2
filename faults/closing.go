//go:build linux

package main

import "time"

func init() {
	register(row{
		name:    "close",
		promise: "Close delivers what was accepted, and who exits after it has lost nothing",
		fault:   "a server is closed, and its process exits, while it sends as fast as it can",
		quick:   true,
		run:     closes,
	})
}

func closes(t *trial) error {
	f, err := t.newField(3, nil)
	if err != nil {
		return err
	}
	if err := f.startAll(); err != nil {
		return err
	}
	rounds := scale(t, 10, 3)
	longestClose := time.Duration(0)
	for range rounds {
		if err := f.load(0, load{Size: 2000, Streams: 3}); err != nil {
			return err
		}
		if _, err := t.sleep(500 * time.Millisecond); err != nil {
			return err
		}
		began := now()
		if err := f.quit(0); err != nil {
			return err
		}
		longestClose = max(longestClose, since(began, now()))
		if err := f.start(0); err != nil {
			return err
		}
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	all := uint64(0)
	for _, l := range b.of(0)[:rounds] {
		accepted := uint64(0)
		for id, p := range l.counters.Peers {
			accepted += p.Accepted
			if p.dropped() > 0 {
				t.fail(found(oracleClose, "%v accepted %d messages for %d, and dropped %d when it closed: %v", l, p.Accepted, id, p.dropped(), p.Dropped))
			}
		}
		all += accepted
		if accepted < 100 {
			t.fail(found(oracleVacuity, "%v has accepted %d messages", l, accepted))
		}
	}
	for _, to := range f.others(0) {
		if x := b.balance(0, to); x.delivered != x.handed-x.unaddressed {
			t.fail(found(oracleClose, "from 0 to %d %v", to, &x))
		}
	}
	if longestClose > longest {
		t.fail(found(oracleHang, "closing took %v", longestClose))
	}
	t.figure("delivered", "%d of %d that were accepted in %d lives", b.received, all, rounds)
	t.figure("longest close and exit", "%v", longestClose.Round(time.Millisecond))
	return nil
}
