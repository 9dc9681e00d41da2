//go:build linux

package main

import "time"

func init() {
	register(row{
		name:    "clock",
		promise: "nothing changes but the order of message ids",
		fault:   "the clock of one of three servers jumps an hour forward, an hour back, and an hour back once more",
		needs:   []need{needSources},
		run:     clock,
	})
}

func clock(t *trial) error {
	const jumper = 0
	exe, err := buildShiftable(t.ctx, t.dir)
	if err != nil {
		return err
	}
	f, err := t.newField(3, nil)
	if err != nil {
		return err
	}
	f.exe = exe
	if err := f.startUnder(load{Rate: 500, Size: 200}); err != nil {
		return err
	}
	before, err := t.calm(4 * time.Second)
	if err != nil {
		return err
	}
	during := span{from: now()}
	for _, jump := range []time.Duration{time.Hour, -time.Hour, -time.Hour} {
		t.say("the clock of server %d jumps by %v", jumper, jump)
		if _, err := f.ask(jumper, command{Do: "shift", Pause: jump}); err != nil {
			return err
		}
		if _, err := t.sleep(3 * time.Second); err != nil {
			return err
		}
	}
	during.to = now()
	b, err := f.finish()
	if err != nil {
		return err
	}
	ratio, v := b.keptRate(before, during, with(jumper))
	t.failIf(v)
	t.figure("rate", "%.1f %%", 100*ratio)
	t.allDelivered(b)
	// Ids stay unique, and go on growing: they do not follow a clock that goes back.
	ids := make(map[int64]bool)
	last := make(map[[2]uint16]int64)
	jumped := time.Duration(0)
	b.deliveries(func(r *record) {
		k := [2]uint16{r.from, r.to}
		if ids[r.msgID] || r.msgID <= last[k] {
			t.fail(found(oracleDuplicate, "the id %d, from %d to %d, came before, or is less than the one before", r.msgID, r.from, r.to))
		}
		if last[k] > 0 {
			jumped = max(jumped, time.Duration(r.msgID-last[k])*time.Microsecond)
		}
		ids[r.msgID], last[k] = true, r.msgID
	})
	if jumped < 59*time.Minute {
		t.fail(found(oracleVacuity, "the ids have jumped by %v only", jumped))
	}
	t.figure("jump of the ids", "%v", jumped.Round(time.Minute))
	return nil
}
