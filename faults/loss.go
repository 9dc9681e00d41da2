//go:build linux

package main

import "time"

func init() {
	register(row{
		name:    "loss",
		promise: "where segments are lost, messages arrive in order, and what is missing is counted",
		fault:   "between two hosts a tenth of all segments is lost both ways, while 10,000 messages of 1 kB are sent; and then half of them for a second",
		needs:   needNetwork,
		quick:   true,
		run:     loss,
	})
}

func loss(t *trial) error {
	n, err := t.newNetwork(2)
	if err != nil {
		return err
	}
	const rate = 500
	f, err := n.underLoad(2, load{Rate: rate, Size: 1000})
	if err != nil {
		return err
	}
	before, err := t.sleep(2 * time.Second)
	if err != nil {
		return err
	}
	lose := func(rule string, d time.Duration) (during span, dropped int, err error) {
		if err := n.filterAll(rule); err != nil {
			return span{}, 0, err
		}
		if during, err = t.sleep(d); err != nil {
			return during, 0, err
		}
		dropped, err = n.unfilterAll()
		return during, dropped, err
	}
	t.say("a tenth of all segments is lost")
	tenth, ofAll, err := lose("numgen random mod 100 < 10", scale(t, 12*time.Second, 4*time.Second))
	if err != nil {
		return err
	}
	// What waits by now would have TCP send little when it is to lose half.
	if _, err := t.sleep(2 * time.Second); err != nil {
		return err
	}
	t.say("half of all segments is lost")
	_, ofHalf, err := lose("numgen random mod 100 < 50", time.Second)
	if err != nil {
		return err
	}
	healed := now()
	after, err := t.sleep(scale(t, 6*time.Second, 5*time.Second))
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	// TCP's own back-off, while half of what it repeats is lost, comes on top.
	worst, vs := b.recovery(healed, 5*time.Second, f.ids(), f.ids())
	t.fail(vs...)
	t.fail(b.traffic(rate, nil, before, after)...)
	t.fail(b.traffic(scale(t, 10_000, 1000), nil, tenth)...)
	if least := scale(t, 150, 30); ofAll < least {
		t.fail(found(oracleVacuity, "only %d segments were lost while it was a tenth of all; %d are wanted", ofAll, least))
	}
	if least := 5; ofHalf < least {
		t.fail(found(oracleVacuity, "only %d segments were lost while it was half of all; %d are wanted", ofHalf, least))
	}
	lost := 0
	for _, to := range f.ids() {
		x := b.balance(1-to, to)
		lost += x.lost + x.missed + x.dropped
	}
	t.figure("delivered", "%d of %d, with %d segments lost and then %d", b.received, b.handedAll, ofAll, ofHalf)
	t.figure("lost or dropped, all counted", "%d", lost)
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	return nil
}
